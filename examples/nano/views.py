"""Views: the ways in which a cartoon video is shown to a model that is scored.

In:  a Cartoon and the name of a view.  Out: a video file, or None where nothing is shown.
Odd: "grey", "other" and "none" show what can be answered without the video.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apollo.cartoon.draw.video_file import write_frames, write_video
from apollo.cartoon.world.scenes import Cartoon, cut_elsewhere, video_from_seed

SIZES_PX = (240, 360, 480)
RATES_FPS = (8, 15, 24, 30)
SHOWN = "shown"
BLIND = "grey"
GREY = 127
OTHER_SEED = 500_000_000  # on from a video's own: the one that is shown in its place


@dataclass(frozen=True)
class Shot:
    """A video with its number, from which all that is random about a view follows."""

    seed: int
    split: str
    video: Cartoon

    @property
    def size_px(self) -> int:
        return int(np.random.default_rng((self.seed, 8)).choice(SIZES_PX))

    @property
    def fps(self) -> int:
        return int(np.random.default_rng((self.seed, 9)).choice(RATES_FPS))


def _coded(path: Path, shot: Shot, size_px: int = 0, fps: int = 0, aspect: float = 1.0) -> Path:
    write_video(
        shot.video, path, size_px=size_px or shot.size_px, fps=fps or shot.fps, aspect=aspect
    )
    return path


def _grey(path: Path, shot: Shot) -> Path:
    grey = np.full((shot.size_px, shot.size_px, 3), GREY, np.uint8)  # (H, W, 3)
    frames = itertools.repeat(grey, round(shot.video.duration_s * shot.fps))
    write_frames(path, frames, (shot.size_px, shot.size_px), shot.fps)
    return path


def _other(path: Path, shot: Shot) -> Path:
    scenes = len(shot.video.scenes)
    other = video_from_seed(shot.seed + OTHER_SEED, split=shot.split, num_scenes=scenes)
    return _coded(path, replace(shot, video=other))


def _cuts(path: Path, shot: Shot, *, elsewhere: bool) -> Path:
    rng = np.random.default_rng((shot.seed, 10))
    shifts = cut_elsewhere(rng, list(shot.video.scenes)) if elsewhere else ()
    return _coded(path, replace(shot, video=replace(shot.video, cut_shifts_s=shifts)))


# name -> writes the file; None: no video at all
VIEWS: dict[str, Callable[[Path, Shot], Path | None]] = {
    SHOWN: _coded,
    BLIND: _grey,
    "other": _other,
    "none": lambda path, shot: None,
    "240p 60fps": lambda path, shot: _coded(path, shot, size_px=240, fps=60),
    "1080p 8fps": lambda path, shot: _coded(path, shot, size_px=1080, fps=8),
    "16:9": lambda path, shot: _coded(path, shot, aspect=16 / 9),
    "3:4": lambda path, shot: _coded(path, shot, aspect=3 / 4),
    "cuts on borders": lambda path, shot: _cuts(path, shot, elsewhere=False),
    "cuts elsewhere": lambda path, shot: _cuts(path, shot, elsewhere=True),
}
