"""Numbers that are none: weights are looked at once, an answer's scores at every token.

In:  a tensor.   Out: whether all of it is finite, or a `ModelError`.
Odd: on a GPU the scores of a token are only looked at when the next one is computed. By then the
device has them, so nothing waits; the first token and the last are looked at at once.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from apollo.errors import ModelError


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of the tensor is NaN or infinite; one pass, no copy."""
    if tensor.is_meta or not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = torch.aminmax(tensor.detach())
    return math.isfinite(low) and math.isfinite(high)


def type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class FiniteScores(LogitsProcessor):
    """Ends an answer whose scores are not finite; finite ones stay as they are.

    NaN would be drawn as token 0, or as none at all, which on a GPU ends the process.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self._is_behind = device.type != "cpu"  # the device computes while Python goes on
        self.largest: Tensor | None = None  # score of the newest token; NaN if any is NaN

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        largest = scores.max()
        if not self._is_behind:
            self._check(largest)
            return scores
        before, self.largest = self.largest, largest
        self._check(largest if before is None else before)
        return scores.nan_to_num(nan=0.0, neginf=-math.inf)  # tokens may be ruled out by -inf

    def check_last(self) -> None:
        """Raises `ModelError` if the scores of the last token were not finite."""
        if self.largest is not None:
            self._check(self.largest)

    def _check(self, largest: Tensor) -> None:
        if math.isfinite(largest):
            return
        if self.dtype is torch.float16:
            raise ModelError(
                "The model computed numbers that are too large for float16, so it has no answer; "
                "load it with the dtype bfloat16 or float32."
            )
        raise ModelError(
            f"The model computed numbers that are not finite in {type_name(self.dtype)}, so it has "
            "no answer; its weights or its adapter are damaged, load another copy."
        )
