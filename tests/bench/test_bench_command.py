"""`apollo bench`: its flags, and the form of what it writes; never its times."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import apollo
from apollo.bench.cases import CASES, chosen
from apollo.cli import main
from apollo.errors import SettingError

README = Path(apollo.__file__).parent.parent / "README.md"
PNG = b"\x89PNG"


def bench(folder: Path, *flags: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "apollo", "bench", "--output", str(folder), *flags]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=env, text=True, **pipes)


def test_cases_are_chosen_by_name_in_their_own_order() -> None:
    assert list(chosen(None)) == list(CASES)
    assert list(chosen("page,loader")) == ["loader", "page"]
    with pytest.raises(SettingError, match="'lodaer', which does not exist; choose from loader, "):
        chosen("page,lodaer")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--only", "nothing"], "'nothing', which does not exist"),
        (["--repeats", "0"], "--repeats is 0; choose 1 or more."),
        (["--only", "turns", "--output", "{file}"], "cannot be written"),
    ],
)
def test_a_wrong_flag_is_one_line(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    filled = [flag.replace("{file}", str(tmp_path / "file")) for flag in flags]
    assert main(["bench", "--output", str(tmp_path / "out"), *filled]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.slow
def test_the_quick_run_of_the_readme_measures_every_case(tmp_path: Path) -> None:
    (flags,) = re.findall(r"^apollo bench(.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    running = bench(tmp_path, *flags.split())
    shown, progress = running.communicate(timeout=280)
    assert running.returncode == 0, progress
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["quick"] is True and results["repeats"] == 1
    assert results["machine"]["cores"] == os.cpu_count()
    assert {figure["case"] for figure in results["figures"]} == {*CASES} - {"plots"}
    for figure in results["figures"]:
        assert figure["met"] is None  # such sizes say nothing
        assert figure["values"] or figure["reason"], figure
        assert all(value >= 0 for value in figure["values"])
    for timing in results["timings"]:
        assert len(timing["runs"]) == 1 and min(timing["runs"][0].values()) >= 0
    assert [curve["name"] for curve in results["curves"]] == ["length", "resolution", "turns"]
    for curve in results["curves"]:
        assert len(curve["runs"]) == len(curve["ticks"]) >= 2
        assert (tmp_path / f"{curve['name']}.png").read_bytes().startswith(PNG)
    text = (tmp_path / "results.md").read_text()
    assert shown.startswith(text)
    for number, name in enumerate(CASES, start=1):
        assert f"case {number} of {len(CASES)}: {name}\n" in progress


@pytest.mark.slow
def test_ctrl_c_leaves_the_finished_cases_and_no_process(tmp_path: Path) -> None:
    running = bench(tmp_path, "--quick", "--only", "stream,plots")
    assert running.stderr
    for line in running.stderr:
        if "case 2 of 2" in line:
            break
    time.sleep(0.5)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    before = children.read_text().split() if children.exists() else []
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]
    results = json.loads((tmp_path / "results.json").read_text())
    assert {figure["case"] for figure in results["figures"]} == {"stream"}
    assert results["curves"] == []
