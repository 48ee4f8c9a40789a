"""Which word comes next: the likeliest, or one drawn among the likeliest.

In:  the scores of every word of the vocabulary.   Out: scores of which the largest is the word.
Odd: a draw sorts only as many words as `top_p` needs and takes one random number, from a generator
of its own: the global random state stays untouched, so a seeded answer is repeatable whatever
else runs in the process. It works on plain numbers, because a dozen tensor operations cost a small
model as much as a tenth of a token.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from apollo.settings import Generation

GREEDY_BELOW = 1e-5  # temperature; scores divided by less are beyond float32
_FIRST_SORTED, _MORE_SORTED = 32, 32  # words; mostly the first 32 hold `top_p` of the probability


class Processors(LogitsProcessorList):
    """The same, but without looking up each processor's signature at every token."""

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        if kwargs:
            return super().__call__(input_ids, scores, **kwargs)
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class Draw(LogitsProcessor):
    """Draws from the softmax of the scores (B, vocabulary), cut to the likeliest `top_p` of it.

    A word is kept while the likelier ones together hold less than `top_p`. The drawn word's score
    becomes infinite.
    """

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        self.temperature, self.top_p = temperature, top_p
        self.random = random.Random(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scaled = scores.float() / self.temperature  # (B, vocabulary)
        totals = scaled.logsumexp(-1).tolist()  # (B,)
        for row, total in enumerate(totals):
            scores[row, self._word(scaled[row], total)] = math.inf
        return scores

    def _word(self, scaled: Tensor, total: float) -> int:
        """The number of the drawn word; `total` is the logarithm of the sum of their exponents."""
        number = self.random.random()
        is_cut = self.top_p < 1
        num_sorted = _FIRST_SORTED
        while True:
            top, words = scaled.topk(min(num_sorted, len(scaled)))  # (sorted,)
            shares = [math.exp(value - total) for value in top.tolist()]
            kept = _up_to(shares, self.top_p if is_cut else number)
            if len(kept) < num_sorted or num_sorted >= len(scaled):
                break
            num_sorted *= _MORE_SORTED
        wanted = number * kept[-1] if is_cut else number
        return int(words[next((i for i, s in enumerate(kept) if s > wanted), len(kept) - 1)])


def _up_to(shares: Sequence[float], top_p: float) -> list[float]:
    """Running sums of descending shares, up to the first that reaches `top_p`."""
    kept: list[float] = []
    for share in accumulate(shares):
        kept.append(share)
        if share >= top_p:
            break
    return kept


def logits_processors(generation: Generation) -> LogitsProcessorList:
    """Temperature 0 is greedy: nothing to do."""
    if generation.temperature < GREEDY_BELOW:
        return Processors()
    return Processors([Draw(generation.temperature, generation.top_p, generation.seed)])
