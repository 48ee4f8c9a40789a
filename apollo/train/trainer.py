"""One stage, from its first step or its last whole checkpoint to its result.

In:  a Stage, how to build its Task, and a folder.  Out: the task's result in `<folder>/result`.
Odd: the loss of a step is the mean over all items of the global batch, however it is cut into
processes and micro-batches. A checkpoint holds only what is trained, and is whole or not there.
Where validation chose some weights, those are the result, else the last ones.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device, set_seed
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
)
from torch.utils.data import DataLoader

from apollo.data.whole_file import WRITING, whole_file, whole_folder, write_text
from apollo.train.journal import Journal
from apollo.train.not_finite import are_finite, check_number, check_weights
from apollo.train.optimizer import build_optimizer, share_of_rate, trained_groups
from apollo.train.processes import (
    check_machine,
    full_value,
    is_sharded,
    local_part,
    micro_batch_of,
    start_accelerator,
)
from apollo.train.resume import (
    Settings,
    checkpoints,
    load_trained,
    saving,
    step_of,
    trained_tensors,
    write_settings,
)
from apollo.train.sample_order import Samples
from apollo.train.stage import Stage
from apollo.train.task import RESULT, Batch, Metrics, Task

log = logging.getLogger(__name__)

WEIGHTS = "trained.safetensors"
MOST_LEFT_OUT = 20  # steps in a row; the scale has become small enough by then
BEST, BEST_LOSS = "best.safetensors", "best.txt"


def train_stage(
    stage: Stage,
    build: Callable[[], Task],
    folder: Path,
    *,
    where: str,
    seed: int,
    settings: tuple[Path, Settings],
    fresh: Iterable[Path] = (),
    minutes: float | None = None,
) -> bool:
    """Trains to the end or until the time is up, going on from the last whole checkpoint.

    `settings` are written into their folder once all is checked; `fresh` are files and folders of
    an earlier training, removed before this one begins. `where` begins the sentence of an error.

    Returns whether the stage is complete; its result is then in `<folder>/result`.
    """
    stop_at_s = None if minutes is None else time.monotonic() + 60 * minutes
    check_machine(stage, where)
    task = build()
    trainer = Trainer(stage, task, folder, where=where, seed=seed)
    if trainer.is_first:
        for path in fresh:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        write_settings(*settings)
    accelerator = trainer.accelerator
    accelerator.wait_for_everyone()
    task.prepare(accelerator.process_index, accelerator.num_processes)
    accelerator.wait_for_everyone()
    complete = trainer.train(stop_at_s)
    if complete:
        trainer.write_result(build)
    return complete


class Trainer:
    """The loop of a stage, in one of several processes or alone."""

    def __init__(self, stage: Stage, task: Task, folder: Path, *, where: str, seed: int) -> None:
        self.stage, self.task, self.folder, self.where = stage, task, folder, where
        self.num_steps = stage.steps(task.num_samples())
        groups = trained_groups(stage, task, where)
        self.full_rates = [group["lr"] for group in groups]
        self.accelerator = start_accelerator(stage)
        self.is_first = self.accelerator.is_main_process
        self.is_sharded = is_sharded(self.accelerator)
        self.micro_batch = micro_batch_of(stage, self.accelerator.num_processes, where)
        set_seed(seed)
        self.optimizer: Any = build_optimizer(stage, groups)
        self.model: Any = task.module
        if not self.is_sharded:
            self.model.to(self.accelerator.device)
        self.journal: Journal | None = None
        self.left_out = 0  # steps in a row

    # ---- the loop ------------------------------------------------------------------------

    def train(self, stop_at_s: float | None = None) -> bool:
        """Steps until all are done or the time is up; returns whether all are done."""
        stage, accelerator, found = self.stage, self.accelerator, checkpoints(self.folder)
        step = step_of(found[-1]) if found else 0
        self.model, self.optimizer = accelerator.prepare(self.model, self.optimizer)
        if not self.is_sharded:
            accelerator.register_save_state_pre_hook(self._save_trained)
            accelerator.register_load_state_pre_hook(self._load_trained)
        batches = iter(self._loader(step))
        if found:
            self._load(found[-1])
        self.model.train()
        with contextlib.ExitStack() as stack:
            if self.is_first:
                self.journal = Journal(self.folder, stage.name, self.num_steps, step)
                stack.callback(self.journal.close)
            stop = False
            while step < self.num_steps and not stop:
                loss, numbers = self._update(step, batches)
                step += 1
                is_last = step == self.num_steps
                stop = stop_at_s is not None and self._sum(time.monotonic() >= stop_at_s) > 0
                if self.journal is not None:
                    self.journal.step()
                if is_last or stop or step % stage.log_every == 0:
                    self._write(step, {"loss": self._sum(loss)} | numbers)
                if is_last or stop or step % stage.save_every == 0:
                    self._check_weights(step)
                if is_last or (stage.eval_every and step % stage.eval_every == 0):
                    self._validate(step)
                if is_last or stop or step % stage.save_every == 0:
                    self._save(step)
        return step == self.num_steps

    def _loader(self, first_step: int) -> DataLoader[Any]:
        """The micro-batches of this process from `first_step` on; processes take them in turns."""
        size, world = self.micro_batch, self.accelerator.num_processes
        order = self.task.order(self.num_steps * self.stage.global_batch)
        first = first_step * self.stage.global_batch + self.accelerator.process_index * size
        starts = range(first, len(order), world * size)
        return DataLoader(
            Samples(self.task),
            batch_sampler=[list(order[i : i + size]) for i in starts],
            collate_fn=self.task.collate,
            num_workers=self.stage.workers,
            pin_memory=self.accelerator.device.type == "cuda",
        )

    def _update(self, step: int, batches: Iterator[Batch]) -> tuple[Tensor, Metrics]:
        """One step; this process's part of its loss, and the metrics of its last micro-batch."""
        accelerator, stage = self.accelerator, self.stage
        world = accelerator.num_processes
        micro = [next(batches) for _ in range(stage.global_batch // (self.micro_batch * world))]
        counts = [self.task.count(batch) for batch in micro]
        # in float32, as what was trained before; the last bit decides whether a run is the same
        share = world * torch.tensor(self._sum(sum(counts))).reciprocal().item()
        rate = share_of_rate(stage, step, self.num_steps)
        for group, full_rate in zip(self.optimizer.param_groups, self.full_rates, strict=True):
            group["lr"] = full_rate * rate
        part = torch.zeros((), device=accelerator.device)
        for number, (batch, count) in enumerate(zip(micro, counts, strict=True), start=1):
            is_last = number == len(micro)  # after it the processes exchange their gradients
            with contextlib.nullcontext() if is_last else accelerator.no_sync(self.model):
                out = self.model(**send_to_device(batch, accelerator.device))
                loss = out["loss"] * (count * share)  # gradients become a mean over processes
                accelerator.backward(loss)
            part += loss.detach() / world
        limit = stage.max_grad_norm or math.inf
        norm = accelerator.clip_grad_norm_(self.model.parameters(), limit)  # the same everywhere
        self._check(self._sum(part), full_value(norm), step + 1)
        self.optimizer.step()
        self.model.zero_grad()
        return part, out["metrics"] | {"lr": self.full_rates[0] * rate}

    def _check(self, loss: float, norm: float, step: int) -> None:
        """In float16 a step may be left out, after which smaller numbers are computed with."""
        self.left_out = 0 if math.isfinite(norm) else self.left_out + 1
        if self.accelerator.scaler is None or self.left_out > MOST_LEFT_OUT:
            check_number(norm, "the gradient", step, self.where, self.folder)
            check_number(loss, "the loss", step, self.where, self.folder)
        elif self.left_out:
            log.info("Step %d is left out: float16 cannot hold its gradient (%g).", step, norm)

    def _check_weights(self, step: int) -> None:
        """All processes stop together, before weights that are no numbers are kept."""
        trained = (p for p in self.model.parameters() if p.requires_grad)
        bad = self._sum(float(not are_finite(map(local_part, trained))))
        check_weights(bad, step, self.where, self.folder)

    def _sum(self, value: float | Tensor) -> float:
        """Over all processes. What they exchange lies on their device: NCCL takes nothing else."""
        mine = torch.as_tensor(value, dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.reduce(mine, reduction="sum"))

    def _write(self, step: int, numbers: Metrics) -> None:
        if self.journal is not None:
            self.journal.write(step, numbers)

    # ---- validation ----------------------------------------------------------------------

    @torch.no_grad()
    def _validate(self, step: int) -> None:
        """The loss on the samples that are never trained on, over all processes."""
        numbers, size = self.task.validation(), self.micro_batch
        if not numbers:
            return
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        loss = items = 0.0
        self.model.eval()
        # every process makes as many rounds; in the last one it may have nothing that counts
        for first in range(rank * size, len(numbers) + rank * size, world * size):
            mine = numbers[first : first + size]
            batch = self.task.collate([self.task.sample(n) for n in mine or numbers[:1]])
            count = self.task.count(batch) if mine else 0
            out = self.model(**send_to_device(batch, self.accelerator.device))
            loss += float(out["loss"]) * count
            items += count
        self.model.train()
        mean = self._sum(loss) / self._sum(items)
        check_number(mean, "the validation loss", step, self.where, self.folder)
        self._write(step, {"validation_loss": mean})
        if self.is_first and not self.is_sharded:  # else no process has all weights
            self._keep_best(mean, step)
        self.accelerator.wait_for_everyone()

    def _keep_best(self, loss: float, step: int) -> None:
        """Keeps the weights if they are the best so far; a kill leaves the old ones or the new."""
        note = self.folder / BEST_LOSS
        known = note.read_text("utf-8").split() if note.exists() else []
        if known and loss >= float(known[0]):
            return
        with whole_file(self.folder / BEST) as growing:
            save_file(trained_tensors(self.task.module), growing)
        write_text(note, f"{loss!r} at step {step}\n")

    # ---- checkpoints and the result ------------------------------------------------------

    def _save(self, step: int) -> None:
        path = self.folder / f"checkpoint-{step}"
        others = contextlib.nullcontext(path.with_name(f"{path.name}.{WRITING}"))
        with whole_folder(path) if self.is_first else others as growing, saving():
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(growing))
            self.accelerator.wait_for_everyone()
        if self.is_first:
            for old in checkpoints(self.folder)[: -self.stage.keep]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def _load(self, checkpoint: Path) -> None:
        if self.is_sharded:
            # only state that the optimiser already has is filled; a step of nothing creates it
            for parameter in self.model.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
            for group in self.optimizer.param_groups:
                group["lr"] = 0.0  # every step sets its own
            self.optimizer.optimizer.step()
            self.model.zero_grad()
        self.accelerator.load_state(str(checkpoint))

    def _save_trained(self, models: list[Any], weights: list[Any], folder: str) -> None:
        """In place of all weights, as accelerate would save them."""
        weights.clear()
        if self.is_first:
            save_file(trained_tensors(self.task.module), Path(folder) / WEIGHTS)

    def _load_trained(self, models: list[Any], folder: str) -> None:
        models.clear()
        load_trained(self.task.module, Path(folder) / WEIGHTS)

    def write_result(self, build: Callable[[], Task]) -> None:
        """Writes the result, of the best weights where validation chose some."""
        task, best = self.task, self.folder / BEST
        if self.is_sharded:
            on_gpu = self.accelerator.device.type == "cuda"
            options = StateDictOptions(full_state_dict=True, cpu_offload=on_gpu)
            state = get_model_state_dict(self.model, options=options)
            if self.is_first:  # no process has the whole model, so one builds it again
                task = build()
                task.module.load_state_dict(state)
        elif best.exists():
            load_trained(task.module, best)
        if self.is_first:
            with whole_folder(self.folder / RESULT) as growing:
                task.module.eval()
                task.save(growing)
        self.accelerator.wait_for_everyone()
