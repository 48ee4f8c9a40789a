"""What a question becomes on its way to the model, and what it brings back.

In:  made by `Apollo.prepare`: a `Request`, with the pixels that are still to be encoded.
Out: of `Apollo.respond` and `Apollo.events`, in order: `Reading`..., `Text`..., `Done`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from apollo.model.clip_cache import ClipCache, EncodedClip
from apollo.model.visual_tokens import Selection
from apollo.settings import Generation
from apollo.video.decoding import damage_sentence
from apollo.video.reader import Video
from apollo.vision.clip_pixels import ClipPixels


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
    reused_visual_tokens: bool  # none of the clips had to be encoded
    prompt_tokens: int
    reused_prompt_tokens: int  # of them, those that were computed for an earlier question
    answer_tokens: int
    first_token_s: float
    tokens_per_s: float
    files_opened: int = 0
    frames_decoded: int = 0
    clips_encoded: int = 0
    note: str | None = None  # for the person: clips were left out, or the video is damaged


@dataclass(frozen=True)
class Done:
    """The answer is complete."""

    stats: Stats


@dataclass(frozen=True)
class Encoded:
    """Visual tokens (n, K, D) that `respond` had to make, on the CPU, to be kept."""

    tokens: Tensor


Event = Reading | Text | Done


@dataclass(frozen=True)
class Request:
    """A question that is ready for the model. It can be sent to another process."""

    ids: list[int]  # the prompt (S,), with one slot per visual token
    generation: Generation
    selection: Selection
    kept: Tensor | None = None  # visual tokens (n, K, D) of the clips that were kept
    missing: tuple[int, ...] = ()  # places of the other clips, in order

    @property
    def clips_to_encode(self) -> int:
        return len(self.missing)

    def visual_tokens(self, encoded: list[Tensor]) -> Tensor | None:
        """All visual tokens (N, K, D), given those (n, K, D) of the missing clips in groups."""
        parts = [*([] if self.kept is None else [self.kept]), *encoded]
        if not parts:
            return None
        tokens = torch.cat([part.to(parts[-1].device) for part in parts])  # (N, K, D), kept first
        is_missing = torch.zeros(len(tokens), dtype=torch.bool)
        is_missing[list(self.missing)] = True
        order = torch.argsort(torch.argsort(is_missing.int(), stable=True), stable=True)
        return tokens[order.to(tokens.device)]


class Prepared:
    """A `Request`, and the video or picture its pixels come from; a context manager."""

    def __init__(
        self,
        request: Request,
        clips: dict[int, EncodedClip],
        cache: ClipCache,
        video: Video | None,
        pixels: Iterable[ClipPixels] = (),
        exact: bool = False,
    ) -> None:
        """`clips` are those that were kept, by their places."""
        self.request = request
        self.video = video
        self.exact = exact
        self._owns_video = video is not None
        self._clips = clips
        self._cache = cache
        self._pixels = pixels
        self._lost: list[int] = []  # frames, of each clip whose pixels were given
        self._num_encoded = 0

    def pixels(self) -> Iterator[ClipPixels]:
        """uint8 pixels (n, ...) of the clips still to be encoded, one tensor a tower, in order."""
        if self.request.missing:
            for group in self._pixels:
                self._lost += group.lost
                yield group

    def keep(self, tokens: Tensor) -> None:
        """Takes the visual tokens (n, K, D) of the next clips, for this and for later questions."""
        for one in tokens:  # (K, D)
            number = self._num_encoded
            clip = EncodedClip(one.clone(), self._lost[number])
            self.add(self.request.missing[number], clip)
            self._cache.put(self.request.selection.keys[self.request.missing[number]], clip)
            self._num_encoded += 1

    def add(self, place: int, clip: EncodedClip) -> None:
        """Takes a clip that somebody else encoded."""
        self._clips[place] = clip

    def give_video(self) -> Video:
        """The video, which another closes from now on."""
        assert self.video is not None and self._owns_video
        self._owns_video = False
        return self.video

    def completed(self) -> Request:
        """The request with the visual tokens of all clips, which have to be there."""
        if not self._clips:
            return self.request
        clips = [self._clips[place] for place in range(self.request.selection.num_clips)]
        return replace(self.request, kept=torch.stack([c.tokens for c in clips]), missing=())

    def noted(self, stats: Stats, tried: Sequence[Prepared] = ()) -> Stats:
        """With what reading took, and what is wrong with the video, which is only known then.

        `tried` are the attempts before, for which there was not enough memory.
        """
        attempts = [*tried, self]
        videos = [attempt.video for attempt in attempts if attempt.video is not None]
        num_encoded = sum(attempt.request.clips_to_encode for attempt in attempts)
        return replace(
            stats,
            reused_visual_tokens=bool(self._clips) and not num_encoded,
            files_opened=sum(video.num_opens for video in videos),
            frames_decoded=sum(video.num_frames_read for video in videos),
            clips_encoded=num_encoded,
            note=" ".join(filter(None, [stats.note, self.warning])) or None,
        )

    @property
    def warning(self) -> str | None:
        """What is wrong with the video, as far as it has been read, now or for earlier answers."""
        if self.video is None:
            return None
        warnings = [self.video.index_warning]
        if num_lost := sum(clip.num_lost for clip in self._clips.values()):
            asked = sum(len(set(clip.frame_ids)) for clip in self.request.selection.clips)
            warnings.append(damage_sentence(self.video.name, num_lost, asked))
        return " ".join(filter(None, warnings)) or None

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        if self.video is not None and self._owns_video:
            self.video.close()
