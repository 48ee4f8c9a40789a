"""Memory that was freed goes back to the system.

Odd: glibc keeps what a thread has freed for that thread. After the packets of a long video were
listed, or a large one was decoded, that is tens of megabytes which nobody uses again.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable


def _glibc_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none


_trim = _glibc_trim()


def trim_heap() -> None:
    """Takes some milliseconds. Does nothing where the C library does it by itself."""
    if _trim is not None:
        _trim(0)
