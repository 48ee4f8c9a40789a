"""The files of a stage's folder: whole checkpoints, and the tensors that were trained.

In:  a module or a folder.  Out: safetensors with what asks for gradients, and the way back.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WRITING = "writing"  # the folder in which a checkpoint grows
WEIGHTS = "trained.safetensors"


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What a stage changes: the parameters that ask for gradients, tied ones once."""
    named = module.named_parameters()
    return {name: p.detach().cpu().contiguous() for name, p in named if p.requires_grad}


def load_trained(module: nn.Module, file: Path) -> None:
    """Puts saved tensors back into the parameters they came from."""
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, tensor in load_file(file).items():
            parameters[name].copy_(tensor)


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a stage, oldest first."""
    found = folder.glob("checkpoint-*")
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))
