"""Frames to the pixels each tower was trained on.

In: frames (T, H, W, 3) uint8 RGB of any size. Out: float32, SigLIP (T, 3, S, S) and
InternVideo2 (3, T, S, S), frames centred in a square of the tower's mean colour, then resized.
`resize` gives the same as uint8, a quarter of the bytes; `normalise` does the rest, on any device.
`reduce` resizes a single frame, and `stack` puts reduced frames together.
The odd parts: the padding colour is the mean truncated, not rounded, to a grey level; both resizes
work on uint8, and their rounding is part of the result. SigLIP is Pillow's bicubic, which averages
when it shrinks; unless the result has to be exact, torch's, which is several times as fast and at
most one grey level away. InternVideo2 is OpenCV's bilinear, which does not average and so must see
the full frame. A transform keeps no state that threads share.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_ROWS_AT_ONCE = 256  # of a frame that is padded at its sides


class FrameTransform(Protocol):
    """Frames (T, H, W, 3) uint8 -> the pixels one tower reads, at once or in two steps."""

    image_size: int

    def __call__(self, frames: Any) -> torch.Tensor: ...  # float32

    def resize(self, frames: Any, *, exact: bool = False) -> torch.Tensor: ...  # uint8

    def reduce(self, frame: Any, *, exact: bool = False) -> Any: ...  # (H, W, 3) -> (3, S, S)

    def stack(self, small: Any) -> torch.Tensor: ...  # reduced frames -> what `resize` gives

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor: ...  # uint8 -> float32


class _Transform:
    """What both towers' transforms share: a square size and the colours that are the middle."""

    time_dim: int  # the frames' place among the dimensions of a clip
    trailing_dims: int  # behind the channels

    def __init__(self, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.image_size = image_size
        self.mean, self.std = tuple(mean), tuple(std)
        self._fill = tuple(int(value * 255) for value in mean)  # of the padding

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """The pixels as float32, exactly the original's."""
        return self.normalise(self.resize(frames, exact=True))

    def resize(self, frames: np.ndarray, *, exact: bool = False) -> torch.Tensor:
        """Frames (T, H, W, 3) uint8 -> uint8 pixels of the tower's shape."""
        assert frames.ndim == 4, f"frames must be (T, H, W, 3), not {frames.shape}"
        return self.stack([self.reduce(frame, exact=exact) for frame in frames])

    def reduce(self, frame: np.ndarray, *, exact: bool = False) -> np.ndarray:
        """One frame (H, W, 3) uint8 -> (3, S, S) uint8."""
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3, (
            f"a frame must be (H, W, 3) uint8, not {frame.shape} {frame.dtype}"
        )
        small = self._reduced(frame, exact)  # (S, S, 3)
        planes = np.empty((3, *small.shape[:2]), np.uint8)
        cv2.split(small, list(planes))  # (S, S, 3) -> (3, S, S)
        return planes

    def _reduced(self, frame: np.ndarray, exact: bool) -> np.ndarray:
        raise NotImplementedError

    def stack(self, small: Sequence[np.ndarray]) -> torch.Tensor:
        """Reduced frames of a clip, each (3, S, S) uint8 -> uint8 pixels of the tower's shape."""
        return torch.from_numpy(np.stack(small, self.time_dim))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pixels, as `resize` gives them, with any dimensions before -> the same, float32."""
        shape = [3] + [1] * self.trailing_dims
        mean, std = (
            torch.tensor(v, device=pixels.device).view(shape) for v in (self.mean, self.std)
        )
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)


class SiglipTransform(_Transform):
    """Centred square, bicubic resize, normalise: (T, H, W, 3) uint8 -> (T, 3, S, S)."""

    time_dim, trailing_dims = 0, 2  # (T, 3, S, S)

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__(image_size, mean, std)

    def _reduced(self, frame: np.ndarray, exact: bool) -> np.ndarray:
        # Less is averaged in small frames, and a few pixels would be two grey levels away.
        if exact or max(frame.shape[:2]) < 2 * self.image_size:
            return np.asarray(self._by_pillow(frame))
        return self._by_torch(frame)

    def _by_pillow(self, frame: np.ndarray) -> Image.Image:
        """Pillow resizes width, then height. Padding above and below waits until between the two,
        when the frame is narrow; the result is the same to the bit."""
        height, width = frame.shape[:2]
        side, size = max(height, width), self.image_size
        if width < side:
            frame = _centred(frame, side, height, self._fill)  # (H, side, 3)
        strip = Image.fromarray(frame).resize((size, height), Image.Resampling.BICUBIC)
        if height < side:
            padded = Image.new("RGB", (size, side), self._fill)
            padded.paste(strip, (0, (side - height) // 2))
            strip = padded
        return strip.resize((size, size), Image.Resampling.BICUBIC)

    def _by_torch(self, frame: np.ndarray) -> np.ndarray:
        """The same two passes, each rounded to whole grey levels as Pillow's are."""
        height, width = frame.shape[:2]
        side, size = max(height, width), self.image_size
        field = _painted(side, size, self._fill)  # (side, S, 3)
        top, left = (side - height) // 2, (side - width) // 2
        if width == side:
            field[top : top + height] = _bicubic(frame, height, size)
            return _bicubic(field, size, size)
        wide = _painted(min(height, _ROWS_AT_ONCE), side, self._fill)
        for start in range(0, height, len(wide)):
            rows = frame[start : start + len(wide)]  # (h, W, 3)
            wide[: len(rows), left : left + width] = rows
            field[start : start + len(rows)] = _bicubic(wide[: len(rows)], len(rows), size)
        return _bicubic(field, size, size)


class InternVideo2Transform(_Transform):
    """Centred square, bilinear resize, normalise: (T, H, W, 3) uint8 -> (3, T, S, S)."""

    time_dim, trailing_dims = 1, 3  # (3, T, S, S)

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(image_size, mean, std)
        self._kept = _KeptSquare()

    def _reduced(self, frame: np.ndarray, exact: bool) -> np.ndarray:
        """Always exact."""
        size = self.image_size
        square = self._kept.holding(frame, self._fill, size)
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_kept"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._kept = _KeptSquare()


class _KeptSquare(threading.local):
    """A padded square reused from frame to frame, one for each thread.

    Only rows that a bilinear resize reads are painted and filled, since most are in none of its
    pixels; of the others not even the memory is used.
    """

    def __init__(self) -> None:
        self._size = (0, 0)
        self._square = np.empty((0, 0, 3), np.uint8)
        self._rows = np.empty(0, np.int64)  # those that show the frame

    def holding(self, frame: np.ndarray, fill: tuple[int, ...], size: int) -> np.ndarray:
        """A square with `frame` in its middle, to be resized to (size, size)."""
        height, width = frame.shape[:2]
        if height == width:
            return np.ascontiguousarray(frame)
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        if self._size != (height, width):
            rows = _rows_read(side, size)
            # numpy would ask for huge pages, of which every one would be used
            self._square = torch.empty((side, side, 3), dtype=torch.uint8).numpy()
            self._square[rows] = fill
            self._rows = rows[(rows >= top) & (rows < top + height)]
            self._size = (height, width)
        self._square[self._rows, left : left + width] = frame[self._rows - top]
        return self._square


def _rows_read(side: int, size: int) -> np.ndarray:
    """The rows a bilinear resize from `side` to `size` reads, however its arithmetic rounds."""
    middles = (np.arange(size) + 0.5) * side / size - 0.5
    above, below = (np.floor(middles + by).astype(np.int64) for by in (-0.01, 0.01))
    return np.unique(np.clip([above, above + 1, below, below + 1], 0, side - 1))


def _bicubic(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w, 3) uint8 -> (height, width, 3) uint8, averaging where it shrinks."""
    if not (rows.flags.writeable and rows.flags.c_contiguous):  # torch takes no others
        rows = rows.copy()
    image = torch.from_numpy(rows)[None].permute(0, 3, 1, 2)  # (h, w, 3) -> (1, 3, h, w)
    small = F.interpolate(
        image, (height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return small[0].permute(1, 2, 0).numpy()  # (1, 3, height, width) -> (height, width, 3)


def _centred(frame: np.ndarray, width: int, height: int, fill: tuple[int, ...]) -> np.ndarray:
    """`frame` in the middle of a (height, width, 3) field of `fill`."""
    field = _painted(height, width, fill)
    top, left = (height - frame.shape[0]) // 2, (width - frame.shape[1]) // 2
    field[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return field


def _painted(height: int, width: int, fill: tuple[int, ...]) -> np.ndarray:
    """(height, width, 3) of one colour."""
    field = np.empty((height, width, 3), np.uint8)
    field[0] = fill
    field[1:] = field[0]  # whole rows are copied many times as fast as colours
    return field
