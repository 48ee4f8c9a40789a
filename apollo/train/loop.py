"""One training loop for all stages: steps, schedule, clipping, progress, checkpoint and resume.

A stage is a module, its optimiser, a batch function of the step number, and a loss function. The
batch is a pure function of the step, so a resumed run sees exactly what it would have seen.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from apollo.train.optimizer import MuonAdamW, rate_at

log = logging.getLogger(__name__)

MAX_NORM = 1.0
LOG_EVERY = 25
SAVE_EVERY = 200

Metrics = dict[str, float]
LossFunction = Callable[[Any], tuple[Tensor, Metrics]]


def run_stage(
    name: str,
    module: nn.Module,
    groups: list[dict[str, Any]],
    batches: Callable[[int], Iterable[Any]],
    loss_function: LossFunction,
    *,
    num_steps: int,
    lr: float,
    folder: Path,
) -> None:
    """Trains `module` in place; a finished stage is read back and not run again.

    `batches(step)` yields the batches from that step on. Losses go to `<folder>/<name>.jsonl`.
    """
    optimizer = MuonAdamW(groups, lr)
    file = folder / f"{name}.safetensors"
    start = restore(file, module, optimizer)
    if start >= num_steps:
        log.info("Stage %s is complete (%d steps).", name, start)
        return
    module.train()
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    bar = tqdm(total=num_steps, initial=start, desc=name, unit="step", dynamic_ncols=True)
    with open(folder / f"{name}.jsonl", "a", encoding="utf-8") as journal:
        for step, batch in zip(range(start, num_steps), batches(start), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = lr * group["scale"] * rate_at(step, num_steps)
            loss, metrics = loss_function(batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(
                [p for group in optimizer.param_groups for p in group["params"]], MAX_NORM
            )
            optimizer.step()
            bar.update()
            if step % LOG_EVERY == 0 or step == num_steps - 1:
                row = {"step": step, "loss": loss.item(), **metrics}
                row["seconds"] = round(time.monotonic() - began_s, 1)
                bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k != "step"})
                journal.write(json.dumps(row) + "\n")
                journal.flush()
            if (step + 1) % SAVE_EVERY == 0 or step == num_steps - 1:
                save(file, module, optimizer, step + 1)
    bar.close()
    module.eval()


def save(file: Path, module: nn.Module, optimizer: MuonAdamW, step: int) -> None:
    """Weights and optimiser state in one file, replaced as a whole, so a kill never tears it."""
    tensors = {f"module.{name}": p.detach().contiguous() for name, p in _unique(module).items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{key}": value for key, value in state.items()}
    fresh = file.with_suffix(".writing")
    save_file(tensors, fresh, metadata={"step": str(step)})
    os.replace(fresh, file)


def restore(file: Path, module: nn.Module, optimizer: MuonAdamW | None = None) -> int:
    """Reads what `save` wrote; returns the step to go on with, 0 where there is nothing."""
    if not file.exists():
        return 0
    parameters = _unique(module)
    states: dict[int, dict[str, Tensor]] = {}
    with safe_open(file, framework="pt") as handle:
        step = int(handle.metadata()["step"])
        for name in handle.keys():  # noqa: SIM118
            kind, _, rest = name.partition(".")
            if kind == "module":
                with torch.no_grad():
                    parameters[rest].copy_(handle.get_tensor(name))
            else:
                i, _, key = rest.partition(".")
                states.setdefault(int(i), {})[key] = handle.get_tensor(name)
    if optimizer is not None:
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states, "param_groups": groups})
    return step


def _unique(module: nn.Module) -> dict[str, Tensor]:
    """Parameters by name, tied ones once."""
    return dict(module.named_parameters())
