"""The demo's callbacks against a fake model, and its API on a really running page."""

from __future__ import annotations

import ast
import asyncio
import gc
import itertools
import json
import re
import socket
import threading
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from demo_process import running
from fake_apollo import FakeApollo
from gradio_client import Client, handle_file
from paths import ROOT

import apollo
from apollo.demo.turns import Conversation
from apollo.demo.worker import BEAT, Host, beats

with warnings.catch_warnings():  # Gradio leaves event loops behind when a page is built
    warnings.simplefilter("ignore", ResourceWarning)
    from apollo.demo import command, page

    asyncio.get_event_loop().close()
    asyncio.set_event_loop(None)
    gc.collect()

VIDEOS = ROOT / "tests" / "data" / "golden" / "videos"
VIDEO = str(VIDEOS / "v02_15fps_0p6s.mp4")
OTHER_VIDEO = str(VIDEOS / "v11_1fps_9s.mp4")
SETTINGS = (0.4, 0.7, 256)


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> FakeApollo:
    host = Host("nano")
    host.model = FakeApollo()
    host.ready.set()
    monkeypatch.setattr(page, "host", host)
    return host.model


def send(conversation: Conversation, question: str, video: str | None = VIDEO) -> list[tuple]:
    """Every update of the page, as (messages, box, status)."""
    return list(page.send(conversation, video, question, *SETTINGS))


def shown(updates: list[tuple]) -> list[list[dict[str, str]]]:
    return [chat for chat, _, _ in updates if isinstance(chat, list)]


def until(updates: Iterator[tuple], text: str) -> list[dict[str, str]]:
    """Pulls updates until the answer contains the text."""
    for chat, _, _ in updates:
        if isinstance(chat, list) and chat and text in chat[-1]["content"]:
            return chat
    raise AssertionError(f"{text!r} never came")


# ---- streaming -------------------------------------------------------------------------------


def test_an_answer_streams_into_the_chat():
    updates = send(Conversation(), "What is it?")
    answers = [chat[-1]["content"] for chat in shown(updates) if chat[-1]["role"] == "assistant"]
    assert len(set(answers)) >= 3
    assert all(b.startswith(a) for a, b in itertools.pairwise(answers))
    assert answers[-1] == "You asked 'What is it?' in message 1 and this is my answer. "
    statuses = [status for *_, status in updates]
    assert "Reading the video: 2 of 4 clips" in statuses or "Reading the video: 4 of 4 clips" in (
        statuses
    )
    assert statuses[-1] == "4 clips read · first word after 0.5 s · 16 tokens/s"


def test_the_box_is_emptied_once_and_what_is_typed_meanwhile_stays():
    boxes = [box for _, box, _ in send(Conversation(), "What is it?")]
    assert boxes[0] == ""
    assert all(box == page.KEEP for box in boxes[1:])


def test_settings_reach_the_model(model: FakeApollo):
    list(page.send(Conversation(), None, "hi", 0, 0.9, 64))
    (_, _, generation) = model.asked[0]
    assert generation == apollo.Generation(temperature=0, top_p=0.9, max_new_tokens=64)


def test_pieces_that_come_together_are_one_update():
    steps = list(beats(iter([("status", "1"), ("status", "2")] + [("text", "ab")] * 300)))
    assert "".join(text for kind, text in steps if kind == "text") == "ab" * 300
    assert len(steps) < 30
    assert ("status", "2") in steps


def test_silence_is_filled_with_beats_and_a_stop_reaches_the_work():
    go_on, closed = threading.Event(), threading.Event()

    def work() -> Iterator[tuple[str, str]]:
        try:
            go_on.wait()
            yield "text", "a"
            yield "text", "b"
        finally:
            closed.set()

    steps = beats(work())
    assert [next(steps), next(steps)] == [BEAT, BEAT]
    steps.close()
    go_on.set()
    assert closed.wait(10)


def test_a_failure_in_the_thread_ends_the_stream():
    def work() -> Iterator[tuple[str, str]]:
        yield "text", "a"
        raise ValueError("broken")

    steps = beats(work())
    assert next(steps) == ("text", "a")
    with pytest.raises(ValueError, match="broken"):
        list(steps)


def test_a_question_waits_while_the_model_loads(model: FakeApollo):
    page.host.ready.clear()
    updates = page.send(Conversation(), None, "hi", *SETTINGS)
    next(updates)
    assert next(updates)[2] == "Loading the model nano …"
    page.host.ready.set()
    assert until(updates, "this is my answer")


def test_a_model_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch):
    host = Host("no-such-model")
    monkeypatch.setattr(page, "host", host)
    host.load()
    conversation = Conversation()
    with pytest.raises(gr.Error, match="There is no model"):
        send(conversation, "hi")
    assert page.fail(conversation, "")[1] == "hi"
    assert "There is no model" in "".join(asyncio.run(_lines()))


