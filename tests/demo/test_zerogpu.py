"""The demo under the real ZeroGPU wrappers: scheduled, forked, pickled; only the GPU is missing.

A stub of the device API answers the scheduler's calls, and torch's CUDA start-up is replaced by
nothing. Everything else (the forked worker, its queues, its stop event) is the `spaces` package's.
"""

from __future__ import annotations

import contextlib
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

import apollo

VIDEO = str(ROOT / "tests/data/golden/videos/v02_15fps_0p6s.mp4")
SETTINGS = (0.4, 0.7, 256)
# a busy machine takes minutes to import torch
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
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


def simulated(folder: Path, model: str, *flags: str) -> dict[str, Any]:
    """What happened in one simulated Space, by name: this file's `simulate_MODEL`."""
    (folder / "cgroup").write_text("0::/x\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), DeviceApi)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = os.environ | {
        # more than one, so that the parent has threads that its forks do not have
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")]),
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_port}",
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(folder / "cgroup"),
        "ZEROGPU_OFFLOAD_DIR": str(folder / "tensors"),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, __file__, model, str(folder), *flags],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=540,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "results.json").read_text())


# ---- with a fake model ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return simulated(tmp_path_factory.mktemp("fake"), "fake") | {"api": DeviceApi.asked}


def test_the_answer_comes_from_a_worker(results: dict[str, Any]):
    assert results["answer"] == "You asked 'What is it?' in message 1 and this is my answer. "
    assert results["answered_by"] != results["parent"]
    assert any(path.startswith("/schedule") for path in results["api"])


def test_the_video_is_read_in_the_parent_and_only_once(results: dict[str, Any]):
    assert results["read_in_parent"] == 4  # clips, for three questions about it
    assert results["statuses"][0][-1].startswith("4 clips read")
    assert results["statuses"][1][-1].startswith("4 clips reused")


def test_a_visitor_sees_what_is_waited_for(results: dict[str, Any]):
    first, again = results["statuses"]
    assert "Reading the video: 4 of 4 clips" in first[:-1]
    assert not any(status.startswith("Reading") for status in again)
    assert "Waiting for a GPU …" in first and "Waiting for a GPU …" in again


def test_the_conversation_lives_in_the_parent(results: dict[str, Any]):
    assert [m["role"] for m in results["messages"]] == ["user", "assistant"] * 2
    assert "'two' in message 3" in results["messages"][-1]["content"]


def test_there_is_one_gpu_function_at_module_level(results: dict[str, Any]):
    """Defect 11 of the original: a decorated function inside a decorated function."""
    assert results["gpu_functions"] == ["answer_on_gpu"]


def test_the_gpu_time_asked_for_follows_the_work(results: dict[str, Any]):
    seconds = [path for path in results["api"] if path.startswith("/schedule")]
    assert any("durationSeconds=18" in path for path in seconds), seconds  # 4 clips, 256 tokens


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


# ---- with nano and an adapter --------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory, adapter: Path) -> dict[str, Any]:
    return simulated(tmp_path_factory.mktemp("nano"), "nano", "--adapter", str(adapter))


def test_the_parent_decodes_and_the_worker_encodes_only_once(nano: dict[str, Any]):
    assert nano["decoded_by"] == [[nano["parent"]], []]  # in the first question, the second
    (encoded_by, not_again) = nano["encoded_by"]
    assert encoded_by and nano["parent"] not in encoded_by and not_again == []
    assert nano["in_cache"] == 1


def test_the_visitor_is_told_what_was_read_and_what_was_kept(nano: dict[str, Any]):
    assert [status.split(" · ")[0] for status in nano["summaries"]] == [
        "1 clip read",
        "1 clip reused",
    ]


def test_the_adapter_answers_in_the_worker(nano: dict[str, Any], adapter: Path):
    """The same as in this process, and not what the bare model says."""
    question = [{"role": "user", "content": "What happens?"}]
    greedy = apollo.Generation(temperature=0, max_new_tokens=16)
    said, bare = (
        "".join(apollo.load(adapter=path, device="cpu").stream(VIDEO, question, generation=greedy))
        for path in (adapter, None)
    )
    assert nano["answer"] == said != bare


# ---- the simulated Space: this file, run as a script -------------------------------------------


def no_gpu(*_: Any, **__: Any) -> None:
    """Stands for every step that would need a real card."""


def never() -> bool:
    return False


def simulate_card() -> None:
    sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # it would look for the card
    import torch

    torch.version.cuda = "12.8"
    torch._C._cuda_init = no_gpu
    torch.cuda._is_in_bad_fork = never
    import spaces.zero.torch

    spaces.zero.torch.init = spaces.zero.torch.move = no_gpu


