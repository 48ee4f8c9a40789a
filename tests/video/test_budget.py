"""One question has a budget in pixels and in seconds, with a sentence at its end (row 40)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from make_videos import read_number, write_video

from apollo.errors import VideoError
from apollo.video import budget, decoding
from apollo.video.clips import Clip
from apollo.video.reader import Video


def test_pixels_are_counted_before_anything_is_decoded_row_40(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", frames=100, gop=10, options={"bf": "0"})
    monkeypatch.setattr(budget, "MAX_DECODED_PIXELS", 20 * 160 * 96)
    with Video(path) as video:
        assert [read_number(f) for f in video.frames([5, 55])] == [5, 55]  # 6 + 6 pictures
    monkeypatch.setattr(decoding, "_decoded", None)  # may not be called
    with Video(path) as video, pytest.raises(VideoError) as caught:
        list(video.frames(range(0, 100, 5)))
    sentence = (
        r"v\.mp4 is too much to read at once: \d\d pictures of 160x96 pixels would have to be "
        r"decoded; ask about a shorter part, or make it smaller\."
    )
    assert re.fullmatch(sentence, str(caught.value))


def test_the_budget_is_that_of_all_a_question_reads_row_40(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", frames=10, gop=10)
    monkeypatch.setattr(budget, "MAX_DECODED_PIXELS", 15 * 160 * 96)
    with Video(path) as video:
        list(video.frames([9]))
        with pytest.raises(VideoError, match="too much to read at once"):
            list(video.frames([9]))


def test_time_is_bounded_and_only_reading_counts_row_40(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", frames=40, gop=10)
    clock_s = 0.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return clock_s

    monkeypatch.setattr(budget, "time", Clock)
    real = decoding._decoded

    def slow(*args: object) -> list[object]:
        nonlocal clock_s
        clock_s += 1.0
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "_decoded", slow)
    with Video(path, max_read_s=1000) as video:
        for _ in video.read([Clip((i, i, i, i), 0, 0) for i in range(0, 40, 10)]):
            clock_s += 5000.0  # the model thinks
    with Video(path, max_read_s=10) as video, pytest.raises(VideoError) as caught:
        list(video.frames(range(40)))
    assert str(caught.value) == (
        "v.mp4 takes longer than 10 seconds to read; ask about a shorter part, or raise max_read_s."
    )
