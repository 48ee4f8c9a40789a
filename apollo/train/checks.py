"""Every stage of a recipe is checked before the first one trains, for that may take days.

In:  a Recipe, its stages that are to run, and the folder of all results.   Out: where each starts.
Odd: a stage is checked by building what it would train, only without the weights that earlier
stages have yet to leave; so all that building refuses, from a wrong option to a missing video, is
refused now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from apollo.errors import RecipeError
from apollo.train.rates import trained_groups
from apollo.train.recipe import Recipe
from apollo.train.stage import Stage
from apollo.train.task import Start, build_task

CACHE, RESULT = "features", "result"


def start_of(recipe: Recipe, stage: Stage, output: Path) -> Start:
    takes = {name: output / name / RESULT for name in recipe.takes(stage)}
    return Start(recipe.file, recipe.model, recipe.seed, takes, output / CACHE)


def check_takes(recipe: Recipe, stages: Sequence[Stage], output: Path) -> None:
    """Every stage must find what it goes on from, or run after it.

    Raises:
        RecipeError: one does not.
    """
    run = set[str]()
    for stage in stages:
        for name, result in start_of(recipe, stage, output).takes.items():
            if not result.is_dir() and name not in run:
                raise RecipeError(
                    f'{recipe.file}, stage "{stage.name}": the stage it goes on from, {name}, is '
                    "not complete; run that one first."
                )
        run.add(stage.name)


def check_stages(recipe: Recipe, stages: Sequence[Stage], output: Path) -> None:
    """Builds what each of the stages would train, and lets go of it.

    Raises:
        ApolloError: what the stage itself would say at its start.
    """
    tokens: dict[str, int | None] = {}  # stage -> visual tokens per clip that it leaves
    for stage in recipe.stages:
        before = [tokens.get(name) for name in recipe.takes(stage)]
        tokens[stage.name] = stage.tokens_per_clip or next(iter(before), None)
        if stage not in stages:
            continue
        start = replace(start_of(recipe, stage, output), is_check=True)
        with torch.random.fork_rng(devices=[]):  # training draws what it would have drawn anyway
            task = build_task(replace(stage, tokens_per_clip=tokens[stage.name]), start)
            trained_groups(stage, task, f'{recipe.file}, stage "{stage.name}"')
