"""How the page is put together, and its API on a really running page."""

from __future__ import annotations

import itertools
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from demo_process import running
from gradio_client import Client, handle_file
from paths import GOLDEN

from apollo.demo import actions, page

VIDEO = str(GOLDEN / "videos" / "v02_15fps_0p6s.mp4")
SETTINGS = (0.4, 0.7, 256)


def listeners() -> list[dict[str, Any]]:
    return page.demo.config["dependencies"]


def test_every_button_does_something():
    """Defect 1 of the original: its rating buttons were dead."""
    live = {target[0] for listener in listeners() for target in listener["targets"]}
    buttons = [b for b in page.demo.blocks.values() if isinstance(b, gr.Button)]
    assert len(buttons) >= 4
    assert all(button._id in live for button in buttons)


def test_only_ask_is_public_and_the_model_has_one_queue():
    """Defect 10 of the original: no queue settings at all."""
    public = [d["api_name"] for d in listeners() if d["api_visibility"] != "private"]
    assert public == ["ask"]
    runs_model = [
        f for f in page.demo.fns.values() if f.fn in (actions.send, actions.retry, actions.ask)
    ]
    assert len(runs_model) == 3
    assert {(f.concurrency_id, f.concurrency_limit) for f in runs_model} == {
        ("model", page.MAX_WAITING)
    }
    assert page.demo._queue.max_size == page.MAX_WAITING
    assert page.demo.delete_cache is not None


def test_the_examples_are_there():
    for file, question in page.EXAMPLES:
        assert page.ASSETS.joinpath(file).is_file(), f"assets/{file} is missing"
        assert question.strip()


# ---- the running page ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("demo") / "log.txt"
    with running(["tests/helpers/demo_process.py"], log) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    client = Client(url, verbose=False)
    yield client
    client.close()


def ask(client: Client, question: str, video: str | None = VIDEO, **kwargs: Any) -> list[str]:
    job = client.submit(
        video=handle_file(video) if video else None, question=question, api_name="/ask", **kwargs
    )
    job.result()
    return job.outputs()


@pytest.mark.slow
def test_ask_streams_the_growing_answer(client: Client):
    texts = ask(client, "What is it?")
    assert len(set(texts)) >= 4  # the empty one and at least three partial answers
    assert all(b.startswith(a) for a, b in itertools.pairwise(texts))
    assert texts[-1].endswith("this is my answer. ")


@pytest.mark.slow
def test_ask_works_without_a_video_and_with_settings(client: Client):
    texts = ask(client, "hi", None, temperature=0, top_p=1, max_output_tokens=32)
    assert "You asked 'hi'" in texts[-1]


@pytest.mark.slow
def test_ask_says_what_is_wrong_with_a_file(client: Client, tmp_path: Path):
    bad = tmp_path / "renamed & co.mp4"
    bad.write_text("not a video")
    with pytest.raises(Exception, match=r"is not a video") as caught:
        ask(client, "What is it?", str(bad))
    assert "Traceback" not in str(caught.value) and "/uploads/" not in str(caught.value)


def ask_over_http(url: str, path: str) -> str:
    """The stream of events of a question about a file that is named by its path on the server."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [file, "What is it?", *SETTINGS]}).encode()
    request = urllib.request.Request(
        f"{url}gradio_api/call/ask", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{url}gradio_api/call/ask/{event}", timeout=60) as reply:
        return reply.read().decode()


@pytest.mark.slow
def test_a_path_on_the_server_is_refused(url: str):
    """Only what a caller has uploaded may be named, or /ask could read the server's files."""
    stream = ask_over_http(url, VIDEO)
    assert "event: error" in stream and "You asked" not in stream


@pytest.mark.slow
def test_an_upload_that_has_been_removed_is_said_to_have_expired(url: str):
    with open(VIDEO, "rb") as file:
        (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()
    assert "You asked" in ask_over_http(url, path)
    Path(path).unlink()
    stream = ask_over_http(url, path)
    assert "event: error" in stream and "The video has expired" in stream


@pytest.mark.slow
def test_only_ask_is_documented(client: Client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/ask"]


@pytest.mark.slow
def test_a_cancelled_question_frees_the_model(url: str):
    first, second = Client(url, verbose=False), Client(url, verbose=False)
    job = first.submit(video=None, question="slow", api_name="/ask")
    while not any(job.outputs()):
        threading.Event().wait(0.05)
    job.cancel()
    assert ask(second, "hi", None)[-1].endswith("this is my answer. ")
    first.close(), second.close()


@pytest.mark.slow
def test_the_demo_answers_with_a_real_checkpoint(tmp_path: Path):
    tiny = "tests/data/golden/tiny-apollo"
    command = ["app.py", "--model", tiny, "--device", "cpu", "--port"]
    with running(command, tmp_path / "log.txt") as address:
        client = Client(address, verbose=False)
        texts = ask(client, "What is it?", max_output_tokens=256, temperature=0)
        assert len({text for text in texts if text}) >= 3, (tmp_path / "log.txt").read_text()
        assert texts == sorted(texts, key=len)
        client.close()
