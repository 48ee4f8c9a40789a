"""Which questions are worth asking: those that need the video, and that models disagree about.

In:  questions, and for each what some models said with the video, without it, and to its centre
     frame.  Out: a verdict per question: kept, or dropped and why.
Odd: entropy is taken over what the models answered, right or wrong. Unanimous answers have none,
     and tell no model from another. An unreadable answer is an answer of its own. With one model
     the entropy is 0 everywhere and decides nothing; what is left is then kept in file order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apollo.data.text import normalised_answer
from apollo.evaluate.protocol import ABLATIONS, FULL
from apollo.evaluate.question_file import Question
from apollo.evaluate.score import ScoredAnswer

BLIND = ("text-only", "centre-frame")  # the ablations that a good question resists

Columns = Mapping[str, Sequence[ScoredAnswer]]  # "full" and the ablations -> all questions


@dataclass(frozen=True)
class Verdict:
    """What became of one question. `reason` is "" if it is kept; `entropy_bits` is 0 or more."""

    question: Question
    entropy_bits: float
    models_right: int
    reason: str = ""

    @property
    def is_kept(self) -> bool:
        return not self.reason

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.question.id,
            "category": self.question.category,
            "kept": self.is_kept,
            "reason": self.reason,
            "entropy_bits": round(self.entropy_bits, 4),
            "models_right": self.models_right,
        }


def curate(
    answers: Mapping[str, Columns], *, per_category: int | None = None, blind_share: float = 0.5
) -> list[Verdict]:
    """A verdict for every question, in file order.

    answers: model name -> its columns, which hold "full" and every ablation of `BLIND`.
    `per_category` questions are kept of each category, those with the most entropy; all if None.
    A question is dropped when more than `blind_share` of the models answer it rightly while they
    are blind: the paper's half by default.
    """
    first = next(iter(answers.values()))[FULL]
    verdicts = []
    for place, row in enumerate(first):
        full = [columns[FULL][place] for columns in answers.values()]
        verdicts.append(
            Verdict(
                row.question,
                entropy_bits([said(scored) for scored in full]),
                sum(scored.is_right for scored in full),
                _blind_reason(answers, place, blind_share),
            )
        )
    if per_category is None:
        return verdicts
    return _best_of_each(verdicts, per_category)


def said(scored: ScoredAnswer) -> str:
    """What counts as the same answer: the letter, else the words."""
    if not scored.question.options:
        return normalised_answer(scored.given)
    return scored.letter or "no letter"


def entropy_bits(answers: Sequence[str]) -> float:
    """How evenly the answers differ: 0 if all are the same, log2(n) if all are different."""
    total = len(answers)
    shares = [count / total for count in Counter(answers).values()]
    return max(0.0, -sum(share * math.log2(share) for share in shares))


def _blind_reason(answers: Mapping[str, Columns], place: int, blind_share: float) -> str:
    for ablation in BLIND:
        knowing = [name for name, columns in answers.items() if columns[ablation][place].is_right]
        if len(knowing) > blind_share * len(answers):
            return f"answered rightly from {ABLATIONS[ablation]} by {', '.join(knowing)}"
    return ""


def _best_of_each(verdicts: Sequence[Verdict], per_category: int) -> list[Verdict]:
    """Keeps the most disputed of each category; equal entropy is decided by file order."""
    left: dict[str, list[int]] = {}
    for place, verdict in enumerate(verdicts):
        if verdict.is_kept:
            left.setdefault(verdict.question.category, []).append(place)
    result = list(verdicts)
    for category, places in left.items():
        ranked = sorted(places, key=lambda place: (-verdicts[place].entropy_bits, place))
        for rank, place in enumerate(ranked[per_category:], start=per_category + 1):
            verdict = verdicts[place]
            reason = (
                f"number {rank} of {category} by disagreement ({verdict.entropy_bits:.2f} bits); "
                f"{per_category} are kept"
            )
            result[place] = Verdict(
                verdict.question, verdict.entropy_bits, verdict.models_right, reason
            )
    return result


def summary_table(verdicts: Sequence[Verdict]) -> str:
    """Lines of text: per category, how many were there, dropped for which reason, and kept."""
    head = ["category", "questions", "blind", "less disputed", "kept"]
    rows = [head]
    categories = dict.fromkeys(verdict.question.category for verdict in verdicts)
    for category in (*categories, None):
        own = [v for v in verdicts if category is None or v.question.category == category]
        blind = sum(v.reason.startswith("answered rightly") for v in own)
        kept = sum(v.is_kept for v in own)
        counts = [len(own), blind, len(own) - blind - kept, kept]
        rows.append([category if category is not None else "all", *map(str, counts)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"
