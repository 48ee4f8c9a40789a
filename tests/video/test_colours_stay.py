"""Colours and shapes that were right before pictures were shown as players do (rows 16, 17, 27)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from make_videos import write_video

from apollo.video.clips import plan_clips
from apollo.video.reader import Video, probe

PATCHES = np.array(
    [
        (255, 255, 255),
        (0, 0, 0),
        (200, 30, 30),
        (30, 200, 30),
        (30, 30, 200),
        (200, 200, 30),
        (128, 128, 128),
        (240, 150, 110),
    ],
    np.uint8,
)
IMAGE = np.repeat(np.repeat(PATCHES[None], 64, axis=0), 32, axis=1)  # (64, 256, 3)


def write_patches(
    path: Path, codec: str, pix_fmt: str, tags: dict[str, Any], how: dict[str, Any]
) -> Path:
    options = {"qp": "4"} if codec.startswith("libx264") else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width = IMAGE.shape[:2]
        stream.pix_fmt = pix_fmt
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(IMAGE, format="rgb24")
            frame = frame.reformat(format=pix_fmt, **how)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def check_patches(path: Path, tolerance: int) -> None:
    with Video(path) as video:
        frame = next(video.frames([1]))
    middles = frame[20:44].reshape(24, 8, 32, 3)[:, :, 10:22]
    np.testing.assert_allclose(middles.mean((0, 2)), PATCHES, atol=tolerance)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("is_full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
def test_matrix_range_and_depth_row_16(
    tmp_path: Path, matrix: str, is_full: bool, pix_fmt: str
) -> None:
    spaces = {
        "bt601": (Colorspace.SMPTE170M, 6),
        "bt709": (Colorspace.ITU709, 1),
        "bt2020": (Colorspace.BT2020, 9),
    }
    space, number = spaces[matrix]
    colour_range = ColorRange.JPEG if is_full else ColorRange.MPEG
    tags = {"colorspace": number, "color_range": int(colour_range)}
    how = {"dst_colorspace": space, "dst_color_range": colour_range}
    check_patches(write_patches(tmp_path / "v.mp4", "libx264", pix_fmt, tags, how), 4)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "tolerance"),
    [
        ("v.mkv", "libx264rgb", "bgr24", 1),
        ("v.mkv", "ffv1", "gbrp10le", 1),
        ("v.mkv", "ffv1", "gbrp16le", 1),
        ("v.mkv", "ffv1", "yuv420p16le", 4),
        ("v.avi", "rawvideo", "uyvy422", 4),
        ("v.avi", "rawvideo", "bgr24", 1),
        ("v.avi", "rawvideo", "rgb555le", 8),
        ("v.avi", "huffyuv", "yuv422p", 4),
        ("v.avi", "utvideo", "gbrp", 1),
        ("v.avi", "zmbv", "bgr0", 1),
        ("v.mov", "qtrle", "rgb24", 1),
        ("v.mov", "png", "rgb48be", 1),
        ("v.mov", "v210", "yuv422p10le", 4),
        ("v.mov", "jpeg2000", "rgb24", 3),
    ],
)
def test_kinds_of_pixels_row_17(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, tolerance: int
) -> None:
    check_patches(write_patches(tmp_path / name, codec, pix_fmt, {}, {}), tolerance)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((2, 2), (2, 2)),
        ((161, 97), (161, 97)),
        ((4096, 2), (4096, 2)),
        ((8192, 16), (8192, 16)),
        ((16, 8192), (16, 8192)),
        pytest.param((5120, 2880), (4096, 2304), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_odd_shapes_row_27(tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height = size
        stream.pix_fmt = "bgr0"
        red = np.full((size[1], size[0], 3), (255, 0, 0), np.uint8)
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(red, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    info = probe(path)
    assert (info.width, info.height) == shown
    with Video(path) as video:
        (clip,) = video.read(plan_clips(info, clip_duration_s=2))
    assert clip.shape == (4, shown[1], shown[0], 3)
    assert (clip == (255, 0, 0)).all()


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotation_row_14(tmp_path: Path, rotation: int) -> None:
    still = write_video(tmp_path / "still.mov", codec="png", pix_fmt="rgb24", frames=3)
    turned = write_video(
        tmp_path / "turned.mov", codec="png", pix_fmt="rgb24", frames=3, rotation=rotation
    )
    with Video(still) as one, Video(turned) as other:
        frame, upright = next(one.frames([2])), next(other.frames([2]))
    np.testing.assert_array_equal(upright, np.rot90(frame, rotation // 90))
