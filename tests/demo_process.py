"""Runs the demo in a process of its own: `python tests/demo_process.py PORT [--load-s N]`.

With a fake model that "loads" for N seconds, so the page can be seen before the model is there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import apollo.chat  # noqa: E402
import app  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--load-s", type=float, default=0)
    args = parser.parse_args()

    def load(name: str, **_: Any) -> Any:
        from fake_apollo import FakeApollo

        time.sleep(args.load_s)
        return FakeApollo()

    apollo.chat.load = load
    app.serve("nano", None, "127.0.0.1", args.port, share=False, mcp=False)


if __name__ == "__main__":
    main()
