"""Backgrounds: plain colours with a slight shade, and a few drawn places.

In:  a background's name, a variant, the size.  Out: uint8 (H, W, 3), cached.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from apollo.cartoon.world.facts import BACKGROUNDS, Rgb

NUM_VARIANTS = 6
PLAIN_JITTER = 10.0  # of 255, per channel
PLAIN_GRADIENT = 10.0  # of 255, from the middle to an edge


def _plain(rng: np.random.Generator, rgb: Rgb, height: int, width: int) -> np.ndarray:
    base = np.array(rgb, np.float32) + rng.uniform(-PLAIN_JITTER, PLAIN_JITTER)
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    slope = PLAIN_GRADIENT * (np.cos(angle) * x + np.sin(angle) * y)
    return np.clip(base + slope[..., None], 0, 255).astype(np.uint8)  # (H, W, 3)


def _vertical(top: Rgb, bottom: Rgb, height: int, width: int) -> np.ndarray:
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.repeat(column, width, axis=1).astype(np.uint8)


def _hill(
    width: int, height: int, base: float, depth: float, waves: float, at: float
) -> np.ndarray:
    """A wavy ground as a polygon in 1/16 pixels: from the wave down to the lower edge."""
    x = np.linspace(0, width, 64)
    y = height * (base + depth * np.sin(x / height * waves + at))
    points = np.concatenate([np.stack([x, y], 1), [[width, height], [0, height]]])
    return np.round(points * 16).astype(np.int32)


def _sea(rng: np.random.Generator, rgb: Rgb, height: int, width: int) -> np.ndarray:
    image = _vertical((150, 215, 245), (200, 235, 250), height, width)
    blues = ((70, 160, 210), rgb, (25, 105, 170), (15, 85, 150))
    for i, blue in enumerate(blues):
        base = 0.34 + 0.17 * i + rng.uniform(-0.02, 0.02)
        wave = _hill(width, height, base, 0.018, 22 - 3 * i, rng.uniform(0, 6))
        cv2.fillPoly(image, [wave], blue, cv2.LINE_AA, 4)
        crest = wave[:-2]
        cv2.polylines(image, [crest], False, (225, 243, 250), max(1, height // 90), cv2.LINE_AA, 4)
    return image


def _night_sky(rng: np.random.Generator, rgb: Rgb, height: int, width: int) -> np.ndarray:
    image = _vertical(rgb, (48, 48, 110), height, width)
    for _ in range(round(40 * width / height)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        radius = max(0.6, height * rng.uniform(0.004, 0.009))
        centre = (round(x * 16), round(y * 16))
        cv2.circle(image, centre, round(radius * 16), (250, 245, 200), -1, cv2.LINE_AA, 4)
    return image


def _grass(rng: np.random.Generator, rgb: Rgb, height: int, width: int) -> np.ndarray:
    image = _vertical((160, 215, 255), (215, 240, 255), height, width)
    hill = _hill(width, height, 0.33, 0.03, rng.uniform(2, 4), rng.uniform(0, 6))
    cv2.fillPoly(image, [hill], rgb, cv2.LINE_AA, 4)
    for _ in range(round(70 * width / height)):
        x, y = rng.uniform(0, width), height * rng.uniform(0.42, 1.0)
        tall = height * rng.uniform(0.03, 0.06)
        blade = np.array([[x - tall / 4, y], [x, y - tall], [x + tall / 4, y]])
        points = np.round(blade * 16).astype(np.int32)
        cv2.fillPoly(image, [points], (70, 150, 55), cv2.LINE_AA, 4)
    return image


def _desert(rng: np.random.Generator, rgb: Rgb, height: int, width: int) -> np.ndarray:
    image = _vertical((255, 205, 150), (255, 235, 200), height, width)
    for i, sand in enumerate(((225, 165, 95), rgb, (215, 160, 90))):
        base = 0.38 + 0.2 * i + rng.uniform(-0.03, 0.03)
        dune = _hill(width, height, base, 0.05, rng.uniform(3, 6), rng.uniform(0, 6))
        cv2.fillPoly(image, [dune], sand, cv2.LINE_AA, 4)
    return image


_DRAWN: dict[str, Callable[[np.random.Generator, Rgb, int, int], np.ndarray]] = {
    "sea": _sea,
    "night sky": _night_sky,
    "grass": _grass,
    "desert": _desert,
}


@lru_cache(maxsize=96)
def backdrop(name: str, variant: int, height: int, width: int) -> np.ndarray:
    """The background, (height, width, 3) uint8. Read only: copy before drawing on it."""
    rng = np.random.default_rng(variant % NUM_VARIANTS)
    background = BACKGROUNDS[name]
    draw = _DRAWN[name] if background.drawn else _plain
    return draw(rng, background.rgb, height, width)
