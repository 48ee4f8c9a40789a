"""Pixels of both towers against the recorded original and against pad-then-resize done plainly."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from paths import GOLDEN
from PIL import Image

from apollo.vision.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InternVideo2Transform,
    SiglipTransform,
)

SIZES = [(1080, 1920), (1920, 1080), (77, 101), (101, 77), (96, 96), (33, 400), (400, 33), (1, 9)]


def noise(height: int, width: int, count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def padded(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    height, width = frame.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), colour, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square


def plain_siglip(frame: np.ndarray, size: int) -> np.ndarray:
    square = Image.fromarray(padded(frame, (127, 127, 127)))
    pixels = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC), np.float64)
    return ((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1)


def plain_internvideo2(frame: np.ndarray, size: int) -> np.ndarray:
    pixels = cv2.resize(padded(frame, (123, 116, 103)), (size, size)).astype(np.float64)
    return ((pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)


@pytest.mark.parametrize("name", ["v02", "v09", "image_a_landscape", "image_b_portrait"])
def test_pixels_are_the_originals(golden: Any, name: str) -> None:
    recorded = golden("preprocess")
    if name.startswith("image"):
        image = Image.open(GOLDEN / "images" / f"{name}.png").convert("RGB")
        frames = np.asarray(image)[None]
    else:
        frames = recorded[f"{name}.frames_u8"].numpy()  # (T, H, W, 3)
    siglip = SiglipTransform(72)(frames)  # (T, 3, 72, 72)
    video = InternVideo2Transform(56)(frames)  # (3, T, 56, 56)
    assert siglip.shape == (len(frames), 3, 72, 72) and siglip.dtype == torch.float32
    assert video.shape == (3, len(frames), 56, 56) and video.dtype == torch.float32
    torch.testing.assert_close(siglip, recorded[f"{name}.sg"][0], atol=1e-3, rtol=0)
    torch.testing.assert_close(video, recorded[f"{name}.iv"][0], atol=1.5e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_shortcuts_change_no_pixel(height: int, width: int) -> None:
    frames = noise(height, width, count=2)
    siglip, video = SiglipTransform(48)(frames), InternVideo2Transform(40)(frames)
    for i, frame in enumerate(frames):
        # far below a grey level (0.0078): only float rounding may differ
        np.testing.assert_allclose(siglip[i].numpy(), plain_siglip(frame, 48), atol=1e-6)
        np.testing.assert_allclose(video[:, i].numpy(), plain_internvideo2(frame, 40), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [*SIZES, (300, 700), (700, 300), (720, 1280)])
@pytest.mark.parametrize("size", [48, 56, 384])
def test_the_quick_resize_is_at_most_a_grey_level_away(height: int, width: int, size: int) -> None:
    siglip, video = SiglipTransform(size), InternVideo2Transform(size)
    steps = (noise(height, width) // 128 * 255).astype(np.uint8)  # edges, which overshoot
    for frames in (noise(height, width), steps):
        frames.setflags(write=False)
        quick, exact = siglip.resize(frames), siglip.resize(frames, exact=True)
        assert (quick.int() - exact.int()).abs().max() <= 1
        assert torch.equal(siglip(frames), siglip.normalise(exact))
        assert (siglip.normalise(quick) - siglip.normalise(exact)).abs().max() <= 0.0079
        assert torch.equal(quick, exact) == (max(height, width) < 2 * size)
        assert torch.equal(video.resize(frames), video.resize(frames, exact=True))


@pytest.mark.parametrize("side", [40, 56, 97, 101, 112, 123, 168, 180, 280])
@pytest.mark.parametrize("size", [40, 56])
def test_every_row_that_the_bilinear_resize_reads_is_there(side: int, size: int) -> None:
    """Ratios that are whole and odd read one row for each pixel, others two."""
    for shape in ((side, side - 9), (side - 8, side)):
        frames = noise(*shape)
        expected = plain_internvideo2(frames[0], size)
        small = InternVideo2Transform(size)(frames)[:, 0]
        np.testing.assert_allclose(small.numpy(), expected, atol=1e-6)


def test_padding_becomes_the_truncated_mean() -> None:
    frames = noise(16, 64)
    grey = (127 / 255 - 0.5) / 0.5
    above = SiglipTransform(64)(frames)[0, :, :20]  # (3, 20, 64)
    torch.testing.assert_close(above, torch.full_like(above, grey), atol=1e-6, rtol=0)
    top = InternVideo2Transform(64)(frames)[:, 0, 0, 0]
    level = [c / 255 for c in (123, 116, 103)]
    expected = [(v - m) / s for v, m, s in zip(level, IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    assert top.tolist() == pytest.approx(expected, abs=1e-6)


def test_kept_square_holds_nothing_of_other_sizes_or_frames() -> None:
    transform = InternVideo2Transform(40)
    for seed, (height, width) in enumerate([(60, 100), (100, 60), (60, 100), (60, 98), (50, 50)]):
        frames = noise(height, width, seed=seed)
        expected = plain_internvideo2(frames[0], 40)
        np.testing.assert_allclose(transform(frames)[:, 0].numpy(), expected, atol=1e-6)


def test_one_transform_serves_many_threads() -> None:
    siglip, video = SiglipTransform(48), InternVideo2Transform(40)
    jobs = [noise(60 + 7 * (i % 3), 300, count=4, seed=i) for i in range(24)]
    expected = [(SiglipTransform(48)(f), InternVideo2Transform(40)(f)) for f in jobs]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda frames: (siglip(frames), video(frames)), jobs))
    for (a, b), (c, d) in zip(results, expected, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_mean_and_std_come_from_the_config() -> None:
    frames = noise(20, 20)
    black = SiglipTransform(20, mean=(0.0, 0.2, 0.4), std=(1.0, 0.5, 0.25))(frames)
    plain = frames[0].transpose(2, 0, 1) / 255
    shifted = (plain - np.array([0, 0.2, 0.4])[:, None, None]) / np.array([1, 0.5, 0.25])[
        :, None, None
    ]
    np.testing.assert_allclose(black[0].numpy(), shifted, atol=1e-6)
    wide = SiglipTransform(8, mean=(0.0, 0.2, 0.4))(np.zeros((1, 1, 8, 3), np.uint8))
    assert wide[0, 1, 0, 0].item() == pytest.approx((51 / 255 - 0.2) / 0.5, abs=1e-6)


def test_image_size_can_be_asked_and_transforms_travel() -> None:
    for transform in (SiglipTransform(48), InternVideo2Transform(40)):
        copy = pickle.loads(pickle.dumps(transform))
        frames = noise(30, 50)
        assert copy.image_size == transform.image_size
        assert torch.equal(copy(frames), transform(frames))


def test_results_are_contiguous() -> None:
    assert SiglipTransform(24)(noise(30, 50, 3)).is_contiguous()
    assert InternVideo2Transform(24)(noise(30, 50, 3)).is_contiguous()
