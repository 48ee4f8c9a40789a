"""Pictures of objects: cut from the sprite sheet, or drawn for shapes, with a thin outline.

In:  an object's name, its colour (shapes only), which outline.  Out: premultiplied RGBA uint8.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from apollo.cartoon.world.facts import COLOURS, THINGS, Rgb

FOLDER = Path(__file__).parent
SHAPE_PX = 256  # side of a drawn shape's picture
OUTLINE_SHARE = 0.028  # of the picture's side
LIGHT: Rgb = (245, 245, 245)
DARK: Rgb = (25, 25, 25)

# (S, S, 4) uint8 of things that are not in the sheet, since no seed shows them
OTHER_PICTURES: dict[str, np.ndarray] = {}

# Corners of the drawn shapes, in a square from -1 to 1 with y down.
_ANGLES = np.deg2rad(np.arange(10) * 36 - 90)
_RADII = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
_T = np.deg2rad(np.arange(0, 360, 4))
OUTLINES: dict[str, np.ndarray] = {
    "circle": np.stack([np.cos(_T), np.sin(_T)], 1) * 0.92,
    "square": np.array([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]]),
    "triangle": np.array([[0, -0.85], [0.92, 0.75], [-0.92, 0.75]]),
    "star": np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1) * _RADII[:, None],
    "heart": np.stack(
        [
            0.92 * np.sin(_T) ** 3,
            -(13 * np.cos(_T) - 5 * np.cos(2 * _T) - 2 * np.cos(3 * _T) - np.cos(4 * _T)) / 17,
        ],
        axis=1,
    ),
    "diamond": np.array([[0, -0.95], [0.62, 0], [0, 0.95], [-0.62, 0]]),
}


@lru_cache(maxsize=1)
def _sheet() -> tuple[np.ndarray, dict[str, tuple[int, int]], int]:
    """The sprite sheet (H, W, 4), the top left corner of every sprite's cell, and a cell's side."""
    index = json.loads((FOLDER / "sprites.json").read_text())
    with Image.open(FOLDER / "sprites.png") as image:
        pixels = np.asarray(image.convert("RGBA"))
    side, columns = index["cell_px"], index["columns"]
    corners = {
        name: ((i // columns) * side, (i % columns) * side) for i, name in enumerate(index["names"])
    }
    return pixels, corners, side


def _sprite(name: str) -> np.ndarray:
    if name in OTHER_PICTURES:
        return OTHER_PICTURES[name]
    pixels, corners, side = _sheet()
    top, left = corners[name]
    return pixels[top : top + side, left : left + side]


def _shape(name: str, rgb: Rgb) -> np.ndarray:
    """A shape filled with its colour, (SHAPE_PX, SHAPE_PX, 4)."""
    room = 1 - 3.5 * OUTLINE_SHARE
    corners = (OUTLINES[name] * room + 1) * SHAPE_PX / 2 - 0.5
    alpha = np.zeros((SHAPE_PX, SHAPE_PX), np.uint8)
    points = np.round(corners * 16).astype(np.int32)  # cv2 counts in 1/16 pixel here
    cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, 4)
    colour = np.broadcast_to(np.array(rgb, np.uint8), (SHAPE_PX, SHAPE_PX, 3))
    return np.dstack([colour, alpha])


@cache  # bounded by the vocabulary: at most some 240 pictures
def picture(name: str, colour: str | None, light_outline: bool, mirrored: bool) -> np.ndarray:
    """The object with its outline, (S, S, 4) premultiplied. Read only."""
    if THINGS[name].is_shape:
        assert colour is not None, name
        rgba = _shape(name, COLOURS[colour])
    else:
        rgba = _sprite(name)
    side = rgba.shape[0]
    reach = max(1, round(side * OUTLINE_SHARE))
    alpha = rgba[..., 3]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    around = cv2.dilate(alpha, kernel)
    share = alpha[..., None] / 255.0
    line = np.array(LIGHT if light_outline else DARK) * (around[..., None] / 255.0)
    rgb = rgba[..., :3] * share + line * (1 - share)
    result = np.round(np.dstack([rgb, around])).astype(np.uint8)
    return np.ascontiguousarray(result[:, ::-1] if mirrored else result)


@lru_cache(maxsize=512)
def scaled(
    name: str, colour: str | None, light_outline: bool, mirrored: bool, size_px: int
) -> np.ndarray:
    """The same at `size_px`, (size_px, size_px, 4). Read only."""
    source = picture(name, colour, light_outline, mirrored)
    smaller = size_px < source.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(source, (size_px, size_px), interpolation=how)
