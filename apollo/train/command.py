"""`apollo train`: reads a recipe, checks everything, runs its stages one after the other.

A stage that is finished is not run again; one that was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from apollo.errors import RecipeError
from apollo.settings import shown
from apollo.terminal import check_extra, write
from apollo.train.stage import MAX_THREADS, Stage, check_minutes
from apollo.train.task import RECIPES, RESULT

if TYPE_CHECKING:
    from apollo.train.recipe import Recipe

MODULES = ("accelerate", "yaml", "tensorboard", "matplotlib")  # of the extra "train"
log = logging.getLogger(__name__)


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a YAML file, or the name of one of the package's own")
    add(
        "--output",
        type=Path,
        help="folder for all stages (default: the recipe's; runs/NAME for the package's own)",
    )
    add("--only", nargs="+", metavar="STAGE", help="run just these stages")
    add("--fresh", action="store_true", help="begin anew instead of going on")
    add("--minutes", type=float, help="stop cleanly after so long; the same command goes on")
    add("--threads", type=int, help="torch threads (default: the recipe's)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        dest="changes",
        help="another value than the recipe's; may be given several times",
    )
    add("--check", action="store_true", help="check recipe, data and model, and show the plan")


def run(args: argparse.Namespace) -> int:
    check_extra("apollo train", "train", *MODULES)
    from apollo.train.checks import check_stages
    from apollo.train.recipe import read_recipe

    recipe = read_recipe(_recipe_file(args.recipe), args.changes)
    output = args.output or recipe.output
    if args.output is None and recipe.file.parent in RECIPES:  # nothing is written into the package
        output = Path("runs", recipe.file.stem)
    chosen = args.only or [stage.name for stage in recipe.stages]
    for name in chosen:
        if name not in [stage.name for stage in recipe.stages]:
            raise RecipeError(
                f"{recipe.file} has no stage {name!r}; choose from "
                f"{', '.join(stage.name for stage in recipe.stages)}."
            )
    check_minutes(args.minutes)
    if args.threads is not None and not 0 <= args.threads <= MAX_THREADS:
        raise RecipeError(f"--threads is {shown(args.threads)}; choose 0 to {MAX_THREADS}.")
    start_logging()
    if args.check:
        to_do = _stages_to_do(recipe, output, chosen, fresh=args.fresh)
        check_stages(recipe, [stage for stage in recipe.stages if stage.name in chosen], output)
        write(plan(recipe, output, chosen, to_do))
        return 0
    run_stages(
        recipe,
        output,
        chosen,
        fresh=args.fresh,
        minutes=args.minutes,
        threads=recipe.threads if args.threads is None else args.threads,
    )
    return 0


def start_logging() -> None:
    """What is told on the way goes to stderr; of several processes only the first one speaks."""
    from apollo.train.processes import is_first_process

    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("apollo").setLevel(logging.INFO if is_first_process() else logging.ERROR)


def _recipe_file(name: str) -> Path:
    if not Path(name).is_file():
        for folder in RECIPES:
            if (folder / f"{name}.yaml").is_file():
                return folder / f"{name}.yaml"
    return Path(name)


def plan(recipe: Recipe, output: Path, chosen: Sequence[str], to_do: Sequence[Stage]) -> str:
    """What would run, in lines for a person."""
    lines = [f"{recipe.file}: {len(chosen)} stages, results in {output}"]
    for stage in recipe.stages:
        if stage.name in chosen:
            trained = ", ".join(f"{part} x {rate:g}" for part, rate in stage.train.items() if rate)
            length = f"{stage.num_steps} steps" if stage.num_steps else f"{stage.epochs:g} epochs"
            lines.append(
                f"{stage.name}: {stage.task}, {length} of {stage.global_batch}, rate {stage.lr:g} "
                f"({trained}), {'to do' if stage in to_do else 'complete'}"
            )
    return "\n".join(lines) + "\n"


def run_stages(
    recipe: Recipe,
    output: Path,
    chosen: Sequence[str],
    *,
    fresh: bool = False,
    minutes: float | None = None,
    threads: int = 0,
) -> bool:
    """Runs the chosen stages in the recipe's order; returns whether all are complete.

    Raises:
        ApolloError: something is wrong; said before the first step of the first stage.
    """
    import torch

    from apollo.train.checks import check_stages, settings_of, start_of
    from apollo.train.task import build_task
    from apollo.train.trainer import train_stage

    if threads:
        torch.set_num_threads(threads)
    began_s = time.monotonic()
    to_do = _stages_to_do(recipe, output, chosen, fresh=fresh)
    for stage in recipe.stages:
        if stage.name in chosen and stage not in to_do:
            log.info("Stage %s is complete.", stage.name)
    if len(to_do) > 1:
        check_stages(recipe, to_do, output)
    for stage in to_do:
        folder = output / stage.name
        complete = train_stage(
            stage,
            partial(build_task, stage, start_of(recipe, stage, output)),
            folder,
            where=f'{recipe.file}, stage "{stage.name}"',
            seed=recipe.seed,
            settings=(folder, settings_of(recipe, stage)),
            fresh=[folder] if fresh else [],
            minutes=None if minutes is None else minutes - (time.monotonic() - began_s) / 60,
        )
        if not complete:
            log.info("Stopped in stage %s; the same command goes on from there.", stage.name)
            return False
    return True


def _stages_to_do(
    recipe: Recipe, output: Path, chosen: Sequence[str], *, fresh: bool
) -> list[Stage]:
    """The chosen stages that have no result yet, or are to begin anew.

    Raises:
        RecipeError: one goes on from a stage without a result.
        SettingError: the results in the folder are of another recipe.
    """
    from apollo.train.checks import check_results, check_takes

    stages = [stage for stage in recipe.stages if stage.name in chosen]
    to_do = [s for s in stages if fresh or not (output / s.name / RESULT).is_dir()]
    check_takes(recipe, to_do, output)
    check_results(recipe, stages, output, removed=to_do if fresh else [])
    return to_do