def simulate_nano(folder: Path, *flags: str) -> dict[str, Any]:
    from apollo.demo import actions, command, page, worker
    from apollo.demo.turns import Turns
    from apollo.model.causal_lm import ApolloForCausalLM
    from apollo.video.reader import Video

    def leave_a_note(name: str, work: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            with (folder / name).open("a") as file:
                file.write(f"{os.getpid()} ")
            return work(*args, **kwargs)

        return noted

    def notes(name: str) -> list[int]:
        """The processes that have done this since the last call."""
        file = folder / name
        processes = [int(p) for p in file.read_text().split()] if file.exists() else []
        file.unlink(missing_ok=True)
        return processes

    Video.frames = leave_a_note("decoded", Video.frames)
    ApolloForCausalLM.encode_clips = leave_a_note("encoded", ApolloForCausalLM.encode_clips)
    # the page itself is not opened
    page.demo.launch = page.demo.block_thread = command.check_address = no_gpu
    assert command.main(["--device", "cpu", *flags]) == 0

    turns = Turns()
    results: dict[str, Any] = {"parent": os.getpid(), "summaries": []}
    results |= {"decoded_by": [], "encoded_by": []}
    for question in ("What happens?", "And then?"):
        updates = list(actions.send(turns, VIDEO, question, 0, 1, 16))
        results["summaries"].append(updates[-1][2])
        results["decoded_by"].append(notes("decoded"))
        results["encoded_by"].append(notes("encoded"))
    results["answer"] = turns.messages[1]["content"]
    results["in_cache"] = len(worker.host.model.cache)
    return results


def simulate_fake(folder: Path) -> dict[str, Any]:
    import fake_apollo

    closed = folder / "closed"

    class Marked(fake_apollo.FakeApollo):
        """What a worker changes is lost, so it leaves files."""

        def respond(self, request: Any, pixels: Any) -> Iterator[Any]:
            if "die" in request.text:
                os._exit(1)
            (folder / "process").write_text(str(os.getpid()))
            try:
                yield from super().respond(request, pixels)
            finally:
                closed.write_text(str(self.closed))

    fake_apollo.install(lambda *_, **__: Marked())
    from apollo.demo import worker

    worker.host.load("nano")
    return _play(worker.host.model, folder, closed)


def _play(model: Any, folder: Path, closed: Path) -> dict[str, Any]:
    import gradio as gr
    from spaces.zero.decorator import decorated_cache

    from apollo.demo import actions
    from apollo.demo.turns import Turns

    bad = folder / "bad.mp4"
    bad.write_text("not a video")

    def steps(question: str, video: str | None = None) -> Iterator[tuple[str, str]]:
        asked = [{"role": "user", "content": question}]
        for update in actions.answer(video, asked, *SETTINGS):
            yield from update

    def text(question: str, video: str | None = None) -> str:
        return "".join(piece for kind, piece in steps(question, video) if kind == "text")

    def statuses(question: str) -> list[str]:
        return [sentence for kind, sentence in steps(question, VIDEO) if kind == "status"]

    def stop_after(question: str, enough: str) -> str:
        closed.unlink(missing_ok=True)
        (folder / "process").unlink(missing_ok=True)
        seen, asked = "", [{"role": "user", "content": question}]
        with contextlib.closing(actions.answer(None, asked, *SETTINGS)) as updates:
            for update in updates:
                seen += "".join(piece for kind, piece in update if kind == "text")
                if enough in seen and (folder / "process").exists():
                    break
        for _ in range(600):
            if closed.exists() and closed.read_text():
                return seen
            threading.Event().wait(0.1)
        return "never stopped"

    results: dict[str, Any] = {"statuses": [statuses("What is it?"), statuses("And then?")]}
    results["answer"] = text("What is it?", VIDEO)
    results |= {"parent": os.getpid(), "answered_by": int((folder / "process").read_text())}
    results["read_in_parent"] = model.read
    turns = Turns()
    for question in ("one", "two"):
        list(actions.send(turns, None, question, *SETTINGS))
    results["messages"] = turns.messages
    results["bad_video"] = list(steps("What is it?", str(bad)))[-1]
    results["bug"] = list(steps("boom"))[-1]
    results["partial"] = stop_after("slow", "word3")
    results["stopped"] = closed.exists() and closed.read_text() != "0"
    results["stopped_while_silent"] = stop_after("hang", "") == ""
    results["after_stop"] = text("again")
    try:
        list(actions.send(turns, None, "please die", *SETTINGS))
    except gr.Error as error:
        results["killed"] = error.message
    results["box_after_killed"] = actions.fail(turns, "")[1]
    results["gpu_functions"] = sorted({task.__qualname__ for task in decorated_cache})
    return results


if __name__ == "__main__":
    simulate_card()
    to = Path(sys.argv[2])
    simulate = {"fake": simulate_fake, "nano": simulate_nano}[sys.argv[1]]
    (to / "results.json").write_text(json.dumps(simulate(to, *sys.argv[3:])))
