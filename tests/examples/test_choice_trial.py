"""Films with short events: what they say is shown, is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from apollo.video.clips import Clip
from apollo.video.reader import Video
from examples.nano import choice_trial
from examples.nano.choice_trial import KINDS, Film, questions_about, share_shown


@pytest.mark.parametrize("kind", KINDS)
def test_events_follow_each_other_and_are_asked_about(kind: str) -> None:
    film = Film(kind, 5, 200, True)
    events = film.events()
    assert events == film.events() != dataclasses.replace(film, seed=6).events()
    assert all(a.end_s <= b.start_s for a, b in zip(events, events[1:], strict=False))
    assert events[0].start_s >= 0 and events[-1].end_s <= 200
    assert (len(events) == 4) == (kind != "everything")
    kinds = [asked for asked, _, _ in questions_about(film)]
    assert kinds.count("there") == kinds.count("absent") >= 2 and len(set(kinds)) >= 3


def test_an_event_is_shown_by_a_clip_with_two_frames_of_it(tmp_path: Path) -> None:
    film = Film("still", 1, 50, True)
    (event,) = film.events()
    film.write(tmp_path / film.file)
    with Video(tmp_path / film.file) as video:
        first = video.info.frame_at(event.start_s) + 1
        inside = Clip((first - 13, first - 7, first, first + 7), 0, 1)
        outside = Clip((first - 19, first - 13, first - 7, first), 0, 1)
        assert share_shown([event], [outside, inside], video.info) == 1
        assert share_shown([event], [outside], video.info) == 0
        before, after = video.frames([first - 2, first])
        assert np.abs(before.astype(int) - after).mean() > 10
    assert choice_trial.EVENT_EVERY_S == 50
