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

from apollo import __version__
from apollo.adapters import lora as adapters
from apollo.asking.reading import ReadAhead, Readings
from apollo.asking.respond import NO_MEMORY, Responder, memory_errors
from apollo.catalog import ModelCard, card_of
from apollo.errors import AdapterError, PromptError, SettingError
from apollo.events import (
    Done,
    Encoded,
    Event,
    Prepared,
    Reading,
    Request,
    Text,
)
from apollo.model import hub
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.clip_cache import ClipCache
from apollo.model.clip_store import ClipStore, default_folder
from apollo.model.device import best_dtype, pick_device
from apollo.model.fitting import Fitting
from apollo.model.generation import Pace, watch_layers
from apollo.model.prefix import Prefixes
from apollo.model.prompt import Message, check_messages
from apollo.model.visual_tokens import Selection, Viewer, encoder_digest
from apollo.settings import Generation, Sampling
from apollo.terminal import check_extra
from apollo.video.clips import Clip
from apollo.video.reader import Video
from apollo.vision.clip_pixels import ClipPixels

log = logging.getLogger(__name__)


class Apollo:
    """A loaded model. Safe to use from several threads.

    `cache` holds the visual tokens of clips, `prefixes` what the LLM computed for prompts: both
    are shared by content and bounded. Set `max_bytes` of either to 0 to switch it off.
    """

    def __init__(self, model: ApolloForCausalLM, card: ModelCard) -> None:
        self.model = model
        self.card = card
        self.name = card.name
        self.cache = ClipCache()
        self.prefixes = Prefixes(model.device)
        self._viewer = Viewer(model, self.cache)
        self._responder = Responder(model, self._viewer, self.prefixes)
        self._readings = Readings(self._viewer, self.cache, lambda: self._answers > 0)
        self._answers = 0  # being written
        self._answers_lock = threading.RLock()  # garbage that is collected may be an answer
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
            self._readings.cancel()
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
        """The planned clips with their times; nothing is decoded to be shown to the model.

        They do not depend on the conversation. One that leaves no room for all of them leaves
        some out of the prompt; `Done` then carries a note.

        Raises:
            VideoError: the file is missing, not a video, or the range is not in it.
        """
        with Video(video) as opened:
            return list(self._viewer.planned(opened, sampling))

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
        pace, most_clips = Pace(), None
        tried: list[Prepared] = []
        with self._one_answer():
            while True:
                with self.prepare(
                    video,
                    question,
                    image=image,
                    sampling=sampling,
                    generation=generation,
                    most_clips=most_clips,
                ) as prepared:
                    try:
                        yield from self._answer(prepared, pace, tried)
                        return
                    except torch.OutOfMemoryError as error:
                        num_clips = prepared.request.selection.num_clips
                        if pace.num_tokens or num_clips < 2:
                            raise SettingError(NO_MEMORY) from error
                        most_clips = num_clips // 2
                        tried.append(prepared)

    def _answer(self, prepared: Prepared, pace: Pace, tried: Sequence[Prepared]) -> Iterator[Event]:
        if prepared.video is not None and (total := prepared.request.clips_to_encode):
            with self._readings.of(prepared) as progress, memory_errors():
                yield Reading(0, total)
                for done in progress:
                    yield Reading(done, total)
        for event in self._responder.events(prepared.completed(), prepared.pixels(), pace):
            if isinstance(event, Encoded):
                prepared.keep(event.tokens)
            elif isinstance(event, Done):
                yield Done(prepared.noted(event.stats, tried))
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

    def read_ahead(
        self, video: str | os.PathLike[str], sampling: Sampling = Sampling()
    ) -> ReadAhead:
        """Reads a video in the background, before anybody asks about it.

        A question with this sampling joins it, whatever it has reached. It rests while other
        answers are written. One video is read ahead at a time; the next one ends it.

        Raises:
            VideoError: the file cannot be used.
        """
        while True:
            seen_by = self.model.vision_key
            with self.prepare(video, "?", sampling=sampling) as prepared:
                with self._answers_lock:  # under which adapters are changed
                    if self.model.vision_key != seen_by:
                        continue
                    ahead = self._readings.ahead(prepared, self._responder.read_prompt)
                ahead.end_others()
                return ahead

    # ---- the two halves of asking --------------------------------------------------------

    def prepare(
        self,
        video: str | os.PathLike[str] | None,
        question: str | Sequence[Message],
        *,
        image: Any = None,
        sampling: Sampling = Sampling(),
        generation: Generation = Generation(),
        most_clips: int | None = None,
    ) -> Prepared:
        """Opens the video, chooses its clips and writes the prompt. Computes nothing.

        `most_clips` is how many may be shown to the model where memory does not hold more.

        Raises:
            ApolloError: the question, the video or a setting cannot be used.
        """
        messages = (
            [{"role": "user", "content": question}] if isinstance(question, str) else question
        )
        check_messages(messages)
        if video is not None and image is not None:
            raise PromptError("A question takes a video or an image, not both; leave one out.")
        fitting = Fitting(self._viewer, messages, generation, most_clips)
        opened: Video | None = None
        pixels: Iterable[ClipPixels] = ()
        with contextlib.ExitStack() as when_it_fails:
            if video is not None:
                opened = when_it_fails.enter_context(Video(video, max_read_s=sampling.max_read_s))
                fitted = fitting.about(opened, sampling)
            elif image is not None:
                selection, picture = self._viewer.picture(image)
                pixels = [ClipPixels(picture, (0,))]
                fitted = fitting.plain(selection)
            else:
                fitted = fitting.plain(Selection())
            when_it_fails.pop_all()
        selection = fitted.selection
        found = {place: self.cache.get(key) for place, key in enumerate(selection.keys)}
        clips = {place: clip for place, clip in found.items() if clip is not None}
        missing = tuple(place for place in found if place not in clips)
        if opened is not None:
            wanted = [selection.clips[place] for place in missing]
            pixels = self._viewer.pixels(opened, wanted, sampling.exact)
        kept = torch.stack([clip.tokens for clip in clips.values()]) if clips else None  # (n, K, D)
        request = Request(fitted.ids, generation, selection, kept, missing)
        return Prepared(request, clips, self.cache, opened, pixels, sampling.exact)

    def respond(
        self, request: Request, pixels: Iterable[ClipPixels] = (), pace: Pace | None = None
    ) -> Iterator[Event | Encoded]:
        """Encodes the pixels of `Prepared.pixels`, if the request needs them, and answers.

        Raises:
            ApolloError: the answer cannot be computed.
        """
        with memory_errors():
            yield from self._responder.events(request, pixels, pace or Pace())


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
    if (clips_folder := default_folder()) is not None:
        made_by = f"{__version__} {encoder_digest(model)}"  # a version may decode otherwise
        apollo.cache.store = ClipStore(clips_folder, made_by)
    if adapter is not None:
        apollo.load_adapter(adapter)
    return apollo
