"""One stage on transformers' Trainer: any task, one process or many, killed and resumed.

In:  a Stage, its Task and a folder.  Out: the trained task, and checkpoints in the folder.
Odd: a checkpoint is written under another name and renamed when it is whole, so a kill never
leaves half of one. It holds only what is trained. The loss of a step is the mean over all items of
the global batch, however it is cut into processes and micro-batches.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, FullyShardedDataParallelPlugin
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from apollo.errors import RecipeError
from apollo.train.checkpoints import WEIGHTS, WRITING, checkpoints, load_trained, trained_tensors
from apollo.train.journal import Journal
from apollo.train.optimizer import MuonAdamW
from apollo.train.rates import num_steps_of, share_of_rate, trained_groups
from apollo.train.stage import CONVERSATIONS, Stage
from apollo.train.task import Batch, Task

log = logging.getLogger(__name__)


class Samples(Dataset[Any]):
    """A task's samples in the order they are trained on."""

    def __init__(self, task: Task, order: Sequence[int]) -> None:
        self.task, self.order = task, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Any:
        return self.task.sample(self.order[place])


class StageTrainer(Trainer):
    """transformers' Trainer, with a Task's samples, rates per part and whole checkpoints."""

    def __init__(
        self,
        stage: Stage,
        task: Task,
        folder: Path,
        *,
        where: str,
        seed: int,
        stop_at_s: float | None = None,
    ) -> None:
        self.stage, self.task, self.folder = stage, task, folder
        self.groups = trained_groups(stage, task, where)
        self.num_steps = num_steps_of(stage, task)
        self.step_loss: Any = 0.0
        self.metrics: dict[str, float] = {}
        self.journal: Journal | None = None
        self.checked = Samples(task, task.validation())
        self.trained = Samples(task, task.order(self.num_steps * stage.global_batch))
        arguments = _arguments(stage, folder, seed, self.num_steps)
        _check_batch(stage, arguments, where)
        self.where = where
        super().__init__(
            model=task.module,
            args=arguments,
            data_collator=task.collate,
            train_dataset=self.trained,
            eval_dataset=self.checked if len(self.checked) else None,
            callbacks=[_Pace(self, stop_at_s)],
        )
        self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)  # the journal says it all

    def create_accelerator_and_postprocess(self) -> None:
        """Also lets processes without GPUs share the weights: torch can, accelerate does not."""
        super().create_accelerator_and_postprocess()
        wanted = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        if wanted and self.accelerator.distributed_type == DistributedType.MULTI_CPU:
            state: Any = self.accelerator.state
            state.fsdp_plugin = FullyShardedDataParallelPlugin()
            state.distributed_type = DistributedType.FSDP
            state.device = torch.device("cpu")  # without a number, as FSDP wants it
            log.info("%d processes share the weights.", self.accelerator.num_processes)
            self.is_fsdp_enabled = True

    # ---- samples and loss ----------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(self.trained)  # the order is made already

    def _get_collator_with_removed_columns(
        self, data_collator: Any, description: Any = None
    ) -> Any:
        return data_collator  # samples are no table

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The micro-batches of a step, and the items of all of them in all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        items = torch.tensor(sum(self.task.count(batch) for batch in batches), device=device)
        self.step_loss = 0.0
        return batches, self.accelerator.gather(items).sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        out = model(**inputs)
        world = self.accelerator.num_processes  # gradients are averaged over them
        share = self.task.count(inputs) * world / num_items_in_batch
        loss = out["loss"] * share
        self.step_loss += loss.detach() / world
        self.metrics = out["metrics"]
        return (loss, out) if return_outputs else loss

    @torch.no_grad()
    def evaluate(self, *args: Any, **keywords: Any) -> dict[str, float]:
        """The loss on the samples that are never trained on, over all processes."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = self.args.per_device_train_batch_size
        numbers = list(range(len(self.checked)))
        rounds = -(-len(numbers) // (size * world))
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        self.model_wrapped.eval()
        for i in range(rounds):  # every process makes as many rounds; the last may see some twice
            first = (i * world + rank) * size
            mine = numbers[first : first + size]
            batch = self.task.collate([self.checked[n] for n in mine or numbers[:1]])
            out = self.model_wrapped(**self._prepare_inputs(batch))
            items = self.task.count(batch) if mine else 0
            total += torch.tensor([float(out["loss"]) * items, items], dtype=torch.float64)
        self.model_wrapped.train()
        loss, items = self.accelerator.gather(total[None]).sum(0).tolist()
        metrics = {"eval_loss": loss / items}
        if self.journal is not None:
            self.journal.write(self.state.global_step, {"validation_loss": loss / items})
        best = self.folder / "best.txt"
        if self.args.should_save:
            known = [float(line) for line in best.read_text().split()[:1]] if best.exists() else []
            if not known or metrics["eval_loss"] < known[0]:
                self.keep_best(metrics["eval_loss"])
        self.accelerator.wait_for_everyone()
        return metrics

    # ---- optimiser -----------------------------------------------------------------------

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            if self.stage.optimizer == "muon":
                if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                    raise RecipeError(
                        f"{self.where}: muon needs whole matrices, which FSDP and DeepSpeed cut "
                        "up; set optimizer: adamw."
                    )
                self.optimizer = MuonAdamW(self.groups, self.stage.lr, self.stage.weight_decay)
            else:
                keys = ("params", "lr")
                groups = [{key: group[key] for key in keys} for group in self.groups]
                self.optimizer = torch.optim.AdamW(
                    groups, lr=self.stage.lr, weight_decay=self.stage.weight_decay
                )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.create_optimizer(),
                lambda step: share_of_rate(self.stage, step, self.num_steps),
            )
        return self.lr_scheduler

    # ---- checkpoints ---------------------------------------------------------------------

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.folder / WRITING)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        growing = self.folder / WRITING
        if self.args.should_save:
            shutil.rmtree(growing, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            name = f"checkpoint-{self.state.global_step}"
            shutil.rmtree(self.folder / name, ignore_errors=True)
            os.replace(growing / name, self.folder / name)
            shutil.rmtree(growing, ignore_errors=True)
            for old in checkpoints(self.folder)[: -self.stage.keep]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call=_internal_call)
        elif self.args.should_save:
            assert output_dir is not None
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_file(trained_tensors(self.task.module), Path(output_dir) / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_trained(self.task.module, Path(resume_from_checkpoint) / WEIGHTS)

    def keep_best(self, loss: float) -> None:
        """Keeps the weights of now as the best so far; a kill leaves the old ones or the new."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return  # no process has all weights here; the last ones are the result
        for name, write in (
            ("best.safetensors", lambda f: save_file(trained_tensors(self.task.module), f)),
            ("best.txt", lambda f: f.write_text(f"{loss!r} at step {self.state.global_step}\n")),
        ):
            growing = self.folder / f"{name}.{WRITING}"
            write(growing)
            os.replace(growing, self.folder / name)


