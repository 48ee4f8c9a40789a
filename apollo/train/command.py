"""`apollo train`: reads a recipe, checks everything, runs its stages one after the other.

A stage that is finished is not run again; one that was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from apollo.errors import RecipeError

PACKAGE = Path(__file__).parent.parent
RECIPES = (PACKAGE / "train" / "recipes", PACKAGE / "nano" / "recipes")
log = logging.getLogger(__name__)


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file, or the name of one of the package's own"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for all stages (default: the recipe's; runs/NAME for the package's own)",
    )
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="run just these stages")
    parser.add_argument("--fresh", action="store_true", help="begin anew instead of going on")
    parser.add_argument(
        "--minutes", type=float, help="stop cleanly after so long; the same command goes on"
    )
    parser.add_argument("--threads", type=int, help="torch threads (default: the recipe's)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        dest="changes",
        help="another value than the recipe's; may be given several times",
    )
    parser.add_argument(
        "--check", action="store_true", help="check recipe, data and model, and show the plan"
    )


def run(args: argparse.Namespace) -> int:
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
    if args.minutes is not None and args.minutes <= 0:
        raise RecipeError(f"--minutes is {args.minutes:g}; it must be above 0.")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes only one speaks
    logging.getLogger("apollo").setLevel(logging.INFO if is_first else logging.ERROR)
    if args.check:
        _check(recipe, output, chosen)
        sys.stdout.write(plan(recipe, output, chosen))
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


def _recipe_file(name: str) -> Path:
    if not Path(name).is_file():
        for folder in RECIPES:
            if (folder / f"{name}.yaml").is_file():
                return folder / f"{name}.yaml"
    return Path(name)


def _check(recipe: Any, output: Path, chosen: list[str]) -> None:
    from apollo.train.checks import check_stages, check_takes

    stages = [stage for stage in recipe.stages if stage.name in chosen]
    check_takes(recipe, stages, output)
    check_stages(recipe, stages, output)


def plan(recipe: Any, output: Path, chosen: list[str]) -> str:
    """What would run, in lines for a person."""
    lines = [f"{recipe.file}: {len(chosen)} stages, results in {output}"]
    for stage in recipe.stages:
        if stage.name in chosen:
            trained = ", ".join(f"{part} x {rate:g}" for part, rate in stage.train.items() if rate)
            length = f"{stage.num_steps} steps" if stage.num_steps else f"{stage.epochs:g} epochs"
            state = "complete" if (output / stage.name / "result").is_dir() else "to do"
            lines.append(
                f"{stage.name}: {stage.task}, {length} of {stage.global_batch}, rate {stage.lr:g} "
                f"({trained}), {state}"
            )
    return "\n".join(lines) + "\n"


def run_stages(
    recipe: Any,
    output: Path,
    chosen: list[str],
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

    from apollo.train.checks import check_stages, check_takes, start_of
    from apollo.train.stage_run import train_stage
    from apollo.train.task import build_task

    if threads:
        torch.set_num_threads(threads)
    began_s = time.monotonic()
    to_do = []
    for stage in recipe.stages:
        if stage.name in chosen and not fresh and (output / stage.name / "result").is_dir():
            log.info("Stage %s is complete.", stage.name)
        elif stage.name in chosen:
            to_do.append(stage)
    check_takes(recipe, to_do, output)
    if len(to_do) > 1:
        check_stages(recipe, to_do, output)
    for stage in to_do:
        folder = output / stage.name
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        left = None if minutes is None else minutes - (time.monotonic() - began_s) / 60
        complete = train_stage(
            stage,
            partial(build_task, stage, start_of(recipe, stage, output)),
            folder,
            where=f'{recipe.file}, stage "{stage.name}"',
            seed=recipe.seed,
            minutes=left,
        )
        if not complete:
            log.info("Stopped in stage %s; the same command goes on from there.", stage.name)
            return False
    return True
