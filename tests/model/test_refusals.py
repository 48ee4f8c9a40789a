"""Files, questions, settings and devices that cannot be used, and loading those that can."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import GREEDY, MESSAGES, PICTURE, QUESTION, SHORT, refusal
from paths import TINY

from apollo.catalog import MODELS
from apollo.chat import Apollo, load
from apollo.errors import PromptError, SettingError, VideoError
from apollo.model import device
from apollo.settings import Generation, Sampling

# ---- what cannot be used ---------------------------------------------------------------------


@pytest.fixture
def bad_files(tmp_path: Path) -> dict[str, Path]:
    files = {
        "missing": tmp_path / "missing.mp4",
        "empty": tmp_path / "empty.mp4",
        "text": tmp_path / "text.mp4",
        "folder": tmp_path,
        "cut": tmp_path / "cut.mp4",
    }
    files["empty"].write_bytes(b"")
    files["text"].write_text("This is not a video.\n" * 100)
    files["cut"].write_bytes(SHORT.read_bytes()[:2000])
    return files


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "folder", "cut"])
def test_bad_files_are_refused_in_one_sentence(
    apollo: Apollo, bad_files: dict[str, Path], kind: str
) -> None:
    file = bad_files[kind]
    for use in (
        lambda: apollo.answer(file, QUESTION, generation=GREEDY),
        lambda: apollo.clips(file),
        lambda: list(apollo.frames(file)),
    ):
        with pytest.raises(VideoError) as error:
            use()
        assert file.name in refusal(error)
    if kind != "folder":
        with pytest.raises(VideoError) as error:
            list(apollo.events(None, QUESTION, image=file, generation=GREEDY))
        assert file.name in refusal(error)


def test_questions_that_cannot_be_asked(apollo: Apollo) -> None:
    with pytest.raises(PromptError, match="a video or an image, not both"):
        list(apollo.events(SHORT, QUESTION, image=PICTURE))
    with pytest.raises(PromptError, match="The question is empty; type one."):
        apollo.answer(SHORT, "  ")
    with pytest.raises(PromptError, match="ends with the assistant"):
        apollo.answer(SHORT, MESSAGES[:2])
    for question in (None, b"?", 5, {"role": "user", "content": QUESTION}, [("user", QUESTION)]):
        with pytest.raises(PromptError, match=" is a "):
            apollo.answer(None, question)  # type: ignore[arg-type]
    with pytest.raises(VideoError, match="4.0 s long, so it cannot be read from 9 s on"):
        apollo.answer(SHORT, QUESTION, sampling=Sampling(start_s=9))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Generation(temperature=math.nan), "temperature is nan; choose a value between"),
        (lambda: Generation(top_p=0), "top_p is 0; choose a value between 0.01 and 1"),
        (lambda: Generation(max_new_tokens=2.5), "max_new_tokens is 2.5; choose a whole number"),
        (lambda: Generation(seed=2**64), "seed is .*; choose a value between 0 and"),
        (lambda: Generation(seed="7"), "seed is '7', which is not a number"),
        (lambda: Sampling(frames_per_clip=True), "frames_per_clip is True, which is not a number"),
        (lambda: Sampling(start_s=3, end_s=2), "ends at 2 s but starts at 3 s"),
    ],
)
def test_settings_out_of_range(make: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        make()


def test_whole_numbers_may_come_as_floats() -> None:
    """A browser sends 4.0 for 4."""
    generation = Generation(max_new_tokens=4.0)  # type: ignore[arg-type]
    assert type(generation.max_new_tokens) is int


# ---- loading ---------------------------------------------------------------------------------


def test_a_folder_loads(apollo: Apollo) -> None:
    loaded = load(TINY, device="cpu")
    assert (loaded.card.title, loaded.card.source) == ("tiny-apollo", str(TINY))
    assert loaded.model.dtype == torch.float32 and loaded.model.device.type == "cpu"
    answer = loaded.answer(SHORT, QUESTION, generation=GREEDY)
    assert answer == apollo.answer(SHORT, QUESTION, generation=GREEDY)
    assert load(str(TINY), device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16
    assert MODELS["nano"].source.endswith("weights")


def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("cuda", "This machine has no cuda device; leave it out or use cpu."),
        ("mps", "This machine has no mps device"),
        ("toaster", "The device 'toaster' is unknown; use cpu, cuda or mps."),
        ("meta", "The device 'meta' is not supported"),
    ],
)
def test_devices_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, wanted: str, words: str
) -> None:
    no_gpu(monkeypatch)
    with pytest.raises(SettingError, match=words):
        load(TINY, device=wanted)


def test_the_machine_chooses_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch)
    assert device.pick_device(None) == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.pick_device(None) == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.pick_device(None) == torch.device("cuda")
    assert device.pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(SettingError, match="no device cuda:2; choose cuda:0 to cuda:1"):
        device.pick_device("cuda:2")
