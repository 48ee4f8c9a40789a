"""What one piece of work costs: wall and CPU seconds, and peak memory.

In:  a block of code.  Out: a `Run`, numbers by name.
Odd: Linux can be told to forget the peak so far; elsewhere a peak that lies below an earlier one is
not seen, and the memory reads 0.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from apollo.errors import ApolloError

Run = dict[str, float]  # "wall_s", "cpu_s", "peak_mb" and what a case adds
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
FORGET_PEAK = Path("/proc/self/clear_refs")


class NotMeasured(ApolloError):
    """This version or machine lacks what is to be measured."""


def cpu_s() -> float:
    """CPU seconds of this process and of those it has waited for."""
    import resource  # not on Windows, where `apollo bench` says so

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT / 1e6


@contextlib.contextmanager
def metered() -> Iterator[Run]:
    """A run that is filled when the block ends; memory is what came on top."""
    run: Run = {}
    gc.collect()
    with contextlib.suppress(OSError):  # not Linux, or not allowed
        FORGET_PEAK.write_text("5")
    peak_before_mb, cpu_before_s, began_s = peak_mb(), cpu_s(), time.monotonic()
    yield run
    run["wall_s"] = time.monotonic() - began_s
    run["cpu_s"] = cpu_s() - cpu_before_s
    run["peak_mb"] = peak_mb() - peak_before_mb


def cost_of(work: Callable[[], object]) -> Run:
    """The cost of all that the work does; what it gives is dropped, an iterator item by item."""
    with metered() as run:
        result = work()
        if isinstance(result, Iterator):
            for _ in result:
                pass
        del result
    return run
