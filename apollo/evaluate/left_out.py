"""Questions that are not asked, or could not be answered, and why.

In:  what went wrong with single questions.
Out: lines for a terminal, records for a report, and the same list in every process.
Odd: one bad record or video must not end a run of hours, and must not go by in silence either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from apollo.data.whole_file import write_text
from apollo.errors import DataError

SHOWN = 20  # on a terminal


@dataclass(frozen=True)
class LeftOut:
    """One question; `reason` is a sentence that names it."""

    id: str  # "" if it has none
    reason: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def left_out_lines(left_out: Sequence[LeftOut]) -> str:
    """How many were left out, and the first of them by name; "" if none was."""
    if not left_out:
        return ""
    count = len(left_out)
    lines = [f"{count} question{' was' if count == 1 else 's were'} left out:"]
    lines += [f"  {one.reason}" for one in left_out[:SHOWN]]
    if count > SHOWN:
        lines.append(f"  and {count - SHOWN} more")
    return "\n".join(lines) + "\n"


def nothing_left(left_out: Sequence[LeftOut]) -> DataError:
    """The error for data without a single usable question."""
    count = len(left_out)
    which = "The only question cannot" if count == 1 else f"None of the {count} questions can"
    return DataError(f"{which} be asked; {left_out[0].reason}")


def tell_others(folder: Path, index: int, left_out: Sequence[LeftOut]) -> None:
    """Writes down what this process left out."""
    write_text(_file(folder, index), json.dumps([one.as_json() for one in left_out]))


def hear_others(folder: Path, count: int) -> list[LeftOut]:
    """What all processes left out, in the same order in each."""
    found: dict[str, LeftOut] = {}
    for index in range(count):
        for one in json.loads(_file(folder, index).read_text(encoding="utf-8")):
            found.setdefault(one["id"], LeftOut(**one))
    return list(found.values())


def _file(folder: Path, index: int) -> Path:
    return folder / f"left_out.process{index}.json"
