"""Ordinary files (8 or 10 bits, SDR, square pixels) give the same pixels as ever, to the bit.

The towers were trained on what FFmpeg's plain conversion to RGB gives. So each frame is compared
with that conversion, done here once more, and with a checksum taken before pixels were adapted to
anything. The checksums are of lossless files and of recorded ones, so no encoder moves them; they
hold for the swscale and the processors they were taken with.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from make_videos import write_video
from paths import GOLDEN

from apollo.video.reader import Video

ODD = (161, 97)
FILES: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264_10.mkv": {"pix_fmt": "yuv420p10le"},
    "h264_444.mp4": {"pix_fmt": "yuv444p", "size": ODD},
    "full_range.mkv": {"pix_fmt": "yuvj420p"},
    "hevc_10.mp4": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj422p"},
    "animated.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "ffv1_420.mkv": {"codec": "ffv1"},
    "ffv1_odd.mkv": {"codec": "ffv1", "size": ODD},
    "ffv1_422_10.mkv": {"codec": "ffv1", "pix_fmt": "yuv422p10le"},
    "ffv1_444.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"},
    "ffv1_rgb.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "ffv1_gbrp10.mkv": {"codec": "ffv1", "pix_fmt": "gbrp10le"},
    "grey.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "huffyuv.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "png.mov": {"codec": "png", "pix_fmt": "rgb24"},
    "raw.avi": {"codec": "rawvideo", "pix_fmt": "yuv420p"},
    "turned.mov": {"codec": "png", "pix_fmt": "rgb24", "rotation": 90},
    "upside_down.mov": {"codec": "png", "pix_fmt": "rgb24", "rotation": 180},
}
RECORDED = sorted(GOLDEN.glob("videos/v*.mp4"))
SUMS = {
    "ffv1_420.mkv": "5c9d1a33dbfe3695",
    "ffv1_odd.mkv": "042807cf50578541",
    "ffv1_422_10.mkv": "bd2a0838c247df2f",
    "ffv1_444.mkv": "318af00eacdc45c3",
    "ffv1_rgb.mkv": "7ab15b9b6105d501",
    "ffv1_gbrp10.mkv": "7ab15b9b6105d501",
    "grey.mkv": "1d3d0a5e92004ab3",
    "huffyuv.avi": "5f4f61608d6f57c2",
    "png.mov": "7ab15b9b6105d501",
    "raw.avi": "5c9d1a33dbfe3695",
    "turned.mov": "d2103111a9279e2c",
    "upside_down.mov": "ea6d5064f8eccd11",
    "v01_8fps_4s": "99117477ee053fd6",
    "v02_15fps_0p6s": "1e42cceee8645d30",
    "v03_24fps_2p5s_portrait": "35dd7a816c4ec64b",
    "v04_29p97fps_10s": "a4a54bf608324f6f",
    "v05_30fps_7p3s_square": "a9447f112a8ba422",
    "v06_60fps_5s": "9a7fac0ac66d2283",
    "v07_15fps_95s": "0d51488a88e07b5f",
    "v08_8fps_33s_portrait": "11da0e42e60632d7",
    "v09_24fps_3p1s_odd": "92d755206542e3cb",
    "v10_30fps_1p9s_wide": "a8ee6ca422eb2114",
    "v11_1fps_9s": "c23b9207d11c850f",
}
IS_KNOWN_MACHINE = platform.machine() == "x86_64" and av.library_versions["libswscale"][:2] == (
    9,
    5,
)


def plain(path: Path, ids: list[int]) -> list[np.ndarray]:
    """The frames as FFmpeg's conversion gives them, turned upright."""
    with av.open(str(path)) as container:
        pictures = [p for i, p in enumerate(container.decode(video=0)) if i in ids]
        turns = [round(p.rotation / 90) % 4 for p in pictures]
        frames = [p.reformat(format="rgb24").to_ndarray() for p in pictures]
    return [np.rot90(f, t) for f, t in zip(frames, turns, strict=True)]


def sum_of(frames: list[np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for frame in frames:
        digest.update(str(frame.shape).encode() + frame.tobytes())
    return digest.hexdigest()


def check(path: Path, name: str, ids: list[int]) -> None:
    with Video(path) as video:
        frames = [frame.copy() for frame in video.frames(ids)]
        assert (video.info.height, video.info.width, 3) == frames[0].shape
    for ours, theirs in zip(frames, plain(path, ids), strict=True):
        assert ours.flags["C_CONTIGUOUS"] and ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, theirs)
    if IS_KNOWN_MACHINE and name in SUMS:
        assert sum_of(frames) == SUMS[name]


@pytest.mark.parametrize("name", FILES)
def test_pixels_of_ordinary_files_are_those_of_the_plain_conversion(
    tmp_path: Path, name: str
) -> None:
    check(write_video(tmp_path / name, frames=6, **FILES[name]), name, [0, 3, 5])


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_pixels_of_the_recorded_videos(path: Path) -> None:
    check(path, path.stem, [1, 4, 7])
