"""What a stage trains, at which rate, and by which optimiser.

In:  a Stage and its Task.  Out: parameter groups, an optimiser for them, the rate of a step.
Odd: nano is trained by Muon for matrices and AdamW for everything else. Muon replaces a matrix's
momentum by the nearest orthogonal matrix, by Newton-Schulz iteration. It is computed in float32:
bfloat16, which torch's own Muon uses, is far slower on CPUs without bfloat16 units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from apollo.errors import RecipeError
from apollo.train.stage import Stage
from apollo.train.task import Task

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients that pull all singular values to about 1
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
BETAS = (0.9, 0.98)
EPS = 1e-8
LEAST_RATE = 0.01  # share of the full rate at which "linear" ends

Group = dict[str, Any]  # of an optimiser: "params", "lr", "muon"


def share_of_rate(stage: Stage, step: int, num_steps: int) -> float:
    """The rate at a step as a share of the full one: a rise, then the schedule."""
    rise = min(1.0, (step + 1) / (stage.warmup_steps + 1))
    done = min(1.0, max(0, step - stage.warmup_steps) / max(1, num_steps - stage.warmup_steps))
    if stage.schedule == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * done))
    if stage.schedule == "linear":  # full until half of the steps are done
        return rise * max(LEAST_RATE, min(1.0, 2 * (num_steps - step) / num_steps))
    return rise


def trained_groups(stage: Stage, task: Task, where: str) -> list[Group]:
    """Parameter groups of the parts with a rate; every other parameter is frozen.

    Raises:
        RecipeError: the task has no such part, or what is trained has no parameters.
    """
    parts = task.parts()
    for part in stage.train:
        if part not in parts:
            raise RecipeError(
                f'{where}: there is no part "{part}"; choose from {", ".join(parts)}.'
            )
    sizes = {part: len(_parameters(modules)) for part, modules in parts.items()}
    everything = [p for modules in parts.values() for p in _parameters(modules)]
    learnable = {id(p) for p in everything if p.requires_grad}
    for parameter in everything:
        parameter.requires_grad_(False)
    groups: list[Group] = []
    taken: set[int] = set()
    # a part inside another one, as a tower among the towers, has its own rate
    for part in sorted(stage.train, key=lambda name: sizes[name]):
        fresh = [p for p in _parameters(parts[part]) if id(p) not in taken]
        taken |= {id(p) for p in fresh}
        if stage.train[part] == 0:
            continue
        chosen = {id(p) for p in fresh if id(p) in learnable}
        for parameter in fresh:
            parameter.requires_grad_(id(parameter) in chosen)
        for group in parameter_groups(parts[part]):
            group["params"] = [p for p in group["params"] if id(p) in chosen]
            if group["params"]:
                groups.append(group | {"lr": stage.lr * stage.train[part]})
    if not groups:
        raise RecipeError(f"{where}: the parts that are trained have no parameters.")
    return groups


def parameter_groups(modules: Iterable[nn.Module]) -> list[Group]:
    """Two groups of what asks for gradients: matrices, and the rest.

    Embedding tables, position tables and convolutions are no linear maps between hidden states, so
    they go with the rest.
    """
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    seen: set[int] = set()
    for module in modules:
        tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        for name, parameter in module.named_parameters():
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            is_matrix = parameter.ndim == 2 and min(parameter.shape) > 1
            is_map = is_matrix and id(parameter) not in tables and not name.endswith("latents")
            (matrices if is_map else rest).append(parameter)
    groups = [{"params": matrices, "muon": True}, {"params": rest, "muon": False}]
    return [group for group in groups if group["params"]]


def _parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters()]


def build_optimizer(stage: Stage, groups: list[Group]) -> torch.optim.Optimizer:
    if stage.optimizer == "muon":
        return MuonAdamW(groups, stage.lr, stage.weight_decay)
    plain = [{"params": group["params"], "lr": group["lr"]} for group in groups]
    return torch.optim.AdamW(plain, lr=stage.lr, weight_decay=stage.weight_decay)


def orthogonalise(matrix: Tensor) -> Tensor:
    """(m, n) -> about U V^T of its singular value decomposition."""
    a, b, c = NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class MuonAdamW(torch.optim.Optimizer):
    """Groups with `muon=True` hold matrices only; the rest is AdamW with the same rate."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float = 0.05) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "muon": False})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, lr = self.state[parameter], group["lr"]
        parameter.mul_(1 - lr * group["weight_decay"])
        if group["muon"]:
            momentum = state.setdefault("momentum", torch.zeros_like(gradient))
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalise(gradient.lerp(momentum, MOMENTUM))
            parameter.add_(update, alpha=-lr * 0.2 * max(update.shape) ** 0.5)
            return
        first = state.setdefault("first", torch.zeros_like(gradient))
        second = state.setdefault("second", torch.zeros_like(gradient))
        step = state.setdefault("step", torch.zeros(()))
        step += 1
        first.lerp_(gradient, 1 - BETAS[0])
        second.lerp_(gradient.square(), 1 - BETAS[1])
        first_hat = first / (1 - BETAS[0] ** step)
        second_hat = second / (1 - BETAS[1] ** step)
        parameter.addcdiv_(first_hat, second_hat.sqrt().add_(EPS), value=-lr)
