"""The benchmark's videos: the same bytes every time, the length that is asked for, moving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apollo.bench import videos
from apollo.bench.footage import Footage
from apollo.bench.videos import make
from apollo.video.reader import Video


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_video_is_the_same_bytes_every_time(tmp_path: Path, codec: str) -> None:
    first, second = (Footage(str(tmp_path / name), 1.2, 240, codec) for name in "ab")
    for footage in (first, second):
        make(**vars(footage))
    assert Path(first.path).read_bytes() == Path(second.path).read_bytes()
    assert [file.name for file in (tmp_path / "a").iterdir()] == [Path(first.path).name]
    with Video(first.path) as video:
        assert (video.info.num_frames, video.info.fps) == (36, pytest.approx(30))
        assert video.warning is None
        frames = [frame.copy() for frame in video.frames([0, 1, 35])]
    assert frames[0].shape == (240, 426, 3) and frames[0].std() > 20
    assert np.abs(frames[0].astype(int) - frames[2]).mean() > 5  # it moves


def test_a_long_video_repeats_its_first_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "PIECE_S", 1)
    footage = Footage(str(tmp_path), 2.5, 240, "libx264")
    make(**vars(footage))
    with Video(footage.path) as video:
        assert video.info.num_frames == 75 and video.info.duration_s == pytest.approx(2.5)
        assert video.warning is None
        frames = [frame.copy() for frame in video.frames([4, 5, 34, 64, 74])]
    assert np.array_equal(frames[0], frames[2]) and np.array_equal(frames[0], frames[3])
    assert not np.array_equal(frames[0], frames[1])


def test_a_label_says_what_is_in_the_file() -> None:
    assert Footage("", 60, 1080, "libx264").label == "60 s 1080p H.264"
    assert Footage("", 7200, 240, "libx265").label == "120 min 240p HEVC"
