"""The cases by name, in the order in which they run."""

from __future__ import annotations

from apollo.bench.answering import run_ahead, run_follow_up, run_stream, run_turns
from apollo.bench.loading import run_loader, run_memory
from apollo.bench.machine import run_floors, run_plots, run_threads
from apollo.bench.page import run_page, run_start
from apollo.bench.session import Case
from apollo.errors import SettingError

CASES: dict[str, Case] = {
    "loader": run_loader,
    "memory": run_memory,
    "follow-up": run_follow_up,
    "turns": run_turns,
    "ahead": run_ahead,
    "stream": run_stream,
    "page": run_page,
    "start": run_start,
    "threads": run_threads,
    "floors": run_floors,
    "plots": run_plots,
}


def chosen(names: str | None) -> dict[str, Case]:
    """The cases of "NAME,NAME", in their own order; None is all.

    Raises:
        SettingError: no case has one of the names.
    """
    wanted = list(CASES) if names is None else names.split(",")
    for name in wanted:
        if name not in CASES:
            raise SettingError(
                f"--only names the case {name!r}, which does not exist; choose from "
                f"{', '.join(CASES)}."
            )
    return {name: case for name, case in CASES.items() if name in wanted}
