"""One run of the benchmark: its videos, its processes, its rounds, and what came of them.

In:  the output folder, how many rounds, and whether only the form matters (`quick`).
Out: `results`. Cases are functions of a `Session`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from apollo.bench.footage import Footage
from apollo.bench.meter import NotMeasured, Run
from apollo.bench.results import Figure, Results, Timing
from apollo.bench.worker import Worker
from apollo.terminal import tell

Runs = Mapping[str, Sequence[Run]]


class Session:
    """A context manager. In a quick session the videos are small, one process serves all cases and
    no figure is held against its target."""

    def __init__(self, folder: Path, *, repeats: int, quick: bool) -> None:
        self.folder, self.repeats, self.quick = folder, repeats, quick
        self.results = Results()
        self.case = ""  # the name of the one that runs
        # of all processes: visual tokens are not kept on disk, nor is what is uploaded
        self.environment = {"APOLLO_CACHE": ""}
        self._kept = contextlib.ExitStack()
        self._shared: Worker | None = None

    def __enter__(self) -> Session:
        uploads = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.environment["GRADIO_TEMP_DIR"] = self._kept.enter_context(uploads)
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    # ---- what cases use ------------------------------------------------------------------

    def video(self, duration_s: float, height: int, codec: str = "libx264") -> Footage:
        """A video of this kind; made when it is not there yet, in a process of its own."""
        if self.quick:
            duration_s, height = round(2 + duration_s**0.5 / 20, 1), 120 + height // 20 * 2
        footage = Footage(str(self.folder / "videos"), duration_s, height, codec)
        if not Path(footage.path).exists():
            from apollo.bench import videos  # imports numpy and PyAV; kept out of --help

            tell(f"bench: making the video {footage.label}")
            with self.fresh_worker() as worker:
                worker.call(videos.make, **vars(footage))
        return footage

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        """A process for the runs of a case, in turn."""
        if not self.quick:
            with self.fresh_worker() as worker:
                yield worker
            return
        if self._shared is None:
            self._shared = self._kept.enter_context(self.fresh_worker())
        yield self._shared

    def alone(self, function: Callable[..., Run], **arguments: Any) -> Run:
        """Runs the function in a process that nothing has run in; quick: in the shared one."""
        if self.quick:
            with self.worker() as worker:
                return worker.call(function, **arguments)
        with self.fresh_worker() as worker:
            return worker.call(function, **arguments)

    def fresh_worker(self, **environment: str | None) -> Worker:
        """A process that nothing has run in."""
        return Worker({**self.environment, **environment})

    def rounds(self, what: str, ways: Mapping[str, Callable[[], Run]]) -> Runs:
        """Runs every way once a round, so that they share what else the machine does."""
        runs: dict[str, list[Run]] = {way: [] for way in ways}
        for number in range(self.repeats):
            for way, work in ways.items():
                tell(f"bench: {self.case}: {what}, {way}, round {number + 1} of {self.repeats}")
                runs[way].append(work())
        self.results.timings += [Timing(self.case, f"{what}: {w}", r) for w, r in runs.items()]
        return runs

    def figure(
        self,
        what: str,
        values: Sequence[float],
        unit: str = "x",
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Notes a number per round, with its target."""
        self.results.figures.append(
            Figure(self.case, what, list(values), unit, at_least, at_most, judged=not self.quick)
        )

    def ratio(
        self,
        what: str,
        above: Sequence[Run],
        below: Sequence[Run],
        key: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Notes `above` / `below` of one quantity, round by round."""
        pairs = zip(above, below, strict=True)
        ratios = [a[key] / max(b[key], 1e-9) for a, b in pairs]
        self.figure(what, ratios, at_least=at_least, at_most=at_most)

    @contextlib.contextmanager
    def skipping(self, what: str) -> Iterator[None]:
        """What cannot be measured here becomes a line that says why."""
        try:
            yield
        except NotMeasured as reason:
            self.results.figures.append(Figure(self.case, what, reason=str(reason)))
            tell(f"bench: {self.case}: {what}: not measured: {reason}")


Case = Callable[[Session], Any]
