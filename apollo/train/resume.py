"""What a training leaves in its folder to go on from, and whether that is of the same training.

In:  a folder, and the settings that must be the same.  Out: whole checkpoints, trained tensors.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from apollo.data.whole_file import write_text
from apollo.errors import SettingError

SETTINGS = "training.json"

Settings = dict[str, Any]  # as JSON


def check_folder(folder: Path, settings: Settings, others: Iterable[Path]) -> None:
    """The folder holds the same training, or none; `others` are files that only a training leaves.

    Raises:
        SettingError: it holds another one or something else, or cannot be read.
    """
    file = folder / SETTINGS
    try:
        text = file.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if any(path.exists() for path in others):
            raise SettingError(
                f"{folder} holds files of something else; choose another --output."
            ) from None
        return
    except OSError as error:
        raise cannot_be_used(folder, error) from error
    try:
        known = json.loads(text)
    except ValueError as error:
        raise SettingError(f"{file} is not JSON; add --fresh to begin anew.") from error
    wanted = json.loads(json.dumps(settings))
    other = [key for key in wanted if not isinstance(known, dict) or known.get(key) != wanted[key]]
    if other:
        raise SettingError(
            f"{folder} holds a training with another {' and '.join(other)}; choose another "
            "--output, or add --fresh to begin anew."
        )


@contextlib.contextmanager
def saving() -> Iterator[None]:
    """torch tells of a full disk in words of its own; here it becomes an OSError, as elsewhere."""
    try:
        yield
    except RuntimeError as error:
        if "inline_container" not in str(error):  # the writer of its files
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def cannot_be_used(folder: Path, error: OSError) -> SettingError:
    return SettingError(
        f"The folder {folder} cannot be used ({error.strerror}); choose another --output."
    )


def write_settings(folder: Path, settings: Settings) -> None:
    write_text(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")


def content_digest(file: Path) -> str:
    """A digest of the file's bytes, which are read again only when it has changed.

    Raises:
        OSError: it cannot be read.
    """
    state = file.stat()
    return _digest(file.resolve(), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _digest(file: Path, size: int, mtime_ns: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a stage, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


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
