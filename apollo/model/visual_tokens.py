"""A video or picture -> visual tokens, and the text block with the slots they go into.

In:  an open video and how densely to read it.   Out: a `Selection` of its clips, and their tokens.
Odd: which clips are read depends on the video and on `Sampling` alone, never on the conversation,
so that a later question reads nothing again. Clips are encoded in groups that take a fraction of a
second, because a closed iterator stops the work between two groups.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apollo.data.recent import Recent
from apollo.errors import SettingError
from apollo.model.causal_lm import ApolloForCausalLM, Pixels
from apollo.model.clip_cache import ClipCache, ClipKey, EncodedClip
from apollo.model.prompt import image_block, tokenize, video_block
from apollo.settings import Sampling
from apollo.video.choice import varied_clips
from apollo.video.clips import Clip, clip_budget, plan_clips
from apollo.video.info import VideoInfo
from apollo.video.picture import read_image
from apollo.video.reader import Video
from apollo.vision.clip_pixels import ClipPixels, clip_pixels

FRAMES_PER_IMAGE = 4  # an image goes down the video path, repeated (docs/original.md#27)
# Several clips at once cost a CPU 0.6 of one by one while they fit its caches; a large model's clip
# takes seconds, and a stop takes effect between two groups.
MOST_AT_ONCE = 8
CPU_FLOP_AT_ONCE = 10e9  # about 0.2 s of two cores
DIGEST_VALUES = 4096  # of each tensor that are looked at
RESERVED_SHARE, MOST_RESERVED = 1 / 4, 2048  # of the context, in tokens


@dataclass(frozen=True)
class Selection:
    """What of a video or picture is shown to the model; nothing of it is decoded yet."""

    block: str | None = None  # the text with the slots
    clips: tuple[Clip, ...] = ()  # none for a picture
    keys: tuple[ClipKey | None, ...] = ()  # of each clip to encode, in order; a picture is one clip
    covered_s: float = 0.0
    note: str | None = None  # a sentence for the person

    @property
    def num_clips(self) -> int:
        """N, how many clips the block has slots for."""
        return len(self.keys)


class Viewer:
    """Selects, decodes and encodes for one model. Safe to use from several threads."""

    def __init__(self, model: ApolloForCausalLM, cache: ClipCache) -> None:
        self.model = model
        self.cache = cache
        self._plans: Recent[list[Clip]] = Recent(256)
        self._clips_at_once = clips_at_once(model)

    # ---- which clips ---------------------------------------------------------------------

    @property
    def reserved_tokens(self) -> int:
        """Room in the context that clips never take: for the conversation and its answer."""
        return min(int(self.model.config.max_context_tokens * RESERVED_SHARE), MOST_RESERVED)

    def planned(self, video: Video, sampling: Sampling) -> list[Clip]:
        """The clips to read: as many as the settings allow and leave room for a conversation.

        Raises:
            VideoError: the range is not in the video.
        """
        key = (video.state, sampling)
        return self._plans.get(key, lambda: self._plan_with_room(video, sampling))

    def _plan_with_room(self, video: Video, sampling: Sampling) -> list[Clip]:
        room = self.model.config.max_context_tokens - self.reserved_tokens
        clips = self._chosen(video, sampling, None)
        while len(clips) > 1:
            num_tokens = self.block_tokens(video.info, clips, sampling)
            if num_tokens <= room:
                break
            fewer = min(len(clips) - 1, len(clips) * room // num_tokens)
            clips = self._chosen(video, sampling, max(1, fewer))
        return clips

    def _chosen(self, video: Video, sampling: Sampling, max_clips: int | None) -> list[Clip]:
        clips = self.plan(video.info, sampling, max_clips)
        if sampling.choose == "uniform":
            return clips
        every = self._spread(video.info, replace(sampling, max_clips=None), None)
        return varied_clips(video, every, uniform=clips)

    def plan(self, info: VideoInfo, sampling: Sampling, max_clips: int | None = None) -> list[Clip]:
        """Clips spread evenly, no more than the settings, the context and `max_clips` allow."""
        config = self.model.config
        budget = clip_budget(config.max_context_tokens, config.tokens_per_clip)
        return self._spread(info, sampling, min(budget, max_clips or budget))

    def _spread(self, info: VideoInfo, sampling: Sampling, max_clips: int | None) -> list[Clip]:
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

    def block_tokens(self, info: VideoInfo, clips: Sequence[Clip], sampling: Sampling) -> int:
        """How many tokens these clips take in a prompt, slots and text."""
        return len(tokenize(self._block(info, clips, sampling), self.model.tokenizer))

    def _block(self, info: VideoInfo, clips: Sequence[Clip], sampling: Sampling) -> str:
        return video_block(
            clips,
            duration_s=info.duration_s,
            clip_duration_s=self._clip_duration_s(sampling),
            tokens_per_clip=self.model.config.tokens_per_clip,
        )

    def selection(self, video: Video, clips: Sequence[Clip], sampling: Sampling) -> Selection:
        """These clips of the video."""
        info, adapter = video.info, self.model.vision_key
        start_s = max(info.start_s, sampling.start_s or 0.0)
        end_s = min(info.duration_s, sampling.end_s or info.duration_s)
        return Selection(
            self._block(info, clips, sampling),
            tuple(clips),
            tuple(
                None
                if adapter is None
                else ClipKey(adapter, video.digest, clip.frame_ids, sampling.exact)
                for clip in clips
            ),
            covered_s=min(len(clips) * self._clip_duration_s(sampling), end_s - start_s),
            note=self._note(info, clips, sampling),
        )

    def _note(self, info: VideoInfo, clips: Sequence[Clip], sampling: Sampling) -> str | None:
        """A sentence when the model's context, not the person's settings, left clips out."""
        if len(clips) >= len(self._spread(info, sampling, None)):
            return None
        if len(clips) == 1:
            return "The video is long, so only 1 clip of it could be read."
        begin = f"The video is long, so only {len(clips)} clips of it could be read, "
        if sampling.choose == "varied":
            return begin + "those that cover what changes."
        gap_s = (clips[-1].start_s - clips[0].start_s) / (len(clips) - 1)
        return begin + f"one every {gap_s:.0f} seconds."

    # ---- pixels and tokens ---------------------------------------------------------------

    def pixels(
        self, video: Video, clips: Sequence[Clip], exact: bool, at_once: int | None = None
    ) -> Generator[ClipPixels, None, None]:
        """The clips as uint8 pixels on the CPU, some (n, ...) at a time."""
        transforms = self.model.vision_tower.vision_processor
        at_once = at_once or self._clips_at_once
        return clip_pixels(video, clips, transforms, clips_at_once=at_once, exact=exact)

    def resized(self, clips: Sequence[np.ndarray], exact: bool = False) -> Pixels:
        """Frames of n clips, each (T, H, W, 3) -> uint8 pixels (n, ...), one tensor a tower."""
        transforms = self.model.vision_tower.vision_processor
        small = [[t.resize(frames, exact=exact) for t in transforms] for frames in clips]
        return [torch.stack(tower) for tower in zip(*small, strict=True)]

    @torch.inference_mode()
    def encode(self, pixels: Pixels) -> Tensor:
        """Pixels of n clips, one tensor a tower -> visual tokens (n, K, D).

        Where the device's memory does not hold the group, each half is encoded alone.
        """
        try:
            return self.model.encode_clips(pixels)
        except torch.OutOfMemoryError:
            if len(pixels[0]) == 1:
                raise
            half = len(pixels[0]) // 2
            parts = [[tower[:half] for tower in pixels], [tower[half:] for tower in pixels]]
        return torch.cat([self.encode(part) for part in parts])

    def tokens(self, video: Video, selection: Selection) -> Tensor:
        """The visual tokens (N, K, D) of the selected clips of the video, kept or new."""
        found = [self.cache.get(key) for key in selection.keys]
        missing = [i for i, clip in enumerate(found) if clip is None]
        coming = iter(missing)
        for group in self.pixels(video, [selection.clips[i] for i in missing], exact=False):
            for tokens, lost in zip(self.encode(group.pixels).cpu(), group.lost, strict=True):
                place = next(coming)
                found[place] = clip = EncodedClip(tokens, lost)
                self.cache.put(selection.keys[place], clip)
        if missing:
            video.tell()
        return torch.stack([clip.tokens for clip in found if clip is not None])  # (N, K, D)

    def picture(self, image: Any) -> tuple[Selection, Pixels]:
        """A picture is one clip of the same frame: the selection, and its pixels (1, ...)."""
        frame = read_image(image)  # (H, W, 3)
        adapter, size = self.model.vision_key, frame.shape[:2]
        digest = hashlib.blake2b(frame.tobytes(), digest_size=16).hexdigest()
        key = None if adapter is None else ClipKey(adapter, digest, size, exact=True)
        block = image_block(self.model.config.tokens_per_clip)
        frames = np.repeat(frame[None], FRAMES_PER_IMAGE, axis=0)  # (H, W, 3) -> (T, H, W, 3)
        return Selection(block, keys=(key,)), self.resized([frames], exact=True)

    def thumbnails(
        self, video: str | os.PathLike[str], sampling: Sampling, height_px: int
    ) -> Iterator[tuple[float, Image.Image]]:
        """(time_s, thumbnail) of every planned frame, in order."""
        if height_px < 1:
            raise SettingError(f"height_px is {height_px}; choose a height of at least 1 pixel.")
        with Video(video, max_read_s=sampling.max_read_s) as opened:
            clips = self.planned(opened, sampling)
            for clip, frames in zip(clips, opened.read(clips), strict=True):
                for frame_id, frame in zip(clip.frame_ids, frames, strict=True):
                    picture = Image.fromarray(frame)
                    picture.thumbnail((10 * height_px, height_px))
                    yield opened.info.time_of(frame_id), picture


def clips_at_once(model: ApolloForCausalLM) -> int:
    """How many clips go through the towers together."""
    if model.device.type != "cpu":
        return min(MOST_AT_ONCE, model.config.encode_batch_size)
    towers = model.vision_tower
    patches = towers.num_steps * towers.grid**2  # of a clip
    flop = 2 * patches * sum(weight.numel() for weight in towers.parameters())
    return max(1, min(int(CPU_FLOP_AT_ONCE / flop), MOST_AT_ONCE, model.config.encode_batch_size))


def encoder_digest(model: ApolloForCausalLM) -> str:
    """A digest of all that makes visual tokens of pixels, but for adapters."""
    config = model.config
    towers = [config.tower_config(name) for name in config.tower_names]
    about = [config.tower_names, towers, config.mm_connector_cfg, config.mm_vision_select_layer]
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True, default=str).encode())
    digest.update(f"{model.dtype} {model.device.type}".encode())
    for part in (model.vision_tower, model.mm_connector):
        for name, tensor in sorted(part.state_dict().items()):
            flat = tensor.detach().reshape(-1)
            step = max(1, len(flat) // DIGEST_VALUES)  # training changes nearly all values
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(flat[::step].float().cpu().numpy().tobytes())
    return digest.hexdigest()
