"""Runs `apollo train` as a process of its own, so that a test can kill it or start several."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

TOGETHER = ("--multi_gpu", "--num_processes", "2")


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def command(recipe: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "apollo", "train", str(recipe), *flags]


def train(recipe: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(recipe, *flags), env=environment(), capture_output=True, text=True, timeout=240
    )


def train_together(recipe: Path, *flags: str, accelerate: tuple[str, ...] = TOGETHER) -> str:
    """Two processes on this machine's processor, through accelerate; returns what they said."""
    return _launch(*accelerate, command=("-m", "apollo", "train", str(recipe), *flags))


def run_together(helper: str, *arguments: str) -> str:
    """The same for a file of this folder."""
    return _launch(*TOGETHER, command=(str(Path(__file__).with_name(helper)), *arguments))


def _launch(*accelerate: str, command: tuple[str, ...]) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", *accelerate),
            *("--main_process_port", port, *command),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert started.returncode == 0, started.stderr[-9000:]
    return started.stderr
