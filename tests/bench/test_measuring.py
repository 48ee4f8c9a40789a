"""What a run costs is measured rightly, in a process of its own, and compared round by round."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apollo.bench import worker as worker_module
from apollo.bench.meter import FORGET_PEAK, NotMeasured, cost_of, cpu_s, metered
from apollo.bench.report import markdown, spread, table
from apollo.bench.results import Figure, Results, Timing
from apollo.bench.session import Session
from apollo.bench.worker import Worker
from apollo.errors import SettingError

MB = 1_000_000

# ---- functions that a worker runs ------------------------------------------------------------


def doubled(value: Any, times: int = 2) -> Any:
    print("a library's remark")  # noqa: T201
    return value * times


def not_there() -> None:
    raise NotMeasured("it is not there yet")


def wrong_setting() -> None:
    raise SettingError("This is wrong; change it.")


def broken() -> None:
    raise ZeroDivisionError("a bug")


def dying() -> None:
    os._exit(7)


def variable(name: str) -> str | None:
    return os.environ.get(name)


# ---- the meter -------------------------------------------------------------------------------


def touched(num_bytes: int) -> int:
    return int(np.ones(num_bytes, np.uint8).sum())


@pytest.mark.skipif(not FORGET_PEAK.exists(), reason="only Linux forgets a peak")
def test_memory_is_the_peak_of_this_run_and_of_no_earlier_one() -> None:
    large, small = cost_of(lambda: touched(300 * MB)), cost_of(lambda: touched(60 * MB))
    assert 290 < large["peak_mb"] < 340
    assert 50 < small["peak_mb"] < 100


def test_cpu_counts_work_and_not_waiting() -> None:
    with metered() as run:
        before_s = cpu_s()
        while cpu_s() - before_s < 0.2:
            touched(MB)
        time.sleep(0.3)
    assert 0.19 < run["cpu_s"] <= run["wall_s"] - 0.2


def test_an_iterator_is_run_to_its_end() -> None:
    seen = []
    cost_of(lambda: (seen.append(number) for number in range(3)))
    assert seen == [0, 1, 2]


# ---- the worker ------------------------------------------------------------------------------


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), "."]))
    monkeypatch.setattr(doubled, "__module__", "test_measuring")
    for function in (not_there, wrong_setting, broken, dying, variable):
        monkeypatch.setattr(function, "__module__", "test_measuring")
    with Worker({"APOLLO_TEST": "yes", "HOME": None}) as running:
        yield running


def test_a_worker_answers_in_turn_whatever_is_printed(worker: Worker) -> None:
    assert worker.call(doubled, value=[1, "é"]) == [1, "é", 1, "é"]
    assert worker.call(doubled, value=3, times=5) == 15


def test_errors_keep_their_kind_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(NotMeasured, match="^it is not there yet$"):
        worker.call(not_there)
    with pytest.raises(SettingError, match="^This is wrong; change it.$"):
        worker.call(wrong_setting)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
        worker.call(broken)
    assert worker.call(doubled, value=2) == 4


def test_a_worker_that_dies_is_told_in_one_sentence(worker: Worker) -> None:
    with pytest.raises(SettingError, match=r"test_measuring:dying died with code 7; .*\.$"):
        worker.call(dying)


def test_an_environment_is_laid_over_or_taken_away(worker: Worker) -> None:
    assert "HOME" in os.environ
    assert worker.call(variable, name="APOLLO_TEST") == "yes"
    assert worker.call(variable, name="HOME") is None


def test_a_worker_is_light() -> None:
    """What a process has in memory before it measures counts for those it starts."""
    text = Path(worker_module.__file__).read_text("utf-8")
    assert "import torch" not in text and "import numpy" not in text


# ---- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "limits", "met"),
    [
        ([4, 6, 5], {"at_least": 5}, True),
        ([4, 4.9, 9], {"at_least": 5}, False),
        ([1.0, 1.2, 1.1], {"at_most": 1.1}, True),
        ([1.2], {"at_most": 1.1}, False),
        ([0], {"at_most": 0}, True),
        ([3], {}, None),
        ([], {"at_most": 1}, None),
    ],
)
def test_the_median_is_held_against_the_target(values: Any, limits: Any, met: Any) -> None:
    assert Figure("case", "what", values, **limits).met is met
    assert Figure("case", "what", values, **limits, judged=False).met is None


def test_ways_take_turns_and_ratios_are_of_one_round(tmp_path: Path) -> None:
    order: list[str] = []

    def work(name: str, walls_s: list[float]) -> Any:
        def run() -> dict[str, float]:
            order.append(name)
            return {"wall_s": walls_s.pop(0)}

        return run

    with Session(tmp_path, repeats=3, quick=False) as session:
        session.case = "case"
        runs = session.rounds("load", {"a": work("a", [8, 2, 6]), "b": work("b", [4, 2, 1])})
        session.ratio("a / b", runs["a"], runs["b"], "wall_s", at_least=2.5)
        with session.skipping("later"):
            raise NotMeasured("it is not there yet")
    assert order == ["a", "b"] * 3
    ratio, skipped = session.results.figures
    assert ratio.values == [2, 1, 6] and ratio.median == 2 and ratio.met is False
    assert skipped.reason == "it is not there yet" and skipped.met is None
    assert [timing.what for timing in session.results.timings] == ["load: a", "load: b"]


def test_numbers_are_shown_with_their_spread() -> None:
    assert spread(2.0, [2.0]) == "2"
    assert spread(2.0, [1.234567, 2.0, 4321.9]) == "2 (1.23 to 4322)"
    assert spread(None, []) == "–"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert table(["a"], []) == ""


def test_the_report_shows_value_target_and_verdict() -> None:
    results = Results(
        [Timing("loader", "60 s: default", [{"wall_s": 2.0, "cpu_s": 3.0}])],
        [
            Figure("loader", "fast enough", [6.0], at_least=5),
            Figure("loader", "too slow", [1.5], at_most=1.1),
            Figure("ahead", "first text", reason="not there yet"),
        ],
    )
    text = markdown(results, repeats=1, quick=False)
    assert "| loader | fast enough | 6 x | ≥ 5 x | yes |" in text
    assert "| loader | too slow | 1.5 x | ≤ 1.1 x | **no** |" in text
    assert "| ahead | first text | not measured: not there yet | – | – |" in text
    assert "| loader | 60 s: default | 2 | 3 | – |" in text
    assert "quick" not in text
