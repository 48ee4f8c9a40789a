"""Which video is wanted, and where it lies.

In:  a folder, length, height and encoder.  Out: a name for people and a path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

CODEC_NAMES = {"libx264": "H.264", "libx265": "HEVC"}


@dataclass(frozen=True)
class Footage:
    folder: str
    duration_s: float
    height: int
    codec: str

    @property
    def label(self) -> str:
        seconds = self.duration_s
        length = f"{seconds / 60:g} min" if seconds >= 600 else f"{seconds:g} s"
        return f"{length} {self.height}p {CODEC_NAMES[self.codec]}"

    @property
    def path(self) -> str:
        name = f"{self.height}p-{self.duration_s:g}s-{self.codec}.mp4"
        return os.path.join(self.folder, name)
