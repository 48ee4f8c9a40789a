"""Every stage of a recipe is checked before the first one trains, which may take days.

In:  a Recipe, its stages that are to run, and the folder of all results.   Out: where each starts,
     and what must be the same when it goes on.
Odd: a stage is checked by building what it would train, only without the weights that earlier
stages have yet to leave; so all that building refuses, from a wrong option to a missing video, is
refused now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from apollo.errors import RecipeError
from apollo.train.optimizer import trained_groups
from apollo.train.processes import check_machine
from apollo.train.recipe import Recipe
from apollo.train.resume import Settings, check_folder, checkpoints, content_digest
from apollo.train.stage import Stage
from apollo.train.task import RESULT, Start, build_task

CACHE = "features"
# what may be another when a stage goes on: it changes how, not what is trained
MAY_CHANGE = (
    *("micro_batch", "workers", "feature_cache", "gradient_checkpointing"),
    *("save_every", "keep", "log_every"),
)


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


def settings_of(recipe: Recipe, stage: Stage) -> Settings:
    """What must be the same for a stage to go on, or to be complete; data by their content."""
    values = {key: value for key, value in asdict(stage).items() if key not in MAY_CHANGE}
    values |= {"takes": recipe.takes(stage), "model": recipe.model, "seed": recipe.seed}
    files = [source.file for source in stage.data]
    files += [stage.validation] if stage.validation else []
    del values["validation"], values["data"]
    if all(file.is_file() for file in files):  # a complete stage does without its data
        values["data"] = [content_digest(file) for file in files]
        values["shares"] = [source.share for source in stage.data]
    return values


def check_results(
    recipe: Recipe, stages: Sequence[Stage], output: Path, removed: Sequence[Stage]
) -> None:
    """What the stages left, and those they go on from, must be of this very recipe.

    Raises:
        SettingError: it is of another one.
    """
    names = {stage.name for stage in stages}
    names.update(name for stage in stages for name in recipe.takes(stage))
    for stage in recipe.stages:
        if stage.name in names and stage not in removed:
            folder = output / stage.name
            others = [folder / RESULT, *checkpoints(folder)]
            check_folder(folder, settings_of(recipe, stage), others)


def check_stages(recipe: Recipe, stages: Sequence[Stage], output: Path) -> None:
    """Builds what each of the stages would train, one at a time.

    Raises:
        ApolloError: what the stage itself would say at its start.
    """
    tokens: dict[str, int | None] = {}  # stage -> visual tokens per clip that it leaves
    for stage in recipe.stages:
        before = [tokens.get(name) for name in recipe.takes(stage)]
        tokens[stage.name] = stage.tokens_per_clip or next(iter(before), None)
        if stage not in stages:
            continue
        where = f'{recipe.file}, stage "{stage.name}"'
        check_machine(stage, where)
        start = replace(start_of(recipe, stage, output), is_check=True)
        with torch.random.fork_rng(devices=[]):  # training draws what it would have drawn anyway
            task = build_task(replace(stage, tokens_per_clip=tokens[stage.name]), start)
            trained_groups(stage, task, where)
