"""Seeds to training samples: what a tower or the connector sees of a cartoon clip, with labels.

In:  a sample number.  Out: numpy arrays, made only from that number, so that any step of a run
     can be made again.
Odd: pixels go through the towers' own transforms, and half of the frames through a JPEG round
     trip and a change of brightness first, as videos do on their way to a person.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from apollo.cartoon.draw.labels import dense_labels, facts_of_clip, facts_of_scene
from apollo.cartoon.draw.render import clip_times_s, render_frame
from apollo.cartoon.world.scenes import Cartoon, video_from_seed
from apollo.train.task import Batch

RENDER_SIZES_PX = (112, 144, 192, 240, 320)
DEGRADED_SHARE = 0.5  # of clips
WIDE_SHARE = 0.5  # of the videos are not square, so the transforms pad them
ASPECTS = (4 / 3, 3 / 2, 16 / 9, 16 / 9, 3 / 4, 9 / 16)  # 16:9 is most common, and shows all small
CUT_SHARE = 0.25  # of the clips come from videos with several scenes, so a cut may be in them
SEED_STRIDE = 1_000_003  # keeps the streams of the stages apart


def degraded(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) after JPEG compression and a change of brightness, the same for all frames."""
    if rng.random() >= DEGRADED_SHARE:
        return frames
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))]
    gain, shift = rng.uniform(0.85, 1.12), rng.uniform(-14, 14)
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        _, coded = cv2.imencode(".jpg", cv2.convertScaleAbs(frame, alpha=gain, beta=shift), quality)
        out[i] = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return out


def sample_aspect(rng: np.random.Generator) -> float:
    """Width / height of a video."""
    return float(rng.choice(ASPECTS)) if rng.random() < WIDE_SHARE else 1.0


def frames_at(
    video: Cartoon, times_s: list[float], rng: np.random.Generator, aspect: float
) -> np.ndarray:
    """Frames (T, H, W, 3) at a random size, sometimes degraded."""
    size_px = int(rng.choice(RENDER_SIZES_PX))
    frames = [render_frame(video, t_s, size_px, aspect=aspect) for t_s in times_s]
    return degraded(np.stack(frames), rng)


def a_clip(rng: np.random.Generator, seed: int) -> tuple[Cartoon, int]:
    """A training video and one of its clips; most videos have a single scene."""
    several = rng.random() < CUT_SHARE
    video = video_from_seed(seed, num_scenes=2 + int(rng.integers(3)) if several else 1)
    return video, int(rng.integers(video.num_clips))


def frame_sample(number: int, grid: int, transform: Any) -> Batch:
    """One frame for the image tower: pixels (3, S, S), patch labels (G, G), facts."""
    rng = np.random.default_rng((number, 1))
    video, clip = a_clip(rng, number)
    aspect = sample_aspect(rng)
    t_s = clip_times_s(clip)[int(rng.integers(4))] + float(rng.uniform(0, 0.1))
    pixels = transform(frames_at(video, [t_s], rng, aspect))[0]  # (1, 3, S, S) -> (3, S, S)
    labels = dense_labels(video, t_s, grid, aspect=aspect)
    return {"pixels": pixels, **labels, "facts": facts_of_scene(video.at(t_s)[1])}


def clip_sample(number: int, grid: int, transform: Any) -> Batch:
    """One clip for the video tower: pixels (3, T, S, S), labels (2, G, G), one per two frames."""
    rng = np.random.default_rng((number, 2))
    video, clip = a_clip(rng, number)
    aspect = sample_aspect(rng)
    times_s = clip_times_s(clip)
    pixels = transform(frames_at(video, times_s, rng, aspect))
    middles_s = [(times_s[0] + times_s[1]) / 2, (times_s[2] + times_s[3]) / 2]
    labels = [dense_labels(video, t_s, grid, aspect=aspect) for t_s in middles_s]
    return {
        "pixels": pixels,
        "object": np.stack([at["object"] for at in labels]),
        "motion": np.stack([at["motion"] for at in labels]),
        "facts": facts_of_clip(video, clip),
    }


def video_pixels(video: Cartoon, transforms: list[Any], rng: np.random.Generator) -> list[Tensor]:
    """All clips of a video, one tensor per tower: (N, 3, T, S, S) and (N, T, 3, S, S)."""
    aspect = sample_aspect(rng)
    clips = [frames_at(video, clip_times_s(c), rng, aspect) for c in range(video.num_clips)]
    return [torch.stack([transform(frames) for frames in clips]) for transform in transforms]


def collate(samples: list[Batch]) -> Batch:
    """Arrays and numbers stacked to tensors, facts to one tensor per slot."""
    out: Batch = {}
    for key, value in samples[0].items():
        column = [sample[key] for sample in samples]
        if isinstance(value, dict):
            out[key] = {k: torch.tensor([row[k] for row in column]) for k in value}
        else:
            out[key] = torch.stack([torch.as_tensor(row) for row in column])
    return out
