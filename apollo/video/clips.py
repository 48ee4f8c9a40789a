"""Which frames of a video are read, as clips: numbers in, numbers out, no decoding.

In: a `VideoInfo` and how densely to read. Out: a list of `Clip`s in order of time, each with the
numbers of its frames and the times at which the first and the last of them are looked at.
The odd part: the released models were trained with one particular way of placing clips, which is
right for most videos and loses the end, or all, of others. `plan_clips` keeps its result wherever
it is right; `original_clip_indices` is that way as it was, for scripts written against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from apollo.errors import SettingError, VideoError
from apollo.video.info import VideoInfo

_NOISE = 1e-9  # what float arithmetic may add to a whole number
_TICKS_PER_S = 600  # a varying rate is planned on these: whole numbers at 24, 25, 30 and 60 fps


@dataclass(frozen=True)
class Clip:
    """One clip: the frames to read and the times at which the first and the last are looked at.

    Where the rate is constant these are the times at which the frames appear.
    """

    frame_ids: tuple[int, ...]  # (T,)
    start_s: float
    end_s: float


def clip_budget(max_tokens: int, tokens_per_clip: int, sampling_ratio: float = 0.65) -> int:
    """How many clips may fill `sampling_ratio` of a context of `max_tokens`; at least one.

    The last clip may reach past the share by less than its own length, as in the original:
    32768 tokens and 32 a clip give 666 clips, although 665.6 would fill the share.
    """
    if min(max_tokens, tokens_per_clip) < 1 or not 0 < sampling_ratio <= 1:
        raise SettingError(
            f"{sampling_ratio:g} of {max_tokens} tokens cannot hold clips of {tokens_per_clip} "
            "tokens; use positive counts and a share between 0 and 1."
        )
    return max(1, math.ceil(max_tokens * sampling_ratio / tokens_per_clip - _NOISE))


def plan_clips(
    info: VideoInfo,
    *,
    clip_duration_s: float,
    frames_per_clip: int = 4,
    max_clips: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> list[Clip]:
    """Place `ceil(duration / clip_duration_s)` clips, at most `max_clips`, evenly over the range.

    The frames are the original's whenever its plan is right, that is, when

    1. every clip has `frames_per_clip` frames, all of them in the video, and
    2. the end left unread is at most one `clip_duration_s` longer than the gap between two
       clips (than the beginning left unread, if there is one clip), and
    3. no clip is the one before it, frame for frame.

    (1) fails below half the wanted frame rate: 8 frames from a clip of 3 became 9, and a clip
    shorter than a frame became frame -1. (2) fails because the distance between clips was rounded
    down to whole frames, so that n clips lost up to n frames: minutes at low rates, 9 s in ten
    minutes at 30 fps; one clip of slow video was always the first. (3) fails if a frame lasts for
    clips. In these cases the clips are spread without rounding the distance, a frame is the one on
    screen at the wanted time, and a clip that would repeat the one before is left out.

    One more difference: a duration that is a whole number of clips up to 1e-9 is that number;
    float noise does not add a clip. A range is planned like a video of its own; the times of its
    clips stay those of the whole video.

    Where the rate varies, moments are planned in the same way, as if there were a frame at each
    tick, and the frame on screen at each of them is read: one that stays is in several clips.
    """
    _check(info, clip_duration_s, frames_per_clip, max_clips)
    start, end = _range(info, start_s, end_s)
    count = max(1, math.ceil((end - start) / clip_duration_s - _NOISE))
    count = min(count, max_clips or count)
    if info.starts_s is not None:
        ticks = max(1, round((end - start) * _TICKS_PER_S))
        grid = _Grid(ticks, _TICKS_PER_S, clip_duration_s, frames_per_clip)
        moments = [[start + i / _TICKS_PER_S for i in ids] for ids in _planned(grid, count)]
        return [Clip(tuple(map(info.frame_at, at)), at[0], at[-1]) for at in moments]
    first, last = info.frame_at(start), info.frame_at(end - 2e-6)  # the end itself is not in it
    grid = _Grid(last + 1 - first, info.fps, clip_duration_s, frames_per_clip)
    frame_ids = [tuple(first + i for i in ids) for ids in _planned(grid, count)]
    times = [(info.time_of(ids[0]), info.time_of(ids[-1])) for ids in frame_ids]
    return [
        Clip(ids, max(first_s, start), max(last_s, start))  # on screen already when it begins
        for ids, (first_s, last_s) in zip(frame_ids, times, strict=True)
    ]


def original_clip_indices(
    duration_s: float,
    total_frames: int,
    original_fps: float,
    clip_duration_s: float,
    frames_per_clip: int,
    sampling_ratio: float = 1.0,
) -> tuple[list[list[int]], list[tuple[float, float]]]:
    """Frame numbers and (first, last) times of each clip as the original gave them.

    Its faults are kept, see `plan_clips`, but for one: the index -1, which read the last frame or
    none, depending on the decoder, is frame 0 here.
    """
    count = math.ceil(duration_s / clip_duration_s * sampling_ratio)
    grid = _Grid(total_frames, original_fps, clip_duration_s, frames_per_clip)
    indices = [[max(0, i) for i in ids] for ids in _original_indices(grid, count)]
    return indices, [(ids[0] / original_fps, ids[-1] / original_fps) for ids in indices]


@dataclass(frozen=True)
class _Grid:
    """The frames there are, and how a clip lies on them."""

    total: int
    fps: float
    clip_duration_s: float
    frames_per_clip: int

    @property
    def wanted_step(self) -> float:
        return self.fps / (self.frames_per_clip / self.clip_duration_s)

    @property
    def is_slow(self) -> bool:
        """Too few frames for different ones: each is shown at least twice."""
        return self.wanted_step <= 0.5

    @property
    def step(self) -> int:
        return max(1, int(self.wanted_step))

    @property
    def span(self) -> int:
        """Frames the original gave a clip; 0 if a frame lasts longer than the clip."""
        if self.is_slow:
            return int(self.fps * self.clip_duration_s)
        return self.frames_per_clip * self.step


def _planned(grid: _Grid, count: int) -> list[list[int]]:
    """(N, T) frame numbers: the original's where they are right."""
    planned = _original_indices(grid, count)
    return planned if _is_right(grid, planned) else _spread_indices(grid, count)


