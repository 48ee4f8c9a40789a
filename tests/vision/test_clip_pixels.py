"""Clips reduced frame by frame in a thread: the same pixels, few frames ahead, no thread left."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_videos import write_video

from apollo.errors import VideoError
from apollo.video import decoding, reader
from apollo.video.clips import Clip
from apollo.video.decoding import damage_sentence
from apollo.video.reader import Video
from apollo.vision.clip_pixels import FRAMES_AHEAD, clip_pixels
from apollo.vision.transforms import InternVideo2Transform, SiglipTransform

TRANSFORMS = [SiglipTransform(40), InternVideo2Transform(32)]
# some overlap, one repeats a frame, one begins before the clip it follows
CLIPS = [
    Clip(ids, 0.0, 0.0)
    for ids in ((0, 4, 8), (4, 8, 12), (20, 20, 21), (13, 14, 15), (13, 15, 39), (30, 31, 32))
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "a.mp4", frames=40)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert "apollo-clip-pixels" not in [thread.name for thread in threading.enumerate()]


def until(is_true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_true():
            return
        time.sleep(0.01)
    raise AssertionError("it never became true")


def plain(path: Path, exact: bool) -> list[list[torch.Tensor]]:
    """Per tower the pixels of all clips."""
    with Video(path) as video:
        clips = list(video.read(CLIPS))
    return [[t.resize(frames, exact=exact) for frames in clips] for t in TRANSFORMS]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_pixels_are_those_of_whole_clips(path: Path, exact: bool, at_once: int) -> None:
    with Video(path) as video:
        groups = list(clip_pixels(video, CLIPS, TRANSFORMS, clips_at_once=at_once, exact=exact))
        assert video.num_frames_read == len({i for clip in CLIPS for i in clip.frame_ids})
    assert [len(group.lost) for group in groups] == {1: [1] * 6, 4: [4, 2], 100: [6]}[at_once]
    assert all(group.lost == (0,) * len(group.lost) for group in groups)
    for tower, expected in enumerate(plain(path, exact)):
        assert torch.equal(torch.cat([g.pixels[tower] for g in groups]), torch.stack(expected))


def test_exact_is_another_resize(path: Path) -> None:
    quick, exact = (torch.stack(plain(path, exact)[0]) for exact in (False, True))
    assert not torch.equal(quick, exact)


def test_no_clips_are_no_groups(path: Path) -> None:
    with Video(path) as video:
        assert list(clip_pixels(video, [], TRANSFORMS, clips_at_once=2)) == []


def test_frames_of_another_size_are_fitted_into_the_first_of_each_clip(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader.decode

    def decode(*args: Any) -> Iterator[np.ndarray]:
        for frame_id, frame in zip(args[2], real(*args), strict=True):
            yield frame[::2].copy() if 6 <= frame_id < 25 else frame

    monkeypatch.setattr(reader, "decode", decode)
    with Video(path) as video:
        groups = list(clip_pixels(video, CLIPS, TRANSFORMS, clips_at_once=9))
    for tower, expected in enumerate(plain(path, exact=False)):
        assert torch.equal(groups[0].pixels[tower], torch.stack(expected))


@pytest.mark.parametrize("is_large", [False, True])
def test_it_goes_no_further_ahead_than_a_group(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    monkeypatch.setattr(Video, "is_large", is_large)
    ahead = 4 if is_large else 4 + FRAMES_AHEAD + 1  # three clips wait, one frame is in hand
    clips = [Clip((i,), 0.0, 0.0) for i in range(40)]
    with Video(path) as video:
        groups = clip_pixels(video, clips, TRANSFORMS, clips_at_once=3)
        for taken in (3, 6):
            next(groups)
            until(lambda taken=taken: video.num_frames_read >= taken + ahead)  # type: ignore[misc]
            time.sleep(0.1)
            assert video.num_frames_read == taken + ahead
        groups.close()


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_closed_generator_leaves_a_video_that_can_be_read(path: Path, taken: int) -> None:
    with Video(path) as video:
        groups = clip_pixels(video, CLIPS, TRANSFORMS, clips_at_once=1)
        for _ in range(taken):
            next(groups)
        groups.close()
        assert len(list(clip_pixels(video, CLIPS, TRANSFORMS, clips_at_once=1))) == 6


def test_closing_ends_decoding_at_the_next_packet(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two wanted frames there may be minutes."""
    is_decoding, may_go_on, seen = threading.Event(), threading.Event(), []
    real = decoding._decoded

    def decoded(codec: Any, packet: Any, damage: Any) -> Any:
        seen.append(packet)
        if len(seen) == 10:
            is_decoding.set()
            assert may_go_on.wait(20)
        return real(codec, packet, damage)

    monkeypatch.setattr(decoding, "_decoded", decoded)
    with Video(path) as video:
        clips = [Clip((0,), 0.0, 0.0), Clip((39,), 0.0, 0.0)]
        groups = clip_pixels(video, clips, TRANSFORMS, clips_at_once=1)
        next(groups)
        assert is_decoding.wait(20)

        def go_on() -> None:
            until(video.interrupted.is_set)
            may_go_on.set()

        other = threading.Thread(target=go_on)
        other.start()
        groups.close()
        other.join()
        assert len(seen) == 10 and not video.interrupted.is_set()


