"""Answers on disk, so that a run that was killed goes on where it was.

In:  answers as they come.  Out: JSON lines, appended and synced to the disk; read again at a start.
Odd: only whole lines count. What a kill left of the last line is cut off, and that question is
     asked again. A line is found by its key, a digest of all that the answer depends on, so a
     changed model, setting, question or video is asked anew, and nothing else is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from apollo.data.text import whole_characters
from apollo.errors import DataError


class Stored(NamedTuple):
    """One answer: the key of what was asked, the question's id for people, and the text."""

    key: str
    id: str
    given: str


def key_of(**parts: Any) -> str:
    """A digest of JSON values, the same in every run."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_answers(folder: Path) -> dict[str, str]:
    """key -> answer, from the files of all processes that ever wrote here.

    Raises:
        DataError: a file cannot be read, or a whole line is not an answer; names the file and the
            line.
    """
    answers: dict[str, str] = {}
    for file in sorted(folder.glob("answers*.jsonl")):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(
                f"{file} cannot be read ({error.strerror}); move it away, or choose another "
                "--output."
            ) from error
        lines = content.split(b"\n")[:-1]  # after the last line end: nothing, or torn
        for number, line in enumerate(lines, start=1):
            stored = _stored(line, file, number)
            answers.setdefault(stored.key, stored.given)
    return answers


def append_answers(file: Path, rows: Iterable[Stored]) -> None:
    """Adds lines and waits until the disk has them; a torn last line is cut off first.

    Raises:
        DataError: the disk is full, or the file cannot be written.
    """
    lines = "".join(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)
    try:
        with file.open("ab+") as out:
            _cut_torn_line(out)
            out.write(whole_characters(lines).encode())
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise DataError(
            f"{file} cannot be written ({error.strerror}); make room for it and start again: what "
            "was answered is kept."
        ) from error


def _stored(line: bytes, file: Path, number: int) -> Stored:
    try:
        stored = Stored(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{file}, line {number}: not an answer of this program; remove that line, or the file "
            "to ask everything again."
        ) from error
    return stored


def _cut_torn_line(out: Any) -> None:
    end = out.seek(0, os.SEEK_END)
    if not end:
        return
    out.seek(end - 1)
    if out.read(1) == b"\n":
        return
    out.seek(0)
    out.truncate(out.read().rfind(b"\n") + 1)
    out.seek(0, os.SEEK_END)
