"""Words as pictures, in a few typefaces, with the box of every letter.

In:  a word, a typeface and a colour pair.  Out: premultiplied RGBA at CAP_PX, and letter edges.
Odd: no font files. Four typefaces come from the font built into Pillow (as it is, bold, wide,
     slanted); the fifth is our own plotter alphabet below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from apollo.cartoon.world.facts import Rgb

CAP_PX = 64  # height of a capital in the pictures made here
PAD_PX = 12  # around the word, for outline and slant
OUTLINE_PX = 6
TYPEFACES = ("plain", "bold", "wide", "slanted", "plotter")
SLANT = 0.2
WIDE = 1.25
FONT_SIZE_PX = 90  # gives capitals of about CAP_PX in Pillow's built-in font
LETTER_GAP_PX = 7

# (fill, outline) pairs that can be read on any background
INKS: tuple[tuple[Rgb, Rgb], ...] = (
    ((255, 255, 255), (10, 10, 10)),
    ((10, 10, 10), (255, 255, 255)),
    ((255, 225, 40), (20, 20, 20)),
    ((200, 20, 30), (255, 255, 255)),
)

# Strokes of each letter on a grid 4 wide and 6 high: "xy" points joined by lines, "/" between them.
PLOTTER: dict[str, str] = {
    "A": "06 20 46/13 33", "B": "06 00 30 41 42 33 03/33 44 45 36 06",
    "C": "41 30 10 01 05 16 36 45", "D": "00 30 41 45 36 06 00", "E": "40 00 06 46/03 33",
    "F": "40 00 06/03 33", "G": "41 30 10 01 05 16 36 45 43 23", "H": "00 06/40 46/03 43",
    "I": "20 26/10 30/16 36", "J": "40 45 36 16 05", "K": "00 06/40 03 46", "L": "00 06 46",
    "M": "06 00 23 40 46", "N": "06 00 46 40", "O": "10 30 41 45 36 16 05 01 10",
    "P": "06 00 30 41 42 33 03", "Q": "10 30 41 45 36 16 05 01 10/24 46",
    "R": "06 00 30 41 42 33 03/23 46", "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40/20 26", "U": "00 05 16 36 45 40", "V": "00 26 40", "W": "00 16 23 36 40",
    "X": "00 46/40 06", "Y": "00 23 40/23 26", "Z": "00 40 06 46",
}  # fmt: skip
PLOTTER_STEP_PX = 10
PLOTTER_LINE_PX = 10


@dataclass(frozen=True)
class WordPicture:
    rgba: np.ndarray  # (H, W, 4) uint8, premultiplied
    edges: tuple[float, ...]  # left border of each letter, then the end; shares of the width

    @property
    def caps_high(self) -> float:
        """Height of the picture, in capitals."""
        return self.rgba.shape[0] / CAP_PX

    @property
    def caps_wide(self) -> float:
        return self.rgba.shape[1] / CAP_PX


def _plotter_letter(letter: str) -> np.ndarray:
    """One letter of our own alphabet as a mask (H, W) uint8."""
    rows = CAP_PX + 2 * PAD_PX
    mask = np.zeros((rows, 4 * PLOTTER_STEP_PX + PLOTTER_LINE_PX), np.uint8)
    half = PLOTTER_LINE_PX / 2
    step_y = (CAP_PX - PLOTTER_LINE_PX) / 6
    for stroke in PLOTTER[letter].split("/"):
        points = [
            (half + int(x) * PLOTTER_STEP_PX, PAD_PX + half + int(y) * step_y)
            for x, y in map(tuple, stroke.split())
        ]
        line = np.round(np.array(points) * 16).astype(np.int32)  # cv2 counts in 1/16 pixel here
        cv2.polylines(mask, [line], False, 255, PLOTTER_LINE_PX, cv2.LINE_AA, 4)
    return mask


def _font_letter(letter: str, typeface: str) -> np.ndarray:
    """One letter of Pillow's built-in font as a mask (H, W) uint8."""
    font = ImageFont.load_default(FONT_SIZE_PX)
    stroke = 3 if typeface == "bold" else 0
    left, _, right, bottom = font.getbbox(letter, stroke_width=stroke, anchor="ls")
    size = (round(right - left) + 1, CAP_PX + 2 * PAD_PX)
    canvas = Image.new("L", size)
    draw = ImageDraw.Draw(canvas)
    baseline = CAP_PX + PAD_PX
    draw.text((-left, baseline), letter, 255, font, "ls", stroke_width=stroke)
    mask = np.asarray(canvas)
    if typeface == "wide":
        mask = cv2.resize(mask, (round(size[0] * WIDE), size[1]), interpolation=cv2.INTER_LINEAR)
    return mask


@lru_cache(maxsize=len(PLOTTER) * len(TYPEFACES))
def _letter(letter: str, typeface: str) -> np.ndarray:
    return _plotter_letter(letter) if typeface == "plotter" else _font_letter(letter, typeface)


def _slanted(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    matrix = np.array([[1, -SLANT, SLANT * height / 2], [0, 1, 0]], np.float32)
    return cv2.warpAffine(mask, matrix, (width, height))


@lru_cache(maxsize=256)
def word_picture(word: str, font: int, ink: int) -> WordPicture:
    """The word in typeface number `font` and colours number `ink`, both modulo what there is."""
    typeface = TYPEFACES[font % len(TYPEFACES)]
    letters = [_letter(letter, typeface) for letter in word]
    edges_px = [float(PAD_PX) - LETTER_GAP_PX / 2]
    columns = [np.zeros((CAP_PX + 2 * PAD_PX, PAD_PX), np.uint8)]
    for i, letter in enumerate(letters):
        edges_px.append(edges_px[-1] + letter.shape[1] + LETTER_GAP_PX)
        gap = LETTER_GAP_PX if i + 1 < len(letters) else PAD_PX
        columns += [letter, np.zeros((letter.shape[0], gap), np.uint8)]
    fill = np.concatenate(columns, axis=1)  # (H, W)
    if typeface == "slanted":
        fill = _slanted(fill)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * OUTLINE_PX + 1,) * 2)
    around = cv2.dilate(fill, kernel)
    fill_rgb, outline_rgb = INKS[ink % len(INKS)]
    share = fill[..., None] / 255.0
    rgb = np.array(fill_rgb) * share + np.array(outline_rgb) * (1 - share)
    rgba = np.dstack([rgb * (around[..., None] / 255.0), around])
    width = fill.shape[1]
    return WordPicture(np.round(rgba).astype(np.uint8), tuple(x / width for x in edges_px))
