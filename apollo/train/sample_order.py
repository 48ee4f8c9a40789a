"""In which order samples are trained on: shares of several files, similar lengths side by side.

In:  how long every sample is and which source it is from.  Out: sample numbers, step after step.
Odd: the whole order is made before training, from the seed alone, so it does not depend on the
number of processes and a resumed run goes on inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from apollo.train.task import Task

STEPS_TOGETHER = 50  # lengths are sorted within so many steps: alike inside, shuffled beyond


def training_order(
    sources: Sequence[Sequence[int]],
    shares: Sequence[float],
    lengths: Sequence[int],
    *,
    num_samples: int,
    global_batch: int,
    seed: int,
) -> list[int]:
    """`num_samples` sample numbers; runs of `global_batch` are of similar length.

    `sources` hold the numbers of each source's samples. Each is walked through in a new random
    order again and again, and gets its share of the whole to within one sample.
    """
    rng = np.random.default_rng((seed, 11))
    weights = np.array(shares) / sum(shares)
    ends = np.round(np.cumsum(weights) * num_samples).astype(int)
    drawn: list[int] = []
    for samples, count in zip(sources, np.diff(ends, prepend=0), strict=True):
        rounds = -(-int(count) // len(samples))
        order = [n for _ in range(rounds) for n in rng.permutation(np.array(samples)).tolist()]
        drawn += order[: int(count)]
    mixed = _spread(drawn, ends, rng)
    together = STEPS_TOGETHER * global_batch
    result: list[int] = []
    for start in range(0, len(mixed), together):
        part = sorted(mixed[start : start + together], key=lambda n: lengths[n], reverse=True)
        batches = [part[i : i + global_batch] for i in range(0, len(part), global_batch)]
        short = batches.pop() if len(batches[-1]) < global_batch else []
        for i in rng.permutation(len(batches)):
            result += batches[i]
        result += short
    return result


def _spread(drawn: list[int], ends: np.ndarray, rng: np.random.Generator) -> list[int]:
    """The sources mixed evenly, each still in its own order."""
    places = [(np.arange(n) + rng.random()) / max(n, 1) for n in np.diff(ends, prepend=0)]
    return [drawn[i] for i in np.argsort(np.concatenate(places), kind="stable")]


class Samples(Dataset[Any]):
    """A task's samples by their numbers, for a DataLoader."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getitem__(self, number: int) -> Any:
        return self.task.sample(number)
