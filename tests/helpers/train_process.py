"""Runs `apollo train` as a process of its own, so that a test can kill it or start several."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def command(recipe: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "apollo", "train", str(recipe), *flags]


def train(recipe: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(recipe, *flags), env=environment(), capture_output=True, text=True, timeout=240
    )


def train_together(recipe: Path, *flags: str, accelerate: tuple[str, ...] = ()) -> str:
    """Two processes on this machine's processor, through accelerate; returns what they said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *(accelerate or ("--multi_gpu", "--num_processes", "2")),
            *("--main_process_port", port, "-m", "apollo", "train", str(recipe), *flags),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert started.returncode == 0, started.stderr[-9000:]
    return started.stderr
