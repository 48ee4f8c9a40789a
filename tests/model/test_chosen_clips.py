"""`Sampling.choose`: which clips of a long video are planned, read and told of."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from asking import GREEDY, LONG, QUESTION, counted

from apollo.settings import Sampling
from apollo.video import reader
from apollo.video.choice import varied_clips
from apollo.video.clips import plan_clips
from apollo.video.reader import Video

VARIED = Sampling(max_clips=6, choose="varied")


def test_varied_clips_are_some_of_those_that_follow_each_other(apollo: Any) -> None:
    clips = apollo.clips(LONG, VARIED)
    with Video(LONG) as video:
        every = plan_clips(video.info, clip_duration_s=2.0)
        assert clips == varied_clips(video, every, 6)
    assert clips != apollo.clips(LONG, Sampling(max_clips=6))
    shown_s = [time_s for time_s, _ in apollo.frames(LONG, VARIED)]
    assert shown_s == [i / 15 for clip in clips for i in clip.frame_ids]


def test_a_range_and_a_video_that_fits_are_read_as_ever(apollo: Any) -> None:
    part = dataclasses.replace(VARIED, start_s=20, end_s=30)
    assert apollo.clips(LONG, part) == apollo.clips(LONG, Sampling(start_s=20, end_s=30))[:6]
    clips = apollo.clips(LONG, dataclasses.replace(part, max_clips=3))
    assert len(clips) == 3 and all(20 <= clip.start_s < 30 for clip in clips)


def test_a_follow_up_makes_no_first_pass_and_encodes_nothing(
    apollo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader._surveys.clear()
    made: list[Any] = []
    real = reader.survey_of
    monkeypatch.setattr(reader, "survey_of", lambda *a: made.append(real(*a)) or made[-1])
    with counted(apollo.model, monkeypatch) as calls:
        for question in (QUESTION, "What is first?"):
            apollo.answer(LONG, question, sampling=VARIED, generation=GREEDY)
    assert len(made) == 1 and calls.encoded == 6
    assert calls.clips == apollo.clips(LONG, VARIED)


def test_the_note_says_which_clips_were_read(apollo: Any) -> None:
    dense = Sampling(clip_duration_s=0.5, choose="varied")
    with apollo.prepare(LONG, QUESTION, sampling=dense) as prepared:
        note = prepared.request.selection.note
    assert "clips of it could be read, those that cover what changes." in note
