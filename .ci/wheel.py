"""The package as people install it: the wheel alone, in an empty folder, with and without extras.

In:  the checkout.  Out: nothing, or the command that failed and what it said.
Odd: first every command is tried without its extra and must say so in one sentence; then the extras
are installed and each command does its work, the page in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCH = "torch==2.13.0"
SHORT = ["--rank", "4", "--rehearse", "0", "--steps", "2", "--batch", "1"]


def run(command: list[str | Path], folder: Path, expected: int = 0) -> str:
    """stdout and stderr of a command that must end with this exit code."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != expected:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def says(command: list[str | Path], folder: Path, extra: str) -> None:
    """The command ends with one sentence that names the extra."""
    text = run(command, folder, expected=2)
    if f"apollo-video[{extra}]" not in text or text.count("\n") != 1:
        shown = " ".join(map(str, command))
        sys.exit(f"{shown} should name the extra {extra!r} in a line:\n{text}")


def ask_the_page(apollo: Path, python: Path, video: Path, folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "app.py").write_text("raise SystemExit('a foreign app.py was run')\n")
    page = subprocess.Popen([apollo, "demo", "--port", str(port)], cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(600):
            try:
                if b"Apollo" in urllib.request.urlopen(url, timeout=5).read():
                    break
            except OSError:
                time.sleep(0.2)
        code = (
            "import sys\nfrom gradio_client import Client, handle_file\n"
            "client = Client(sys.argv[1], verbose=False)\n"
            "video = handle_file(sys.argv[2])\n"
            "print(client.predict(video, 'What is in the video?', 0, 0.7, 64, api_name='/ask'))"
        )
        answer = run([python, "-c", code, url, video], folder)
        if len(answer.strip()) < 3:
            sys.exit(f"/ask answered {answer!r}")
    finally:
        page.terminate()
        page.wait(30)
        (folder / "app.py").unlink()


def main() -> int:
    work = Path(tempfile.mkdtemp(prefix="apollo-wheel-"))
    empty = work / "empty"
    empty.mkdir()
    try:
        run([sys.executable, "-m", "venv", work / "venv"], work)
        python, apollo = work / "venv/bin/python", work / "venv/bin/apollo"
        pip: list[str | Path] = [python, "-m", "pip", "-q", "--disable-pip-version-check"]
        run([*pip, "wheel", "--no-deps", "-w", work, ROOT], work)
        (wheel,) = work.glob("apollo_video-*.whl")
        run([*pip, "install", TORCH, wheel], work)

        data = empty / "data.jsonl"
        video = empty / "example_1.mp4"
        shutil.copy(ROOT / "apollo/demo/assets/example_1.mp4", video)
        turn = [
            {"role": "user", "content": "What is it?"},
            {"role": "assistant", "content": "A clip."},
        ]
        data.write_text(json.dumps({"video": video.name, "messages": turn}) + "\n")
        ask: list[str | Path] = [apollo, "ask", video, "What is in it?", "--temperature", "0"]
        lora: list[str | Path] = [apollo, "lora", "train", data, "--output", "lora", *SHORT]
        check: list[str | Path] = [apollo, "train", "nano-short", "--check"]
        score: list[str | Path] = [apollo, "eval", "nano-bench", "--limit", "4"]

        alone = run(ask, empty)
        says([apollo, "demo"], empty, "demo")
        says([*ask, "--adapter", "lora"], empty, "adapters")
        says(lora, empty, "train")
        says(check, empty, "train")
        run(score, empty)  # needs no extra: torch brings jinja2

        run([*pip, "install", f"{wheel}[demo,train]"], work)
        if run(ask, empty) != alone:
            sys.exit("the answer changed with the extras")
        run(check, empty)
        run(lora, empty)
        run([*ask, "--adapter", "lora"], empty)
        ask_the_page(apollo, python, video, empty)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.stdout.write("the wheel works in an empty folder, with and without its extras\n")
    return 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "2"
    sys.exit(main())
