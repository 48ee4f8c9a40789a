"""Files and folders that are whole or not there: written beside their place, then renamed.

In:  the path that is wanted.  Out: a path to write to; it takes its place when the block ends well.
Odd: a kill leaves the old content or the new one, and at most something named `*.writing` beside
it, which nobody reads.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

WRITING = "writing"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A fresh path beside `path`, to be written as a file; several writers may race.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.{WRITING}{path.suffix}")
    try:
        yield growing
        os.replace(growing, path)
    finally:
        growing.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, which replaces what stands there; one writer at a time.

    Raises:
        OSError: the folder cannot be written.
    """
    growing = path.with_name(f"{path.name}.{WRITING}")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    try:
        yield growing
        shutil.rmtree(path, ignore_errors=True)
        os.replace(growing, path)
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """The whole text, in UTF-8, or what was there before."""
    with whole_file(path) as growing:
        growing.write_text(text, encoding="utf-8")
