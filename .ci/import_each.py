"""Imports every module of the package alone: no module may need another to be imported before it.

A module gets a process of its own, forked from one in which the other libraries are loaded, for
speed. What the package itself, transformers and what stands on it do on import happens in each.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
FRESH = {"apollo", "transformers", "peft", "accelerate", "bitsandbytes", "spaces", "__main__"}
LIST_LOADED = """
import sys
import apollo.demo.page, apollo.nano.tasks, apollo.train.trainer, apollo.evaluate.report
print(*sys.modules, sep="\\n")
"""


def modules() -> list[str]:
    files = sorted((ROOT / "apollo").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def load_the_others() -> None:
    """Imports what the package imports, but for FRESH."""
    command = [sys.executable, "-W", "ignore", "-c", LIST_LOADED]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in listed.stdout.split():
            if name.split(".")[0] not in FRESH:
                with contextlib.suppress(Exception):  # then it is imported again where it is used
                    importlib.import_module(name)
    wrong = [name for name in sys.modules if name.split(".")[0] in FRESH - {"__main__"}]
    assert not wrong, wrong


def start(name: str) -> int:
    process = os.fork()
    if process:
        return process
    try:
        importlib.import_module(name)
    except BaseException:
        sys.stderr.write(f"{name} cannot be imported first:\n{traceback.format_exc()}\n")
        os._exit(1)
    os._exit(0)


def main() -> int:
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(ROOT))
    load_the_others()
    waiting, running, failed = modules(), set[int](), 0
    total = len(waiting)
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            running.add(start(waiting.pop()))
        process, status = os.wait()
        running.discard(process)
        failed += status != 0
    sys.stdout.write(f"{total - failed} of {total} modules import alone\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
