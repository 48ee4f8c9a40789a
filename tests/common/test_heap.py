"""Freed memory goes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from apollo.data import heap


def resident_mb() -> float:
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in x]
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(heap._trim is None, reason="not glibc")
def test_what_was_freed_below_something_that_stays_goes_back() -> None:
    blocks = [bytearray(2000) for _ in range(100_000)]
    after = bytearray(2000)
    full = resident_mb()
    del blocks
    heap.trim_heap()
    assert full - resident_mb() > 100 and after is not None


def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert heap._glibc_trim() is None
    monkeypatch.setattr(heap, "_trim", None)
    heap.trim_heap()
