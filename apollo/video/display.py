"""A decoded picture to the RGB frame (H, W, 3) uint8 that a player shows.

In: pictures of PyAV. Out: frames that stand upright and are not mirrored, with square pixels, on
white where they are transparent, in the colours of an SDR screen, and never larger than
`MAX_SHOWN_PIXELS`.
Odd: the towers were trained on FFmpeg's plain conversion, so a picture that needs none of this gets
exactly that one.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from PIL import Image

from apollo.errors import VideoError
from apollo.video.colour import colour_map, is_hdr
from apollo.video.container import MAX_SIDE

MAX_SHOWN_PIXELS = 4096 * 2304
_MAX_MAPPED_PIXELS = 1920 * 1080  # where colours are mapped, which costs 0.1 s a frame of that size
# how a picture's three numbers make colours, by their numbers in ITU-T H.273
_UNKNOWN_COLORSPACE, _BT2020, _BT2020_CONSTANT = 2, 9, 10
_COLORSPACES = {0, 1, 2, 4, 5, 6, 7, 9}  # those FFmpeg converts
_OTHER_COLORSPACES = {8, *range(11, 18)}  # YCgCo, ICtCp and the like; what is left means nothing
_MAX_ASPECT = 20  # a pixel wider or higher than that is a mistake in the file


def pixel_aspect_of(stream: Any) -> Fraction:
    """Width over height of a pixel; 1 if the track does not say, or says nonsense."""
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not aspect or not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        return Fraction(1)
    return Fraction(aspect)


class Screen:
    """Shows the pictures of one video track; not for two threads at a time."""

    def __init__(self, pixel_aspect: Fraction = Fraction(1)) -> None:
        self._pixel_aspect = pixel_aspect
        self._converter = VideoReformatter()
        self._alpha_converter = VideoReformatter()
        self._turns: dict[float, _Turn] = {}

    def size_of(self, picture: Any) -> tuple[int, int]:
        """Width and height of the frame that `show` gives."""
        width, height = self._lying_size(picture)
        return (height, width) if self._turn_of(picture).is_on_side else (width, height)

    def show(self, picture: Any) -> np.ndarray:
        """The frame (H, W, 3) uint8, contiguous.

        Raises:
            VideoError: its colours are stored in a way that cannot be converted.
        """
        _check_colorspace(picture)
        size = self._lying_size(picture)
        is_reduced = size[0] <= picture.width and size[1] < picture.height
        how: dict[str, Any] = {}
        if size != (picture.width, picture.height):
            kind = Interpolation.AREA if is_reduced else Interpolation.BICUBIC
            if is_reduced and picture.height > 2 * size[1]:  # nobody films so large
                kind = Interpolation.POINT
            how = {"width": size[0], "height": size[1], "interpolation": kind}
        colours = colour_map(picture.color_trc, picture.color_primaries)
        rgba = None  # (h, w, 4)
        if may_be_transparent(picture.format):
            rgba = self._alpha_converter.reformat(picture, format="rgba", **how).to_ndarray()
        if colours is not None:
            if is_hdr(picture.color_trc) and picture.colorspace == _UNKNOWN_COLORSPACE:
                how["src_colorspace"] = Colorspace.BT2020
            rgb10 = self._converter.reformat(picture, format="gbrp10le", **how)
            rgb = colours.to_srgb(rgb10.to_ndarray())  # (h, w, 3)
        elif rgba is not None and is_reduced:  # large: not read twice
            rgb = np.ascontiguousarray(rgba[..., :3])
        else:
            rgb = self._converter.reformat(picture, format="rgb24", **how).to_ndarray()
        if rgba is not None and not _is_unused(rgba, picture.format.name):
            rgb = on_white(rgb, rgba[..., 3])
        return self._turn_of(picture).apply(rgb)  # (H, W, 3)

    def _lying_size(self, picture: Any) -> tuple[int, int]:
        """Width and height before the picture is turned."""
        width, height = picture.width, picture.height
        wide = max(1, round(width * self._pixel_aspect))
        if abs(wide - width) > 0.005 * width:  # less is the rounding of whoever scaled it
            width = wide
        is_plain = colour_map(picture.color_trc, picture.color_primaries) is None
        limit = MAX_SHOWN_PIXELS if is_plain else _MAX_MAPPED_PIXELS
        scale = min(1, math.sqrt(limit / (width * height)), MAX_SIDE / width)
        return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))

    def _turn_of(self, picture: Any) -> _Turn:
        """Read once for each angle, since PyAV never frees the data beside a picture."""
        angle = picture.rotation
        if angle not in self._turns:
            self._turns[angle] = _Turn(picture)
        return self._turns[angle]


class _Turn:
    """One of the eight ways a picture may lie, from the display matrix beside it."""

    def __init__(self, picture: Any) -> None:
        a, b, c, d = 1, 0, 0, 1  # the pixel at (x, y) is shown at (a x + c y, b x + d y)
        data = picture.side_data.get("DISPLAYMATRIX")
        if data is not None:
            matrix = np.frombuffer(bytes(data), np.int32)[:9].reshape(3, 3).astype(float)
            if np.any(matrix[:2, :2]):
                (a, b), (c, d) = matrix[:2, :2]
        self.is_on_side = abs(b) + abs(c) > abs(a) + abs(d)
        self._flips_columns = (c if self.is_on_side else a) < 0
        self._flips_rows = (b if self.is_on_side else d) < 0

    def apply(self, frame: np.ndarray) -> np.ndarray:
        if self.is_on_side:
            frame = frame.transpose(1, 0, 2)
        if self._flips_rows:
            frame = frame[::-1]
        if self._flips_columns:
            frame = frame[:, ::-1]
        return np.ascontiguousarray(frame)


def _check_colorspace(picture: Any) -> None:
    """Makes the picture one that FFmpeg can convert, if its colours stay what they are."""
    space = picture.colorspace
    if space in _OTHER_COLORSPACES:
        raise VideoError(
            f"The video stores its colours as number {space} of ITU-T H.273, which cannot be "
            "shown; convert it to BT.709."
        )
    if space == _BT2020_CONSTANT:  # nearly the same
        picture.colorspace = _BT2020
    elif space not in _COLORSPACES:  # of a damaged picture, mostly
        picture.colorspace = _UNKNOWN_COLORSPACE


def may_be_transparent(format: Any) -> bool:
    return format.has_palette or any(part.is_alpha for part in format.components)


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) and (H, W) uint8 -> (H, W, 3) uint8; what is opaque stays as it is."""
    if alpha.min(initial=255) == 255:
        return rgb
    weight = alpha.astype(np.uint16)[..., None]  # (H, W, 1)
    return ((rgb * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _is_unused(rgba: np.ndarray, format: str) -> bool:
    """Screen recorders leave the fourth byte of a pixel zero without meaning transparency."""
    return format == "bgra" and not rgba[..., 3].any() and bool(rgba.any())


def fit_into(frame: np.ndarray, into: np.ndarray) -> None:
    """Copies a frame (h, w, 3) into (H, W, 3), reduced or enlarged, with black at two sides."""
    height, width = into.shape[:2]
    if frame.shape == into.shape:
        into[:] = frame
        return
    scale = min(height / frame.shape[0], width / frame.shape[1])
    small = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    top, left = (height - small[1]) // 2, (width - small[0]) // 2
    into[:] = 0
    resized = np.asarray(Image.fromarray(frame).resize(small))
    into[top : top + small[1], left : left + small[0]] = resized
