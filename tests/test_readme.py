"""The README is true: its code runs, its commands exist, and the original's example is in it."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from paths import ROOT, TINY

from apollo.catalog import NANO_FOLDER

READMES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "README_zh.md")}
SEED_EXAMPLE = (ROOT / "tests/data/seed_example.py").read_text("utf-8")
VIDEO = ROOT / "apollo" / "demo" / "assets" / "example_1.mp4"


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", READMES[name], re.S)


def run_python(code: str, *, folder: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def hub_cache(folder: Path, repo_id: str, checkpoint: Path) -> Path:
    """A hub cache in which `repo_id` is downloaded already."""
    repo = folder / "hub" / f"models--{repo_id.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    (repo / "snapshots").mkdir()
    (repo / "snapshots" / ("0" * 40)).symlink_to(checkpoint.resolve())
    return folder


def test_the_original_example_stands_in_the_readme_to_the_byte() -> None:
    assert SEED_EXAMPLE in READMES["README.md"]


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [TINY, NANO_FOLDER], ids=["tiny", "nano"])
def test_the_original_example_runs(checkpoint: Path, tmp_path: Path) -> None:
    """Byte for byte, but for the model and the video: `model_url` names a cached checkpoint."""
    code = SEED_EXAMPLE.replace("Apollo-LMMs/Apollo-3B-t32", "someone/apollo-copy")
    code = code.replace("/your/local/path/video.mp4", str(VIDEO))
    changed = [a for a, b in zip(SEED_EXAMPLE.split("\n"), code.split("\n"), strict=True) if a != b]
    assert [line.split(" =")[0] for line in changed] == ["model_url", "video_path"]
    home = hub_cache(tmp_path, "someone/apollo-copy", checkpoint)
    out = run_python(code, HF_HOME=str(home), HF_HUB_OFFLINE="1")
    assert out.strip()
    if checkpoint == NANO_FOLDER:  # random weights say anything; nano describes the video
        assert re.search(r"\b(on|in)( front of)? (a|an|the) ", out)


@pytest.mark.slow
@pytest.mark.parametrize("name", READMES)
def test_the_python_of_the_readme_runs(name: str) -> None:
    """Every block but the original's, which has its own test."""
    own = [block for block in blocks(name, "python") if block != SEED_EXAMPLE]
    assert own
    for block in own:
        assert len(run_python(block).split()) > 3


@pytest.mark.slow
def test_the_training_commands_of_the_readme_run(tmp_path: Path) -> None:
    """nano's own recipe is only checked: it takes hours."""
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello."}]
    (tmp_path / "data.jsonl").write_text(json.dumps({"messages": said}))
    (tmp_path / "my-recipe.yaml").write_text(
        "model: nano\nstages: [{name: sft, train: {llm: 1.0}, data: data.jsonl, num_steps: 1}]\n"
    )
    blocks_of_training = [b for b in blocks("README.md", "bash") if b.startswith("apollo train")]
    commands = [line for block in blocks_of_training for line in block.strip().splitlines()]
    assert len(commands) == 3
    for command in commands:
        check = ["--check"] if " nano " in command else []
        arguments = [sys.executable, "-m", *shlex.split(command), *check]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "sft" / "result" / "config.json").exists()


@pytest.mark.slow
def test_the_fine_tuning_of_the_readme_runs(tmp_path: Path) -> None:
    """On its own data, with two steps in place of some hundred."""
    (block,) = [block for block in blocks("README.md", "bash") if block.startswith("apollo lora")]
    (data,) = blocks("README.md", "json")
    (tmp_path / "clips").mkdir()
    shutil.copy(VIDEO, tmp_path / "clips" / "01.mp4")
    (tmp_path / "data.jsonl").write_text(data)
    for command in block.strip().splitlines():
        few = ["--steps", "2", "--rehearse", "0"] if " train " in command else []
        arguments = [sys.executable, "-m", *shlex.split(command), *few]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert (tmp_path / "my-adapter" / "adapter_model.safetensors").exists()


# the first two above, the last by tests/bench/test_bench_command.py, which takes it from there
RUN_ELSEWHERE = ("apollo train", "apollo lora", "apollo bench")


@pytest.mark.slow
def test_the_command_line_of_the_readme_runs(tmp_path: Path) -> None:
    commands = [
        block.strip()
        for block in blocks("README.md", "bash")
        if block.startswith("apollo ") and not block.startswith(RUN_ELSEWHERE)
    ]
    assert commands
    (tmp_path / "apollo").symlink_to(ROOT / "apollo")  # where the README's paths begin
    for command in commands:
        arguments = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0 and done.stdout.strip(), done.stderr


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # of another test
def test_every_module_and_command_named_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    text = READMES["README.md"]
    modules = [[name] for name in re.findall(r"python -m ((?:apollo|examples)[\w.]+)", text)]
    commands = [["apollo", name] for name in {*re.findall(r"`apollo (\w+)", text)}]
    assert modules and commands
    for module, *arguments in modules + commands:
        monkeypatch.setattr(sys, "argv", [module, *arguments, "--help"])
        with pytest.raises(SystemExit, match="^0$"):
            runpy.run_module(module, run_name="__main__")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / link).exists(), link


def test_both_languages_give_the_same_commands() -> None:
    for language in ("bash", "python"):
        english = [b for b in blocks("README.md", language) if b != SEED_EXAMPLE]
        assert blocks("README_zh.md", language) == english


def test_the_two_commands_install_what_they_say() -> None:
    """Command 1 and 2 differ in the extra and in what they run; the extra exists."""
    demo, test = (
        re.search(rf"^(python3.*)  # {mark}$", READMES["README.md"], re.M)[1]  # type: ignore[index]
        for mark in ("demo", "test")
    )
    assert demo.endswith(".venv/bin/python app.py") and test.endswith(".venv/bin/pytest")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r'"\.\[(\w+)\]"', test)
    assert extras and all(extra in project["optional-dependencies"] for extra in extras)
