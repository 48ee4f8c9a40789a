"""A stage from its first step, or its last whole checkpoint, to its result.

In:  a Stage, how to build its Task, and a folder.  Out: the task's result in `<folder>/result`.
Odd: where validation chose some weights, those are the result, else the last ones.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from apollo.train.checkpoints import WRITING, checkpoints, load_trained
from apollo.train.stage import Stage
from apollo.train.task import Task
from apollo.train.trainer import StageTrainer


def train_stage(
    stage: Stage,
    build: Callable[[], Task],
    folder: Path,
    *,
    where: str,
    seed: int,
    minutes: float | None = None,
) -> bool:
    """Trains to the end or until the time is up, going on from the last whole checkpoint.

    Returns whether the stage is complete; its result is then in `<folder>/result`.
    """
    task = build()
    stop_at_s = None if minutes is None else time.monotonic() + 60 * minutes
    trainer = StageTrainer(stage, task, folder, where=where, seed=seed, stop_at_s=stop_at_s)
    task.prepare(trainer.args.process_index, trainer.args.world_size)
    trainer.accelerator.wait_for_everyone()
    found = checkpoints(folder)
    trainer.train(resume_from_checkpoint=str(found[-1]) if found else None)
    complete = trainer.state.global_step >= trainer.num_steps
    if complete:
        _finish(trainer, build)
    return complete


def _finish(trainer: StageTrainer, build: Callable[[], Task]) -> None:
    """Writes the result, of the best weights where validation chose some."""
    folder, task = trainer.folder, trainer.task
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        options = StateDictOptions(full_state_dict=True, cpu_offload=torch.cuda.is_available())
        state = get_model_state_dict(trainer.model_wrapped, options=options)
        if trainer.args.should_save:  # no process has the whole model, so one builds it again
            task = build()
            task.module.load_state_dict(state)
    elif (folder / "best.safetensors").exists():
        load_trained(task.module, folder / "best.safetensors")
    if trainer.args.should_save:
        growing = folder / f"result.{WRITING}"
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir()
        task.module.eval()
        task.save(growing)
        os.replace(growing, folder / "result")
    trainer.accelerator.wait_for_everyone()
