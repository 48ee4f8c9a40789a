"""The steps of one answer, and what a GPU is asked for."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_apollo import FakeApollo
from make_videos import write_video

import apollo
from apollo.demo import actions, worker
from apollo.events import Stats


def request(clips_to_encode: int, max_new_tokens: int) -> Any:
    generation = apollo.Generation(max_new_tokens=max_new_tokens)
    return SimpleNamespace(clips_to_encode=clips_to_encode, generation=generation)


def test_gpu_seconds_follow_the_clips_to_encode_and_the_tokens_to_write():
    short = worker.seconds_needed(request(0, 256), None)
    assert worker.GPU_S[0] < short < worker.seconds_needed(request(0, 1024), None)
    assert short < worker.seconds_needed(request(80, 256), None) < worker.GPU_S[1]
    assert worker.seconds_needed(request(9000, 256), None) == worker.GPU_S[1]
    assert worker.seconds_needed(request(0, 1), None) == worker.GPU_S[0]


@pytest.mark.parametrize(
    ("clips", "reused", "said"),
    [(0, False, "first"), (1, False, "1 clip read · "), (2, True, "2 clips reused · ")],
)
def test_the_summary_counts_clips(clips: int, reused: bool, said: str):
    stats = Stats(clips, 2.0, reused, 100, 0, 20, 0.5, 16.0, note="A note.")
    assert worker.summary(stats).startswith(said)
    assert worker.summary(stats).endswith("first word after 0.5 s · 16 tokens/s · A note.")


def test_on_zerogpu_everything_is_read_before_a_gpu_is_asked_for(
    model: FakeApollo, monkeypatch: pytest.MonkeyPatch, video: str
):
    """Simulated: the flag is set, but there is neither a GPU nor a second process."""
    monkeypatch.setattr(worker, "ZERO_GPU", True)
    given: list[Any] = []

    def on_gpu(request: Any, pixels: Any) -> worker.Steps:
        given.append(pixels)
        yield "tokens", ["kept"]
        yield "text", "hi"

    monkeypatch.setattr(worker, "answer_on_gpu", on_gpu)
    question = [{"role": "user", "content": "one"}]
    steps = list(worker.answer_steps(video, question, 0.4, 0.7, 256))
    assert [group.pixels for group in given[0]] == [[[0.0], [0.0]]] * 4
    assert pickle.loads(pickle.dumps(given)) == given
    assert steps[-3:] == [
        ("status", "Reading the video: 4 of 4 clips"),
        ("status", "Waiting for a GPU …"),
        ("text", "hi"),
    ]
    assert model.kept[video] == ["kept"]
    list(worker.answer_steps(video, question, 0.4, 0.7, 256))
    assert given[1] == []


def test_what_is_wrong_with_the_video_is_said_on_the_page_and_by_the_api(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Row 41: a cut upload, with the model that comes with the program."""
    whole = write_video(tmp_path / "whole.mkv", frames=150)
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    host = worker.Host("nano")
    host.load("nano")
    monkeypatch.setattr(worker, "host", host)
    question = [{"role": "user", "content": "What?"}]
    steps = [step for step in worker.answer_steps(str(path), question, 0, 0.7, 3) if step]
    (note,) = [text for kind, text in steps if kind == "note"]
    assert note.startswith("cut.mkv ends early: ")
    assert steps[-1][0] == "status" and steps[-1][1].endswith(f" · {note}")
    *_, answer = actions.ask(str(path), "What?", 0, 0.7, 3)
    assert answer.endswith(f"\n\n({note})")
