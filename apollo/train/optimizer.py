"""The optimiser of the small recipe: Muon for matrices, AdamW for everything else.

Muon replaces a matrix's momentum by the nearest orthogonal matrix, by Newton-Schulz iteration. It
is computed in float32: bfloat16, which torch's own Muon uses, is far slower on CPUs without
bfloat16 units.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients that pull all singular values to about 1
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
BETAS = (0.9, 0.98)
EPS = 1e-8


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


def parameter_groups(
    modules: Iterable[nn.Module], scale: float = 1.0, frozen: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """Two groups, matrices and the rest, with `scale` as a factor on the rate.

    Embedding tables, position tables and convolutions are no linear maps between hidden states, so
    they go with the rest. `frozen` are name endings to leave out.
    """
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    seen: set[int] = set()
    for module in modules:
        tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        for name, parameter in module.named_parameters():
            if (
                id(parameter) in seen
                or not parameter.requires_grad
                or name.endswith(frozen or "\0")
            ):
                continue
            seen.add(id(parameter))
            is_matrix = parameter.ndim == 2 and min(parameter.shape) > 1
            is_map = is_matrix and id(parameter) not in tables and not name.endswith("latents")
            (matrices if is_map else rest).append(parameter)
    groups = [
        {"params": matrices, "muon": True, "scale": scale},
        {"params": rest, "muon": False, "scale": scale},
    ]
    return [group for group in groups if group["params"]]
