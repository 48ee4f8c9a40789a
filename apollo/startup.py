"""What has to be set before torch is imported, and imports that cost less.

In:  the environment and the control groups of this process.  Out: settings of OpenMP and torch.
Odd: OpenMP reads its variables once, when torch is imported; what a person set is left alone.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # how idle threads wait
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def let_threads_sleep() -> None:
    """Threads of OpenMP that wait for others give their core away.

    By default they spin. As soon as another process wants part of a core, the thread that has the
    work then waits for one that only spins, and torch's operations take up to 30 times as long.
    """
    if any(name in os.environ for name in WAITING):
        return
    if "torch" in sys.modules:
        log.debug("torch was imported before apollo, so OMP_WAIT_POLICY is left as it is.")
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def keep_to_quota(torch: Any) -> None:
    """torch counts the cores of the machine; a container may be allowed fewer."""
    quota = cpu_quota()
    if quota is None or any(name in os.environ for name in COUNTS):
        return
    count = max(1, math.ceil(quota))
    if count < torch.get_num_threads():
        log.debug("This container may use %g CPUs, so torch uses %d threads.", quota, count)
        torch.set_num_threads(count)


def cpu_quota(
    groups: Path = CONTROL_GROUPS, member: Path = Path("/proc/self/cgroup")
) -> float | None:
    """How many CPUs the control groups of this process allow it; None without a limit."""
    limits = []
    for group in _groups_of(groups, member):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            quota_us, period_us = (group / "cpu.max").read_text().split()
            limits.append(int(quota_us) / int(period_us))
    with contextlib.suppress(OSError, ValueError):  # version 1 of control groups
        quota_us, period_us = (
            (groups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
        )
        limits.append(int(quota_us) / int(period_us))  # -1 is no limit
    return min((limit for limit in limits if limit > 0), default=None)


def _groups_of(groups: Path, member: Path) -> list[Path]:
    """The folders of this process's group and of those around it."""
    try:
        lines = member.read_text().splitlines()
    except OSError:  # not Linux
        return []
    inside = next((line[3:] for line in lines if line.startswith("0::")), "/")
    own = groups / inside.lstrip("/")
    return [group for group in (own, *own.parents) if group.is_relative_to(groups)]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Imports without the garbage collector.

    Importing torch and transformers makes 300,000 objects that live as long as the process. The
    collector looks through them again and again, which is a fifth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else somebody keeps objects frozen, and unfreezes them
            gc.freeze()
            gc.unfreeze()  # now all objects are old, without having been looked through
        if was_on:
            gc.enable()
