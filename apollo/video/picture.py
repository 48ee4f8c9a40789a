"""A picture file, image or array to one RGB frame (H, W, 3) uint8.

In: a path, an open file or its bytes, a PIL image, an array or a tensor. Out: upright, on white
where it is transparent, scaled to 8 bits where it has more.
Odd: what has more than 8 bits says nowhere what white is, so the largest value tells.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from apollo.errors import VideoError
from apollo.video.container import MAX_SIDE, is_heif_still
from apollo.video.display import on_white

logger = logging.getLogger(__name__)

_CHANNELS = (1, 2, 3, 4)  # grey, grey with alpha, RGB, RGB with alpha
_LARGEST = 1e30
_NOT_READ = {"EPS", "WMF", "FPX", "MIC", "MPEG"}  # they start other programs, or are no pictures


def read_image(source: Any) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB, turned as its EXIF data says.

    Raises:
        VideoError: it cannot be used; in one sentence.
    """
    if isinstance(source, Image.Image):
        return _rgb_of_image(source, "The picture")
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = io.BytesIO(source)
    if isinstance(source, (str, os.PathLike)):
        return _rgb_of_file(source, os.path.basename(os.path.abspath(os.fspath(source))))
    if hasattr(source, "read"):
        return _rgb_of_file(source, "The picture")
    if hasattr(source, "__array__"):
        return _rgb_of_array(_array_of(source))
    raise VideoError(
        f"A picture cannot be a {type(source).__name__}; give a file, a PIL image or an array."
    )


def _rgb_of_file(source: Any, name: str) -> np.ndarray:
    try:
        with Image.open(source, formats=_formats()) as image:
            return _rgb_of_image(image, name)
    except FileNotFoundError as error:
        raise VideoError(f"No such picture: {name}; check the path.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VideoError(_too_large(name)) from error
    except (OSError, ValueError, SyntaxError, TypeError, EOFError) as error:
        if _is_heif(source):
            raise VideoError(
                f'{name} is a HEIC photo; run pip install "apollo-video[heif]" to read it, or '
                "save it as JPEG."
            ) from error
        raise VideoError(
            f"{name} is not a picture this program can read; save it as JPEG or PNG."
        ) from error


def _is_heif(source: Any) -> bool:
    if not isinstance(source, (str, os.PathLike)) or not os.path.isfile(source):
        return False
    with open(source, "rb") as file:
        return is_heif_still(file)


def _formats() -> list[str]:
    with contextlib.suppress(ImportError):  # an extra; without it HEIC is refused in a sentence
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return sorted(set(Image.ID) - _NOT_READ)


def _rgb_of_image(image: Image.Image, name: str) -> np.ndarray:
    if max(image.size) > MAX_SIDE:  # the size is known before the pixels are decoded
        raise VideoError(_too_large(name))
    if min(image.size) < 1:
        raise VideoError(f"{name} has no pixels; give another one.")
    if getattr(image, "n_frames", 1) > 1 and image.format in ("GIF", "PNG", "WEBP", "AVIF"):
        logger.warning("%s moves; only its first frame is used. Give it as a video.", name)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _rgb_of_array(np.asarray(image))
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))  # (H, W, 4)
        return on_white(np.ascontiguousarray(rgba[..., :3]), rgba[..., 3])
    return np.array(image.convert("RGB"))


def _array_of(source: Any) -> np.ndarray:
    """(H, W), or (H, W, C) with C as in `_CHANNELS`."""
    try:
        array = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    except (TypeError, ValueError, RuntimeError) as error:
        raise VideoError(
            f"A picture cannot be made of this {type(source).__name__}; give (height, width, 3) "
            "uint8."
        ) from error
    is_chw = array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in (1, 3, 4)
    return np.moveaxis(array, 0, 2) if is_chw else array  # tensors have their channels first


def _rgb_of_array(array: np.ndarray) -> np.ndarray:
    has_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if not has_shape or array.dtype.kind not in "buif" or not array.size:
        raise VideoError(
            f"A picture of shape {array.shape} and type {array.dtype} cannot be used; "
            "give (height, width, 3) uint8."
        )
    if max(array.shape[:2]) > MAX_SIDE:
        raise VideoError(_too_large("The picture"))
    if array.ndim == 2:
        array = array[:, :, None]  # (H, W, 1)
    array = _to_8_bits(array)
    colours = 3 if array.shape[2] > 2 else 1
    rgb = np.ascontiguousarray(np.broadcast_to(array[:, :, :colours], (*array.shape[:2], 3)))
    return on_white(rgb, array[:, :, -1]) if array.shape[2] in (2, 4) else rgb


def _to_8_bits(array: np.ndarray) -> np.ndarray:
    """White is 1, 255 or 65535, whichever the largest value fits; else that value itself."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    values = np.where(np.abs(values) < _LARGEST, values, np.float32(0))  # no infinity, no NaN
    darkest, brightest = min(0.0, float(values.min())), float(values.max())
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        whites = [65535]
    else:
        whites = [*([1] if array.dtype.kind == "f" else []), 255, 65535]
    white = next((limit for limit in whites if brightest <= limit), brightest)
    scaled = (values - np.float32(darkest)) * np.float32(255 / (white - darkest))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def _too_large(name: str) -> str:
    return f"{name} is larger than {MAX_SIDE}x{MAX_SIDE} pixels; make it smaller."
