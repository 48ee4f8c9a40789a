"""The clips of a video as the pixels of both towers, made beside whoever uses them.

In: a video, its clips and the towers' transforms.   Out: uint8 pixels of a few clips at a time.
Odd: every frame is reduced as soon as it is decoded, once for all clips that show it, so at full
size there are two or three frames in memory beside the decoder's own, and one of a large video. A
thread decodes and another reduces, which takes 0.9 of the time of one for both; for a large video
one does both. What waits for the caller is small, and no more than a group of clips.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from apollo.video.budget import Interrupted
from apollo.video.clips import Clip
from apollo.video.display import fit_into
from apollo.video.reader import Video
from apollo.vision.transforms import FrameTransform

Item = TypeVar("Item")
FRAMES_AHEAD = 2  # at full size, beside the one that is being reduced
_AHEAD_BYTES = 32 << 20  # of pixels that wait for the caller, if that is more than one clip


@dataclass(frozen=True)
class ClipPixels:
    """What the towers see of n clips."""

    pixels: list[Tensor]  # uint8 (n, ...), one tensor a tower: what `resize` gives, stacked
    lost: tuple[int, ...]  # per clip, how many of its frames could not be decoded


def clip_pixels(
    video: Video,
    clips: Sequence[Clip],
    transforms: Sequence[FrameTransform],
    *,
    clips_at_once: int,
    exact: bool = False,
) -> Generator[ClipPixels, None, None]:
    """The clips in their order, `clips_at_once` at a time; the last group may be smaller.

    Until the generator ends or is closed, by the caller or with the video, the video belongs to it.
    In place of a frame that cannot be decoded the one before it is shown. Such a frame is counted
    as lost if the decoder has complained until then. What is in `video.warning` at the end counts
    a frame once, however many clips show it.

    Raises:
        VideoError: the video cannot be read.
    """
    groups = _groups(video, clips, transforms, clips_at_once, exact)
    video.close_first(groups)
    return groups


def _groups(
    video: Video,
    clips: Sequence[Clip],
    transforms: Sequence[FrameTransform],
    clips_at_once: int,
    exact: bool,
) -> Generator[ClipPixels, None, None]:
    num_frames = max((len(clip.frame_ids) for clip in clips), default=1)
    clip_bytes = num_frames * sum(3 * transform.image_size**2 for transform in transforms)
    max_ahead = max(1, min(clips_at_once, _AHEAD_BYTES // clip_bytes))
    each = _each_clip(video, clips, transforms, exact)
    with contextlib.closing(_ahead(each, max_ahead, video.interrupted)) as coming:
        while group := list(itertools.islice(coming, clips_at_once)):
            towers = zip(*(pixels for pixels, _ in group), strict=True)
            yield ClipPixels([torch.stack(tower) for tower in towers], tuple(n for _, n in group))


@dataclass
class _Begun:
    """A clip of which some frames have come."""

    shape: tuple[int, ...]  # of its first frame, which the others are fitted into
    small: dict[int, list[np.ndarray]] = field(default_factory=dict)  # by frame, one a tower
    num_lost: int = 0


def _each_clip(
    video: Video, clips: Sequence[Clip], transforms: Sequence[FrameTransform], exact: bool
) -> Generator[tuple[list[Tensor], int], None, None]:
    """Per clip its pixels, one tensor a tower, and how many of its frames are lost."""
    shown_in: dict[int, list[int]] = {}  # frame -> clips
    for place, clip in enumerate(clips):
        for frame_id in set(clip.frame_ids):
            shown_in.setdefault(frame_id, []).append(place)
    ids = sorted(shown_in)
    damage = video.damage_of(ids)
    begun: dict[int, _Begun] = {}
    done = 0
    frames = video.frames(ids, damage)
    if not video.is_large:
        frames = _ahead(frames, FRAMES_AHEAD, video.interrupted)
    with contextlib.closing(frames):
        for frame_id in ids:
            frame = next(frames)
            made: dict[tuple[int, ...], list[np.ndarray]] = {}  # by shape; nearly always one
            for place in shown_in[frame_id]:
                into = begun.setdefault(place, _Begun(frame.shape))
                if into.shape not in made:
                    made[into.shape] = _reduced(frame, into.shape, transforms, exact)
                into.small[frame_id] = made[into.shape]
                into.num_lost += damage.is_lost(frame_id)
            del frame  # before the next is made: large ones would be in memory together
            while done in begun and len(begun[done].small) == len(set(clips[done].frame_ids)):
                ready = begun.pop(done)
                by_frame = [ready.small[i] for i in clips[done].frame_ids]
                towers = zip(transforms, zip(*by_frame, strict=True), strict=True)
                yield [transform.stack(small) for transform, small in towers], ready.num_lost
                done += 1
        for _ in frames:  # run to the end, so that damage is reported
            raise AssertionError("a frame was read that no clip wants")


def _reduced(
    frame: np.ndarray,
    shape: tuple[int, ...],
    transforms: Sequence[FrameTransform],
    exact: bool,
) -> list[np.ndarray]:
    """The frame as one of `shape`, for each tower."""
    if frame.shape != shape:
        frame, odd = np.empty(shape, np.uint8), frame
        fit_into(odd, frame)
    return [transform.reduce(frame, exact=exact) for transform in transforms]


def _ahead(
    items: Generator[Item, None, None], max_items: int, interrupted: threading.Event
) -> Generator[Item, None, None]:
    """The same items, made in a thread, which makes `max_items` before they are asked for.

    An error there is raised here. When this generator is closed, `interrupted` is set until the
    thread has ended. If somebody else sets it, a thread that waits here gets `Interrupted`.
    """
    free = threading.Semaphore(max_items)
    ready: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()

    def make() -> None:
        error: BaseException | None = None
        try:
            with contextlib.closing(items):
                for item in items:
                    free.acquire()
                    if interrupted.is_set():
                        raise Interrupted
                    ready.put(item)
        except BaseException as raised:
            error = raised
        ready.put(_End(error))

    def end() -> None:
        interrupted.set()
        free.release()
        if thread is not threading.current_thread():  # in which garbage may be collected
            thread.join()
            interrupted.clear()

    thread = threading.Thread(target=make, name="apollo-clip-pixels", daemon=True)
    thread.start()
    atexit.register(end)  # a program may end while this generator waits
    try:
        while not isinstance(item := ready.get(), _End):
            free.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        atexit.unregister(end)
        end()


@dataclass(frozen=True)
class _End:
    """Of the items, and why."""

    error: BaseException | None
