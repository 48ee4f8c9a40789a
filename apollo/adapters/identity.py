"""A checkpoint's name and content digest.

In:  a folder in the released layout.   Out: an `Identity`, equal for the same weights wherever
they are stored and however they are sharded.
Odd: of a large tensor only evenly spread slices are read, so a 7B model takes about a second;
training changes every tensor nearly everywhere, so the slices tell two models apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from apollo.errors import CheckpointError
from apollo.model import checkpoint

WHOLE_BYTES = 2**20  # tensors up to this size are read whole
NUM_SLICES, SLICE_BYTES = 16, 2**14
SHAPING = ("llm_cfg", "mm_connector_cfg", "vision_tower_cfg", "mm_vision_select_layer")
# what a rewrite of the same model may change
VOLATILE = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures")
HEADER_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Identity:
    """`name` is for people; two models are the same when their `digest` is."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} ({self.digest[:12]})"


def identify(folder: Path) -> Identity:
    """Reads the configs, the tensors' names, types and shapes, and their values.

    Raises:
        CheckpointError: the folder is not a complete checkpoint.
    """
    configs = checkpoint.read_configs(folder)
    shaping = {key: _lasting(configs.get(key)) for key in SHAPING}
    digest = hashlib.blake2b(json.dumps(shaping, sort_keys=True).encode(), digest_size=16)
    for part in checkpoint.parts_of(configs):
        entries = [e for file in checkpoint.weight_files(folder / part) for e in _entries(file)]
        for name, kind, file, start, end in sorted(entries):
            digest.update(f"{part} {name} {kind}\n".encode())
            with file.open("rb") as stream:
                for piece in _pieces(stream, start, end):
                    digest.update(piece)
    return Identity(_name_of(folder), digest.hexdigest())


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in VOLATILE}
    return value


def _entries(file: Path) -> list[tuple[str, str, Path, int, int]]:
    """(name, type and shape, file, first byte, end byte) of every tensor of a safetensors file."""
    try:
        with file.open("rb") as stream:
            num_bytes = int.from_bytes(stream.read(HEADER_LENGTH_BYTES), "little")
            if num_bytes > file.stat().st_size:
                raise ValueError("its header is cut off")
            header = json.loads(stream.read(num_bytes))
        first = HEADER_LENGTH_BYTES + num_bytes
        return [
            (
                name,
                f"{entry['dtype']} {entry['shape']}",
                file,
                first + entry["data_offsets"][0],
                first + entry["data_offsets"][1],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{file} is damaged or not a safetensors file ({error}); download it again."
        ) from error


def _pieces(stream: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    if end - start <= WHOLE_BYTES:
        stream.seek(start)
        yield stream.read(end - start)
        return
    step = (end - start - SLICE_BYTES) // (NUM_SLICES - 1)
    for index in range(NUM_SLICES):
        stream.seek(start + index * step)
        yield stream.read(SLICE_BYTES)


def _name_of(folder: Path) -> str:
    """The hub id of a downloaded snapshot, else the folder's own name."""
    folder = folder.resolve()
    if folder.parent.name == "snapshots" and folder.parts[-3].startswith("models--"):
        return folder.parts[-3].removeprefix("models--").replace("--", "/")
    return folder.name
