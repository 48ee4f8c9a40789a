"""What a stage trains, for how many steps, and at which rate.

In:  a Stage and its Task.  Out: parameter groups, a number of steps, a share of the full rate.
"""

from __future__ import annotations

import math
from typing import Any

from apollo.errors import RecipeError
from apollo.train.optimizer import parameter_groups
from apollo.train.stage import Stage
from apollo.train.task import Task

LEAST_RATE = 0.01  # share of the full rate at which "linear" ends


def num_steps_of(stage: Stage, task: Task) -> int:
    if stage.num_steps is not None:
        return stage.num_steps
    assert stage.epochs is not None  # a recipe without either is refused
    return max(1, math.ceil(stage.epochs * (task.num_samples() or 0) / stage.global_batch))


def share_of_rate(stage: Stage, step: int, num_steps: int) -> float:
    """The rate at a step as a share of the full one: a rise, then the schedule."""
    rise = min(1.0, (step + 1) / (stage.warmup_steps + 1))
    done = min(1.0, max(0, step - stage.warmup_steps) / max(1, num_steps - stage.warmup_steps))
    if stage.schedule == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * done))
    if stage.schedule == "linear":  # full until half of the steps are done
        return rise * max(LEAST_RATE, min(1.0, 2 * (num_steps - step) / num_steps))
    return rise


def trained_groups(stage: Stage, task: Task, where: str) -> list[dict[str, Any]]:
    """Parameter groups of the parts with a rate; every other parameter is frozen.

    Raises:
        RecipeError: the task has no such part.
    """
    parts = task.parts()
    for part in stage.train:
        if part not in parts:
            raise RecipeError(
                f'{where}: there is no part "{part}"; choose from {", ".join(parts)}.'
            )
    everything = {id(p): p for modules in parts.values() for m in modules for p in m.parameters()}
    learnable = {key for key, parameter in everything.items() if parameter.requires_grad}
    for parameter in everything.values():
        parameter.requires_grad_(False)
    groups: list[dict[str, Any]] = []
    taken: set[int] = set()
    # a part inside another one, as a tower among the towers, has its own rate
    for part in sorted(
        stage.train, key=lambda name: sum(1 for m in parts[name] for _ in m.parameters())
    ):
        modules = parts[part]
        fresh = [p for m in modules for p in m.parameters() if id(p) not in taken]
        taken |= {id(p) for p in fresh}
        if stage.train[part] == 0:
            continue
        for parameter in fresh:
            if id(parameter) in learnable:
                parameter.requires_grad_(True)
        chosen = {id(p) for p in fresh}
        for group in parameter_groups(modules, scale=stage.train[part]):
            group["params"] = [p for p in group["params"] if id(p) in chosen]
            if group["params"]:
                groups.append(group | {"lr": stage.lr * group["scale"]})
    if not groups:
        raise RecipeError(f"{where}: the parts that are trained have no parameters.")
    return groups
