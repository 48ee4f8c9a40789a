"""When each frame is shown: timestamps as they are stored to seconds as a player counts them.

In: the timestamps of a video track and what its header states. Out: a `Clock`.
Odd: the header's rate is kept where the timestamps agree with it to half a frame, because the
models were trained on plans made from it; where they do not, the timestamps are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

# Formats that may be glued together, so that their clock starts anew in the middle of a file.
_MAY_RESTART = {"mpegts", "mpeg"}
_BACK_S = 0.1  # decoding times only grow; less than this is a rounding
_MOST_S = 0.05  # a slow frame may not be later by more than this
_AHEAD_S = 10.0  # more than this, and much more than the step before, is another recording


@dataclass(frozen=True)
class Clock:
    """Seconds on a player's clock; `starts_s` (F,) only if the rate varies."""

    fps: float
    start_s: float
    end_s: float
    starts_s: np.ndarray | None


def clock_of(
    frame_pts: np.ndarray, tick: Fraction, *, last_s: float, header_fps: float, offset_s: float
) -> Clock | None:
    """The clock of frames with ascending timestamps (F,); None if nothing tells a rate.

    `last_s` is how long the last frame stays (0 if that is not stored), `offset_s` how long the
    sound plays before the first frame.
    """
    starts_s = (frame_pts - frame_pts[0]).astype(np.float64) * float(tick)  # (F,)
    count = len(starts_s)
    timed_fps = float((count - 1) / starts_s[-1]) if starts_s[-1] > 0 else 0.0
    if not timed_fps and last_s and not (header_fps and last_s < 1.5 / header_fps):
        timed_fps = 1 / last_s  # a single frame
    for fps in (header_fps, timed_fps):
        if fps and _is_constant(starts_s, fps, last_s, float(tick)):
            start_s = offset_s if offset_s >= 0.5 / fps else 0.0
            return Clock(fps, start_s, start_s + count / fps, None)
    if not timed_fps:
        return None
    shown_s = float(starts_s[-1]) + (last_s or float(np.median(np.diff(starts_s))))
    return Clock(count / shown_s, offset_s, offset_s + shown_s, offset_s + starts_s)


def _is_constant(starts_s: np.ndarray, fps: float, last_s: float, tick_s: float) -> bool:
    """Whether every frame is shown when it is its turn, give or take half a frame."""
    most_s = min(0.5 / fps, _MOST_S) + tick_s
    drift_s = np.abs(starts_s - np.arange(len(starts_s)) / fps).max()
    late_s = last_s - 1 / fps if last_s else 0.0  # by how much the last frame stays too long
    return bool(drift_s <= most_s) and -max(most_s, 0.1) <= late_s <= most_s


def offset_of(container: Any, first_s: float) -> float:
    """Seconds between the first sound, if it comes first, and the first frame."""
    sounds_s = [
        float(track.start_time * track.time_base)
        for track in container.streams
        if track.type == "audio" and track.start_time is not None and track.time_base
    ]
    return max(0.0, first_s - min(sounds_s, default=first_s))


def filled_in(pts: Sequence[int | None], step: float) -> np.ndarray:
    """Timestamps (F,) of pictures in order of display, of which few or none have a right one.

    `step` is the time from one picture to the next in ticks, 0 if nothing tells it. Those that
    have a timestamp may have that of the picture beside them.
    """
    frames = np.arange(len(pts))  # (F,)
    known: list[tuple[int, int]] = []  # (place, timestamp), both ascending
    for i, stamp in enumerate(pts):
        if stamp is not None and (not known or stamp > known[-1][1]):
            known.append((i, stamp))
    places, stamps = (list(part) for part in zip(*(known or [(0, 0)]), strict=True))
    straight = stamps[0] + (frames - places[0]) * step
    if step and np.abs(straight[places] - stamps).max() <= 1.5 * step:
        return np.round(straight).astype(np.int64)
    between = np.interp(frames, places, stamps)
    before, after = np.minimum(0, frames - places[0]), np.maximum(0, frames - places[-1])
    return np.round(between + (before + after) * step).astype(np.int64)


class Continuous:
    """Packets with one clock, whatever the file's own does between them.

    A file glued from several begins each with a time of its own; the packets after such a
    place are moved to follow the ones before it.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._packets = container.demux(stream)
        self._may_restart = container.format.name in _MAY_RESTART
        self._tick_s = float(stream.time_base)
        self.restarts = 0
        self.empty_end = 0  # when the last empty packet ends: the picture before it stays on

    def __iter__(self) -> Iterator[Any]:
        """The packets in the order they are stored, without the empty one that marks the end."""
        return self._moved(self._filled()) if self._may_restart else self._filled()

    def _filled(self) -> Iterator[Any]:
        try:
            for packet in self._packets:
                if packet.size > 0:
                    yield packet
                elif packet.pts is not None:
                    self.empty_end = max(self.empty_end, packet.pts + (packet.duration or 0))
        except IndexError:
            # at the end PyAV asks for the packets of tracks that it saw appear midway and
            # does not know; ours has given all it has
            return

    def _moved(self, packets: Iterator[Any]) -> Iterator[Any]:
        shift, end, last, step = 0, 0, None, None
        for packet in packets:
            now = packet.dts if packet.dts is not None else packet.pts
            if now is not None:
                if last is not None and self._is_jump(now - last, step):
                    shift = end - (packet.pts if packet.pts is not None else now)
                    self.restarts += 1
                elif last is not None:
                    step = now - last
                last = now
            if packet.dts is not None:
                packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
                end = max(end, packet.pts + (packet.duration or step or 0))
            yield packet

    def _is_jump(self, change: int, step: int | None) -> bool:
        change_s = change * self._tick_s
        if step is None:
            return change_s < -_BACK_S
        return change_s < -_BACK_S or change_s > _AHEAD_S + 2 * step * self._tick_s
