"""Which costs a case compares, and which way round; the costs themselves are given here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apollo.bench.answering import run_ahead, run_follow_up, run_stream, run_turns
from apollo.bench.footage import Footage
from apollo.bench.loading import run_loader, run_memory
from apollo.bench.machine import run_plots, run_threads
from apollo.bench.meter import NotMeasured
from apollo.bench.session import Session

Answer = Callable[..., Any]


class GivenCosts(Session):
    """No videos and no processes: `answer(function name, **arguments)` says what things cost."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(Path("nowhere"), repeats=2, quick=False)
        self.answer = answer
        self.environments: list[dict[str, str | None]] = []

    def video(self, duration_s: float, height: int, codec: str = "libx264") -> Footage:
        return Footage("nowhere", duration_s, height, codec)

    def call(self, function: Any, **arguments: Any) -> Any:
        return self.answer(function.__name__, **arguments)

    alone = call

    @contextlib.contextmanager
    def worker(self) -> Iterator[Any]:
        yield self

    @contextlib.contextmanager
    def fresh_worker(self, **environment: str | None) -> Iterator[Any]:  # type: ignore[override]
        self.environments.append(environment)
        yield self


def figures(case: Any, answer: Answer) -> dict[str, Any]:
    session = GivenCosts(answer)
    case(session)
    return {figure.what: figure for figure in session.results.figures}


def test_the_loader_is_compared_with_the_baseline_and_the_floor() -> None:
    cpu_s = {"baseline": 30.0, "default": 6.0, "exact": 10.0, "floor": 5.0}
    found = figures(run_loader, lambda _, path, way: {"cpu_s": cpu_s[way], "wall_s": 60.0})
    fast = found["60 s 1080p H.264: cpu of baseline / default"]
    assert fast.values == [5, 5] and fast.at_least == 3.8 and fast.met
    assert found["60 s 1080p H.264: wall of baseline / default"].met is False
    floor = found["30 s 1080p HEVC: cpu of default / floor"]
    assert floor.values == [1.2, 1.2] and floor.at_most == 1.15 and floor.met is False
    exact = found["60 s 1080p H.264: cpu of baseline / exact"]
    assert exact.values == [3, 3] or exact.reason == "Sampling has no 'exact' yet"


def test_memory_is_held_against_the_baseline_and_limits() -> None:
    def peak(function: str, path: str, way: str = "") -> dict[str, float]:
        mb = {"baseline": 3000.0, "default": 100.0}.get(way, 105.0 if "7200" in path else 90.0)
        return {"peak_mb": mb}

    found = figures(run_memory, peak)
    share = found["60 s 1080p H.264, loader: peak of default / baseline"]
    assert share.median == pytest.approx(1 / 30) and share.at_most == 1 / 20
    assert found["60 min 480p H.264: peak above the model"].median == 90
    growth = found["peak of 120 min 240p H.264 / 10 min 240p H.264"]
    assert growth.median == pytest.approx(105 / 90) and growth.at_most == 1.05


def test_a_follow_up_is_compared_with_the_baseline_and_with_no_reuse() -> None:
    def cost(function: str, path: str, name: str, way: str) -> dict[str, float]:
        cpu_s = {"baseline": 32.0, "without reuse": 20.0, "new conversation": 4.0, "follow-up": 2.0}
        return {"cpu_s": cpu_s[way], "files_opened": 0, "frames_decoded": 3, "clips_encoded": 0}

    found = figures(run_follow_up, cost)
    about = "0.5B, 180 s 720p H.264"
    assert found[f"{about}: cpu of baseline / follow-up"].median == 16
    assert found[f"{about}: cpu of baseline / new conversation"].met is False
    reuse = found[f"{about}: cpu of without reuse / follow-up"]
    assert reuse.median == 10 and reuse.at_least == 12
    assert found["nano, 60 s 720p H.264: cpu of without reuse / follow-up"].at_least is None
    assert found[f"{about}, follow-up: frames decoded"].met is False
    assert found[f"{about}, new conversation: files opened"].met is True


def test_only_turns_after_the_first_must_do_nothing_again() -> None:
    work = {"files_opened": 1, "frames_decoded": 9, "clips_encoded": 2}
    again = dict.fromkeys(work, 0)
    turns = [{"cpu_s": 5.0, **work}, *[{"cpu_s": 0.1, **again}] * 3]
    found = figures(run_turns, lambda _, path, number: turns)
    assert found["nano, 120 min 240p H.264, turns 2 to 4: frames decoded"].values == [0, 0, 0]
    assert all(figure.met is not False for figure in found.values()) and len(found) == 8


def test_counts_that_an_answer_lacks_are_not_measured() -> None:
    found = figures(run_turns, lambda _, path, number: [{"cpu_s": 1.0}] * 4)
    assert sum("do not count this" in (figure.reason or "") for figure in found.values()) == 6


def test_reading_ahead_is_compared_with_a_follow_up() -> None:
    found = figures(run_ahead, lambda *_, **__: {"wall_s": 0.3, "follow_up_s": 0.1})
    (figure,) = found.values()
    assert figure.values == [pytest.approx(3)] * 2 and figure.at_most == 1.5

    def missing(*_: Any, **__: Any) -> Any:
        raise NotMeasured("it is not there")

    (figure,) = figures(run_ahead, missing).values()
    assert figure.reason == "it is not there"


def test_streaming_is_tokens_per_second_of_a_bare_generate() -> None:
    cpu_s = {"generate": 0.9, "stream": 1.0}
    cpu_s |= {"generate, sampled": 1.2, "stream, sampled": 1.25}
    found = figures(run_stream, lambda _, path, number, way: {"cpu_s": cpu_s[way]})
    greedy, sampled, beside_greedy = found.values()
    assert greedy.median == pytest.approx(0.9) and greedy.at_least == 0.97
    assert sampled.median == pytest.approx(1.2 / 1.25) and sampled.at_least == 0.95
    assert beside_greedy.median == pytest.approx(0.9 / 1.25) and beside_greedy.at_least is None


def test_default_threads_are_compared_with_the_best_setting() -> None:
    walls_s = iter([6.0, 4.0, 5.0, 5.0] * 4)
    session = GivenCosts(lambda *_, **__: {"wall_s": next(walls_s)})
    run_threads(session)
    assert [figure.values for figure in session.results.figures] == [[1.5, 1.5]] * 2
    default, one, *_ = session.environments
    assert set(default.values()) == {None}  # nothing of this process's settings
    assert one["OMP_NUM_THREADS"] == "1" and one["OMP_WAIT_POLICY"] is None


def test_curves_grow_with_length_and_resolution() -> None:
    def cost(function: str, path: str = "", number: int = 0) -> Any:
        run = {"wall_s": 1.0, "peak_mb": 2.0}
        return [run] * number if function == "turns" else run

    session = GivenCosts(cost)
    run_plots(session)
    length, resolution, turns = session.results.curves
    assert length.ticks == ["10", "60", "600", "3600", "7200"]
    assert resolution.ticks[-1] == "2160" and len(turns.runs) == len(turns.ticks) == 6
