"""A video or picture -> visual tokens, and the text block with the slots they go into.

In:  an open video and how densely to read it.   Out: a `Selection` of its clips, and their tokens.
Odd: clips are encoded in groups that take a fraction of a second, because a closed iterator
stops the work between two groups. Every clip is shrunk as soon as it is decoded: at full size
there is one clip in memory.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apollo.errors import SettingError
from apollo.model.causal_lm import ApolloForCausalLM, Pixels
from apollo.model.prompt import image_block, video_block
from apollo.model.token_cache import TokenCache
from apollo.settings import Sampling
from apollo.video.choice import varied_clips
from apollo.video.clips import Clip, clip_budget, plan_clips
from apollo.video.info import VideoInfo
from apollo.video.picture import read_image
from apollo.video.reader import Video

FRAMES_PER_IMAGE = 4  # an image goes down the video path, repeated (docs/original.md#27)
CLIPS_AT_ONCE_CPU = 1  # a CPU gains nothing from more
CLIPS_AT_ONCE_GPU = 8


@dataclass(frozen=True)
class Selection:
    """What of a video or picture is shown to the model; nothing of it is decoded yet."""

    block: str | None = None  # the text with the slots
    num_clips: int = 0  # N, how many clips have to be encoded
    clips: Sequence[Clip] = ()  # none for a picture
    covered_s: float = 0.0
    note: str | None = None  # a sentence for the person
    key: Hashable = None  # equal for the same content seen by the same model


class Viewer:
    """Selects, decodes and encodes for one model. Safe to use from several threads."""

    def __init__(self, model: ApolloForCausalLM, cache: TokenCache) -> None:
        self.model = model
        self.cache = cache

    # ---- which clips ---------------------------------------------------------------------

    def plan(self, info: VideoInfo, sampling: Sampling, max_clips: int | None = None) -> list[Clip]:
        """The clips to read: no more than the settings, the context and `max_clips` allow."""
        config = self.model.config
        budget = clip_budget(config.max_context_tokens, config.tokens_per_clip)
        return self._planned(info, sampling, min(budget, max_clips or budget))

    def choose(self, video: Video, sampling: Sampling, max_clips: int | None = None) -> list[Clip]:
        """As many clips as `plan` gives, those that `sampling.choose` wants."""
        uniform = self.plan(video.info, sampling, max_clips)
        if sampling.choose == "uniform":
            return uniform
        every = self._planned(video.info, replace(sampling, max_clips=None), None)
        return varied_clips(video, every, uniform)

    def _planned(self, info: VideoInfo, sampling: Sampling, max_clips: int | None) -> list[Clip]:
        limits = [limit for limit in (sampling.max_clips, max_clips) if limit]
        return plan_clips(
            info,
            clip_duration_s=self._clip_duration_s(sampling),
            frames_per_clip=sampling.frames_per_clip,
            max_clips=min(limits) if limits else None,
            start_s=sampling.start_s,
            end_s=sampling.end_s,
        )

    def _clip_duration_s(self, sampling: Sampling) -> float:
        return sampling.clip_duration_s or self.model.config.clip_duration_s

    def select(
        self, video: Video, sampling: Sampling, count_tokens: Callable[[str], int], room: int
    ) -> Selection:
        """As many clips as fit: `count_tokens(block)` of the whole prompt is at most `room`.

        One clip is always selected, whether it fits or not.
        """
        clips = self.choose(video, sampling)
        while True:
            selection = self.selection(video, clips, sampling)
            assert selection.block is not None
            num_tokens = count_tokens(selection.block)
            if num_tokens <= room or len(clips) == 1:
                return selection
            fewer = min(len(clips) - 1, int(len(clips) * room / num_tokens))
            clips = self.choose(video, sampling, max(1, fewer))

    def selection(self, video: Video, clips: Sequence[Clip], sampling: Sampling) -> Selection:
        """These clips of the video."""
        info, clip_duration_s = video.info, self._clip_duration_s(sampling)
        block = video_block(
            clips,
            duration_s=info.duration_s,
            clip_duration_s=clip_duration_s,
            tokens_per_clip=self.model.config.tokens_per_clip,
        )
        start_s = max(info.start_s, sampling.start_s or 0.0)
        end_s = min(info.duration_s, sampling.end_s or info.duration_s)
        return Selection(
            block,
            len(clips),
            clips,
            covered_s=min(len(clips) * clip_duration_s, end_s - start_s),
            note=self._note(info, clips, sampling),
            key=(self.model.vision_key, video.digest, tuple(clip.frame_ids for clip in clips)),
        )

    def _note(self, info: VideoInfo, clips: Sequence[Clip], sampling: Sampling) -> str | None:
        """A sentence when the model's context, not the person's settings, left clips out."""
        if len(clips) >= len(self._planned(info, sampling, None)):
            return None
        if len(clips) == 1:
            return "The video is long, so only 1 clip of it could be read."
        if sampling.choose == "varied":
            return (
                f"The video is long, so only {len(clips)} clips of it could be read, those that "
                "cover what changes."
            )
        gap_s = clips[1].start_s - clips[0].start_s
        return (
            f"The video is long, so only {len(clips)} clips of it could be read, one every "
            f"{gap_s:.0f} seconds."
        )

    # ---- pixels and tokens ---------------------------------------------------------------

    def pixels(self, video: Video, clips: Sequence[Clip]) -> Iterator[Pixels]:
        """The clips as uint8 pixels on the CPU, some (n, ...) at a time, one tensor a tower."""
        coming = video.read(clips)
        while group := self.resized(itertools.islice(coming, self._clips_at_once)):
            yield group

    def resized(self, clips: Iterable[np.ndarray]) -> Pixels:
        """Frames of n clips, each (T, H, W, 3) -> uint8 pixels (n, ...), one tensor a tower."""
        transforms = self.model.vision_tower.vision_processor
        small = [[transform.resize(frames) for transform in transforms] for frames in clips]
        return [torch.stack(tower) for tower in zip(*small, strict=True)]

    @property
    def _clips_at_once(self) -> int:
        on_cpu = self.model.device.type == "cpu"
        wanted = CLIPS_AT_ONCE_CPU if on_cpu else CLIPS_AT_ONCE_GPU
        return min(wanted, self.model.config.encode_batch_size)

    @torch.inference_mode()
    def encode(self, pixels: Pixels) -> Tensor:
        """Pixels of n clips, one tensor a tower -> visual tokens (n, K, D)."""
        return self.model.encode_clips(pixels)

    def tokens(self, video: Video, selection: Selection) -> Tensor:
        """The visual tokens (N, K, D) of the selected clips, kept or new."""
        tokens = self.cache.get(selection.key)
        if tokens is None:
            tokens = torch.cat([self.encode(p) for p in self.pixels(video, selection.clips)])
            self.cache.put(selection.key, tokens)
            video.tell()
        return tokens

    def picture(self, image: Any) -> tuple[Selection, Pixels]:
        """A picture is one clip of the same frame: the selection, and its pixels (1, ...)."""
        frame = read_image(image)  # (H, W, 3)
        digest = hashlib.blake2b(frame.tobytes(), digest_size=16).hexdigest()
        key = (self.model.vision_key, digest, frame.shape)
        block = image_block(self.model.config.tokens_per_clip)
        frames = np.repeat(frame[None], FRAMES_PER_IMAGE, axis=0)  # (H, W, 3) -> (T, H, W, 3)
        return Selection(block, 1, key=key), self.resized([frames])

    def thumbnails(
        self, video: str | os.PathLike[str], sampling: Sampling, height_px: int
    ) -> Iterator[tuple[float, Image.Image]]:
        """(time_s, thumbnail) of every planned frame, in order."""
        if height_px < 1:
            raise SettingError(f"height_px is {height_px}; choose a height of at least 1 pixel.")
        with Video(video, max_read_s=sampling.max_read_s) as opened:
            clips = self.choose(opened, sampling)
            for clip, frames in zip(clips, opened.read(clips), strict=True):
                for frame_id, frame in zip(clip.frame_ids, frames, strict=True):
                    picture = Image.fromarray(frame)
                    picture.thumbnail((10 * height_px, height_px))
                    yield opened.info.time_of(frame_id), picture
