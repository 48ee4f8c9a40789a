"""Imports every module of the package alone: no module may need another to be imported before it.

A module gets a process of its own, forked from one that has only the slow libraries loaded; what
the package itself or transformers' Auto classes do on import happens anew in each.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import av  # noqa: F401
import cv2  # noqa: F401
import numpy  # noqa: F401
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)


def modules() -> list[str]:
    files = sorted((ROOT / "apollo").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def imports_alone(name: str) -> bool:
    process = os.fork()
    if process == 0:
        try:
            __import__(name)
        except BaseException:
            sys.stderr.write(f"{name} cannot be imported first:\n{traceback.format_exc()}\n")
            os._exit(1)
        os._exit(0)
    return os.waitpid(process, 0)[1] == 0


def main() -> int:
    assert not any(name.split(".")[0] in ("apollo", "transformers") for name in sys.modules)
    names = modules()
    failed = [name for name in names if not imports_alone(name)]
    sys.stdout.write(f"{len(names) - len(failed)} of {len(names)} modules import alone\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
