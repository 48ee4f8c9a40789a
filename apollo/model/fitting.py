"""What of a conversation about a video fits into the model's context.

In:  messages, and the clips of a video that were planned.   Out: the prompt's ids, and a
`Selection` of the clips that are in it.
Odd: the clips that are read do not depend on the conversation; a part of the context is kept free
for it. When that is used up, the oldest turns are left out of the prompt, and when one question
alone is too long, or its answer may be, clips are left out that were read before. A note says so.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apollo.errors import PromptError
from apollo.model.prompt import Message, build_prompt, tokenize
from apollo.model.visual_tokens import Selection, Viewer
from apollo.settings import Generation, Sampling
from apollo.video.clips import Clip
from apollo.video.reader import Video


@dataclass(frozen=True)
class Fitted:
    """A prompt that leaves room for its answer."""

    ids: list[int]  # (S,)
    selection: Selection


class Fitting:
    """Fits one question, with the messages before it. They are checked already."""

    def __init__(
        self,
        viewer: Viewer,
        messages: Sequence[Message],
        generation: Generation,
        most_clips: int | None = None,
    ) -> None:
        """`most_clips` is how many the memory holds, where it does not hold all."""
        self.viewer = viewer
        self.generation = generation
        self.most_clips = most_clips
        self.context = viewer.model.config.max_context_tokens
        self.room = self.context - generation.max_new_tokens  # for the prompt
        has_system = messages[0]["role"] == "system"
        self.system = list(messages[:1]) if has_system else []
        self.turns = list(messages[1:] if has_system else messages)
        self._tokenizer: Any = viewer.model.tokenizer

    def plain(self, selection: Selection) -> Fitted:
        """A conversation without a video, or about a picture.

        Raises:
            PromptError: the last question alone is too long.
        """
        return self._shortened(selection)

    def about(self, video: Video, sampling: Sampling) -> Fitted:
        """A conversation about a video.

        Raises:
            PromptError: the last question is too long for a single clip.
            VideoError: the range is not in the video.
        """
        clips = self._with_room(video, self.viewer.planned(video, sampling), sampling)
        if is_short := self.most_clips is not None and self.most_clips < len(clips):
            clips = thinned(clips, self.most_clips or 1)
        while True:
            selection = self.viewer.selection(video, clips, sampling)
            if is_short:
                text = f"Memory ran out, so only {len(clips)} clips of the video were looked at."
                selection = replace(selection, note=text)
            excess = len(self._ids(self.turns[-1:], selection)) - self.room
            if excess <= 0 or len(clips) == 1:
                return self._shortened(selection)
            per_clip = self.viewer.block_tokens(video.info, clips, sampling) / len(clips)
            clips = thinned(clips, max(1, len(clips) - max(1, int(excess / per_clip))))

    def _with_room(self, video: Video, clips: list[Clip], sampling: Sampling) -> list[Clip]:
        """Fewer where the answer may be longer than what is reserved; the same at each turn."""
        reserved = self.viewer.reserved_tokens
        room = self.context - max(reserved, self.generation.max_new_tokens + reserved // 2)
        while len(clips) > 1:
            num_tokens = self.viewer.block_tokens(video.info, clips, sampling)
            if num_tokens <= room:
                break
            clips = thinned(clips, max(1, min(len(clips) - 1, len(clips) * room // num_tokens)))
        return clips

    def _shortened(self, selection: Selection) -> Fitted:
        """Without the oldest turns, as many as it takes."""
        ids, starts = self._ids(self.turns, selection), range(2, len(self.turns), 2)
        if len(ids) <= self.room:
            return Fitted(ids, selection)
        if starts:  # a later one is never longer, so few of a long conversation's are written
            found = bisect.bisect_left(starts, True, key=lambda at: self._fits(at, selection))
            dropped = starts[min(found, len(starts) - 1)]
            ids = self._ids(self.turns[dropped:], selection)
            if len(ids) <= self.room:
                return Fitted(ids, _noted(selection, dropped // 2))
        raise PromptError(
            f"The question takes {len(ids)} tokens with what it is about, and the answer may take "
            f"{self.generation.max_new_tokens}, but the model holds {self.context}; ask a shorter "
            "question or allow a shorter answer."
        )

    def _fits(self, start: int, selection: Selection) -> bool:
        return len(self._ids(self.turns[start:], selection)) <= self.room

    def _ids(self, turns: Sequence[Message], selection: Selection) -> list[int]:
        prompt = build_prompt(
            [*self.system, *turns], selection.block, system_prompt=self.generation.system_prompt
        )
        return tokenize(prompt, self._tokenizer)


def thinned(clips: Sequence[Clip], count: int) -> list[Clip]:
    """`count` of the clips, spread evenly, the first and the last among them if there are two."""
    if count == 1:
        return [clips[len(clips) // 2]]
    return [clips[round(i * (len(clips) - 1) / (count - 1))] for i in range(count)]


def _noted(selection: Selection, num_dropped: int) -> Selection:
    turns = "question and answer" if num_dropped == 1 else f"{num_dropped} questions and answers"
    text = f"The conversation is long, so its first {turns} were left out."
    return replace(selection, note=" ".join(filter(None, [selection.note, text])))
