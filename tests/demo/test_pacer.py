"""When an answer's pieces reach the page: in simulated time exactly, in real threads roughly."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from apollo.demo.pacer import SILENCE_S, UPDATE_S, End, paced, updates

SOON_S = 1e-6


class SimulatedInbox:
    """A queue into which items come at given times, and the clock that waiting for them moves."""

    def __init__(self, arrivals: list[tuple[float, Any]]) -> None:
        self.now_s = 0.0
        self._arrivals = arrivals

    def clock_s(self) -> float:
        return self.now_s

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        until_s = self.now_s + ((timeout or 0.0) if block else 0.0)
        if not self._arrivals or self._arrivals[0][0] > until_s:
            self.now_s = until_s
            raise queue.Empty
        came_s, item = self._arrivals.pop(0)
        self.now_s = max(self.now_s, came_s)
        return item


def shown(arrivals: list[tuple[float, Any]]) -> list[tuple[float, list]]:
    """(time, items) of every update, without those that only say that nothing came."""
    inbox = SimulatedInbox(arrivals)
    return [(inbox.now_s, items) for items in updates(inbox, inbox.clock_s) if items]


def delays_s(arrivals: list[tuple[float, Any]]) -> list[float]:
    """How long after it came each item was shown."""
    came = [when for when, item in arrivals if not isinstance(item, End)]
    seen = [when for when, items in shown([*arrivals]) for _ in items]
    return [b - a for a, b in zip(came, seen, strict=True)]


def writing(tokens_per_s: float, num_tokens: int, start_s: float = 1.0) -> list[tuple[float, Any]]:
    times = [start_s + n / tokens_per_s for n in range(num_tokens)]
    return [(when, f"{n} ") for n, when in enumerate(times)] + [(times[-1] + SOON_S, End())]


@pytest.mark.parametrize("tokens_per_s", [2, 14, 40, 100, 5000])
def test_an_answer_is_shown_as_fast_as_it_is_written(tokens_per_s: float):
    arrivals = writing(tokens_per_s, 200)
    delays = delays_s(arrivals)
    assert delays[0] == 0  # the first word does not wait
    assert max(delays) <= UPDATE_S + SOON_S
    assert delays[-1] <= 2 * SOON_S  # nor does the last


def test_there_are_at_most_fifteen_updates_a_second():
    times = [when for when, _ in shown(writing(100, 500))]
    assert 5 * 14 <= len(times) <= 5 * 15 + 2
    assert all(b - a >= UPDATE_S - SOON_S for a, b in pairwise(times[:-1]))


def test_all_that_waits_is_one_update():
    burst = [(1.0, n) for n in range(300)]
    assert shown([*burst, (1.0, End())]) == [(1.0, list(range(300)))]


def test_nothing_waits_after_a_pause():
    assert delays_s([(1.0, "a"), (2.0, "b"), (3.0, "c"), (4.0, End())]) == [0, 0, 0]


def test_silence_is_told_at_least_four_times_a_second():
    inbox = SimulatedInbox([(1.0, "a"), (3.0, End())])
    seen = list(updates(inbox, inbox.clock_s))
    assert seen.count([]) >= 3 / SILENCE_S - 3 >= 4 * 3 - 3


def test_what_came_before_a_failure_is_shown():
    inbox = SimulatedInbox([(1.0, "a"), (1.01, "b"), (1.02, End(ValueError("broken")))])
    seen: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        for items in updates(inbox, inbox.clock_s):
            seen += items
    assert seen == ["a", "b"]


# ---- with a real thread --------------------------------------------------------------------------


def test_every_item_arrives_once_and_in_order():
    seen = [item for items in paced(iter(range(1000))) for item in items]
    assert seen == list(range(1000))


def test_a_sign_of_life_is_not_shown():
    seen = [item for items in paced(iter(["a", None, "b", None])) for item in items]
    assert seen == ["a", "b"]


def test_a_stop_reaches_the_work_at_its_next_sign_of_life():
    go_on, closed = threading.Event(), threading.Event()

    def work() -> Iterator[str | None]:
        try:
            go_on.wait()
            yield None
            yield "never shown"
        finally:
            closed.set()

    seen = paced(work())
    assert [next(seen), next(seen)] == [[], []]
    seen.close()
    go_on.set()
    assert closed.wait(10)


def test_a_failure_in_the_thread_ends_the_stream():
    def work() -> Iterator[str]:
        yield "a"
        raise ValueError("broken")

    seen = paced(work())
    assert next(seen) == ["a"]
    with pytest.raises(ValueError, match="broken"):
        list(seen)
