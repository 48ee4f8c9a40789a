"""What is known of a video before a frame is decoded: its size, its frames and when each is shown.

Times are those a player shows: zero is where the file begins, which is its sound if that comes
before the picture. Frames of a constant rate are counted; where the rate varies, every frame has
its own time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_SAME_S = 1e-6  # timestamps are rounded to ticks; a time this close to a frame's start is in it


@dataclass(frozen=True)
class VideoInfo:
    """`fps` is the average rate; `duration_s` is the time at which the last frame ends.

    `start_s` is when the first frame appears. `starts_s` are the times of all frames if their rate
    varies, otherwise None. `width` and `height` are those of the picture as it is shown.
    `header_fps` is the rate that the file's header states, which the original's plan is made from.
    """

    path: str
    fps: float
    num_frames: int
    duration_s: float
    width: int
    height: int
    codec: str
    start_s: float = 0.0
    starts_s: np.ndarray | None = field(default=None, repr=False, compare=False)  # (F,) ascending
    header_fps: float = field(default=0.0, compare=False)

    def time_of(self, frame_id: int) -> float:
        """When a frame appears."""
        if self.starts_s is not None:
            return float(self.starts_s[frame_id])
        return self.start_s + frame_id / self.fps

    def frame_at(self, time_s: float) -> int:
        """The frame on screen at a time; the first before it appears, the last after the end."""
        if self.starts_s is not None:
            found = int(np.searchsorted(self.starts_s, time_s + _SAME_S, side="right")) - 1
        else:
            found = int((time_s + _SAME_S - self.start_s) * self.fps)
        return min(max(found, 0), self.num_frames - 1)
