"""Test videos, written with PyAV into a folder of the test: every frame carries its number.

The number is 10 blocks of 16x16 pixels along the bottom, lowest bit at the left, white = 1, so a
decoded frame can say which one it is whatever the codec did to it. The picture above drifts, so
that encoders really predict from frame to frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, BLOCK, BITS = 160, 96, 16, 10


def numbered_frame(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(height, width, 3) uint8; the barcode needs a width of at least 160."""
    rows, columns = np.mgrid[0:height, 0:width]
    frame = np.empty((height, width, 3), np.uint8)
    frame[..., 0] = (columns + 3 * number) % 256
    frame[..., 1] = (rows * 2 + number) % 256
    frame[..., 2] = 128
    x = (5 * number) % (width - 24)
    frame[20:44, x : x + 24] = (250, 240, 40)
    for bit in range(BITS):
        value = 255 if number >> bit & 1 else 0
        frame[height - BLOCK :, bit * BLOCK : (bit + 1) * BLOCK] = value
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number burned into a frame; a block that is neither black nor white is an error."""
    number = 0
    height = frame.shape[0]
    for bit in range(BITS):
        middle = frame[height - 12 : height - 4, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4]
        level = float(middle.mean())
        assert level < 80 or level > 175, f"block {bit} is grey ({level:.0f})"
        number |= (level > 128) << bit
    return number


def write_video(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 150,
    fps: Fraction | int = 30,
    gop: int = 48,
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    container_options: dict[str, str] | None = None,
    format: str | None = None,
    rotation: int | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    first: int = 0,
    durations: Sequence[int] | None = None,
) -> Path:
    """Encode `frames` numbered frames, from `first` on; `pts` (in `time_base`) makes the rate vary,
    `durations` says how long each frame stays where the container keeps that."""
    speed = {"libx264": {"preset": "veryfast"}, "libx265": {"x265-params": "log-level=none"}}
    settings = {**speed.get(codec, {}), **(options or {})}
    with av.open(str(path), "w", format=format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=settings)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 2
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            image = numbered_frame(first + number, *size)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.time_base = time_base or 1 / Fraction(fps)
            frame.pts = pts[number] if pts is not None else number
            container.mux(_lasting(stream.encode(frame), frame.time_base, pts, durations))
        container.mux(_lasting(stream.encode(None), frame.time_base, pts, durations))
    return path


def _lasting(
    packets: list[av.Packet],
    time_base: Fraction,
    pts: Sequence[int] | None,
    durations: Sequence[int] | None,
) -> list[av.Packet]:
    """Encoders do not pass on how long a frame stays."""
    for packet in packets if pts is not None and durations is not None else ():
        frame = pts.index(round(packet.pts * packet.time_base / time_base))
        packet.duration = round(durations[frame] * time_base / packet.time_base)
    return packets


def copy_from(source: Path, target: Path, start_s: float) -> Path:
    """Cut without encoding: keyframe before `start_s` on, times before `start_s` negative, which
    the mp4 writer turns into an edit list (what `ffmpeg -ss start_s -c copy` makes)."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        inputs = reader.streams.video[0]
        output = writer.add_stream_from_template(inputs)
        reader.seek(int(start_s / inputs.time_base), stream=inputs)
        shift = int(start_s / inputs.time_base)
        for packet in reader.demux(inputs):
            if packet.dts is None:
                continue
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = output
            writer.mux(packet)
    return target


def silent_packets(sound: av.AudioStream, seconds: float) -> list[av.Packet]:
    """Silence for an audio stream of 16,000 samples a second, from time 0 on."""
    packets: list[av.Packet] = []
    for start in range(0, round(16000 * seconds), 1024):
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        chunk.rate, chunk.pts, chunk.time_base = 16000, start, Fraction(1, 16000)
        packets += sound.encode(chunk)
    return packets + sound.encode(None)


def write_sound(path: Path, seconds: float = 1.0, cover: np.ndarray | None = None) -> Path:
    """A file with only sound, with a cover picture if one is given."""
    rate = 16000
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac" if path.suffix != ".mp3" else "libmp3lame", rate=rate)
        if cover is not None:
            picture = container.add_stream("png", rate=1)
            picture.height, picture.width = cover.shape[:2]
            picture.pix_fmt = "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(cover, format="rgb24")
            frame.pts = 0
            packets = [*picture.encode(frame), *picture.encode(None)]
            container.mux(packets)
        wave = np.sin(np.arange(int(rate * seconds)) * 0.17) * 8000
        for start in range(0, len(wave), 1024):
            chunk = wave[None, start : start + 1024].astype(np.int16)
            layout = av.AudioFrame.from_ndarray(chunk, format="s16", layout="mono")
            layout.rate, layout.pts = rate, start
            container.mux(sound.encode(layout))
        container.mux(sound.encode(None))
    return path
