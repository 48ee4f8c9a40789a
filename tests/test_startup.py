"""What `import apollo` sets before torch is there."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

import apollo
from apollo import startup

THREADS = """
import json, os
{first}
import apollo
policy = os.environ.get("OMP_WAIT_POLICY")
import torch
print(json.dumps([policy, torch.get_num_threads()]))
"""


def fresh(first: str = "", **set_by_a_person: str) -> list[Any]:
    """(OMP_WAIT_POLICY after `import apollo`, torch's threads) in a process of its own."""
    ours = ("OMP_", "MKL_", "GOMP_", "KMP_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-c", THREADS.format(first=first)],
        env={**env, "PYTHONPATH": str(ROOT), **set_by_a_person},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_threads_that_wait_sleep() -> None:
    assert fresh()[0] == "PASSIVE"


@pytest.mark.parametrize(
    ("name", "value", "policy"),
    [
        ("OMP_WAIT_POLICY", "ACTIVE", "ACTIVE"),
        ("GOMP_SPINCOUNT", "1000", None),
        ("KMP_BLOCKTIME", "0", None),
    ],
)
def test_what_a_person_set_is_kept(name: str, value: str, policy: str | None) -> None:
    assert fresh(**{name: value})[0] == policy


def test_it_is_too_late_once_torch_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in startup.WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", object())
    with caplog.at_level("DEBUG", "apollo.startup"):
        startup.let_threads_sleep()
    assert "OMP_WAIT_POLICY" not in os.environ and "before apollo" in caplog.text


# ---- containers -------------------------------------------------------------------------------


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    (tmp_path / "pod" / "box").mkdir(parents=True)
    (tmp_path / "member").write_text("0::/pod/box\n")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"pod/box/cpu.max": "50000 100000\n"}, 0.5),
        ({"pod/cpu.max": "150000 100000\n", "pod/box/cpu.max": "max 100000\n"}, 1.5),
        ({"pod/cpu.max": "300000 100000\n", "pod/box/cpu.max": "400000 100000\n"}, 3.0),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "what\n"}, None),
    ],
)
def test_the_quota_is_the_smallest_around_the_process(
    groups: Path, files: dict[str, str], quota: float | None
) -> None:
    (groups / "cpu").mkdir()
    for name, text in files.items():
        (groups / name).write_text(text)
    assert startup.cpu_quota(groups, groups / "member") == quota


def test_no_control_groups_are_no_quota(tmp_path: Path) -> None:
    assert startup.cpu_quota(tmp_path, tmp_path / "member") is None


class FakeTorch:
    def __init__(self) -> None:
        self.threads = 8

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, count: int) -> None:
        self.threads = count


@pytest.mark.parametrize(
    ("quota", "variable", "threads"),
    [(None, "", 8), (2.0, "", 2), (1.5, "", 2), (0.3, "", 1), (16.0, "", 8)]
    + [(2.0, name, 8) for name in startup.COUNTS],
)
def test_torch_keeps_to_the_quota_unless_a_person_said_how_many(
    quota: float | None, variable: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in startup.COUNTS:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "8")
    monkeypatch.setattr(startup, "cpu_quota", lambda: quota)
    torch = FakeTorch()
    startup.keep_to_quota(torch)
    assert torch.threads == threads


def test_the_quota_counts_as_soon_as_torch_is_imported() -> None:
    patch = "import apollo.startup; apollo.startup.cpu_quota = lambda: 0.5"
    assert fresh(patch)[1] == 1


# ---- the garbage collector --------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_frozen() -> None:
    gc.unfreeze()  # another test may have run a command that froze


def test_the_collector_rests_while_a_public_name_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    class Module:
        def __getattr__(self, name: str) -> str:
            seen.append(gc.isenabled())
            return name

    monkeypatch.setattr(apollo.importlib, "import_module", lambda name: Module())
    assert gc.isenabled()
    assert apollo.__getattr__("Clip") == "Clip"
    assert seen == [False] and gc.isenabled()
    with pytest.raises(ZeroDivisionError), startup.collector_paused():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_a_collector_that_a_person_stopped_stays_so() -> None:
    gc.disable()
    try:
        with startup.collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_made_meanwhile_is_still_found() -> None:
    class Ring:
        pass

    gone = []
    with startup.collector_paused():
        ring: Any = Ring()
        ring.itself, ring.end = ring, type("End", (), {"__del__": lambda _: gone.append(1)})()
        del ring
    assert gc.get_freeze_count() == 0 and gone == []
    gc.collect()
    assert gone == [1]


def test_what_was_imported_is_old_already() -> None:
    with startup.collector_paused():
        made: list[list] = [[] for _ in range(3)]
    assert any(thing is made for thing in gc.get_objects(generation=2))


def test_what_a_person_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with startup.collector_paused():
            pass
        assert gc.get_freeze_count() >= count - 100  # some may have ended by themselves
    finally:
        gc.unfreeze()