async def _lines() -> list[str]:
    return [line async for line in page.model_line()]


def test_the_page_says_what_nano_knows_and_how_to_switch():
    (line,) = asyncio.run(_lines())
    assert "apollo-nano" in line and "cartoon" in line
    for name in ("1.5B", "3B", "7B"):
        card = apollo.MODELS[name]
        assert card.title in line and card.licence in line and f"{card.size_gb:g} GB" in line
    assert "apollo demo --model 3B" in line
    assert "adapter" not in line


def test_the_page_answers_with_the_adapter_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    asked: dict[str, Any] = {}

    def load(name: str, **options: Any) -> FakeApollo:
        asked.update(options, name=name)
        return FakeApollo()

    host = Host("nano")
    monkeypatch.setattr(page, "host", host)
    monkeypatch.setattr(apollo, "load", load)
    monkeypatch.setattr(command, "check_address", lambda *_: None)
    monkeypatch.setattr(page.demo, "launch", lambda **_: None)
    monkeypatch.setattr(page.demo, "block_thread", lambda: host.ready.wait(10))
    adapter = tmp_path / "my <b>clips"
    assert command.main(["--adapter", str(adapter)]) == 0
    assert (asked["name"], asked["adapter"]) == ("nano", str(adapter))
    (line,) = asyncio.run(_lines())
    assert "**apollo-nano** with the adapter **my &lt;b&gt;clips**" in line


# ---- conversation ----------------------------------------------------------------------------


def test_a_follow_up_keeps_the_conversation(model: FakeApollo):
    conversation = Conversation()
    send(conversation, "one")
    send(conversation, "two")
    video, messages, _ = model.asked[1]
    assert video == VIDEO
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"].startswith("You asked 'one'")


def test_a_new_video_starts_a_new_conversation(model: FakeApollo):
    """Defect 3 of the original: the old video's turns stayed in the prompt."""
    conversation = Conversation()
    send(conversation, "one")
    chat, box, _ = page.change_video(conversation, OTHER_VIDEO, "typed")
    assert (chat, box) == ([], page.KEEP)
    send(conversation, "two", OTHER_VIDEO)
    assert model.asked[1][:2] == (OTHER_VIDEO, [{"role": "user", "content": "two"}])


def test_a_new_video_is_noticed_even_when_the_page_did_not_tell(model: FakeApollo):
    conversation = Conversation()
    send(conversation, "one")
    send(conversation, "two", OTHER_VIDEO)
    assert len(model.asked[1][1]) == 1


def test_taking_the_video_away_leaves_the_chat_readable():
    conversation = Conversation()
    send(conversation, "one")
    assert len(page.change_video(conversation, None, "")[0]) == 2


def test_two_visitors_never_see_each_other(model: FakeApollo):
    first, second = Conversation(), Conversation()
    one = page.send(first, VIDEO, "first slow", *SETTINGS)
    until(one, "word1")
    page.stop(second, "")  # the other one's Stop
    until(one, "word3")
    one.close()
    send(second, "second", OTHER_VIDEO)
    assert "slow" not in str(second.messages) and "second" not in str(first.messages)
    assert model.asked[1][:2] == (OTHER_VIDEO, [{"role": "user", "content": "second"}])


def test_stop_keeps_the_partial_answer_and_the_roles(model: FakeApollo):
    conversation = Conversation()
    updates = page.send(conversation, VIDEO, "slow", *SETTINGS)
    until(updates, "word3")
    chat, box, _ = page.stop(conversation, "typed since")
    assert "word3" in chat[-1]["content"] and box == page.KEEP  # somebody may be typing
    assert list(updates) == []  # nothing more is written
    send(conversation, "and then?")
    assert [m["role"] for m in model.asked[1][1]] == ["user", "assistant", "user"]
    assert model.closed == 1


def test_stop_before_the_first_word_gives_the_question_back():
    conversation = Conversation()
    updates = page.send(conversation, VIDEO, "hang", *SETTINGS)
    next(updates), next(updates)
    assert page.stop(conversation, "typed since")[:2] == ([], "hang\ntyped since")
    assert list(updates) == []


def test_closing_the_stream_stops_the_model(model: FakeApollo):
    updates = page.send(Conversation(), None, "slow", *SETTINGS)
    until(updates, "word1")
    updates.close()
    assert page.host.turn.acquire(timeout=10)  # the model is free again
    page.host.turn.release()
    assert model.closed == 1


def test_retry_asks_the_same_question_again(model: FakeApollo):
    """Defect 2 of the original: Regenerate asked the emptied text box."""
    conversation = Conversation()
    send(conversation, "one")
    send(conversation, "two")
    updates = list(page.retry(conversation, *SETTINGS))
    assert model.asked[2][:2] == model.asked[1][:2]
    assert [m["role"] for m in conversation.messages] == ["user", "assistant"] * 2
    assert all(box == page.KEEP for _, box, _ in updates)


