"""How much memory a device has, how much of it is free, and what keeps within a part of it."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")  # the limits of a container
_UNKNOWN_BYTES = 8 * 2**30  # taken where the system does not say


class Bounded(ABC):
    """Something kept in at most `max_bytes`; 0 keeps nothing. What it keeps is under `_lock`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.RLock()  # garbage that is collected meanwhile may keep something

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        with self._lock:
            self._max_bytes = max_bytes
            self._drop()

    @abstractmethod
    def _drop(self) -> None:
        """Drops what is too much; under the lock."""


def total_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return min(_of_machine("SC_PHYS_PAGES"), _limit() or _UNKNOWN_BYTES * 1024)


def free_bytes(device: torch.device) -> int:
    """What could be allocated now."""
    if device.type == "cuda":
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reusable
    free = _available()
    limit, used = _limit(), _number(_CGROUP / "memory.current")
    return free if limit is None or used is None else min(free, limit - used)


def _available() -> int:
    """What Linux can free without writing to disk; elsewhere what has no use at all."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _of_machine("SC_AVPHYS_PAGES")
    (line,) = [line for line in lines if line.startswith("MemAvailable:")]
    return int(line.split()[1]) * 1024


def _of_machine(pages: str) -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf(pages)
    except (AttributeError, OSError, ValueError):  # not on Windows, and not all of it on macOS
        return _UNKNOWN_BYTES


def _limit() -> int | None:
    return _number(_CGROUP / "memory.max")


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or "max"
        return None
