"""The plain way gives what Apollo gives, or a comparison of their costs would mean nothing."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from asking import QUESTION, SHORT, TEN_S
from paths import EXAMPLE_VIDEOS

import apollo
from apollo.bench import baseline
from apollo.video.reader import Video
from apollo.vision.transforms import InternVideo2Transform, SiglipTransform

GREY_LEVEL = 1 / 255
TRANSFORMS = [InternVideo2Transform(224), SiglipTransform(384)]


@pytest.fixture(scope="module")
def nano() -> Any:
    return apollo.load()


def test_its_pixels_are_apollos_to_one_grey_level(nano: Any) -> None:
    clips = nano.clips(TEN_S)
    plain = baseline.pixels(str(TEN_S), clips, TRANSFORMS)
    with Video(TEN_S) as video:
        ours = [[t.resize(frames) for t in TRANSFORMS] for frames in video.read(clips)]
    for tower, pixels, transform in zip(zip(*ours, strict=True), plain, TRANSFORMS, strict=True):
        wanted = transform.normalise(torch.stack(tower))
        assert wanted.shape == pixels.shape and pixels.std() > 0.1
        std = torch.tensor(transform.std).view(3, *[1] * transform.trailing_dims)
        assert ((wanted - pixels).abs() * std).max() < 1.01 * GREY_LEVEL


@pytest.mark.parametrize(
    ("file", "question"),
    [
        ("example_1.mp4", "What happens in this video?"),
        ("example_2.mp4", "What comes after the snowman?"),
    ],
)
def test_its_greedy_answer_is_apollos(nano: Any, file: str, question: str) -> None:
    path = str(EXAMPLE_VIDEOS / file)
    messages = [{"role": "user", "content": question}]
    greedy = apollo.Generation(temperature=0, max_new_tokens=40)
    answer = nano.answer(path, messages, generation=greedy)
    assert len(answer.split()) >= 2
    assert baseline.answer(nano.model, path, nano.clips(path), messages, 40) == answer


@pytest.mark.skipif(not importlib.util.find_spec("decord"), reason="decord is not installed")
def test_it_decodes_the_same_with_and_without_decord(monkeypatch: pytest.MonkeyPatch) -> None:
    frame_ids = [0, 3, 3, 11, 29]
    with_decord = baseline.decoded(str(SHORT), frame_ids)
    monkeypatch.setattr(baseline.importlib.util, "find_spec", lambda name: None)
    without = baseline.decoded(str(SHORT), frame_ids)
    assert with_decord.shape == without.shape and len(without) == 5
    assert np.array_equal(without[1], without[2]) and not np.array_equal(without[0], without[3])
    assert np.abs(with_decord.astype(int) - without).max() <= 1


def test_it_reads_a_video_again_at_each_question(
    nano: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    decoded = baseline.decoded
    monkeypatch.setattr(baseline, "decoded", lambda *args: seen.append(args) or decoded(*args))
    messages = [{"role": "user", "content": QUESTION}]
    for _ in range(2):
        baseline.answer(nano.model, str(SHORT), nano.clips(SHORT), messages, 1)
    assert len(seen) == 2