def test_a_retry_stopped_before_its_first_word_keeps_the_old_answer():
    conversation = Conversation()
    send(conversation, "one")
    before = [dict(m) for m in conversation.messages]
    next(page.retry(conversation, *SETTINGS))
    assert page.stop(conversation, "")[1] == page.KEEP
    assert conversation.messages == before


def test_clear_empties_the_chat_and_keeps_the_video(model: FakeApollo):
    conversation = Conversation()
    send(conversation, "one")
    assert page.clear(conversation)[0] == []
    send(conversation, "two")
    assert model.asked[1][:2] == (VIDEO, [{"role": "user", "content": "two"}])


@pytest.mark.parametrize("press", [page.retry, page.send])
def test_nothing_to_do_is_said(press: Any):
    args = (
        (Conversation(), *SETTINGS)
        if press is page.retry
        else (Conversation(), None, " ", *SETTINGS)
    )
    with pytest.warns(UserWarning, match="first|yet"):
        assert list(press(*args)) == [(page.KEEP,) * 3]


# ---- failures --------------------------------------------------------------------------------


def test_a_bad_video_is_explained_and_nothing_is_lost(tmp_path: Path):
    """Defect 5 of the original: it emptied the video box and said nothing."""
    bad = tmp_path / "<b>bad.mp4"
    bad.write_text("not a video")
    conversation = Conversation()
    with pytest.raises(gr.Error) as caught:
        send(conversation, "What is it?", str(bad))
    assert "&lt;b&gt;bad.mp4 is not a video" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert page.fail(conversation, "typed since")[:2] == ([], "What is it?\ntyped since")


def test_a_bug_is_a_plain_sentence_and_the_partial_answer_stays():
    conversation = Conversation()
    with pytest.raises(gr.Error, match="Something went wrong.*reference") as caught:
        send(conversation, "late boom")
    assert "secret" not in caught.value.message and "Runtime" not in caught.value.message
    chat, box, _ = page.fail(conversation, "")
    assert chat[-1]["content"] == "so far " and box == "late boom"


def test_a_setting_out_of_range_is_explained():
    with pytest.raises(gr.Error, match="temperature is 9"):
        list(page.send(Conversation(), None, "hi", 9, 0.7, 256))


def test_answers_are_not_cut_at_the_last_full_stop(model: FakeApollo, monkeypatch: Any):
    """Defect 4 of the original: "at 12.5 seconds" became "at 12."."""
    pieces = iter(["It ends. ", "No, ", "at 12.5 seconds"])
    monkeypatch.setattr(model, "_answer", lambda *_: map(apollo.Text, pieces))
    conversation = Conversation()
    send(conversation, "When?")
    assert conversation.messages[-1]["content"] == "It ends. No, at 12.5 seconds"


def test_a_question_without_a_video_is_answered(model: FakeApollo):
    """Defect 6 of the original: text-only questions crashed."""
    conversation = Conversation()
    send(conversation, "Who are you?", None)
    assert model.asked[0][0] is None and "Who are you?" in conversation.messages[-1]["content"]


def test_what_looks_like_markup_is_shown_as_it_is():
    chat = shown(send(Conversation(), "markup <i>now</i>"))[-1]
    assert "&lt;i>now&lt;/i>" in chat[0]["content"]
    assert (
        "&lt;script>alert(1)&lt;/script>" in chat[1]["content"] and "x&lt;y" in chat[1]["content"]
    )


def test_a_follow_up_does_not_read_the_video_again(monkeypatch: pytest.MonkeyPatch):
    """Defect 8 of the original: every turn decoded and encoded the video again."""
    host = Host(str(ROOT / "tests" / "data" / "golden" / "tiny-apollo"))
    host.load(device="cpu")
    monkeypatch.setattr(page, "host", host)
    conversation = Conversation()
    settings = (0, 1, 8)
    first = list(page.send(conversation, VIDEO, "one", *settings))
    second = list(page.send(conversation, VIDEO, "two", *settings))
    assert "clips read" in first[-1][2] and "clips reused" in second[-1][2]
    assert not any(str(status).startswith("Reading") for *_, status in second)


# ---- the page --------------------------------------------------------------------------------


def listeners() -> list[dict[str, Any]]:
    return page.demo.config["dependencies"]


def test_every_button_does_something():
    """Defect 1 of the original: its rating buttons were dead."""
    live = {target[0] for listener in listeners() for target in listener["targets"]}
    buttons = [b for b in page.demo.blocks.values() if isinstance(b, gr.Button)]
    assert len(buttons) >= 4
    assert all(button._id in live for button in buttons)


