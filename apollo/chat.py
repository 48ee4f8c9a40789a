"""Talk to a video: the only place that walks the whole line.

    file -> clips -> frames -> pixels -> tower features -> visual tokens -> prompt -> streamed text

`Apollo.events` is the primitive; `stream` and `answer` are loops over it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from apollo.adapters import lora as adapters
from apollo.catalog import MODELS, ModelCard, card_of
from apollo.errors import PromptError, SettingError
from apollo.model import checkpoint
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.device import pick_device
from apollo.model.generation import Pace, stream_text, watch_layers
from apollo.model.prompt import Message, build_prompt, check_messages, tokenize
from apollo.model.token_cache import TokenCache
from apollo.model.visual_tokens import Viewer, Visual
from apollo.settings import Generation, Sampling
from apollo.video.clips import Clip
from apollo.video.reader import probe

__all__ = ["MODELS", "Apollo", "Done", "Event", "ModelCard", "Reading", "Stats", "Text", "load"]


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
    note: str | None = None  # a sentence for the person, when clips were thinned out


@dataclass(frozen=True)
class Done:
    """The answer is complete."""

    stats: Stats


Event = Reading | Text | Done


class Apollo:
    """A loaded model. Safe to use from several threads; it keeps nothing of a conversation."""

    def __init__(self, model: ApolloForCausalLM, card: ModelCard) -> None:
        self.model = model
        self.card = card
        self.name = card.name
        self.cache = TokenCache()
        self._viewer = Viewer(model, self.cache)
        watch_layers(model)

    # ---- adapters ------------------------------------------------------------------------

    @property
    def adapters(self) -> list[str]:
        """The names of the loaded LoRA adapters."""
        return adapters.adapter_names(self.model)

    def load_adapter(self, path: str | os.PathLike[str], name: str | None = None) -> str:
        """Reads a LoRA adapter and uses it from now on; returns its name, by default the folder's.

        Raises:
            AdapterError: no adapter there, or made for another model.
        """
        return adapters.load_adapter(self.model, Path(path), name)

    def use_adapter(self, name: str | None) -> None:
        """Answers with another loaded adapter; None is the bare model. Not during an answer.

        Raises:
            AdapterError: no loaded adapter has that name.
        """
        adapters.switch(self.model, name)

    # ---- what the model will see ---------------------------------------------------------

    def clips(self, video: str | os.PathLike[str], sampling: Sampling = Sampling()) -> list[Clip]:
        """The planned clips with their times; nothing is decoded.

        A long conversation may leave room for fewer; `Done` then carries a note.

        Raises:
            VideoError: the file is missing, not a video, or the range is not in it.
        """
        return self._viewer.plan(probe(video), sampling)

    def frames(
        self, video: str | os.PathLike[str], sampling: Sampling = Sampling(), height_px: int = 96
    ) -> Iterator[tuple[float, Image.Image]]:
        """(time_s, thumbnail) of exactly the frames of `clips`, in order."""
        return self._viewer.frames(video, sampling, height_px)

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
        pace = Pace()
        visual = Visual()
        if video is not None:
            visual = self._viewer.fit(
                video,
                sampling,
                lambda block: len(self._ids(messages, block, generation)),
                self.model.config.max_context_tokens - generation.max_new_tokens,
            )
        elif image is not None:
            visual = self._viewer.see_image(image)
        ids = self._ids(messages, visual.block, generation)
        self._check_length(len(ids), generation)  # before the video is read for nothing
        if video is not None:
            for done, total in self._viewer.read(visual, video):
                yield Reading(done, total)
        for piece in stream_text(self.model, ids, visual.tokens, generation, pace):
            yield Text(piece)
        yield Done(
            Stats(
                clips=len(visual.clips),
                covered_s=visual.covered_s,
                reused_visual_tokens=visual.reused,
                prompt_tokens=len(ids),
                answer_tokens=pace.num_tokens,
                first_token_s=pace.first_token_s,
                tokens_per_s=pace.tokens_per_s,
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


def load(
    name: str | os.PathLike[str] = "nano",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    quantization: str | None = None,
    revision: str | None = None,
    attn_implementation: str | None = None,
    adapter: str | os.PathLike[str] | None = None,
) -> Apollo:
    """The embedded apollo-nano, "1.5B", "3B", "7B", a hub id or a folder; downloads it if need be.

    The device and with it the number type are chosen by the machine: CUDA and MPS bfloat16, CPU
    float32. `quantization` is "8bit" or "4bit" for the language model. `adapter` is the folder of
    a LoRA adapter that was made for this model.

    Raises:
        AdapterError: the adapter cannot be read, or was made for another model.
        CheckpointError: the model cannot be found, read or trusted.
        SettingError: the device, type or quantization is not available here.
    """
    card = card_of(str(name))
    if adapter is not None:
        adapters.read_adapter(Path(adapter))  # a wrong path is said before the model is loaded
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
    apollo = Apollo(model, card)
    if adapter is not None:
        apollo.load_adapter(adapter)
    return apollo
