"""A request that is ready for the model -> the events of its answer.

In:  a `Request`, and the pixels of the clips whose visual tokens were not kept.
Out: `Reading`, `Encoded`, `Text` and `Done`, or, ahead of any question, nothing but what is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from apollo.constants import X_TOKEN_INDEX
from apollo.errors import SettingError
from apollo.events import Done, Encoded, Event, Prepared, Reading, Request, Stats, Text
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.generation import Pace, prefill, stream_text
from apollo.model.prefix import Prefixes
from apollo.model.visual_tokens import Viewer
from apollo.vision.clip_pixels import ClipPixels

NO_MEMORY = (
    "The model ran out of memory; read fewer clips (max_clips), a shorter part of the video, or "
    "choose a smaller model."
)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Raises `SettingError` where memory runs out."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise SettingError(NO_MEMORY) from error


class Responder:
    """Answers for one model. Safe to use from several threads."""

    def __init__(self, model: ApolloForCausalLM, viewer: Viewer, prefixes: Prefixes) -> None:
        self.model = model
        self.viewer = viewer
        self.prefixes = prefixes

    def events(
        self, request: Request, pixels: Iterable[ClipPixels], pace: Pace
    ) -> Iterator[Event | Encoded]:
        """Encodes the pixels, if the request needs them, and answers.

        Raises:
            OutOfMemoryError: torch's own, so that fewer clips can be tried.
        """
        selection = request.selection
        encoded: list[Tensor] = []
        if total := request.clips_to_encode:
            yield Reading(0, total)
            for group in pixels:
                encoded.append(self.viewer.encode(group.pixels))  # (n, K, D)
                yield Encoded(encoded[-1].cpu())
                yield Reading(sum(map(len, encoded)), total)
        tokens = request.visual_tokens(encoded)
        rows = None if tokens is None else tokens.flatten(0, 1)  # (N, K, D) -> (N*K, D)
        for piece in self._pieces(request, rows, pace):
            yield Text(piece)
        yield Done(
            Stats(
                clips=len(selection.clips),
                covered_s=selection.covered_s,
                reused_visual_tokens=bool(selection.num_clips and not request.missing),
                prompt_tokens=len(request.ids),
                reused_prompt_tokens=pace.num_reused,
                answer_tokens=pace.num_tokens,
                first_token_s=pace.first_token_s,
                tokens_per_s=pace.tokens_per_s,
                note=selection.note,
            )
        )

    def _pieces(self, request: Request, rows: Tensor | None, pace: Pace) -> Iterator[str]:
        """The answer; where memory runs out, once more without what is kept of earlier ones."""
        asked = (self.model, request.ids, rows, request.generation, pace)
        try:
            yield from stream_text(*asked, self.prefixes, request.selection.keys)
            return
        except torch.OutOfMemoryError:
            if pace.num_tokens:
                raise
        pace.num_reused = 0
        self.prefixes.clear()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        yield from stream_text(*asked)

    def read_prompt(self, prepared: Prepared, check: Callable[[], None]) -> None:
        """Computes what every question about the video begins with. `check` may end it."""
        request = prepared.completed()
        last_slot = len(request.ids) - 1 - request.ids[::-1].index(X_TOKEN_INDEX)
        assert request.kept is not None  # a video has clips
        rows = request.kept.flatten(0, 1)  # (N, K, D) -> (N*K, D)
        ids, keys = request.ids[: last_slot + 1], request.selection.keys
        prefill(self.model, ids, rows, self.prefixes, keys, check)
