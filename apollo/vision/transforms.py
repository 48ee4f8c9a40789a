"""Frames to the pixels each tower was trained on.

In: frames (T, H, W, 3) uint8 RGB of any size. Out: float32, SigLIP (T, 3, S, S) and
InternVideo2 (3, T, S, S), frames centred in a square of the tower's mean colour, then resized.
`resize` gives the same as uint8, a quarter of the bytes; `normalise` does the rest, on any device.
The odd parts: the padding colour is the mean truncated, not rounded, to a grey level; both resizes
work on uint8, and their rounding is part of the result. SigLIP is Pillow's bicubic, which averages
when it shrinks; InternVideo2 is OpenCV's bilinear, which does not and so must see the full frame.
A transform keeps no state that threads share.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class _Transform:
    """What both towers' transforms share: a square size and the colours that are the middle."""

    trailing_dims: int  # behind the channels

    def __init__(self, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.image_size = image_size
        self.mean, self.std = tuple(mean), tuple(std)
        self._fill = tuple(int(value * 255) for value in mean)  # of the padding

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        return self.normalise(self.resize(frames))

    def resize(self, frames: np.ndarray) -> torch.Tensor:
        raise NotImplementedError

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pixels, as `resize` gives them, with any dimensions before -> the same, float32."""
        shape = [3] + [1] * self.trailing_dims
        mean, std = (
            torch.tensor(v, device=pixels.device).view(shape) for v in (self.mean, self.std)
        )
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)


class SiglipTransform(_Transform):
    """Centred square, bicubic resize, normalise: (T, H, W, 3) uint8 -> (T, 3, S, S) float32."""

    trailing_dims = 2  # (..., 3, S, S)

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__(image_size, mean, std)

    def resize(self, frames: np.ndarray) -> torch.Tensor:
        """Frames (T, H, W, 3) uint8 -> (T, 3, S, S) uint8."""
        _check_frames(frames)
        size = self.image_size
        small = np.empty((len(frames), size, size, 3), np.uint8)  # (T, S, S, 3)
        for i, frame in enumerate(frames):
            small[i] = np.asarray(self._resize(frame))
        return torch.from_numpy(small).permute(0, 3, 1, 2).contiguous()  # (T, 3, S, S)

    def _resize(self, frame: np.ndarray) -> Image.Image:
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


class InternVideo2Transform(_Transform):
    """Centred square, bilinear resize, normalise: (T, H, W, 3) uint8 -> (3, T, S, S) float32."""

    trailing_dims = 3  # (..., 3, T, S, S)

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(image_size, mean, std)
        self._kept = _KeptSquare()

    def resize(self, frames: np.ndarray) -> torch.Tensor:
        """Frames (T, H, W, 3) uint8 -> (3, T, S, S) uint8."""
        _check_frames(frames)
        size = self.image_size
        small = np.empty((len(frames), size, size, 3), np.uint8)  # (T, S, S, 3)
        for i, frame in enumerate(frames):
            square = self._kept.holding(frame, self._fill)
            small[i] = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(small).permute(3, 0, 1, 2).contiguous()  # (3, T, S, S)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_kept"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._kept = _KeptSquare()


class _KeptSquare(threading.local):
    """A padded square reused from frame to frame, one for each thread: the padding, most of the
    cost, is painted only when the frame size changes."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._square = np.empty((0, 0, 3), np.uint8)

    def holding(self, frame: np.ndarray, fill: tuple[int, ...]) -> np.ndarray:
        height, width = frame.shape[:2]
        if height == width:
            return np.ascontiguousarray(frame)
        if self._size != (height, width):
            side = max(height, width)
            self._square = _centred(frame, side, side, fill)
            self._size = (height, width)
            return self._square
        side = len(self._square)
        top, left = (side - height) // 2, (side - width) // 2
        self._square[top : top + height, left : left + width] = frame
        return self._square


def _centred(frame: np.ndarray, width: int, height: int, fill: tuple[int, ...]) -> np.ndarray:
    """`frame` in the middle of a (height, width, 3) field of `fill`."""
    field = np.empty((height, width, 3), np.uint8)
    field[:] = fill
    top, left = (height - frame.shape[0]) // 2, (width - frame.shape[1]) // 2
    field[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return field


def _check_frames(frames: np.ndarray) -> None:
    assert frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3, (
        f"frames must be (T, H, W, 3) uint8, not {frames.shape} {frames.dtype}"
    )
