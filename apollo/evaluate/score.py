"""From answers to figures: right or wrong, shares with intervals, per category and over all.

In:  questions and what the model said to each.  Out: a `Summary`.
Odd: an answer from which no letter can be read is wrong, and counted apart. "Macro" is the mean of
     the categories, so a small category weighs as much as a large one. An open question is right
     only when the words are the same, whatever the capitals, signs and articles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apollo.data.choices import letter_of
from apollo.data.shares import Share
from apollo.data.text import normalised_answer
from apollo.evaluate.question_file import Question


@dataclass(frozen=True)
class ScoredAnswer:
    """A question and what the model said to it."""

    question: Question
    given: str

    @property
    def letter(self) -> str | None:
        """The letter that was read from the answer; None for an open question too."""
        options = self.question.options
        return letter_of(self.given, options) if options else None

    @property
    def is_unread(self) -> bool:
        """Whether a letter was wanted and none could be read."""
        return bool(self.question.options) and self.letter is None

    @property
    def is_right(self) -> bool:
        if self.question.options:
            return self.letter == self.question.answer
        return normalised_answer(self.given) == normalised_answer(self.question.answer)

    @property
    def outcome(self) -> str:
        return "right" if self.is_right else "unread" if self.is_unread else "wrong"


@dataclass(frozen=True)
class Summary:
    """The figures of one run."""

    categories: dict[str, Share]  # in the order in which they first appear
    overall: Share
    unread: int  # answers without a readable letter; they count as wrong

    @property
    def macro(self) -> float:
        """The mean of the categories, 0 to 1."""
        return sum(share.value for share in self.categories.values()) / len(self.categories)

    @property
    def macro_interval(self) -> tuple[float, float]:
        """95 %: the errors of the categories, added in quadrature."""
        low = high = 0.0
        for share in self.categories.values():
            share_low, share_high = share.interval
            low += (share.value - share_low) ** 2
            high += (share_high - share.value) ** 2
        count = len(self.categories)
        return self.macro - math.sqrt(low) / count, self.macro + math.sqrt(high) / count

    def as_json(self) -> dict[str, Any]:
        """Shares and intervals in per cent, rounded to a hundredth."""

        def entry(value: float, interval: tuple[float, float]) -> dict[str, Any]:
            low, high = interval
            return {"per_cent": _per_cent(value), "interval_95": [_per_cent(low), _per_cent(high)]}

        def counted(share: Share) -> dict[str, Any]:
            counts = {"right": share.right, "total": share.total}
            return {**counts, **entry(share.value, share.interval)}

        return {
            "categories": {name: counted(share) for name, share in self.categories.items()},
            "macro": entry(self.macro, self.macro_interval),
            "per_question": counted(self.overall),
            "unread": self.unread,
        }


def summarise(rows: Sequence[ScoredAnswer]) -> Summary:
    """The figures of at least one answer."""
    by_category: dict[str, list[bool]] = {}
    for row in rows:
        by_category.setdefault(row.question.category, []).append(row.is_right)
    categories = {name: Share(sum(right), len(right)) for name, right in by_category.items()}
    overall = Share(sum(share.right for share in categories.values()), len(rows))
    return Summary(categories, overall, sum(row.is_unread for row in rows))


def _per_cent(share: float) -> float:
    return round(100 * share, 2)
