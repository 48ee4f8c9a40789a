"""Where the parts of a row are: clips, their times, questions, options and answers.

In:  a BranchedRow with a video, and its tokenizer.  Out: places, counted from the row's first
     token, and spans of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.model.prompt import IM_END, IM_START, tokenize
from apollo.nano.rows import BranchedRow

AFTER_QUESTION = f"{IM_END}\n{IM_START}assistant\n"

Span = tuple[int, int]  # first and last place


class RowReader:
    """`clips` has the span of every clip's visual tokens; clips count from 1."""

    def __init__(self, row: BranchedRow, num_clips: int, duration_s: float, tokenizer: Any) -> None:
        self.row, self.tokenizer = row, tokenizer
        slots = [place for place, token_id in enumerate(row.ids) if token_id == X_TOKEN_INDEX]
        self.tokens_per_clip = len(slots) // num_clips
        self.clips: dict[int, Span] = {
            clip: (start, start + self.tokens_per_clip - 1)
            for clip, start in enumerate(slots[:: self.tokens_per_clip], start=1)
        }
        self.times = self._times(duration_s)

    def _times(self, duration_s: float) -> dict[int, list[int]]:
        """Clip -> the places of the digits that tell its first second, as in "12.0-13.5 seconds".

        One clip more than there are: the end of the video, from the text before all clips.
        """
        found: dict[int, list[int]] = {}
        for clip, (first, _) in self.clips.items():
            line_ends = (place for place in range(first - 1, 0, -1) if "\n" in self.text(place))
            line = range(next(line_ends) + 1, first)
            found[clip] = list(itertools.takewhile(lambda place: self.text(place).isdigit(), line))
        unit = next(place for place in range(first) if "[" in self.text(place))  # after 0:00:12
        end = next(place for place in range(unit, 0, -1) if self.text(place).isdigit()) + 1
        found[len(self.clips) + 1] = list(range(end - len(f"{duration_s:.0f}"), end))
        return found

    def text(self, place: int) -> str:
        """Of the token there; nothing for a slot."""
        token_id = self.row.ids[place]
        text: str = self.tokenizer.decode([token_id]) if token_id >= 0 else ""
        return text

    def clip_span(self, clips: tuple[int, int]) -> Span:
        """The visual tokens from a first to a last clip."""
        return self.clips[clips[0]][0], self.clips[clips[1]][1]

    def question(self, question: str, asked_at: int) -> range:
        """The question's first line, which ends before `asked_at`: options do not belong to it."""
        line, whole, rest = (
            len(tokenize(text, self.tokenizer))
            for text in (question.partition("\n")[0], question, AFTER_QUESTION)
        )
        begin = asked_at + 1 - rest - whole
        return range(begin, begin + line)

    def options(self, asked_at: int, number: int) -> Iterator[Span]:
        """The lines of so many options; after the last one come three line ends."""
        texts = self.tokenizer.convert_ids_to_tokens
        line_end = self.tokenizer("\n", add_special_tokens=False)["input_ids"][-1]
        mark = texts(line_end)[-1]
        ids = self.row.ids
        places = range(asked_at, 0, -1)
        ends = [place for place in places if ids[place] >= 0 and mark in texts(ids[place])]
        for option in range(number):
            last = 2 + number - 1 - option
            yield ends[last + 1] + 1, ends[last]

    def answer_offsets(self, answer: str) -> list[Span]:
        """The first character of each of an answer's tokens, and the end."""
        encoded = self.tokenizer(
            answer + IM_END, add_special_tokens=False, return_offsets_mapping=True
        )
        return list(encoded["offset_mapping"])

    def answers(self) -> list[list[int]]:
        """The places of each answer's tokens, answer after answer."""
        labels = self.row.labels
        found: list[list[int]] = []
        for place, label in enumerate(labels):
            if label == IGNORE_INDEX:
                continue
            if place == 0 or labels[place - 1] == IGNORE_INDEX:
                found.append([])
            found[-1].append(place)
        return found


def span_of(places: Iterable[int]) -> Span | None:
    """From the first to the last of some places; None of none."""
    found = list(places)
    return (found[0], found[-1]) if found else None
