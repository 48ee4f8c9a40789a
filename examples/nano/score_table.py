"""Answers as tables: the shares of right ones under each view, the first with intervals.

In:  QuestionScores.  Out: Markdown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from apollo.data.shares import Share
from examples.nano.judge import is_right
from examples.nano.views import SHOWN

EVERYTHING = "all"


@dataclass(frozen=True)
class QuestionScore:
    """One question, its right answer, and the model's answer under each view."""

    seed: int
    split: str
    language: str
    scenes: int
    turn: int  # in its conversation, from 1
    kind: str
    question: str
    wanted: str
    given: dict[str, str]  # by view

    def right(self, view: str = SHOWN) -> bool:
        return is_right(self.kind, self.wanted, self.given[view])


def table(results: Sequence[QuestionScore]) -> str:
    """Per number of scenes and kind, right answers under every view; the first with intervals."""
    return _grouped(results, "scenes | question", lambda row: (row.scenes, row.kind), (EVERYTHING,))


def turns_table(results: Sequence[QuestionScore]) -> str:
    """Per turn of the conversations and per language."""
    turns = _grouped(results, "turn", lambda row: (row.turn,))
    return turns + "\n\n" + _grouped(results, "language", lambda row: (row.language,))


def _grouped(
    results: Sequence[QuestionScore],
    title: str,
    key: Callable[[QuestionScore], tuple[int | str, ...]],
    total: tuple[str, ...] = (),
) -> str:
    groups: dict[tuple[int | str, ...], list[QuestionScore]] = defaultdict(list)
    for row in results:
        groups[key(row)].append(row)
        if total:
            groups[(*key(row)[:-1], *total)].append(row)
    views = list(results[0].given)
    head = [*title.split(" | "), "n", "right", "95 % interval", *views[1:]]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, rows in sorted(groups.items(), key=lambda item: [str(part) for part in item[0]]):
        right = sum(row.right(views[0]) for row in rows)
        low, high = Share(right, len(rows)).interval
        others = [100 * np.mean([row.right(view) for row in rows]) for view in views[1:]]
        cells = [
            *(str(part) for part in name),
            str(len(rows)),
            f"{100 * right / len(rows):.1f} %",
            f"{100 * low:.0f} to {100 * high:.0f}",
            *(f"{share:.1f} %" for share in others),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
