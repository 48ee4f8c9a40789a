"""What was measured: timings, ratios of them with their targets, and curves.

In:  runs of several ways of doing one thing, taken in turn.  Out: rows for the report.
Odd: a ratio is taken between runs of the same round, which met the machine in the same state; its
median and spread are over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from apollo.bench.meter import Run


@dataclass(frozen=True)
class Timing:
    """One way of doing a thing, one run a round."""

    case: str
    what: str
    runs: Sequence[Run]

    def median(self, key: str) -> float | None:
        values = [run[key] for run in self.runs if key in run]
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Figure:
    """A number with a target; `reason` says why there is none."""

    case: str
    what: str
    values: Sequence[float] = ()
    unit: str = "x"
    at_least: float | None = None
    at_most: float | None = None
    reason: str | None = None
    judged: bool = True  # False: too small a size to say anything

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def met(self) -> bool | None:
        """None: no target, or nothing to compare with it."""
        limits = (self.at_least, self.at_most)
        if self.median is None or limits == (None, None) or not self.judged:
            return None
        low, high = (self.median if limit is None else limit for limit in limits)
        return low <= self.median <= high

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median, "met": self.met}


@dataclass(frozen=True)
class Curve:
    """Wall seconds and peak memory against one quantity."""

    name: str
    quantity: str
    ticks: Sequence[str]
    runs: Sequence[Run]


@dataclass
class Results:
    timings: list[Timing] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "timings": [asdict(timing) for timing in self.timings],
            "figures": [figure.as_json() for figure in self.figures],
            "curves": [asdict(curve) for curve in self.curves],
        }
