"""An animated WebP as the container and the track that the other modules expect of PyAV.

In: an open file. Out: packets with the times of the file, one a frame, and their pictures.
Odd: FFmpeg cannot decode animated WebP, so Pillow does. Only as much of PyAV's classes is imitated
as `index.py` and `decoding.py` use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, BinaryIO

import av
import numpy as np
from PIL import Image

_MS = Fraction(1, 1000)
_SHORTEST_MS = 11  # browsers show what claims less for a tenth of a second
_DEFAULT_MS = 100


def is_animated_webp(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(30)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


@dataclass
class _Packet:
    number: int
    pts: int
    duration: int
    size: int
    stream: Any
    time_base: Fraction = _MS
    is_discard: bool = False
    is_corrupt: bool = False

    @property
    def dts(self) -> int:
        return self.pts

    @property
    def is_keyframe(self) -> bool:
        return self.number == 0

    def has_sidedata(self, kind: str) -> bool:
        return False


class _Decoder(SimpleNamespace):
    """A codec context: `decode` takes a packet and gives a list of pictures."""

    def __init__(self, file: BinaryIO, size: tuple[int, int]) -> None:
        super().__init__(
            name="webp",
            width=size[0],
            height=size[1],
            has_b_frames=0,
            framerate=None,
            sample_aspect_ratio=None,
        )
        self._file = file
        self._image: Image.Image | None = None

    def decode(self, packet: _Packet | None = None) -> list[av.VideoFrame]:
        if packet is None:
            return []
        try:
            if self._image is None:
                self._file.seek(0)
                self._image = Image.open(self._file, formats=["WEBP"])
            self._image.seek(packet.number)
            rgba = np.asarray(self._image.convert("RGBA"))  # (H, W, 4)
        except (OSError, EOFError, ValueError, SyntaxError) as error:
            raise av.error.InvalidDataError(0, f"frame {packet.number}: {error}") from error
        picture = av.VideoFrame.from_ndarray(rgba, format="rgba")
        picture.pts, picture.time_base = packet.pts, _MS
        return [picture]

    def flush_buffers(self) -> None:
        pass


class WebpContainer:
    """`streams`, `demux` and what else is asked of a container."""

    def __init__(self, file: BinaryIO) -> None:
        self.name = file.name
        self.format = SimpleNamespace(name="webp")
        self.start_time = 0
        size, frames = _read_chunks(file)
        self._frames = frames
        total_ms = sum(duration for _, duration in frames)
        self.duration = 1000 * total_ms
        self.stream = SimpleNamespace(
            index=0,
            type="video",
            codec_context=_Decoder(file, size),
            time_base=_MS,
            start_time=0,
            duration=total_ms,
            frames=len(frames),
            average_rate=None,
            guessed_rate=None,
            base_rate=None,
            sample_aspect_ratio=None,
            metadata={},
        )
        self.streams = [self.stream]

    def demux(self, *streams: Any) -> Iterator[_Packet]:
        time_ms = 0
        for number, (size, duration_ms) in enumerate(self._frames):
            yield _Packet(number, time_ms, duration_ms, size, self.stream)
            time_ms += duration_ms


def _read_chunks(file: BinaryIO) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Width and height, and for each whole frame its bytes and how long it is shown, in ms."""
    end = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(30)
    size = (1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little"))
    frames = []
    place = 12
    while place + 8 <= end:
        file.seek(place)
        chunk = file.read(24)
        length = int.from_bytes(chunk[4:8], "little")
        place += 8 + length + length % 2
        if chunk[:4] == b"ANMF" and place <= end + 1:
            duration_ms = int.from_bytes(chunk[20:23], "little")
            frames.append((length, duration_ms if duration_ms >= _SHORTEST_MS else _DEFAULT_MS))
    return size, frames
