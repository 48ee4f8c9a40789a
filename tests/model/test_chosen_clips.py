"""`Sampling.choose`: which clips of a long video are planned, read and told of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from asking import GREEDY, LONG, QUESTION, counted
from eventful import FPS, write_eventful

from apollo.settings import Sampling
from apollo.video import reader
from apollo.video.choice import varied_clips
from apollo.video.clips import plan_clips
from apollo.video.reader import Video

VARIED = Sampling(max_clips=9, choose="varied")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eventful(tmp_path_factory.mktemp("chosen") / "v.mp4", {})


def test_varied_clips_are_some_of_those_that_follow_each_other(apollo: Any, film: Path) -> None:
    clips = apollo.clips(film, VARIED)
    uniform = apollo.clips(film, Sampling(max_clips=9))
    with Video(film) as video:
        every = plan_clips(video.info, clip_duration_s=2.0)
        assert clips == varied_clips(video, every, uniform)
    assert set(clips) < set(every) and clips != uniform
    shown_s = [time_s for time_s, _ in apollo.frames(film, VARIED)]
    assert shown_s == [i / FPS for clip in clips for i in clip.frame_ids]


def test_a_range_and_a_video_that_fits_are_read_as_ever(apollo: Any, film: Path) -> None:
    part = dataclasses.replace(VARIED, start_s=20, end_s=30)
    assert apollo.clips(film, part) == apollo.clips(film, Sampling(start_s=20, end_s=30))
    clips = apollo.clips(film, dataclasses.replace(part, max_clips=3))
    assert len(clips) == 3 and all(20 <= clip.start_s < 30 for clip in clips)


def test_a_follow_up_makes_no_first_pass_and_encodes_nothing(
    apollo: Any, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader._surveys.clear()
    made: list[Any] = []
    real = reader.survey_of
    monkeypatch.setattr(reader, "survey_of", lambda *a: made.append(real(*a)) or made[-1])
    with counted(apollo.model, monkeypatch) as calls:
        for question in (QUESTION, "What is first?"):
            apollo.answer(film, question, sampling=VARIED, generation=GREEDY)
    assert len(made) == 1 and calls.encoded == 9
    assert calls.clips == apollo.clips(film, VARIED)


def test_the_note_says_which_clips_were_read(apollo: Any) -> None:
    dense = Sampling(clip_duration_s=0.5, choose="varied")
    with apollo.prepare(LONG, QUESTION, sampling=dense) as prepared:
        note = prepared.request.selection.note
    assert "clips of it could be read, those that cover what changes." in note
