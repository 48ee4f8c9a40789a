"""Rows of a data file in any of the forms in which benchmarks are published.

In:  JSON, JSON lines, CSV, TSV (UTF-8, UTF-16) or Parquet (with the extra `parquet`).
Out: (line, value), in order; in a Parquet file the number is the row's. A row of a table is a dict.
Odd: a table cannot hold lists, so pandas writes them as text: "['A' 'B']" or "['A', 'B']".
     `list_of` takes such a text apart. Cells of a CSV file are texts, and an empty one is None.
     Half characters of JSON come through; `whole_characters` replaces them.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apollo.data.json_lines import located_values, read_text
from apollo.errors import DataError
from apollo.terminal import check_extra

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
TOO_MANY = "cells behind the last column"  # the key under which they are
_PANDAS_INDEX = ("", "Unnamed: 0", "__index_level_0__")
_LONGEST_CELL = 10_000_000
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_LIST = re.compile(
    rf"(?:array\()?\[\s*(?:(?:{_QUOTED.pattern})[\s,]*)+\](?:,\s*dtype=[^()]+)?\)?", re.DOTALL
)


def located_rows(file: Path) -> Iterator[tuple[int, Any]]:
    """(line, row) of a data file.

    Raises:
        DataError: the file cannot be read, or is damaged; names the line where there is one.
        SettingError: it is Parquet, and pyarrow is not installed.
    """
    if is_parquet(file):
        yield from _parquet_rows(file)
    elif is_table(file):
        yield from _delimited_rows(file)
    else:
        yield from located_values(file, halves=True)


def place_of(file: Path, number: int) -> str:
    """How an error names a row: "data.json, line 3"."""
    return f"{file}, {'row' if is_parquet(file) else 'line'} {number}"


def is_parquet(file: Path) -> bool:
    """Whether a file is Parquet, by its suffix or its first bytes."""
    if file.suffix.lower() == ".parquet":
        return True
    try:
        with file.open("rb") as start:
            return start.read(4) == b"PAR1"
    except OSError:  # told by whoever reads it
        return False


def is_table(file: Path) -> bool:
    """Whether a file has columns, so that every row has a cell of each, though it be empty."""
    return file.suffix.lower() in (".csv", ".tsv") or is_parquet(file)


def list_of(cell: Any) -> Any:
    """The list that a text is, as JSON, Python, numpy or pandas write it; else what was given."""
    if not isinstance(cell, str) or not cell.strip().startswith(("[", "array([")):
        return cell
    text = cell.strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list):
        return [str(v) if isinstance(v, (int, float)) else v for v in value]
    if not _LIST.fullmatch(text):
        return cell
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" is no escape, and meant as it stands
        try:
            return [ast.literal_eval(quoted) for quoted in _QUOTED.findall(text)]
        except (ValueError, SyntaxError):
            return cell


def _delimited_rows(file: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    lines = read_text(file).split("\n")
    head = next(line for line in lines if line.strip())
    delimiter = max(",\t;", key=head.count)
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    line = 1
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{file}, line {line}: no CSV ({error}); save the file again."
            ) from error
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = [name.strip() for name in cells]
            continue
        filled: list[str | None] = [cell if cell.strip() else None for cell in cells]
        filled += [None] * (len(names) - len(cells))
        row = dict(zip(names, filled, strict=False))
        if any(filled[len(names) :]):
            row[TOO_MANY] = " ".join(cell for cell in filled[len(names) :] if cell)
        yield line, {name: cell for name, cell in row.items() if name not in _PANDAS_INDEX}


def _parquet_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    check_extra(f"Reading {file.name}", "parquet", "pyarrow")
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with file.open("rb") as opened:  # a missing file and a folder have errors of their own
            table = ParquetFile(opened)
            fields = table.schema_arrow
            names = [field.name for field in fields if not _holds_bytes(str(field.type))]
            number = 0
            for batch in table.iter_batches(columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield (
                        number,
                        {
                            k: None if v != v else v
                            for k, v in row.items()
                            if k not in _PANDAS_INDEX
                        },
                    )
    except FileNotFoundError as error:
        raise DataError(f"No such data file: {file}; check the path.") from error
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{file} cannot be read ({error.strerror}); check the path.") from error
        why = " ".join(str(error).split())
        raise DataError(f"{file} is damaged ({why}); download it again.") from error


def _holds_bytes(kind: str) -> bool:
    """Whether a column holds pictures or videos; they are not wanted here."""
    return "binary" in kind