class _Pace(TrainerCallback):
    """Decides after every step whether to write numbers, to check, to save, to stop."""

    def __init__(self, trainer: StageTrainer, stop_at_s: float | None) -> None:
        self.trainer, self.stop_at_s = trainer, stop_at_s
        self.stopped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        trainer = self.trainer
        if args.should_save:
            trainer.journal = Journal(
                trainer.folder, trainer.stage.name, trainer.num_steps, state.global_step
            )
        self.began_s, self.items = time.monotonic(), 0

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        trainer, stage, step = self.trainer, self.trainer.stage, state.global_step
        is_last = step >= trainer.num_steps
        control.should_evaluate = trainer.eval_dataset is not None and (
            is_last or (stage.eval_every > 0 and step % stage.eval_every == 0)
        )
        stop = self._time_is_up()
        control.should_save = is_last or stop or step % stage.save_every == 0
        if stop and not is_last:
            control.should_training_stop = self.stopped = True
        if trainer.journal is not None:
            trainer.journal.step()
        if step % stage.log_every == 0 or is_last or stop:
            loss = trainer.accelerator.gather(torch.as_tensor(trainer.step_loss)[None]).sum()
            if trainer.journal is not None:
                lr = float(trainer.create_scheduler(trainer.num_steps).get_last_lr()[0])
                metrics = {key: float(value) for key, value in trainer.metrics.items()}
                trainer.journal.write(step, {"loss": float(loss), **metrics, "lr": lr})

    def on_train_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        if self.trainer.journal is not None:
            self.trainer.journal.close()

    def _time_is_up(self) -> bool:
        if self.stop_at_s is None:
            return False
        mine = torch.tensor([time.monotonic() >= self.stop_at_s])
        return bool(self.trainer.accelerator.gather(mine).any())


def _arguments(stage: Stage, folder: Path, seed: int, num_steps: int) -> TrainingArguments:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    share = max(1, stage.global_batch // world)
    micro = min(stage.micro_batch or share, share)
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=num_steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(1, stage.global_batch // (micro * world)),
        max_grad_norm=stage.max_grad_norm,
        bf16=stage.precision == "bfloat16",
        fp16=stage.precision == "float16",
        use_cpu=not on_gpu,
        seed=seed,
        dataloader_num_workers=stage.workers,
        dataloader_pin_memory=on_gpu,
        save_strategy="no",  # _Pace says when
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        # a batch of text needs no tower, and one of the cartoon's facts no connector
        ddp_find_unused_parameters=stage.task != CONVERSATIONS
        or any("tower" in part for part in stage.train),
    )


def _check_batch(stage: Stage, arguments: TrainingArguments, where: str) -> None:
    world = arguments.world_size
    whole = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * world
    if whole != stage.global_batch:
        raise RecipeError(
            f"{where}: global_batch is {stage.global_batch}, which {world} processes with "
            f"micro_batch {arguments.per_device_train_batch_size} cannot share evenly; change one."
        )
