"""This process among those that train together, and the device it computes on.

In:  what `accelerate launch` put into the environment, and a Stage.  Out: a device, an Accelerator.
Odd: a process uses one device. Without `accelerate launch` there is one process, so one GPU.
"""

from __future__ import annotations

import logging
import os

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch import Tensor
from torch.distributed.tensor import DTensor

from apollo.errors import RecipeError
from apollo.model.device import best_dtype
from apollo.train.stage import CONVERSATIONS, Stage

log = logging.getLogger(__name__)

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def is_first_process() -> bool:
    """Of several processes only the first one speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def uses_cpu() -> bool:
    return not torch.cuda.is_available() or _is_set("ACCELERATE_USE_CPU")


def training_device() -> torch.device:
    """The device of this process; known before the processes have found each other."""
    if uses_cpu():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def check_machine(stage: Stage, where: str) -> None:
    """Whether this machine can train in the stage's number type, and in the way it was started.

    Raises:
        RecipeError: it cannot.
    """
    device = training_device()
    if stage.precision == "float16" and device.type == "cpu":
        raise RecipeError(f"{where}: float16 needs a GPU; set precision: float32 or bfloat16.")
    if stage.precision == "bfloat16" and best_dtype(device) == torch.float16:
        raise RecipeError(f"{where}: this GPU has no bfloat16; set precision: float16.")
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        raise RecipeError(f"{where}: DeepSpeed is not supported; choose FSDP in accelerate config.")
    if stage.optimizer == "muon" and _is_set("ACCELERATE_USE_FSDP"):
        raise RecipeError(
            f"{where}: muon needs whole matrices, which FSDP cuts up; set optimizer: adamw."
        )


def start_accelerator(stage: Stage) -> Accelerator:
    """Joins the other processes, where there are any, and chooses device and number type."""
    AcceleratorState._reset_state()  # an earlier stage may have had another number type
    # a batch of text needs no tower, and one of the cartoon's facts no connector
    finds_unused = stage.task != CONVERSATIONS or any("tower" in part for part in stage.train)
    accelerator = Accelerator(
        mixed_precision=MIXED_PRECISION[stage.precision],
        cpu=uses_cpu(),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=finds_unused)],
    )
    if _is_set("ACCELERATE_USE_FSDP") and uses_cpu() and accelerator.num_processes > 1:
        # torch can share weights among processes without GPUs, accelerate does not offer it
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        for state in (accelerator.state, PartialState()):  # the second is copied to the first
            state.distributed_type = DistributedType.FSDP
            state.device = torch.device("cpu")  # without a number, as FSDP wants it
    if is_sharded(accelerator):
        log.info("%d processes share the weights.", accelerator.num_processes)
    num_gpus = 0 if uses_cpu() else torch.cuda.device_count()
    if accelerator.num_processes == 1 and num_gpus > 1:
        log.info(
            "One of %d GPUs is used; to use all, start with: accelerate launch -m apollo", num_gpus
        )
    return accelerator


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether no process has all weights."""
    return accelerator.distributed_type == DistributedType.FSDP


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def micro_batch_of(stage: Stage, world: int, where: str) -> int:
    """Samples that a process has in memory at once.

    Raises:
        RecipeError: the global batch cannot be shared evenly.
    """
    share = max(1, stage.global_batch // world)
    micro = min(stage.micro_batch or share, share)
    if stage.global_batch % (micro * world):
        raise RecipeError(
            f"{where}: global_batch is {stage.global_batch}, which {world} processes with "
            f"micro_batch {micro} cannot share evenly; change one."
        )
    return micro


def local_part(parameter: Tensor) -> Tensor:
    """What this process has of a parameter that several may share."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def full_value(value: Tensor) -> float:
    """A number that several processes may hold together; the same for all of them."""
    return float(value.full_tensor() if isinstance(value, DTensor) else value)