def test_only_ask_is_public_and_the_model_has_one_line():
    """Defect 10 of the original: no queue settings at all."""
    public = [d["api_name"] for d in listeners() if d["api_visibility"] != "private"]
    assert public == ["ask"]
    runs_model = [f for f in page.demo.fns.values() if f.fn in (page.send, page.retry, page.ask)]
    assert len(runs_model) == 3
    assert {(f.concurrency_id, f.concurrency_limit) for f in runs_model} == {("model", 1)}
    assert page.demo._queue.max_size == page.MAX_WAITING
    assert page.demo.delete_cache is not None


def test_there_is_one_gpu_function_at_module_level():
    """Defect 11 of the original: a decorated function inside a decorated function."""
    tree = ast.parse((ROOT / "apollo/demo/page.py").read_text())
    decorated = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "spaces.GPU" in map(_name, node.decorator_list)
    ]
    assert [node.name for node in decorated] == ["answer_on_gpu"]
    assert decorated[0] in tree.body


def _name(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def test_nothing_is_installed_or_moved_to_a_gpu_at_start():
    """Defect 9 of the original: it ran an installer at start and needed CUDA."""
    code = "".join(file.read_text() for file in (ROOT / "apollo" / "demo").glob("*.py"))
    assert not re.search(r"subprocess|os\.system|\.cuda\(", code)


def test_the_examples_are_there():
    for file, question in page.EXAMPLES:
        assert page.ASSETS.joinpath(file).is_file(), f"assets/{file} is missing"
        assert question.strip()


def test_gpu_seconds_follow_the_work(model: FakeApollo, tmp_path: Path):
    messages = [{"role": "user", "content": "hi"}]
    short = page.seconds_needed(VIDEO, messages, 0.4, 0.7, 32)
    assert page.GPU_S[0] <= short < page.seconds_needed(VIDEO, messages, 0.4, 0.7, 1024)
    assert page.seconds_needed(VIDEO, messages, 0.4, 0.7, 8192) == page.GPU_S[1]
    assert page.seconds_needed(str(tmp_path / "missing.mp4"), messages, 0.4, 0.7, 32) <= short


def test_a_taken_port_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(apollo.SettingError, match=f"127.0.0.1:{port}.*another --port"):
            command.check_address("127.0.0.1", port)
    command.check_address("127.0.0.1", port)


def test_mcp_without_its_package_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(apollo.SettingError, match=r"gradio\[mcp\]"):
        command.serve("nano", None, "127.0.0.1", 1, share=False, mcp=True)


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


def test_ask_streams_the_growing_answer(client: Client):
    texts = ask(client, "What is it?")
    assert len(set(texts)) >= 4  # the empty one and at least three partial answers
    assert all(b.startswith(a) for a, b in itertools.pairwise(texts))
    assert texts[-1].endswith("this is my answer. ")


def test_ask_works_without_a_video_and_with_settings(client: Client):
    texts = ask(client, "hi", None, temperature=0, top_p=1, max_output_tokens=32)
    assert "You asked 'hi'" in texts[-1]


def test_ask_says_what_is_wrong_with_a_file(client: Client, tmp_path: Path):
    bad = tmp_path / "renamed & co.mp4"
    bad.write_text("not a video")
    with pytest.raises(Exception, match=r"is not a video") as caught:
        ask(client, "What is it?", str(bad))
    assert "Traceback" not in str(caught.value) and "/uploads/" not in str(caught.value)


def test_a_path_on_the_server_is_refused(url: str):
    """Only what a caller has uploaded may be named, or /ask could read the server's files."""
    file = {"path": VIDEO, "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [file, "What is it?", *SETTINGS]}).encode()
    request = urllib.request.Request(
        f"{url}gradio_api/call/ask", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{url}gradio_api/call/ask/{event}", timeout=60) as reply:
        stream = reply.read().decode()
    assert "event: error" in stream and "You asked" not in stream


def test_only_ask_is_documented(client: Client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/ask"]


def test_a_cancelled_question_frees_the_model(url: str):
    first, second = Client(url, verbose=False), Client(url, verbose=False)
    job = first.submit(video=None, question="slow", api_name="/ask")
    while not any(job.outputs()):
        threading.Event().wait(0.05)
    job.cancel()
    assert ask(second, "hi", None)[-1].endswith("this is my answer. ")
    first.close(), second.close()


def test_the_demo_answers_with_a_real_checkpoint(tmp_path: Path):
    tiny = "tests/data/golden/tiny-apollo"
    command = ["app.py", "--model", tiny, "--device", "cpu", "--port"]
    with running(command, tmp_path / "log.txt") as address:
        client = Client(address, verbose=False)
        texts = ask(client, "What is it?", max_output_tokens=32, temperature=0)
        assert len({text for text in texts if text}) >= 3, (tmp_path / "log.txt").read_text()
        assert texts == sorted(texts, key=len)
        client.close()
