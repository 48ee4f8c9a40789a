"""A share of right answers, with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z_95 = 1.959964  # standard deviations that hold 95 % of a normal distribution


@dataclass(frozen=True)
class Share:
    """`right` of `total`, a count of questions; at least one."""

    right: int
    total: int

    @property
    def value(self) -> float:
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson, 0 to 1; unlike the usual one it is right near 0 and 1."""
        z2, n, share = Z_95**2, self.total, self.value
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        # the exact ends are 0 and 1; float noise must not pass them
        low = 0.0 if self.right == 0 else max(0.0, middle - half)
        high = 1.0 if self.right == n else min(1.0, middle + half)
        return low, high
