"""Visual tokens on disk, so that a video that was read yesterday is not read again today.

In:  a name, and the visual tokens (K, D) of a clip.   Out: the same, in another process.
Odd: one small safetensors file a clip, which appears whole or not at all. A file whose checksum is
wrong is deleted and the clip encoded again. Nothing here fails: a folder that cannot be written is
said once in the log. Several processes may share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from apollo.data.whole_file import whole_file

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "APOLLO_CACHE"  # a folder; empty: nothing is kept on disk
DEFAULT_MAX_BYTES = 2 * 2**30
SHARE_LEFT = 0.8  # of it, after old entries were deleted


def default_folder() -> Path | None:
    """Where the entries lie; None if nothing is to be kept on disk, as on a Hugging Face Space."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen is not None:
        return Path(chosen) / "clips" if chosen else None
    if "SPACE_ID" in os.environ:
        return None
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "apollo" / "clips"


class ClipStore:
    """A folder of visual tokens of one model; other models' entries may lie in it too."""

    def __init__(self, folder: Path, model: str, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """`model` is a digest of all that makes visual tokens of pixels."""
        self.folder = folder
        self.max_bytes = max_bytes
        self._model = model
        self._num_bytes: int | None = None  # unknown before the first entry is written
        self._is_broken = False
        self._lock = threading.Lock()

    def get(self, name: str) -> tuple[Tensor, int] | None:
        """The visual tokens (K, D), and how many frames were lost."""
        file = self._file(name)
        try:
            with safe_open(file, framework="pt") as opened:
                about = opened.metadata() or {}
                tokens = opened.get_tensor("tokens").clone()  # a process may map few files
            if about["checksum"] != _checksum(tokens):
                raise ValueError("its checksum is wrong")
            num_lost = int(about["num_lost"])
        except OSError:  # it is not there, or cannot be read now
            return None
        except (SafetensorError, KeyError, ValueError) as error:
            log.info("An entry of the cache is damaged and made again (%s: %s).", file, error)
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        with contextlib.suppress(OSError):  # it may be for reading only
            os.utime(file)  # used last
        return tokens, num_lost

    def put(self, name: str, tokens: Tensor, num_lost: int) -> None:
        if self._is_broken:
            return
        about = {"checksum": _checksum(tokens), "num_lost": str(num_lost)}
        file = self._file(name)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # for this person only
            with whole_file(file) as growing:
                save_file({"tokens": tokens.contiguous()}, growing, metadata=about)
            self._count(file.stat().st_size)
        except (OSError, SafetensorError) as error:
            self._is_broken = True
            log.warning(
                "Visual tokens cannot be kept in %s (%s); videos will be read again next time. Set "
                "%s to another folder.",
                self.folder,
                getattr(error, "strerror", None) or error,
                FOLDER_VARIABLE,
            )

    def _count(self, num_bytes: int) -> None:
        """Deletes the entries that were not used for longest once there are too many bytes."""
        with self._lock:
            if self._num_bytes is None:
                self._num_bytes = sum(size for _, size, _ in self._entries())
            else:
                self._num_bytes += num_bytes
            if self._num_bytes <= self.max_bytes:
                return
            entries = sorted(self._entries())  # other processes may have written or deleted too
            self._num_bytes = sum(size for _, size, _ in entries)
            for _, size, file in entries:
                if self._num_bytes <= self.max_bytes * SHARE_LEFT:
                    break
                file.unlink(missing_ok=True)
                self._num_bytes -= size

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """(time of last use, size, file)"""
        for file in self.folder.rglob("*.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                state = file.stat()
                yield state.st_mtime, state.st_size, file

    def _file(self, name: str) -> Path:
        digest = hashlib.blake2b(f"{self._model} {name}".encode(), digest_size=20).hexdigest()
        return self.folder / digest[:2] / f"{digest}.safetensors"


def _checksum(tokens: Tensor) -> str:
    digest = hashlib.blake2b(f"{tokens.dtype} {tuple(tokens.shape)}".encode(), digest_size=16)
    digest.update(tokens.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