def test_a_video_that_is_closed_ends_its_generators(path: Path) -> None:
    with Video(path) as video:
        groups = clip_pixels(video, CLIPS, TRANSFORMS, clips_at_once=1)
        next(groups)
    assert list(groups) == []


def test_a_program_that_ends_in_the_middle_ends(path: Path) -> None:
    code = (
        "import sys\n"
        "from apollo.video.clips import Clip\n"
        "from apollo.video.reader import Video\n"
        "from apollo.vision.clip_pixels import clip_pixels\n"
        "from apollo.vision.transforms import SiglipTransform\n"
        "clips = [Clip((i,), 0.0, 0.0) for i in range(40)]\n"
        "video = Video(sys.argv[1])\n"
        "groups = clip_pixels(video, clips, [SiglipTransform(40)], clips_at_once=1)\n"
        "next(groups)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, b"")


def test_garbage_that_the_thread_itself_collects_ends_it(path: Path) -> None:
    has_begun = threading.Event()

    class Closing(SiglipTransform):
        def reduce(self, frame: np.ndarray, *, exact: bool = False) -> np.ndarray:
            if threads:
                assert has_begun.wait(20)
                groups.close()
                closed.append(True)
            threads.append(threading.current_thread())
            return super().reduce(frame, exact=exact)

    threads: list[threading.Thread] = []
    closed: list[bool] = []
    clips = [Clip((i,), 0.0, 0.0) for i in range(40)]
    with Video(path) as video:
        groups = clip_pixels(video, clips, [Closing(40)], clips_at_once=1)
        next(groups)
        has_begun.set()
        threads[0].join(20)
        assert not threads[0].is_alive() and closed and len(threads) < 4


def test_an_error_of_the_thread_is_raised_here(path: Path) -> None:
    class Broken(SiglipTransform):
        def reduce(self, frame: np.ndarray, *, exact: bool = False) -> np.ndarray:
            raise VideoError("no such pixels")

    with Video(path) as video:
        groups = clip_pixels(video, CLIPS, [Broken(40)], clips_at_once=1)
        with pytest.raises(VideoError, match="no such pixels"):
            next(groups)


def test_lost_frames_are_counted_per_clip(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = decoding._decoded

    def decoded(codec: Any, packet: Any, damage: Any) -> Any:
        pictures = real(codec, packet, damage)
        kept = [picture for picture in pictures if picture.pts != lost_pts]
        damage.complaints += len(kept) < len(pictures)
        return kept

    monkeypatch.setattr(decoding, "_decoded", decoded)
    with Video(path) as video:
        lost_pts = int(video._index.frame_pts[12])
        groups = list(clip_pixels(video, CLIPS, TRANSFORMS, clips_at_once=4))
        assert [n for group in groups for n in group.lost] == [0, 1, 0, 0, 0, 0]
        asked = len({i for clip in CLIPS for i in clip.frame_ids})
        assert video.warning == damage_sentence("a.mp4", 1, asked)
