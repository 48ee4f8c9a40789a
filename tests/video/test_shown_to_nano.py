"""apollo-nano answers the same about a cartoon however its picture is stored."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from paths import EXAMPLE_VIDEOS

import apollo
from apollo.settings import Generation

QUESTIONS = (
    "What happens in this video?",
    "What do you see?",
    "What color is the background?",
    "What does the text say?",
    "How many objects are there?",
    "What is in the video at the beginning?",
    "What is in the video at the end?",
    "Does anything move?",
    "When does something change?",
    "视频里发生了什么？",
)
FPS = 24
TO_BT2020 = np.array([(0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)])


def light(rgb: np.ndarray) -> np.ndarray:
    part = rgb.astype(np.float32) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ TO_BT2020.T


def pq(linear: np.ndarray) -> np.ndarray:
    root = np.clip(linear * 203 / 10000, 0, 1) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375


def hlg(linear: np.ndarray) -> np.ndarray:
    scene = np.clip(linear * 0.265, 0, 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def hdr_frame(rgb: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> av.VideoFrame:
    codes = (curve(light(rgb)) * 65535).round().astype(np.uint16)
    return av.VideoFrame.from_ndarray(codes, format="rgb48le").reformat(
        format="yuv420p10le", dst_colorspace=Colorspace.BT2020, dst_color_range=ColorRange.MPEG
    )


def transparent_frame(rgb: np.ndarray) -> av.VideoFrame:
    """As transparent as it can be: on white it is the picture again."""
    least = rgb.min(axis=2, keepdims=True).astype(int)
    alpha = 255 - least
    hidden = (rgb.astype(int) - least) * 255 // np.maximum(alpha, 1)
    rgba = np.dstack([hidden, alpha]).astype(np.uint8)
    return av.VideoFrame.from_ndarray(rgba, format="rgba")


def plain_frame(rgb: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(rgb, format="rgb24")


def narrow_frame(rgb: np.ndarray) -> av.VideoFrame:
    return plain_frame(rgb).reformat(width=rgb.shape[1] * 3 // 4)


def mirrored_frame(rgb: np.ndarray) -> av.VideoFrame:
    return plain_frame(np.ascontiguousarray(rgb[:, ::-1]))


def x265(transfer: str) -> dict[str, str]:
    tags = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    return {"preset": "ultrafast", "x265-params": f"log-level=none:crf=8:{tags}"}


# name -> (codec, pixel format, options, how a frame is stored)
STORED: dict[str, tuple[str, str, dict[str, str], Callable[[np.ndarray], av.VideoFrame]]] = {
    "hdr10.mp4": ("libx265", "yuv420p10le", x265("smpte2084"), lambda rgb: hdr_frame(rgb, pq)),
    "hlg.mov": ("libx265", "yuv420p10le", x265("arib-std-b67"), lambda rgb: hdr_frame(rgb, hlg)),
    "narrow.mp4": ("libx264", "yuv420p", {"preset": "veryfast", "qp": "10"}, narrow_frame),
    "mirrored.mp4": ("libx264", "yuv420p", {"preset": "veryfast", "qp": "10"}, mirrored_frame),
    "transparent.mov": ("png", "rgba", {}, transparent_frame),
}


def store(source: Path, path: Path) -> Path:
    codec, pix_fmt, options, stored = STORED[path.name]
    with av.open(str(source)) as reader, av.open(str(path), "w") as container:
        pictures = [picture.to_ndarray(format="rgb24") for picture in reader.decode(video=0)]
        stream = container.add_stream(codec, rate=FPS, options=options)
        first = stored(pictures[0])
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, pix_fmt
        if path.name.startswith("narrow"):
            stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        if path.name.startswith("mirrored"):
            one = 1 << 16
            stream.set_display_matrix([-one, 0, 0, 0, one, 0, 0, 0, 1 << 30])
        for number, picture in enumerate(pictures):
            frame = stored(picture)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def nano() -> Any:
    return apollo.load("nano")


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("example", ["example_1.mp4", "example_2.mp4", "example_3.mp4"])
def test_answers_do_not_depend_on_how_the_picture_is_stored_rows_15_18_19_20(
    tmp_path: Path, nano: Any, name: str, example: str
) -> None:
    greedy = Generation(temperature=0, max_new_tokens=48)
    source = EXAMPLE_VIDEOS / example
    path = store(source, tmp_path / name)
    for question in QUESTIONS:
        wanted = nano.answer(source, question, generation=greedy)
        assert nano.answer(path, question, generation=greedy) == wanted, question
