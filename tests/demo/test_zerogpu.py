"""The demo under the real ZeroGPU wrappers: scheduled, forked, pickled; only the GPU is missing.

A stub of the device API answers the scheduler's calls, and torch's CUDA start-up is replaced by
nothing. Everything else (the forked worker, its queues, its stop event) is the `spaces` package's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

VIDEO = str(ROOT / "tests/data/golden/videos/v02_15fps_0p6s.mp4")
SETTINGS = (0.4, 0.7, 256)
pytestmark = pytest.mark.timeout(600)  # a busy machine takes minutes to import torch
PLAN = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "x", "allowToken": "t"}


class DeviceApi(BaseHTTPRequestHandler):
    asked: list[str] = []  # every request line, for the test to look at

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(PLAN if self.path.startswith("/schedule") else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What happened in one simulated Space, by name."""
    folder = tmp_path_factory.mktemp("zerogpu")
    (folder / "cgroup").write_text("0::/x\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), DeviceApi)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")]),
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_port}",
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(folder / "cgroup"),
        "ZEROGPU_OFFLOAD_DIR": str(folder / "tensors"),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=540,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stdout + done.stderr
    yield json.loads((folder / "results.json").read_text()) | {"api": DeviceApi.asked}


def test_the_answer_comes_from_a_worker(results: dict[str, Any]):
    assert results["answer"] == "You asked 'What is it?' in message 1 and this is my answer. "
    assert results["asked_in_parent"] == 0
    assert any(path.startswith("/schedule") for path in results["api"])


def test_the_conversation_lives_in_the_parent(results: dict[str, Any]):
    assert [m["role"] for m in results["conversation"]] == ["user", "assistant"] * 2
    assert "'two' in message 3" in results["conversation"][-1]["content"]


def test_the_gpu_time_asked_for_follows_the_work(results: dict[str, Any]):
    seconds = [path for path in results["api"] if path.startswith("/schedule")]
    assert any("durationSeconds=29" in path for path in seconds), seconds


def test_a_bad_video_is_a_plain_sentence(results: dict[str, Any]):
    kind, sentence = results["bad_video"]
    assert kind == "error" and sentence.startswith("bad.mp4 is not a video")


def test_a_bug_is_a_plain_sentence(results: dict[str, Any]):
    kind, sentence = results["bug"]
    assert kind == "error" and "reference" in sentence and "RuntimeError" not in sentence


def test_stop_reaches_the_worker(results: dict[str, Any]):
    assert results["stopped"] is True
    assert "word3" in results["partial"] and "word3999" not in results["partial"]


def test_stop_reaches_a_silent_worker(results: dict[str, Any]):
    assert results["stopped_while_silent"] is True


def test_after_a_stop_the_next_answer_is_whole(results: dict[str, Any]):
    assert results["after_stop"] == "You asked 'again' in message 1 and this is my answer. "


def test_a_worker_that_dies_is_a_sentence_and_the_question_comes_back(results: dict[str, Any]):
    assert results["killed"] == "GPU task aborted"
    assert results["box_after_killed"] == "please die"


# ---- the simulated Space: this file, run as a script -------------------------------------------


def no_gpu(*_: Any, **__: Any) -> None:
    """Stands for every step that would need a real card."""


def never() -> bool:
    return False


def simulate(folder: Path) -> None:
    import torch

    torch.version.cuda = "12.8"
    torch._C._cuda_init = no_gpu
    torch.cuda._is_in_bad_fork = never
    import spaces.zero.torch

    spaces.zero.torch.init = spaces.zero.torch.move = no_gpu

    import fake_apollo

    closed = folder / "closed"

    class Marked(fake_apollo.FakeApollo):
        """What a worker changes is lost, so it leaves a file."""

        def events(self, video: Any, question: Any, **kwargs: Any) -> Iterator[Any]:
            if "die" in question[-1]["content"]:
                os._exit(1)
            try:
                yield from super().events(video, question, **kwargs)
            finally:
                closed.write_text(str(self.closed))

    fake_apollo.install(lambda *_, **__: Marked())
    from apollo.demo import page

    (folder / "results.json").write_text(json.dumps(_play(page, folder, closed)))


def _play(page: Any, folder: Path, closed: Path) -> dict[str, Any]:
    import gradio as gr

    bad = folder / "bad.mp4"
    bad.write_text("not a video")

    def steps(question: str, video: str | None = None) -> Iterator[tuple[str, str]]:
        return page.answer(video, [{"role": "user", "content": question}], *SETTINGS)

    def text(question: str, video: str | None = None) -> str:
        return "".join(piece for kind, piece in steps(question, video) if kind == "text")

    def stop_after(question: str, enough: str) -> str:
        closed.unlink(missing_ok=True)
        seen, stream = "", steps(question)
        for number, (kind, piece) in enumerate(stream):
            seen += piece if kind == "text" else ""
            if enough in seen and number > 4:
                break
        stream.close()
        for _ in range(600):
            if closed.exists() and closed.read_text():
                return seen
            threading.Event().wait(0.1)
        return "never stopped"

    results: dict[str, Any] = {"answer": text("What is it?", VIDEO)}
    from apollo.demo.turns import Conversation

    conversation = Conversation()
    for question in ("one", "two"):
        list(page.send(conversation, VIDEO, question, *SETTINGS))
    results["conversation"] = conversation.messages
    results["bad_video"] = list(steps("What is it?", str(bad)))[-1]
    results["bug"] = list(steps("boom"))[-1]
    results["partial"] = stop_after("slow", "word3")
    results["stopped"] = closed.exists() and closed.read_text() != "0"
    results["stopped_while_silent"] = stop_after("hang", "") == ""
    results["after_stop"] = text("again")
    try:
        list(page.send(conversation, VIDEO, "please die", *SETTINGS))
    except gr.Error as error:
        results["killed"] = error.message
    results["box_after_killed"] = page.fail(conversation, "")[1]
    results["asked_in_parent"] = len(page.host.model.asked)
    return results


if __name__ == "__main__":
    simulate(Path(sys.argv[1]))
