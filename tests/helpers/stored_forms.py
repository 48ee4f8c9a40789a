"""The same moving pictures stored in other ways, each of which a player shows alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from light import hlg, light, pq
from make_videos import silent_packets
from PIL import Image

from apollo.video.colour import _FROM_BT2020

TICK = Fraction(1, 90000)
ONE = 1 << 16  # of a display matrix
SOUND_FIRST_S = 3.0


def _write(
    path: Path,
    pictures: Sequence[np.ndarray],
    times_s: Sequence[float],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    layout: str = "rgb24",
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    matrix: Sequence[int] | None = None,
    sound_s: float = 0.0,
    is_bt2020: bool = False,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options or {"crf": "12"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pix_fmt, TICK
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        sound = container.add_stream("aac", rate=16000) if sound_s else None
        wide = {"dst_colorspace": Colorspace.BT2020, "dst_color_range": ColorRange.MPEG}
        packets = []
        for picture, time_s in zip(pictures, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format=layout)
            frame = frame.reformat(format=pix_fmt, **(wide if is_bt2020 else {}))
            frame.pts, frame.time_base = round(time_s / TICK), TICK
            packets += stream.encode(frame)
        packets += stream.encode(None)
        last = max(packets, key=lambda packet: packet.pts)  # stays until the next would come
        last.duration = round((2 * times_s[-1] - times_s[-2]) / last.time_base) - last.pts
        if sound is not None:
            packets += silent_packets(sound, sound_s)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def _in_hdr(
    path: Path,
    pictures: Sequence[np.ndarray],
    times_s: Sequence[float],
    curve: Callable[[np.ndarray], np.ndarray],
    transfer: str,
) -> Path:
    to_wide = np.linalg.inv(np.array(_FROM_BT2020)).T
    codes = [
        (curve(np.maximum(light(picture.astype(float)) @ to_wide, 0)) * 65535).astype(np.uint16)
        for picture in pictures
    ]
    tags = f"log-level=none:crf=10:colorprim=bt2020:colormatrix=bt2020nc:transfer={transfer}"
    return _write(
        path, codes, times_s, codec="libx265", pix_fmt="yuv420p10le", layout="rgb48le",
        options={"x265-params": tags, "preset": "ultrafast"}, is_bt2020=True,
    )  # fmt: skip


def hdr10(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    return _in_hdr(path, pictures, times_s, pq, "smpte2084")


def phone_hlg(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    return _in_hdr(path, pictures, times_s, hlg, "arib-std-b67")


def anamorphic(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    """Stored half as wide; each pixel is shown twice as wide as high."""
    height, width = pictures[0].shape[:2]
    narrow = [np.array(Image.fromarray(p).resize((width // 2, height))) for p in pictures]
    return _write(path, narrow, times_s, aspect=Fraction(2, 1))


def mirrored(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    """Stored the wrong way round; the file says so."""
    matrix = [-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30]
    return _write(path, [p[:, ::-1].copy() for p in pictures], times_s, matrix=matrix)


def transparent(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    """What is white is transparent; the colour hidden there is black."""
    holes = [(p >= 250).all(2, keepdims=True) for p in pictures]
    rgba = [
        np.concatenate([np.where(hole, 0, p), np.where(hole, 0, 255)], 2).astype(np.uint8)
        for p, hole in zip(pictures, holes, strict=True)
    ]
    return _write(path, rgba, times_s, codec="qtrle", pix_fmt="argb", layout="rgba", options={})


def varying_rate(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    """The second half at a third of the rate."""
    kept = [i for i in range(len(pictures)) if i < len(pictures) // 2 or i % 3 == 0]
    return _write(path, [pictures[i] for i in kept], [times_s[i] for i in kept])


def program_stream(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    return _write(path, pictures, times_s)


def sound_first(path: Path, pictures: Sequence[np.ndarray], times_s: Sequence[float]) -> Path:
    late = [SOUND_FIRST_S + time for time in times_s]
    return _write(path, pictures, late, sound_s=late[-1])


FORMS: dict[str, Callable[[Path, Sequence[np.ndarray], Sequence[float]], Path]] = {
    "hdr10.mp4": hdr10,
    "hlg.mov": phone_hlg,
    "anamorphic.mp4": anamorphic,
    "mirrored.mov": mirrored,
    "transparent.mov": transparent,
    "varying.mp4": varying_rate,
    "program.mpg": program_stream,
    "sound.mkv": sound_first,
}
