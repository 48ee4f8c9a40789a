"""Which word comes next: the likeliest, or one drawn among the likeliest.

In:  the scores of every word of the vocabulary.   Out: scores of which the largest is the word.
Odd: a draw sorts only as many words as `top_p` needs and takes one random number, from a generator
of its own: the global random state stays untouched, so a seeded answer is repeatable whatever
else runs in the process.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from apollo.settings import Generation

GREEDY_BELOW = 1e-5  # temperature; scores divided by less are beyond float32
_FIRST_SORTED, _MORE_SORTED = 64, 16  # words; mostly the first 64 hold `top_p` of the probability


class Draw(LogitsProcessor):
    """Draws from the softmax of the scores (B, vocabulary), cut to the likeliest `top_p` of it.

    A word is kept while the likelier ones together hold less than `top_p`. The drawn word scores
    0, all others minus infinity.
    """

    def __init__(
        self, temperature: float, top_p: float, seed: int | None, device: torch.device
    ) -> None:
        self.temperature, self.top_p = temperature, top_p
        self.generator = torch.Generator(device)
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        shares = (scores.float() / self.temperature).softmax(-1)  # (B, vocabulary)
        up_to, words = self._kept(shares)  # (B, kept), (B, kept) or None for all in their order
        number = torch.rand(
            (len(up_to), 1), generator=self.generator, device=up_to.device, dtype=up_to.dtype
        )
        place = torch.searchsorted(up_to, number * up_to[:, -1:], right=True)  # (B, 1)
        place.clamp_(max=up_to.shape[1] - 1)
        drawn = place if words is None else words.gather(1, place)  # (B, 1)
        return torch.full_like(scores, -math.inf).scatter_(1, drawn, 0.0)

    def _kept(self, shares: Tensor) -> tuple[Tensor, Tensor | None]:
        """Running sums of the kept words' shares, and the words."""
        exact = torch.float32 if shares.device.type == "mps" else torch.float64
        vocabulary = shares.shape[1]
        if self.top_p >= 1:
            return shares.to(exact).cumsum(-1), None
        sorted_words = _FIRST_SORTED
        while True:
            top, words = shares.topk(min(sorted_words, vocabulary), dim=-1)  # (B, sorted)
            top = top.to(exact)
            up_to = top.cumsum(-1)
            if sorted_words >= vocabulary or bool((up_to[:, -1] >= self.top_p).all()):
                break
            sorted_words *= _MORE_SORTED
        is_kept = up_to - top < self.top_p  # the first always is
        return (top * is_kept).cumsum(-1), words


def logits_processors(generation: Generation, device: torch.device) -> LogitsProcessorList:
    """Temperature 0 is greedy: nothing to do."""
    if generation.temperature < GREEDY_BELOW:
        return LogitsProcessorList()
    draw = Draw(generation.temperature, generation.top_p, generation.seed, device)
    return LogitsProcessorList([draw])
