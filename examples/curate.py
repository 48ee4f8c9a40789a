"""Which questions are worth asking: those that need the video, and that models disagree about.

    apollo eval data.json --model 1.5B --ablate text-only centre-frame --output runs/1.5B
    apollo eval data.json --model 3B --ablate text-only centre-frame --output runs/3B
    python examples/curate.py runs/1.5B runs/3B --output curated

In:  what `apollo eval` wrote about the same questions, one folder per model.
Out: a folder with curated.json, which `apollo eval` reads, and verdicts.json, which says of every
     question why it was kept or dropped; a table on stdout.
Odd: entropy is taken over what the models answered, right or wrong. Unanimous answers have none,
     and tell no model from another. An unreadable answer is an answer of its own. With one model
     the entropy is 0 everywhere and decides nothing; what is left is then kept in file order.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apollo.data.text import normalised_answer
from apollo.errors import DataError, SettingError
from apollo.evaluate.protocol import ABLATIONS, FULL
from apollo.evaluate.report import RESULTS
from apollo.terminal import guarded, write

BLIND = ("text-only", "centre-frame")  # the ablations that a good question resists
CURATED, VERDICTS = "curated.json", "verdicts.json"

Row = dict[str, Any]  # a question of results.json, with the answers of one model


@dataclass(frozen=True)
class Verdict:
    """What became of one question. `reason` is "" if it is kept; `entropy_bits` is 0 or more."""

    question: Row  # as the first model's results have it
    entropy_bits: float
    models_right: int
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.question["id"],
            "category": self.question["category"],
            "kept": not self.reason,
            "reason": self.reason,
            "entropy_bits": round(self.entropy_bits, 4),
            "models_right": self.models_right,
        }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Keep the questions that need the video.")
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of `apollo eval`")
    parser.add_argument("--output", required=True, type=Path, help="folder for what is kept")
    parser.add_argument(
        "--per-category", type=int, help="keep so many of each category (default: all that pass)"
    )
    parser.add_argument(
        "--blind-share",
        type=float,
        default=0.5,
        help="drop what more than this share of the models know without the video (default 0.5)",
    )
    args = parser.parse_args(argv)
    return guarded(lambda: run(args.runs, args.output, args.per_category, args.blind_share))


def run(runs: Sequence[Path], output: Path, per_category: int | None, blind_share: float) -> None:
    """Reads, judges and writes.

    Raises:
        SettingError: a number is out of range.
        DataError: the runs do not fit together, or no question is left.
    """
    if per_category is not None and per_category < 1:
        raise SettingError(f"--per-category is {per_category}; choose 1 or more.")
    if not 0 <= blind_share < 1:
        raise SettingError(f"--blind-share is {blind_share:g}; choose 0 or more, less than 1.")
    verdicts = curate(read_runs(runs), per_category=per_category, blind_share=blind_share)
    output.mkdir(parents=True, exist_ok=True)
    _write(output / VERDICTS, [verdict.as_json() for verdict in verdicts])
    kept = []
    for question in (verdict.question for verdict in verdicts if not verdict.reason):
        video = os.path.relpath(runs[0] / question["video"], output)
        kept.append({**question, "video": Path(video).as_posix()})
        del kept[-1]["answers"]
    if not kept:
        raise DataError(
            f"No question is left; {output / VERDICTS} says why. Raise --blind-share, or write "
            "questions that need the video."
        )
    _write(output / CURATED, kept)
    write(f"{summary_table(verdicts)}\n{output / CURATED}\n")


def read_runs(runs: Sequence[Path]) -> dict[str, list[Row]]:
    """Per run, by its folder's path: the questions with its answers, all in the same order.

    Raises:
        DataError: there is no result, one about other questions, or an ablation is missing.
    """
    models: dict[str, list[Row]] = {}
    for folder in runs:
        try:
            rows = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["questions"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{folder} holds no {RESULTS} of `apollo eval` ({error}); let a model answer first."
            ) from error
        if not {FULL, *BLIND} <= {*rows[0]["answers"]}:
            raise DataError(
                f"{folder} lacks answers without the video; run `apollo eval` on it again with "
                f"--ablate {' '.join(BLIND)}."
            )
        ids = [row["id"] for row in models.get(str(runs[0]), rows)]
        if [row["id"] for row in rows] != ids:
            raise DataError(
                f"{folder} is about other questions than {runs[0]}; let both models answer one "
                "file."
            )
        models[str(folder)] = rows
    return models


def curate(
    models: Mapping[str, Sequence[Row]],
    *,
    per_category: int | None = None,
    blind_share: float = 0.5,
) -> list[Verdict]:
    """A verdict for every question, in file order.

    models: name -> rows, which hold answers to "full" and to every ablation of `BLIND`.
    `per_category` questions are kept of each category, those with the most entropy; all if None.
    A question is dropped when more than `blind_share` of the models answer it rightly while they
    are blind: the paper's half by default.
    """
    verdicts = []
    for rows in zip(*models.values(), strict=True):
        full = [row["answers"][FULL] for row in rows]
        entropy = entropy_bits([_said(rows[0], answer) for answer in full])
        by_model = dict(zip(models, rows, strict=True))
        right = sum(answer["right"] for answer in full)
        verdicts.append(Verdict(rows[0], entropy, right, _blind_reason(by_model, blind_share)))
    return verdicts if per_category is None else _best_of_each(verdicts, per_category)


def entropy_bits(answers: Sequence[str]) -> float:
    """How evenly the answers differ: 0 if all are the same, log2(n) if all are different."""
    shares = [count / len(answers) for count in Counter(answers).values()]
    return max(0.0, -sum(share * math.log2(share) for share in shares))


def _said(question: Row, answer: dict[str, Any]) -> str:
    """What counts as the same answer: the letter, else the words."""
    if "options" in question:
        return answer["letter"] or "no letter"
    return normalised_answer(answer["given"])


def _blind_reason(rows: Mapping[str, Row], blind_share: float) -> str:
    for ablation in BLIND:
        knowing = [name for name, row in rows.items() if row["answers"][ablation]["right"]]
        if len(knowing) > blind_share * len(rows):
            return f"answered rightly from {ABLATIONS[ablation]} by {', '.join(knowing)}"
    return ""


def _best_of_each(verdicts: Sequence[Verdict], per_category: int) -> list[Verdict]:
    """Keeps the most disputed of each category; equal entropy is decided by file order."""
    left: dict[str, list[int]] = {}
    for place, verdict in enumerate(verdicts):
        if not verdict.reason:
            left.setdefault(verdict.question["category"], []).append(place)
    result = list(verdicts)
    for category, places in left.items():
        ranked = sorted(places, key=lambda place: (-verdicts[place].entropy_bits, place))
        for rank, place in enumerate(ranked[per_category:], start=per_category + 1):
            reason = (
                f"number {rank} of {category} by disagreement "
                f"({verdicts[place].entropy_bits:.2f} bits); {per_category} are kept"
            )
            result[place] = replace(verdicts[place], reason=reason)
    return result


def summary_table(verdicts: Sequence[Verdict]) -> str:
    """Lines of text: per category, how many were there, dropped for which reason, and kept."""
    head = ["category", "questions", "blind", "less disputed", "kept"]
    rows = [head]
    categories = dict.fromkeys(verdict.question["category"] for verdict in verdicts)
    for category in (*categories, None):
        own = [v for v in verdicts if category is None or v.question["category"] == category]
        blind = sum(v.reason.startswith("answered rightly") for v in own)
        kept = sum(not v.reason for v in own)
        counts = [len(own), blind, len(own) - blind - kept, kept]
        rows.append([category if category is not None else "all", *map(str, counts)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
