"""What a training stage trains on: the contract between the trainer and everything it can train.

In:  a Stage and where it starts from.  Out: a module with a loss, and samples by their number.
Odd: a sample is a pure function of its number, and so is a batch. A resumed run and a run in
several processes see exactly what one uninterrupted process would have seen. Other packages add
their own tasks and recipes to TASKS and RECIPES; this one knows none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from apollo.errors import RecipeError
from apollo.train.stage import CONVERSATIONS, Stage

if TYPE_CHECKING:  # the command line fills TASKS, and does not wait for torch
    from torch import nn

RESULT = "result"  # the folder of a stage's result, inside that of the stage

Batch = dict[str, Any]
Metrics = dict[str, float]


@dataclass(frozen=True)
class Start:
    """Where a stage begins."""

    recipe: Path  # paths inside a recipe are relative to it
    base: str  # the model a recipe starts from; "" for none
    seed: int
    takes: dict[str, Path]  # stage -> folder of its result
    cache: Path  # for what is expensive to recompute
    is_check: bool = False  # results of earlier stages need not be there: nothing is trained


class Task(Protocol):
    """`module(**batch)` gives {"loss": mean over the batch's items, "metrics": {name: number}}."""

    module: nn.Module

    def parts(self) -> dict[str, list[nn.Module]]:
        """What a stage can train, by the names its recipe uses."""

    def num_samples(self) -> int | None:
        """How many different samples there are; None when they never end."""

    def order(self, num_samples: int) -> Sequence[int]:
        """The numbers of the samples to train on, in order; a global batch is a run of them."""

    def prepare(self, rank: int, world: int) -> None:
        """Long work before the first step, a process's part of it; after everything is checked."""

    def sample(self, number: int) -> Any:
        """One sample. Called in worker processes."""

    def collate(self, samples: list[Any]) -> Batch:
        """Samples as the module takes them."""

    def count(self, batch: Batch) -> int:
        """The items that the loss of a batch is a mean over: its weight among other batches."""

    def validation(self) -> Sequence[int]:
        """Numbers of samples that are never trained on; empty when there are none."""

    def save(self, folder: Path) -> None:
        """Writes the result that people and later stages use."""


# name in a recipe -> module:function that builds the task
TASKS = {CONVERSATIONS: "apollo.train.conversations:ConversationTask"}
RECIPES = [Path(__file__).parent / "recipes"]  # folders of recipes that are known by their names


def build_task(stage: Stage, start: Start) -> Task:
    """The task of a stage, checked and ready to train.

    Raises:
        RecipeError: there is no such task, or its options are wrong.
        DataError: its data are wrong.
    """
    if stage.task not in TASKS:
        raise RecipeError(
            f'{start.recipe}, stage "{stage.name}": unknown task "{stage.task}"; choose one of '
            f"{', '.join(TASKS)}."
        )
    module, _, name = TASKS[stage.task].partition(":")
    build: Callable[[Stage, Start], Task] = getattr(importlib.import_module(module), name)
    return build(stage, start)
