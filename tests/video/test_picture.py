"""Pictures as people have them: deep, transparent, turned, moving, from memory, or none at all."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from make_videos import numbered_frame
from PIL import Image

from apollo.errors import VideoError
from apollo.video.picture import read_image

RAMP = np.tile(np.arange(256, dtype=np.uint8), (64, 1))  # (64, 256), grey from black to white


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PNG of 32 bits
        image.save(path, **options)
    return path


DEEP: dict[str, np.ndarray] = {
    "16.png": RAMP.astype(np.uint16) * 257,
    "16.tif": RAMP.astype(np.uint16) * 257,
    "32.png": RAMP.astype(np.int32) * 257,
    "32.tif": RAMP.astype(np.int32) * 8_000_000,
    "fractions.tif": RAMP.astype(np.float32) / 255,
    "levels.tif": RAMP.astype(np.float32),
    "below_zero.tif": RAMP.astype(np.float32) * 2 - 255,
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_pictures_are_scaled_row_22(tmp_path: Path, name: str) -> None:
    image = Image.fromarray(DEEP[name])
    for source in (image, save(tmp_path / name, image)):
        frame = read_image(source)
        assert frame.shape == (64, 256, 3) and frame.dtype == np.uint8
        assert np.abs(frame[..., 0].astype(int) - RAMP).max() <= 1, name


def test_numbers_that_are_none_do_not_spread_row_22() -> None:
    light = RAMP / 255
    light[0, :3] = (np.nan, np.inf, 1e300)
    assert np.abs(read_image(light)[1:, :, 1].astype(int) - RAMP[1:]).max() <= 1


def stamp() -> Image.Image:
    """A black square on transparent ground, whose hidden colour is black."""
    rgba = np.zeros((64, 128, 4), np.uint8)
    rgba[16:48, 16:48, 3] = 255
    return Image.fromarray(rgba)


TRANSPARENT = {
    "RGBA.png": lambda image: image,
    "RGBA.webp": lambda image: image,
    "RGBA.tif": lambda image: image,
    "palette.png": lambda image: image.quantize(16),
    "LA.png": lambda image: image.convert("LA"),
    "one_colour.png": lambda image: image.convert("RGB"),
    "RGBA.gif": lambda image: image,
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_pictures_stand_on_white_rows_20_and_21(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    image = TRANSPARENT[name](stamp())
    if name == "one_colour.png":
        image = Image.new("RGB", (128, 64), (9, 0, 0))
        image.paste((0, 0, 0), (16, 16, 48, 48))
        options["transparency"] = (9, 0, 0)
    frame = read_image(save(tmp_path / name, image, **options))
    assert frame[24:40, 24:40].max() == 0
    assert frame[4:10, 56:70].min() == 255


def test_half_transparent_is_half_white_row_20() -> None:
    rgba = np.full((2, 2, 4), (100, 0, 200, 128), np.uint8)
    assert read_image(rgba)[0, 0].tolist() == [177, 127, 227]
    assert read_image(np.dstack([RAMP, np.zeros_like(RAMP)])).min() == 255


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_row_23(tmp_path: Path, turn: int) -> None:
    image = Image.fromarray(numbered_frame(9))
    exif = image.getexif()
    exif[0x0112] = turn
    frame = read_image(save(tmp_path / "phone.png", image, exif=exif))
    ways = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }
    np.testing.assert_array_equal(frame, ways[turn](numbered_frame(9)))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_what_moves_the_first_frame_is_used_with_a_warning_row_24(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"a.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=500, **options)
    with caplog.at_level(logging.WARNING):
        assert read_image(path)[5, 5].tolist() == [255, 0, 0]
    assert f"a.{suffix} moves; only its first frame is used. Give it as a video." in caplog.text


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(numbered_frame(3)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        png_bytes,
        lambda: io.BytesIO(png_bytes()),
        lambda: torch.from_numpy(numbered_frame(3)),
        lambda: torch.from_numpy(numbered_frame(3)).permute(2, 0, 1),
        lambda: torch.from_numpy(numbered_frame(3)).permute(2, 0, 1) / 255,
        lambda: numbered_frame(3)[:, ::-1][:, ::-1],
        lambda: numbered_frame(3).astype(np.int64),
        lambda: numbered_frame(3).astype(np.uint16) * 257,
    ],
)
def test_pictures_from_memory_row_25(make: Any) -> None:
    np.testing.assert_array_equal(read_image(make()), numbered_frame(3))


def test_arrays_with_one_channel_and_of_truth_row_25() -> None:
    assert read_image(RAMP[..., None]).shape == (64, 256, 3)
    assert read_image(RAMP > 3)[0, [3, 4]].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (np.zeros((0, 0, 3), np.uint8), r"shape \(0, 0, 3\) and type uint8 cannot be used"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\) and type uint8 cannot be used"),
        (np.zeros((2, 2, 3), complex), "type complex128 cannot be used"),
        (np.zeros((1, 2, 2, 3), np.uint8), r"shape \(1, 2, 2, 3\)"),
        (np.zeros((9000, 2), np.uint8), "larger than 8192x8192 pixels; make it smaller"),
        ([[1, 2]], "A picture cannot be a list; give a file, a PIL image or an array"),
        ([Image.new("L", (2, 2))], "A picture cannot be a list"),
        (7, "A picture cannot be a int"),
        (b"no picture", "The picture is not a picture this program can read"),
        (io.StringIO("no bytes"), "The picture is not a picture this program can read"),
        (Image.new("L", (0, 4)), "The picture has no pixels; give another one"),
        (torch.zeros(2, 2, 3, device="meta"), "cannot be made of this Tensor"),
        ("data:image/png;base64,AAAA", "No such picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_gets_a_sentence_row_25(source: Any, sentence: str) -> None:
    with pytest.raises(VideoError, match=sentence) as caught:
        read_image(source)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_heic_photo_names_the_extra_row_26(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(50))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(VideoError, match=r"IMG_1.HEIC is a HEIC photo; run pip install.*\[heif\]"):
        read_image(path)


def test_the_extra_is_used_where_it_is_installed_row_26(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    stand_in = SimpleNamespace(register_heif_opener=lambda: calls.append("registered"))
    monkeypatch.setitem(sys.modules, "pillow_heif", stand_in)
    read_image(save(tmp_path / "a.png", Image.new("L", (2, 2))))
    assert calls == ["registered"]


def test_avif_photos_need_no_extra(tmp_path: Path) -> None:
    path = save(tmp_path / "a.avif", Image.new("RGB", (32, 32), "red"))
    assert np.abs(read_image(path)[9, 9].astype(int) - (255, 0, 0)).max() < 8


def test_pictures_that_start_a_program_are_not_read(tmp_path: Path) -> None:
    """Pillow gives PostScript to Ghostscript."""
    path = save(tmp_path / "a.eps", Image.new("RGB", (8, 8)))
    with pytest.raises(VideoError, match="a.eps is not a picture this program can read"):
        read_image(path)
