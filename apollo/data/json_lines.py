"""The values of a JSON list or of JSON lines, each with the line of the file where it begins.

In:  a data file.  Out: (line, value), in order.
Odd: a list is read value by value, because a parsed list no longer knows its lines. Whatever is
     wrong with the JSON is one kind of error, which names the file, the line and the remedy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apollo.errors import DataError

_BLANK = re.compile(r"\s*")


def located_values(file: Path, *, halves: bool = False) -> Iterator[tuple[int, Any]]:
    """(line, value) of a JSON list or of JSON lines, told apart by their first character.

    `halves` lets escapes such as \\ud83d through, which are only half a character.

    Raises:
        DataError: the file cannot be read, or is no JSON; names the line.
    """
    text = read_text(file)
    try:
        yield from (_of_list if is_list(text) else _of_lines)(text, halves)
    except _Fault as fault:
        raise DataError(f"{file}, line {fault.line}: {fault}.") from fault


def is_list(text: str) -> bool:
    """Whether the text is a JSON list; else it is JSON lines, or one object."""
    return text.lstrip()[:1] == "["


def read_text(file: Path) -> str:
    """The text of a data file in UTF-8, or in UTF-16 as some programs save it.

    Raises:
        DataError: it is missing, empty, a folder or no text.
    """
    try:
        content = file.read_bytes()
        text = content.decode(json.detect_encoding(content))
    except FileNotFoundError as error:
        raise DataError(f"No such data file: {file}; check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text; save it as UTF-8.") from error
    except (OSError, ValueError) as error:  # ValueError: no path can be spelt like this
        reason = getattr(error, "strerror", None) or "no such path can be"
        raise DataError(f"{file} cannot be read ({reason}); check the path.") from error
    if not text.strip():
        raise DataError(f"{file} is empty; it needs at least one record.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Fault(ValueError):
    """What is wrong in which line of the text, and the remedy."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _of_lines(text: str, halves: bool) -> Iterator[tuple[int, Any]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            value, end = _decode(content, _after_blank(content, 0), line, halves)
            if content[end:].strip():
                wanted = "write one record per line, or a list in square brackets"
                raise _Fault(line, f"more text after the record; {wanted}")
            yield line, value


def _of_list(text: str, halves: bool) -> Iterator[tuple[int, Any]]:
    place = _after_blank(text, text.index("[") + 1)
    line = 1 + text.count("\n", 0, place)
    while text[place : place + 1] != "]":
        value, end = _decode(text, place, line, halves)
        yield line, value
        behind = _after_blank(text, end)
        sign = text[behind : behind + 1]
        if sign not in (",", "]"):
            wanted = "a comma or the closing bracket of the list is missing"
            line += text.count("\n", place, behind)
            raise _Fault(line, f"broken JSON, {wanted}; correct it there")
        after = _after_blank(text, behind + 1) if sign == "," else behind
        line += text.count("\n", place, after)
        place = after
    if text[place + 1 :].strip():
        raise _Fault(line, "more text after the list; remove it")


def _after_blank(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    assert match is not None  # it may be empty
    return match.end()


def _decode(text: str, place: int, line: int, halves: bool) -> tuple[Any, int]:
    """The value at `place`, which is in `line`, and where it ends."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, place)
        if not halves and "\\ud" in text[place:end].lower():
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        # the fault may be further down than the beginning of the record
        line += text.count("\n", place, error.pos)
        raise _Fault(line, f"broken JSON ({error.msg}); correct it there") from error
    except UnicodeEncodeError as error:
        half = "an escape such as \\ud83d is only half a sign"
        raise _Fault(line, f"{half}; write the sign itself") from error
    except RecursionError as error:
        raise _Fault(line, "brackets nest too deep; correct it there") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise _Fault(line, "a number has too many digits; correct it there") from error
    return value, end
