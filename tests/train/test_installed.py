"""Training in a fresh process: without its extra, and with the recipes that other packages add."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from train_process import environment

import apollo.train
from apollo.train import task

HIDDEN = ("accelerate", "peft", "yaml", "tensorboard", "matplotlib")
COMMANDS = (
    ["train", "nano-short"],
    ["train", "nano-short", "--check"],
    ["lora", "train", "data.jsonl", "--output", "out"],
    ["lora", "merge", "adapter", "--output", "out"],
)
RUN = """
import json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None  # as if it were not installed
from apollo import cli
for command in json.loads(sys.argv[2]):
    sys.stderr.write(f"exit code {cli.main(command)}\\n")
"""


def run(folder: Path, hidden: tuple[str, ...], *commands: list[str]) -> list[str]:
    """What is said on stderr, each command in turn, all in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(hidden), json.dumps(commands)],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.stderr.splitlines()


def test_without_the_extra_every_command_names_it_in_one_sentence(tmp_path: Path) -> None:
    said = run(tmp_path, HIDDEN, *COMMANDS)
    extras = ["train", "train", "train", "adapters"]
    assert len(said) == 2 * len(COMMANDS), said
    for text, code, extra in zip(said[::2], said[1::2], extras, strict=True):
        assert text.startswith("apollo: apollo ") and code == "exit code 2"
        assert f'which is not installed; run pip install "apollo-video[{extra}]"' in text
    for name in HIDDEN[2:]:  # each of them alone is enough to stop it
        text, code = run(tmp_path, (name,), COMMANDS[1])
        assert f"needs {name}, which" in text and code == "exit code 2"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_fresh_process_knows_the_recipes_of_nano_and_training_knows_none(tmp_path: Path) -> None:
    (code,) = run(tmp_path, (), ["train", "nano-short", "--only", "image", "--check"])
    assert code == "exit code 0"
    sources = Path(apollo.train.__file__).parent.rglob("*.py")
    assert not [file.name for file in sources if "apollo.nano" in file.read_text("utf-8")]
    assert task.TASKS["conversations"].startswith("apollo.train.")
