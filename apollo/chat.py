"""Talk to a video: the only place that walks the whole line.

    file -> clips -> frames -> pixels -> tower features -> visual tokens -> prompt -> streamed text

`Apollo.events` is the primitive; `stream` and `answer` are loops over it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apollo import checkpoint
from apollo.cache import TokenCache, file_digest
from apollo.clips import Clip, VideoInfo, clip_budget, plan_clips
from apollo.errors import PromptError, SettingError
from apollo.model import ApolloForCausalLM
from apollo.models import MODELS, ModelCard, card_of
from apollo.prompt import Message, build_prompt, check_messages, image_block, tokenize, video_block
from apollo.settings import Generation, Sampling
from apollo.streaming import stream_text, watch_layers
from apollo.video import probe, read_clips, read_image

__all__ = ["MODELS", "Apollo", "Done", "Event", "ModelCard", "Reading", "Stats", "Text", "load"]

FRAMES_PER_IMAGE = 4  # an image goes down the video path, repeated (golden item 27)


@dataclass(frozen=True)
class Reading:
    """`done` of `total` clips are decoded and encoded."""

    done: int
    total: int


@dataclass(frozen=True)
class Text:
    """The next piece of the answer; "" is a sign of life while the prompt is read."""

    piece: str


@dataclass(frozen=True)
class Stats:
    """What the answer is based on and how fast it came."""

    clips: int
    covered_s: float
    reused_visual_tokens: bool
    prompt_tokens: int
    answer_tokens: int
    first_token_s: float
    tokens_per_s: float
    note: str | None = None  # a sentence for the person: clips thinned out, file damaged


@dataclass(frozen=True)
class Done:
    """The answer is complete."""

    stats: Stats


Event = Reading | Text | Done


@dataclass
class _Visual:
    """What a prompt shows: the text block with its slots, and how to get its tokens."""

    block: str | None = None
    clips: Sequence[Clip] = ()
    tokens: Tensor | None = None  # (N*K, D)
    covered_s: float = 0.0
    reused: bool = False
    note: str | None = None


class Apollo:
    """A loaded model. Safe to use from several threads; it keeps nothing of a conversation."""

    def __init__(self, model: ApolloForCausalLM, card: ModelCard) -> None:
        self.model = model
        self.card = card
        self.name = card.name
        self.cache = TokenCache()
        watch_layers(model)

    # ---- what the model will see ---------------------------------------------------------

    def clips(self, video: str | os.PathLike[str], sampling: Sampling = Sampling()) -> list[Clip]:
        """The planned clips with their times; nothing is decoded.

        Raises:
            VideoError: the file is missing, not a video, or the range is not in it.
        """
        return self._plan(probe(video), sampling, None)

    def frames(
        self, video: str | os.PathLike[str], sampling: Sampling = Sampling(), height_px: int = 96
    ) -> Iterator[tuple[float, Image.Image]]:
        """(time_s, thumbnail) of exactly the frames the model sees, in order."""
        info = probe(video)
        clips = self._plan(info, sampling, None)
        for clip, frames in zip(clips, read_clips(video, clips), strict=True):
            for frame_id, frame in zip(clip.frame_ids, frames, strict=True):
                picture = Image.fromarray(frame)
                picture.thumbnail((10 * height_px, height_px))
                yield frame_id / info.fps, picture

    def _plan(self, info: VideoInfo, sampling: Sampling, max_clips: int | None) -> list[Clip]:
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

    # ---- asking --------------------------------------------------------------------------

    def events(
        self,
        question: str | Sequence[Message],
        video: str | os.PathLike[str] | None = None,
        *,
        image: Any = None,
        sampling: Sampling = Sampling(),
        generation: Generation = Generation(),
    ) -> Iterator[Event]:
        """Reads, then answers: `Reading`..., `Text`..., `Done`. Closing the iterator stops it.

        `question` is a string, or messages {"role", "content"} of which the last is the user's.
        `video` is a file; `image` a file, a PIL image or an array. Neither: plain conversation.

        Raises:
            ApolloError: one plain sentence; nothing was lost, ask again after mending it.
        """
        messages = (
            [{"role": "user", "content": question}] if isinstance(question, str) else question
        )
        check_messages(messages)
        if video is not None and image is not None:
            raise PromptError("A question takes a video or an image, not both; leave one out.")
        try:
            yield from self._events(messages, video, image, sampling, generation)
        except torch.OutOfMemoryError as error:
            raise SettingError(
                "The model ran out of memory; read fewer clips (max_clips), a shorter part of the "
                "video, or choose a smaller model."
            ) from error

    def _events(
        self,
        messages: Sequence[Message],
        video: str | os.PathLike[str] | None,
        image: Any,
        sampling: Sampling,
        generation: Generation,
    ) -> Iterator[Event]:
        began_s = time.monotonic()
        visual = _Visual()
        if video is not None:
            visual = self._fit(messages, video, sampling, generation)
            yield from self._read(visual, video)
        elif image is not None:
            visual = self._see_image(image)
        ids = self._ids(messages, visual.block, generation)
        self._check_length(len(ids), generation)
        answer, first_token_s = "", 0.0
        for piece in stream_text(self.model, ids, visual.tokens, generation):
            if piece and not answer:
                first_token_s = time.monotonic() - began_s
            answer += piece
            yield Text(piece)
        took_s = time.monotonic() - began_s - first_token_s
        num_tokens = len(tokenize(answer, self.model.tokenizer))
        yield Done(
            Stats(
                clips=len(visual.clips),
                covered_s=visual.covered_s,
                reused_visual_tokens=visual.reused,
                prompt_tokens=len(ids),
                answer_tokens=num_tokens,
                first_token_s=first_token_s,
                tokens_per_s=num_tokens / took_s if took_s > 0 else 0.0,
                note=visual.note,
            )
        )

    def stream(self, video: Any, question: str | Sequence[Message], **kwargs: Any) -> Iterator[str]:
        """The answer, piece by piece. The keywords are those of `events`."""
        for event in self.events(question, video, **kwargs):
            if isinstance(event, Text) and event.piece:
                yield event.piece

    def answer(self, video: Any, question: str | Sequence[Message], **kwargs: Any) -> str:
        """The whole answer."""
        return "".join(self.stream(video, question, **kwargs)).strip()

    # ---- video -> clips -> visual tokens ---------------------------------------------------

    def _fit(
        self,
        messages: Sequence[Message],
        video: str | os.PathLike[str],
        sampling: Sampling,
        generation: Generation,
    ) -> _Visual:
        """Plans as many clips as the context holds beside the conversation and the answer."""
        info = probe(video)
        room = self.model.config.max_context_tokens - generation.max_new_tokens
        full = clips = self._plan(info, sampling, None)
        while True:
            block = video_block(
                clips,
                duration_s=info.duration_s,
                clip_duration_s=self._clip_duration_s(sampling),
                tokens_per_clip=self.model.config.tokens_per_clip,
            )
            num_tokens = len(self._ids(messages, block, generation))
            if num_tokens <= room or len(clips) == 1:
                break
            fewer = min(len(clips) - 1, int(len(clips) * room / num_tokens))
            clips = self._plan(info, sampling, max(1, fewer))
        note = None
        gap_s = clips[1].start_s - clips[0].start_s if len(clips) > 1 else 0.0
        if len(clips) < len(full) or gap_s > 1.5 * self._clip_duration_s(sampling):
            note = (
                f"The video is long, so only {len(clips)} clips of it were read, "
                f"one every {gap_s:.0f} seconds."
            )
        covered_s = sum(clip.end_s - clip.start_s for clip in clips)
        return _Visual(block, clips, covered_s=covered_s, note=note)

    def _read(self, visual: _Visual, video: str | os.PathLike[str]) -> Iterator[Reading]:
        """Decodes and encodes the planned clips, a few at a time, or takes them from the cache."""
        key = (file_digest(video), tuple(clip.frame_ids for clip in visual.clips))
        total = len(visual.clips)
        tokens = self.cache.get(key)
        visual.reused = tokens is not None
        if tokens is None:
            yield Reading(0, total)
            parts: list[Tensor] = []
            chunk: list[np.ndarray] = []
            for number, frames in enumerate(read_clips(video, visual.clips), start=1):
                chunk.append(frames)
                if len(chunk) == self.model.config.encode_batch_size or number == total:
                    parts.append(self._encode(chunk))
                    chunk = []
                yield Reading(number, total)
            tokens = torch.cat(parts)  # (N, K, D)
            self.cache.put(key, tokens)
        visual.tokens = tokens.flatten(0, 1)  # (N, K, D) -> (N*K, D)

    @torch.inference_mode()
    def _encode(self, clips: Sequence[np.ndarray]) -> Tensor:
        """Frames of some clips, each (T, H, W, 3) -> visual tokens (N, K, D)."""
        pixels = [
            torch.stack([transform(frames) for frames in clips])
            for transform in self.model.vision_tower.vision_processor
        ]
        return self.model.encode_clips(pixels)

    def _see_image(self, image: Any) -> _Visual:
        frame = read_image(image)
        frames = np.repeat(frame[None], FRAMES_PER_IMAGE, axis=0)  # (H, W, 3) -> (T, H, W, 3)
        tokens = self._encode([frames])[0]  # (1, K, D) -> (K, D)
        return _Visual(image_block(len(tokens)), tokens=tokens)

    # ---- prompt --------------------------------------------------------------------------

    def _ids(
        self, messages: Sequence[Message], block: str | None, generation: Generation
    ) -> list[int]:
        prompt = build_prompt(messages, block, system_prompt=generation.system_prompt)
        return tokenize(prompt, self.model.tokenizer)

    def _check_length(self, num_tokens: int, generation: Generation) -> None:
        limit = self.model.config.max_context_tokens
        if num_tokens + generation.max_new_tokens > limit:
            raise PromptError(
                f"The conversation takes {num_tokens} tokens and the answer may take "
                f"{generation.max_new_tokens}, but the model holds {limit}; start a new "
                "conversation, ask a shorter question or allow a shorter answer."
            )


def pick_device(wanted: str | torch.device | None) -> torch.device:
    """The asked-for device, else CUDA, else MPS, else the CPU.

    Raises:
        SettingError: the device does not exist on this machine.
    """
    if wanted is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise SettingError(f"The device {wanted!r} is unknown; use cpu, cuda or mps.") from error
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device.type not in (*available, "cpu"):
        raise SettingError(f"The device {wanted!r} is not supported; use cpu, cuda or mps.")
    if device.type in available and not available[device.type]():
        raise SettingError(f"This machine has no {device.type} device; leave it out or use cpu.")
    return device


def load(
    name: str | os.PathLike[str] = "nano",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    quantization: str | None = None,
    revision: str | None = None,
    attn_implementation: str | None = None,
) -> Apollo:
    """The embedded apollo-nano, "1.5B", "3B", "7B", a hub id or a folder; downloads it if need be.

    The device and with it the number type are chosen by the machine: CUDA and MPS bfloat16, CPU
    float32. `quantization` is "8bit" or "4bit" for the language model.

    Raises:
        CheckpointError: the model cannot be found, read or trusted.
        SettingError: the device, type or quantization is not available here.
    """
    card = card_of(str(name))
    chosen = pick_device(device)
    dtype = dtype or (torch.float32 if chosen.type == "cpu" else torch.bfloat16)
    folder = checkpoint.find(
        Path(card.source) if Path(card.source).is_dir() else card.source, revision
    )
    model = ApolloForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        device_map=chosen,
        quantization=quantization,
        attn_implementation=attn_implementation,
    )
    return Apollo(model, card)