def _original_indices(grid: _Grid, count: int) -> list[list[int]]:
    """(N, T) frame numbers; -1, or more than T of them, where the original had them so."""
    span = grid.span
    partition = grid.total // count
    if not grid.is_slow and partition > span:
        starts = [i * partition + (partition - span) // 2 for i in range(count)]
    else:
        distance = max(0, grid.total - span) // max(1, count - 1)
        starts = [i * distance for i in range(count)]
    if not grid.is_slow:
        offsets = [k * grid.step for k in range(grid.frames_per_clip)]
    elif span > 0:
        repeats = math.ceil(grid.frames_per_clip / span)
        offsets = [k // repeats for k in range(span * repeats)]
    else:
        offsets = [-1] * grid.frames_per_clip
    return _clamped(grid, starts, offsets)


def _spread_indices(grid: _Grid, count: int) -> list[list[int]]:
    """(N, T) frame numbers with nothing rounded but the frame numbers themselves."""
    count = min(count, grid.total)
    if grid.is_slow:
        offsets = [int(k * grid.wanted_step + _NOISE) for k in range(grid.frames_per_clip)]
        span = offsets[-1] + 1
    else:
        offsets = [k * grid.step for k in range(grid.frames_per_clip)]
        span = grid.span
    if grid.total > count * span:  # room between clips: each in the middle of its share
        starts = [((2 * i + 1) * grid.total - count * span) // (2 * count) for i in range(count)]
    else:
        room = max(0, grid.total - span)
        starts = [i * room // max(1, count - 1) for i in range(count)]
    planned = _clamped(grid, starts, offsets)
    return [ids for i, ids in enumerate(planned) if i == 0 or ids != planned[i - 1]]


def _clamped(grid: _Grid, starts: Sequence[int], offsets: Sequence[int]) -> list[list[int]]:
    """Past the end the last frame is repeated."""
    return [[min(start + k, grid.total - 1) for k in offsets] for start in starts]


def _is_right(grid: _Grid, planned: list[list[int]]) -> bool:
    """The conditions in the docstring of `plan_clips`."""
    if len(planned[0]) != grid.frames_per_clip or planned[0][0] < 0 or planned[0] in planned[1:2]:
        return False
    gap = planned[1][0] - planned[0][0] - grid.span if len(planned) > 1 else planned[0][0]
    unread = grid.total - (planned[-1][0] + grid.span)
    return unread <= max(0, gap) + grid.clip_duration_s * grid.fps + _NOISE


def _range(info: VideoInfo, start_s: float | None, end_s: float | None) -> tuple[float, float]:
    """From when to when clips are wanted; nothing can be shown before the first frame appears."""
    start = max(info.start_s, start_s or 0.0)
    end = info.duration_s if end_s is None else min(end_s, info.duration_s)
    name = _name(info)
    if start >= info.duration_s:
        raise VideoError(
            f"{name} is {info.duration_s:.1f} s long, so it cannot be read from {start:g} s on; "
            "choose an earlier start."
        )
    if end_s is not None and (start_s or 0.0) < end_s <= info.start_s:
        raise VideoError(
            f"{name} shows no picture before {info.start_s:.1f} s; choose a range that ends later."
        )
    if end <= start:
        raise VideoError(
            f"The range of {name} ends at {end:g} s but starts at {start:g} s; "
            "choose an end after the start."
        )
    return start, end


def _check(
    info: VideoInfo, clip_duration_s: float, frames_per_clip: int, max_clips: int | None
) -> None:
    if info.num_frames < 1 or not 0 < info.fps < math.inf:
        raise VideoError(f"{_name(info)} has no video frames; choose another file.")
    if not 0 < clip_duration_s < math.inf:
        raise SettingError(f"A clip cannot span {clip_duration_s:g} seconds; choose more than 0.")
    if frames_per_clip < 1:
        raise SettingError(f"A clip cannot have {frames_per_clip} frames; choose at least 1.")
    if max_clips is not None and max_clips < 1:
        raise SettingError(f"max_clips is {max_clips}; choose at least 1.")


def _name(info: VideoInfo) -> str:
    return info.path.replace("\\", "/").rsplit("/", 1)[-1]
