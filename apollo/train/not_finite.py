"""Training ends when its numbers are none: what is wrong, at which step, and what is still good.

In:  the size of a gradient, the loss, trained tensors.  Out: nothing, or a `RecipeError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from apollo.errors import RecipeError
from apollo.model.finite import is_finite
from apollo.train.resume import checkpoints


def check_number(value: float, what: str, step: int, where: str, folder: Path) -> None:
    """`what` begins the sentence: "the gradient", "the loss"; `step` counts from 1.

    Raises:
        RecipeError: the value is NaN or infinite.
    """
    if not math.isfinite(value):
        raise _not_finite(f"{what} is {value}", step, where, folder)


def are_finite(tensors: Iterable[Tensor]) -> bool:
    return all(is_finite(tensor) for tensor in tensors)


def check_weights(bad: float, step: int, where: str, folder: Path) -> None:
    """`bad` is the number of processes whose trained weights are not all finite.

    Raises:
        RecipeError: there is one.
    """
    if bad:
        raise _not_finite("the weights are not all finite", step, where, folder)


def _not_finite(what: str, step: int, where: str, folder: Path) -> RecipeError:
    found = checkpoints(folder)
    kept = f"{found[-1]} is the last good checkpoint" if found else "there is no checkpoint yet"
    return RecipeError(
        f"{where}: in step {step} {what}, so the training stopped; {kept}; try a lower rate "
        "(lr) or the precision float32."
    )
