"""Runs the demo in a process of its own, with a fake model: `demo_process.py PORT [HOLD]`.

HOLD is a file: the model is "loading" until it exists, so the page can be looked at before.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paths import ROOT

START_S = 240


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[str]:
    """The address of a demo started as `python *command PORT`; it is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    env = os.environ | {"OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(log.parent / "uploads")}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *command, str(port)], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    try:
        _wait_for(url, process, log)
        yield url
    finally:
        process.terminate()  # Ctrl-C would wait for visitors that are still connected
        process.wait(10)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    began_s = time.monotonic()
    while process.poll() is None and time.monotonic() - began_s < START_S:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the demo did not start:\n{log.read_text()}")


def serve(hold: Path | None, port: int) -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]
    import fake_apollo

    def load(name: str, **_: Any) -> Any:
        while hold is not None and not hold.exists():
            time.sleep(0.05)
        return fake_apollo.FakeApollo()

    fake_apollo.install(load)
    from apollo.demo.command import main

    sys.exit(main(["--port", str(port)]))


if __name__ == "__main__":
    serve(Path(sys.argv[1]) if len(sys.argv) > 2 else None, int(sys.argv[-1]))
