"""A cartoon video as a file that any browser plays.

In:  a Cartoon and a path.  Out: H.264 in MP4 (yuv420p, index in front), `fps` frames a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np

from apollo.cartoon.draw.render import frame_shape_px, render_frame
from apollo.cartoon.world.scenes import Cartoon
from apollo.errors import SettingError

QUALITY = "18"  # constant rate factor of x264: lower is better
BT601 = 6  # SMPTE 170M: how the colours are written, and what the file says about it


def num_frames(video: Cartoon, fps: int) -> int:
    return round(video.duration_s * fps)


def iter_frames(
    video: Cartoon, *, size_px: int, fps: int, aspect: float = 1.0
) -> Iterator[np.ndarray]:
    """Every frame of the video, (H, W, 3) uint8."""
    for i in range(num_frames(video, fps)):
        yield render_frame(video, i / fps, size_px, aspect=aspect)


def write_video(
    video: Cartoon,
    path: str | os.PathLike[str],
    *,
    size_px: int = 384,
    fps: int = 8,
    aspect: float = 1.0,
) -> None:
    """Writes an MP4. `size_px` is the shorter side, `aspect` width / height.

    Raises:
        SettingError: a size, rate or aspect that a file cannot have.
    """
    if size_px % 2 or not 64 <= size_px <= 2160:
        raise SettingError(f"size_px is {size_px}; choose an even number between 64 and 2160.")
    if not 1 <= fps <= 120:
        raise SettingError(f"fps is {fps}; choose a number between 1 and 120.")
    if not 0.25 <= aspect <= 4:
        raise SettingError(f"aspect is {aspect}; choose a width / height between 0.25 and 4.")
    frames = iter_frames(video, size_px=size_px, fps=fps, aspect=aspect)
    write_frames(path, frames, frame_shape_px(size_px, aspect), fps)


def write_frames(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    shape_px: tuple[int, int],
    fps: int,
) -> None:
    """Frames (H, W, 3) uint8 of this (height, width) as an MP4."""
    with av.open(os.fspath(path), "w", format="mp4", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream("libx264", rate=fps, options={"crf": QUALITY})
        stream.height, stream.width = shape_px
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.codec_context.colorspace = BT601
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU601")))
        file.mux(stream.encode())
