"""The values of a JSON list or of JSON lines, each with the line of the file where it begins.

In:  a data file.  Out: (line, value), in order.
Odd: a list is read value by value, because a parsed list no longer knows its lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apollo.errors import DataError

_BLANK = re.compile(r"\s*")


def located_values(file: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of a JSON list or of JSON lines, told apart by their first sign.

    Raises:
        DataError: the file cannot be read, or is no JSON; names the line.
    """
    text = _read_text(file)
    if text.lstrip()[:1] == "[":
        yield from _of_list(text, file)
        return
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            start = len(content) - len(content.lstrip())
            value, end = _decode(content, start, f"{file}, line {line}")
            if content[end:].strip():
                raise DataError(
                    f"{file}, line {line}: more text after the record; write one record per line, "
                    "or a list in square brackets."
                )
            yield line, value


def _read_text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"No such data file: {file}; check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text; save it as UTF-8 JSON.") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check the path.") from error
    if not text.strip():
        raise DataError(f"{file} is empty; it needs at least one record.")
    return text


def _of_list(text: str, file: Path) -> Iterator[tuple[int, Any]]:
    place = _after_blank(text, text.index("[") + 1)
    line = 1 + text.count("\n", 0, place)
    while text[place : place + 1] != "]":
        where = f"{file}, line {line}"
        value, end = _decode(text, place, where, line)
        yield line, value
        behind = _after_blank(text, end)
        sign = text[behind : behind + 1]
        if sign not in (",", "]"):
            line += text.count("\n", place, behind)
            raise DataError(
                f"{file}, line {line}: broken JSON, a comma or the closing bracket of the list is "
                "missing; correct it there."
            )
        after = _after_blank(text, behind + 1) if sign == "," else behind
        line += text.count("\n", place, after)
        place = after
    if text[place + 1 :].strip():
        raise DataError(f"{file}, line {line}: more text after the list; remove it.")


def _after_blank(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    assert match is not None  # it may be empty
    return match.end()


def _decode(text: str, place: int, where: str, line: int | None = None) -> tuple[Any, int]:
    """The value at `place` and where it ends; `line` is that of `place` when there are more."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, place)
    except json.JSONDecodeError as error:
        if line is not None:  # the fault may lie further down than the record's beginning
            more = text.count("\n", place, error.pos)
            where = where.removesuffix(str(line)) + str(line + more)
        raise DataError(f"{where}: broken JSON ({error.msg}); correct it there.") from error
    except RecursionError as error:
        raise DataError(f"{where}: brackets nest too deep; correct it there.") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise DataError(f"{where}: a number has too many digits; correct it there.") from error
    if "\\ud" in text[place:end].lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: an escape such as \\ud83d is only half a sign; write the sign itself."
            ) from error
    return value, end
