"""A video or picture -> visual tokens, and the text block with the slots they go into.

In:  a file and how densely to read it.   Out: a `Visual`: block, clips and tokens (N*K, D).
Odd: clips are encoded in groups that take a fraction of a second, because a reader who goes away
is noticed between two groups. What was encoded before is taken from the cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.prompt import image_block, video_block
from apollo.model.token_cache import TokenCache, file_digest
from apollo.settings import Sampling
from apollo.video.clips import Clip, VideoInfo, clip_budget, plan_clips
from apollo.video.picture import read_image
from apollo.video.reader import probe, read_clips

FRAMES_PER_IMAGE = 4  # an image goes down the video path, repeated (docs/original.md#27)
CLIPS_AT_ONCE_CPU = 1  # a CPU gains nothing from more
CLIPS_AT_ONCE_GPU = 8


@dataclass
class Visual:
    """What a prompt shows: the text block with its slots, and what was read for it."""

    block: str | None = None
    clips: Sequence[Clip] = ()
    tokens: Tensor | None = None  # (N*K, D)
    covered_s: float = 0.0
    reused: bool = False
    note: str | None = None


class Viewer:
    """Plans, decodes and encodes for one model. Safe to use from several threads."""

    def __init__(self, model: ApolloForCausalLM, cache: TokenCache) -> None:
        self.model = model
        self.cache = cache

    def plan(self, info: VideoInfo, sampling: Sampling, max_clips: int | None = None) -> list[Clip]:
        """The clips to read: no more than the settings, the context and `max_clips` allow."""
        config = self.model.config
        limits = (
            max_clips,
            sampling.max_clips,
            clip_budget(config.max_context_tokens, config.tokens_per_clip),
        )
        return plan_clips(
            info,
            clip_duration_s=self._clip_duration_s(sampling),
            frames_per_clip=sampling.frames_per_clip,
            max_clips=min(limit for limit in limits if limit),
            start_s=sampling.start_s,
            end_s=sampling.end_s,
        )

    def _clip_duration_s(self, sampling: Sampling) -> float:
        return sampling.clip_duration_s or self.model.config.clip_duration_s

    def frames(
        self, video: str | os.PathLike[str], sampling: Sampling, height_px: int
    ) -> Iterator[tuple[float, Image.Image]]:
        """(time_s, thumbnail) of every planned frame, in order."""
        info = probe(video)
        clips = self.plan(info, sampling)
        for clip, frames in zip(clips, read_clips(video, clips), strict=True):
            for frame_id, frame in zip(clip.frame_ids, frames, strict=True):
                picture = Image.fromarray(frame)
                picture.thumbnail((10 * height_px, height_px))
                yield frame_id / info.fps, picture

    def fit(
        self,
        video: str | os.PathLike[str],
        sampling: Sampling,
        count_tokens: Callable[[str], int],
        room: int,
    ) -> Visual:
        """Plans as many clips as fit: `count_tokens(block)` of the whole prompt is at most `room`.

        One clip is always planned, whether it fits or not.
        """
        info = probe(video)
        clip_duration_s = self._clip_duration_s(sampling)
        full = clips = self.plan(info, sampling)
        while True:
            block = video_block(
                clips,
                duration_s=info.duration_s,
                clip_duration_s=clip_duration_s,
                tokens_per_clip=self.model.config.tokens_per_clip,
            )
            num_tokens = count_tokens(block)
            if num_tokens <= room or len(clips) == 1:
                break
            fewer = min(len(clips) - 1, int(len(clips) * room / num_tokens))
            clips = self.plan(info, sampling, max(1, fewer))
        note = None
        gap_s = clips[1].start_s - clips[0].start_s if len(clips) > 1 else 0.0
        if len(clips) < len(full) or gap_s > 1.5 * clip_duration_s:
            noun = "clip" if len(clips) == 1 else "clips"
            note = f"The video is long, so only {len(clips)} {noun} of it could be read" + (
                f", one every {gap_s:.0f} seconds." if gap_s else "."
            )
        covered_s = _covered_s(info, clips, sampling, clip_duration_s)
        return Visual(block, clips, covered_s=covered_s, note=note)

    def read(self, visual: Visual, video: str | os.PathLike[str]) -> Iterator[tuple[int, int]]:
        """Fills in the tokens of the planned clips, a few at a time, or from the cache.

        Yields (clips done, clips in all) as it goes.
        """
        frame_ids = tuple(clip.frame_ids for clip in visual.clips)
        key = (self.model.sight_key, file_digest(video), frame_ids)
        tokens = self.cache.get(key)
        visual.reused = tokens is not None
        if tokens is None:
            total = len(visual.clips)
            yield 0, total
            parts: list[Tensor] = []
            group: list[np.ndarray] = []
            for number, frames in enumerate(read_clips(video, visual.clips), start=1):
                group.append(frames)
                if len(group) == self._clips_at_once or number == total:
                    parts.append(self.encode(group))
                    group = []
                yield number - len(group), total
            tokens = torch.cat(parts)  # (N, K, D)
            self.cache.put(key, tokens)
        visual.tokens = tokens.flatten(0, 1)  # (N, K, D) -> (N*K, D)

    @property
    def _clips_at_once(self) -> int:
        on_cpu = self.model.device.type == "cpu"
        wanted = CLIPS_AT_ONCE_CPU if on_cpu else CLIPS_AT_ONCE_GPU
        return min(wanted, self.model.config.encode_batch_size)

    @torch.inference_mode()
    def encode(self, clips: Sequence[np.ndarray]) -> Tensor:
        """Frames of some clips, each (T, H, W, 3) -> visual tokens (N, K, D)."""
        pixels = [
            torch.stack([transform(frames) for frames in clips])
            for transform in self.model.vision_tower.vision_processor
        ]
        return self.model.encode_clips(pixels)

    def see_image(self, image: Any) -> Visual:
        """A picture is one clip of the same frame."""
        frame = read_image(image)
        frames = np.repeat(frame[None], FRAMES_PER_IMAGE, axis=0)  # (H, W, 3) -> (T, H, W, 3)
        tokens = self.encode([frames])[0]  # (1, K, D) -> (K, D)
        return Visual(image_block(len(tokens)), tokens=tokens)


def _covered_s(
    info: VideoInfo, clips: Sequence[Clip], sampling: Sampling, clip_duration_s: float
) -> float:
    """Seconds of the video that lie inside some clip, at most the range that was asked for."""
    end_s = min(info.duration_s, sampling.end_s or info.duration_s)
    return min(len(clips) * clip_duration_s, end_s - (sampling.start_s or 0.0))
