"""The benchmark's own videos: moving texture, grain and shapes, the same bytes every time.

In:  length, height and encoder.  Out: an MP4 of 30 frames a second, 16:9.
Odd: a few seconds are encoded and their packets written again and again, which costs a decoder the
same; so two hours of video take seconds to make.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from apollo.bench.footage import Footage
from apollo.data.whole_file import whole_file

FPS = 30
PIECE_S = 10  # one group of pictures
OPTIONS = {  # about 2 to 6 Mbit/s at 1080p, as cameras and sites use
    "libx264": {  # without its look-ahead, with which it does not give the same bytes every time
        "preset": "veryfast",
        "crf": "23",
        "threads": "2",
        "x264-params": "mbtree=0:rc-lookahead=0:b-adapt=0:scenecut=0",
    },
    "libx265": {
        "preset": "veryfast",
        "crf": "26",
        "x265-params": "log-level=none:pools=2:frame-threads=1",
    },
}
REACH_PX = 256  # how far the texture moves before it turns round


def make(**kind: Any) -> None:
    """Writes the video of this kind (a `Footage`'s fields) to its path."""
    footage = Footage(**kind)
    num_frames = round(footage.duration_s * FPS)
    piece_frames = min(num_frames, PIECE_S * FPS)
    with whole_file(Path(footage.path)) as growing, tempfile.TemporaryDirectory() as scratch:
        piece = Path(scratch) / "piece.mp4"
        _encode(piece, footage, piece_frames)
        with av.open(str(growing), "w") as target:
            stream: Any = None
            for first in range(0, num_frames, piece_frames):
                with av.open(str(piece)) as source:
                    original = source.streams.video[0]
                    assert original.time_base
                    stream = stream or target.add_stream_from_template(original)
                    shift, end = (
                        round(frames / FPS / original.time_base)
                        for frames in (first, num_frames - first)
                    )
                    for packet in source.demux(original):
                        if packet.pts is not None and packet.dts is not None and packet.pts < end:
                            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                            packet.stream = stream
                            target.mux(packet)


def _encode(path: Path, footage: Footage, num_frames: int) -> None:
    width = footage.height * 16 // 9 // 2 * 2
    options = {**OPTIONS[footage.codec], "g": str(PIECE_S * FPS)}
    with av.open(str(path), "w", format="mp4") as file:
        stream: Any = file.add_stream(footage.codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, footage.height, "yuv420p"
        for planes in drawn(width, footage.height, num_frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        file.mux(stream.encode())


def drawn(width: int, height: int, num_frames: int) -> Iterator[np.ndarray]:
    """Frames as yuv420p planes (H * 3 / 2, W) uint8; the array is reused."""
    random = np.random.default_rng(0)
    texture = _texture(random, width + REACH_PX, height + REACH_PX)
    grain = random.integers(0, 13, (height + 64, width + 64), dtype=np.uint8)
    planes = np.empty((height * 3 // 2, width), np.uint8)
    luma, chroma = planes[:height], planes[height:]
    side = height // 6
    for number in range(num_frames):
        x, y = (abs(step * number % (2 * REACH_PX) - REACH_PX) for step in (3, 1))
        dx, dy = random.integers(0, 64, 2)
        np.add(
            texture[y : y + height, x : x + width],
            grain[dy : dy + height, dx : dx + width],
            out=luma,
        )
        chroma[:] = 128
        for shape in range(4):
            left = (17 * shape + (5 + shape) * number) % (width - side)
            top = (height * shape // 4 + 2 * number) % (height - side)
            luma[top : top + side, left : left + side] = 60 + 45 * shape
        yield planes


def _texture(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Smooth noise of several sizes, (height, width) uint8 between 40 and 200."""
    total = np.zeros((height, width), np.float32)
    for cell in (64, 16, 4):
        coarse = random.random((height // cell + 2, width // cell + 2), dtype=np.float32)
        rows, columns = np.arange(height) / cell, np.arange(width) / cell
        across = np.stack([np.interp(columns, np.arange(len(row)), row) for row in coarse])
        low = rows.astype(int)
        share = (rows - low)[:, None].astype(np.float32)
        total += (cell**0.5) * (across[low] * (1 - share) + across[low + 1] * share)
    total -= total.min()
    return (40 + 160 * total / total.max()).astype(np.uint8)
