"""Cases `threads`, `floors` and `plots`: what the machine allows, and how costs grow.

In:  a session.  Out: ratios with the best threads and with the floors of memory and arithmetic,
and curves against length, resolution and turns.
Odd: two processes that do nothing useful stand for the neighbours of a shared machine.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from apollo.bench.answering import turns
from apollo.bench.loading import first_answer
from apollo.bench.meter import Run, cost_of
from apollo.bench.results import Curve
from apollo.bench.session import Session

OF_BEST = 1.1
OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads, active": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "ACTIVE"},
    "2 threads, passive": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
}
NUM_BUSY = 2
LENGTHS_S, LENGTHS_HEIGHT = (10, 60, 600, 3600, 7200), 240
HEIGHTS, HEIGHTS_DURATION_S = (240, 480, 720, 1080, 2160), 10
NUM_TURNS = 6
STEP_TOKENS = 32
STREAMED_BYTES = 1 << 28  # far more than any cache holds
MATRIX = 1024


def run_threads(session: Session) -> None:
    footage = session.video(60, 720)
    settings = list(SETTINGS)[: 2 if session.quick else None]

    def answered(setting: str) -> Run:
        environment = {**dict.fromkeys(OPENMP), **SETTINGS[setting]}
        with session.fresh_worker(**environment) as worker:  # idle threads may spin on: end them
            return worker.call(first_answer, path=footage.path)

    for num_busy in (0,) if session.quick else (0, NUM_BUSY):
        state = f"beside {num_busy} busy processes" if num_busy else "idle"
        what = f"nano, {footage.label}, {state}"
        with busy(num_busy):
            runs = session.rounds(what, {name: partial(answered, name) for name in settings})
        best = min(runs.values(), key=lambda several: _middle(several)["wall_s"])
        what += ": wall of default / best setting"
        session.ratio(what, runs["default"], best, "wall_s", at_most=OF_BEST)


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """So many other processes use a core each meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def run_plots(session: Session) -> None:
    few = 2 if session.quick else None
    lengths: list[tuple[float, int]] = [(length_s, LENGTHS_HEIGHT) for length_s in LENGTHS_S]
    heights: list[tuple[float, int]] = [(HEIGHTS_DURATION_S, height) for height in HEIGHTS]
    for name, quantity, kinds, ticks in (
        ("length", f"length of a {LENGTHS_HEIGHT}p video, s", lengths[:few], LENGTHS_S[:few]),
        ("resolution", f"height of a {HEIGHTS_DURATION_S} s video", heights[:few], HEIGHTS[:few]),
    ):
        runs = []
        for kind in kinds:
            footage = session.video(*kind)
            way = {footage.label: partial(session.alone, first_answer, path=footage.path)}
            runs.append(_middle(session.rounds("nano", way)[footage.label]))
        session.results.curves.append(Curve(name, quantity, [str(tick) for tick in ticks], runs))
    footage = session.video(60, 720)
    number = 2 if session.quick else NUM_TURNS
    with session.worker() as worker:
        runs = worker.call(turns, path=footage.path, number=number)
    numbers = [str(turn + 1) for turn in range(number)]
    session.results.curves.append(Curve("turns", f"turn about {footage.label}", numbers, runs))


def _middle(runs: Any) -> Run:
    return sorted(runs, key=lambda run: run["wall_s"])[len(runs) // 2]


def run_floors(session: Session) -> None:
    name = "small" if session.quick else "0.5B"
    with session.worker() as worker:
        runs = session.rounds(
            f"{name}, language model", {"steps": partial(worker.call, against_floors, name=name)}
        )["steps"]
    for what, unit in (("bandwidth", "GB/s"), ("rate", "GFLOP/s")):
        session.figure(f"measured {what}", [run[what] for run in runs], unit)
    for stage, floor in (("step", "weights / bandwidth"), ("prefill", "FLOPs / matmul rate")):
        session.figure(
            f"{name}: wall of {stage} / ({floor})",
            [run[f"{stage}_s"] / run[f"{stage}_floor_s"] for run in runs],
        )


# ---- in the worker ---------------------------------------------------------------------------


def against_floors(name: str) -> Run:
    """Wall seconds of a prefill and of a decoding step of the LLM alone, and what they must take
    at least on this machine."""
    import torch

    from apollo.bench import models

    llm = models.named(name).model.llm
    num_bytes = sum(weight.nbytes for weight in llm.parameters())
    layers = sum(weight.numel() for weight in llm.get_decoder().layers.parameters())
    length = 64 if name == "small" else 1024
    prompt = torch.randint(0, 1000, (1, length), generator=torch.Generator().manual_seed(0))
    written: dict[str, Any] = {"do_sample": False, "attention_mask": torch.ones_like(prompt)}
    with torch.inference_mode():
        prefill_s, all_s = (
            cost_of(partial(llm.generate, prompt, max_new_tokens=n, **written))["wall_s"]
            for n in (1, 1 + STEP_TOKENS)
        )
        bandwidth, rate = _bytes_per_s(torch), _flops_per_s(torch)
    return {
        "wall_s": all_s,
        "prefill_s": prefill_s,
        "step_s": (all_s - prefill_s) / STEP_TOKENS,
        "prefill_floor_s": 2 * layers * length / rate,
        "step_floor_s": num_bytes / bandwidth,
        "bandwidth": bandwidth / 1e9,
        "rate": rate / 1e9,
    }


def _bytes_per_s(torch: Any) -> float:
    """How fast a product of matrix and vector reads its matrix; the best of five."""
    matrix = torch.ones(STREAMED_BYTES // 4 // MATRIX, MATRIX)
    vector = torch.ones(MATRIX)
    return STREAMED_BYTES / _best_s(lambda: matrix @ vector)


def _flops_per_s(torch: Any) -> float:
    square = torch.ones(MATRIX, MATRIX)
    return 2 * MATRIX**3 / _best_s(lambda: square @ square)


def _best_s(work: Any) -> float:
    took_s = []
    for _ in range(5):
        began_s = time.monotonic()
        work()
        took_s.append(time.monotonic() - began_s)
    return min(took_s)
