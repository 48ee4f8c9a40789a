"""A picture file, image or array to one RGB frame (H, W, 3) uint8, upright."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

from apollo.errors import VideoError
from apollo.video.container import MAX_SIDE


def read_image(
    source: str | os.PathLike[str] | Image.Image | np.ndarray,
) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB, turned as its EXIF data says; transparency is dropped."""
    if isinstance(source, np.ndarray):
        return _rgb_of_array(source)
    if isinstance(source, Image.Image):
        return _rgb_of_image(source, "The picture")
    name = os.path.basename(os.path.abspath(os.fspath(source)))
    try:
        with Image.open(source) as image:
            return _rgb_of_image(image, name)
    except FileNotFoundError as error:
        raise VideoError(f"No such picture: {name}; check the path.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VideoError(_too_large(name)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise VideoError(
            f"{name} is not a picture this program can read; save it as JPEG or PNG."
        ) from error


def _rgb_of_image(image: Image.Image, name: str) -> np.ndarray:
    if max(image.size) > MAX_SIDE:  # the size is known before the pixels are decoded
        raise VideoError(_too_large(name))
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def _rgb_of_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    ):
        raise VideoError(
            f"A picture of shape {array.shape} and type {array.dtype} cannot be used; "
            "give (height, width, 3) uint8."
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)  # (H, W) -> (H, W, 3)
    return np.ascontiguousarray(array[:, :, :3])


def _too_large(name: str) -> str:
    return f"{name} is larger than {MAX_SIDE}x{MAX_SIDE} pixels; make it smaller."
