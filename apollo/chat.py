"""Talk to a video: the only place that walks the whole line.

    file -> clips -> frames -> pixels -> tower features -> visual tokens -> prompt -> streamed text

`Apollo.events` is the primitive; `stream` and `answer` are loops over it. It is made of two halves
that may run in two processes: `prepare` reads files and needs no model weights, `respond` computes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from apollo.adapters import lora as adapters
from apollo.catalog import ModelCard, card_of
from apollo.errors import AdapterError, PromptError, SettingError
from apollo.events import (
    Done,
    Encoded,
    Event,
    Prepared,
    Reading,
    Request,
    Stats,
    Text,
)
from apollo.model import hub
from apollo.model.causal_lm import ApolloForCausalLM, Pixels
from apollo.model.device import best_dtype, pick_device
from apollo.model.generation import Pace, stream_text, watch_layers
from apollo.model.prompt import Message, build_prompt, check_messages, tokenize
from apollo.model.token_cache import TokenCache
from apollo.model.visual_tokens import Selection, Viewer
from apollo.settings import Generation, Sampling
from apollo.terminal import check_extra
from apollo.video.clips import Clip
from apollo.video.reader import Video

log = logging.getLogger(__name__)


class Apollo:
    """A loaded model. Safe to use from several threads; it keeps nothing of a conversation."""

    def __init__(self, model: ApolloForCausalLM, card: ModelCard) -> None:
        self.model = model
        self.card = card
        self.name = card.name
        self.cache = TokenCache()
        self._viewer = Viewer(model, self.cache)
        self._answers = 0  # being written
        self._answers_lock = threading.Lock()
        watch_layers(model)

    # ---- adapters ------------------------------------------------------------------------

    @property
    def adapters(self) -> list[str]:
        """The names of the loaded LoRA adapters."""
        return adapters.adapter_names(self.model)

    def load_adapter(self, path: str | os.PathLike[str], name: str | None = None) -> str:
        """Reads a LoRA adapter and uses it from now on; returns its name, by default the folder's.

        Raises:
            AdapterError: no adapter there, made for another model, or an answer is being written.
        """
        with self._no_answer():
            return adapters.load_adapter(self.model, Path(path), name)

    def use_adapter(self, name: str | None) -> None:
        """Answers with another loaded adapter; None is the bare model.

        Raises:
            AdapterError: no loaded adapter has that name, or an answer is being written.
        """
        with self._no_answer():
            adapters.switch(self.model, name)

    @contextlib.contextmanager
    def _no_answer(self) -> Iterator[None]:
        """Later tokens of an answer must not come from another adapter than the first."""
        with self._answers_lock:
            if self._answers:
                raise AdapterError(
                    "An answer is being written, so the adapter cannot be changed now; let it end "
                    "or close it first."
                )
            yield

    @contextlib.contextmanager
    def _one_answer(self) -> Iterator[None]:
        with self._answers_lock:
            self._answers += 1
        try:
            yield
        finally:
            with self._answers_lock:
                self._answers -= 1

    # ---- what the model will see ---------------------------------------------------------

    def clips(self, video: str | os.PathLike[str], sampling: Sampling = Sampling()) -> list[Clip]:
        """The planned clips with their times; nothing is decoded.

        A long conversation may leave room for fewer; `Done` then carries a note.

        Raises:
            VideoError: the file is missing, not a video, or the range is not in it.
        """
        with Video(video) as opened:
            return self._viewer.choose(opened, sampling)

    def frames(
        self, video: str | os.PathLike[str], sampling: Sampling = Sampling(), height_px: int = 96
    ) -> Iterator[tuple[float, Image.Image]]:
        """(time_s, thumbnail) of exactly the frames of `clips`, in order."""
        return self._viewer.thumbnails(video, sampling, height_px)

    # ---- asking --------------------------------------------------------------------------

    def events(
        self,
        video: str | os.PathLike[str] | None = None,
        question: str | Sequence[Message] = "",
        *,
        image: Any = None,
        sampling: Sampling = Sampling(),
        generation: Generation = Generation(),
    ) -> Iterator[Event]:
        """Reads, then answers: `Reading`..., `Text`..., `Done`. Closing the iterator stops it.

        `question` is a string, or messages {"role", "content"} of which the last is the user's.
        `video` is a file; `image` a file, a PIL image or an array. Neither: plain conversation.

        Raises:
            ApolloError: one plain sentence; nothing was lost; correct the input and ask again.
        """
        pace = Pace()
        with (
            self._one_answer(),
            self.prepare(
                video, question, image=image, sampling=sampling, generation=generation
            ) as prepared,
        ):
            for event in self.respond(prepared.request, prepared.pixels(), pace):
                if isinstance(event, Encoded):
                    self.remember(prepared.request, event.tokens, prepared.nameless_warning)
                elif isinstance(event, Done):
                    yield Done(prepared.noted(event.stats))
                else:
                    yield event

    def stream(
        self,
        video: str | os.PathLike[str] | None,
        question: str | Sequence[Message],
        **settings: Any,
    ) -> Iterator[str]:
        """The answer, piece by piece. The keywords are those of `events`; a note is logged."""
        for event in self.events(video, question, **settings):
            if isinstance(event, Text) and event.piece:
                yield event.piece
            elif isinstance(event, Done) and event.stats.note:
                log.warning(event.stats.note)

    def answer(
        self,
        video: str | os.PathLike[str] | None,
        question: str | Sequence[Message],
        **settings: Any,
    ) -> str:
        """The whole answer."""
        return "".join(self.stream(video, question, **settings)).strip()

    # ---- the two halves of asking --------------------------------------------------------

    def prepare(
        self,
        video: str | os.PathLike[str] | None,
        question: str | Sequence[Message],
        *,
        image: Any = None,
        sampling: Sampling = Sampling(),
        generation: Generation = Generation(),
    ) -> Prepared:
        """Opens the video, chooses its clips and writes the prompt. Computes nothing.

        Raises:
            ApolloError: the question, the video or a setting cannot be used.
        """
        messages = (
            [{"role": "user", "content": question}] if isinstance(question, str) else question
        )
        check_messages(messages)
        if video is not None and image is not None:
            raise PromptError("A question takes a video or an image, not both; leave one out.")

        def ids_with(block: str | None) -> list[int]:
            prompt = build_prompt(messages, block, system_prompt=generation.system_prompt)
            return tokenize(prompt, self.model.tokenizer)

        opened: Video | None = None
        selection = Selection()
        pixels: Iterable[Pixels] = ()
        with contextlib.ExitStack() as when_it_fails:
            if video is not None:
                opened = when_it_fails.enter_context(Video(video, max_read_s=sampling.max_read_s))
                selection = self._viewer.select(
                    opened,
                    sampling,
                    lambda block: len(ids_with(block)),
                    self.model.config.max_context_tokens - generation.max_new_tokens,
                )
                pixels = self._viewer.pixels(opened, selection.clips)
            elif image is not None:
                selection, picture = self._viewer.picture(image)
                pixels = [picture]
            ids = ids_with(selection.block)
            self._check_length(len(ids), generation)  # before the video is read for nothing
            tokens = self.cache.get(selection.key) if selection.num_clips else None
            when_it_fails.pop_all()
        known = self.cache.warning(selection.key) if tokens is not None else None
        return Prepared(Request(ids, generation, selection, tokens), pixels, opened, known)

    def respond(
        self, request: Request, pixels: Iterable[Pixels], pace: Pace | None = None
    ) -> Iterator[Event | Encoded]:
        """Encodes the pixels of `Prepared.pixels`, if the request needs them, and answers.

        Raises:
            ApolloError: the answer cannot be computed.
        """
        pace = pace or Pace()
        selection, tokens = request.selection, request.tokens
        try:
            if total := request.clips_to_encode:
                yield Reading(0, total)
                parts: list[Tensor] = []
                for group in pixels:
                    parts.append(self._viewer.encode(group))  # (n, K, D)
                    yield Reading(sum(map(len, parts)), total)
                tokens = torch.cat(parts)  # (N, K, D)
                yield Encoded(tokens.cpu())
            rows = None if tokens is None else tokens.flatten(0, 1)  # (N, K, D) -> (N*K, D)
            for piece in stream_text(self.model, request.ids, rows, request.generation, pace):
                yield Text(piece)
        except torch.OutOfMemoryError as error:
            raise SettingError(
                "The model ran out of memory; read fewer clips (max_clips), a shorter part of the "
                "video, or choose a smaller model."
            ) from error
        yield Done(
            Stats(
                clips=len(selection.clips),
                covered_s=selection.covered_s,
                reused_visual_tokens=request.tokens is not None,
                prompt_tokens=len(request.ids),
                answer_tokens=pace.num_tokens,
                first_token_s=pace.first_token_s,
                tokens_per_s=pace.tokens_per_s,
                note=selection.note,
            )
        )

    def remember(self, request: Request, tokens: Tensor, warning: str | None = None) -> None:
        """Keeps the visual tokens (N, K, D) that `respond` made, for later questions, and what
        was missing in the video."""
        self.cache.put(request.selection.key, tokens, warning)

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

    The device and with it the number type are chosen by the machine: bfloat16 on CUDA cards that
    have it and on MPS, float16 on older cards, float32 on a CPU. `quantization` is "8bit" or "4bit"
    for the language model. `adapter` is the folder of a LoRA adapter that was made for this model.

    Raises:
        AdapterError: the adapter cannot be read, or was made for another model.
        CheckpointError: the model cannot be found, read or trusted.
        SettingError: the device, type or quantization is not available here.
    """
    card = card_of(str(name))
    if adapter is not None:
        check_extra("A LoRA adapter", "adapters", "peft")
        adapters.read_adapter(Path(adapter))  # report a wrong path before loading the model
    chosen = pick_device(device)
    dtype = dtype or best_dtype(chosen)
    folder = hub.find(Path(card.source) if Path(card.source).is_dir() else card.source, revision)
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
