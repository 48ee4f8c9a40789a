"""What a question becomes on its way to the model, and what it brings back.

In:  made by `Apollo.prepare`: a `Request`, with the pixels that are still to be encoded.
Out: of `Apollo.respond` and `Apollo.events`, in order: `Reading`..., `Text`..., `Done`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from apollo.model.causal_lm import Pixels
from apollo.model.visual_tokens import Selection
from apollo.settings import Generation
from apollo.video.reader import Video


@dataclass(frozen=True)
class Reading:
    """`done` of `total` clips are decoded and encoded."""

    done: int
    total: int


@dataclass(frozen=True)
class Text:
    """The next piece of the answer; "" is a heartbeat while the prompt is read."""

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
    note: str | None = None  # for the person: clips were left out, or the video is damaged


@dataclass(frozen=True)
class Done:
    """The answer is complete."""

    stats: Stats


@dataclass(frozen=True)
class Encoded:
    """The visual tokens (N, K, D) that `respond` had to make, on the CPU, to be kept."""

    tokens: Tensor


Event = Reading | Text | Done
NAME = "\0"  # stands for the name of a file, and is in none


@dataclass(frozen=True)
class Request:
    """A question that is ready for the model. It can be sent to another process."""

    ids: list[int]  # the prompt (S,), with one slot per visual token
    generation: Generation
    selection: Selection
    tokens: Tensor | None = None  # (N, K, D) on the CPU, when they were kept

    @property
    def clips_to_encode(self) -> int:
        return 0 if self.tokens is not None else self.selection.num_clips


class Prepared:
    """A `Request` and the open video its pixels come from; a context manager."""

    def __init__(
        self,
        request: Request,
        pixels: Iterable[Pixels],
        video: Video | None,
        known: str | None = None,
    ) -> None:
        self.request = request
        self._known = known  # what was missing when the kept tokens were made
        self._pixels = pixels
        self._video = video

    def pixels(self) -> Iterator[Pixels]:
        """uint8 pixels (n, ...) of the clips still to be encoded, one tensor a tower, in order."""
        return iter(self._pixels if self.request.clips_to_encode else ())

    def noted(self, stats: Stats) -> Stats:
        """With what is wrong with the video, which is only known once it has been read."""
        return replace(stats, note=" ".join(filter(None, [stats.note, self.warning])) or None)

    @property
    def warning(self) -> str | None:
        """What is wrong with the video; known once it has been read, now or for the kept tokens."""
        if self._video is None:
            return None
        if self._known is not None:
            return self._known.replace(NAME, os.path.basename(self._video.info.path))
        return self._video.warning

    @property
    def nameless_warning(self) -> str | None:
        """The same to be kept: who brings the same bytes may have named the file otherwise."""
        if self._video is None or self._video.warning is None:
            return None
        return self._video.warning.replace(os.path.basename(self._video.info.path), NAME)

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        if self._video is not None:
            self._video.close()
