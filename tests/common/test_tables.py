"""Rows of data files in every form in which benchmarks are published."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

from apollo.data.tables import TOO_MANY, list_of, located_rows, place_of
from apollo.errors import ApolloError, DataError, SettingError

TEXT = 'id,question,options\n1,"Is it, or not?","[\'a\', \'b\']"\n\n2,"two\nlines",猫\n'
ROWS = [
    (2, {"id": "1", "question": "Is it, or not?", "options": "['a', 'b']"}),
    (4, {"id": "2", "question": "two\nlines", "options": "猫"}),
]


def refused(file: Path, kind: type[ApolloError] = DataError) -> str:
    with pytest.raises(kind) as error:
        list(located_rows(file))
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and file.name in text, text
    return text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_row_72_csv_in_any_encoding(tmp_path: Path, encoding: str, line_end: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(TEXT.replace("\n", line_end).encode(encoding))
    assert list(located_rows(file)) == ROWS


@pytest.mark.parametrize(("suffix", "delimiter"), [("tsv", "\t"), ("csv", ";"), ("CSV", ",")])
def test_delimiters_are_told_by_the_first_line(tmp_path: Path, suffix: str, delimiter: str) -> None:
    file = tmp_path / f"data.{suffix}"
    with file.open("w", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerows([["", "a", "b"], ["0", "x, y; z", ""], ["1", "p"], ["2", "q", "r", "s"]])
    assert [row for _, row in located_rows(file)] == [
        {"a": "x, y; z", "b": None},  # pandas' own numbers are no column
        {"a": "p", "b": None},
        {"a": "q", "b": "r", TOO_MANY: "s"},
    ]


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("['A. It\\'s x.', 'B. y']", ["A. It's x.", "B. y"]),
        ("['A. x' 'B. y']", ["A. x", "B. y"]),
        ("['A. x'\n \"B. it's\" 'C. \"z\"']", ["A. x", "B. it's", 'C. "z"']),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ('["x", "\\u732b"]', ["x", "猫"]),
        ("[1, 2.5]", ["1", "2.5"]),
        ("['\\d' 'b\\\\c']", ["\\d", "b\\c"]),
        ("[A] or [B]", "[A] or [B]"),
        ("[" * 100_000, "[" * 100_000),
        ("[" + "9" * 5000 + "]", "[" + "9" * 5000 + "]"),
        ("plain", "plain"),
        (["a"], ["a"]),
        (None, None),
    ],
)
def test_row_72_a_list_in_a_cell_is_read_as_pandas_writes_it(cell: Any, wanted: Any) -> None:
    assert list_of(cell) == wanted


def test_what_pandas_and_numpy_write_is_read(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    options = ["A. It's a cat's tail.", 'B. "Quoted".', "C. 猫\tand\nmore", "D. back\\slash"] * 9
    array = numpy.array(options, dtype=object)
    for text in (str(options), str(array), repr(array)):
        assert list_of(text) == options


def test_broken_tables_are_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text('a,b\n1,"x\n2,y\n')
    assert "data.csv, line 2: no CSV (unexpected end of data); save the file" in refused(file)
    file.write_bytes("a,b\ncafé,1\n".encode("latin-1"))
    assert "is not UTF-8 text; save it as UTF-8" in refused(file)
    file.write_text("a\n" + "x" * 11_000_000)
    assert "line 2: no CSV (field larger than field limit" in refused(file)
    file.write_text(" \n")
    assert "is empty" in refused(file)
    for suffix in ("csv", "tsv", "json"):
        folder = tmp_path / f"folder.{suffix}"
        folder.mkdir()
        assert "cannot be read (Is a directory)" in refused(folder)
        assert "No such data file" in refused(tmp_path / f"gone.{suffix}")


def test_nul_in_a_cell_is_text(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(b"a,b\nx\0y,1\n")
    assert list(located_rows(file)) == [(2, {"a": "x\0y", "b": "1"})]


def test_json_keeps_its_lines_and_half_characters(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"a": "\\ud83d"}\n\n{"a": 2}\n')
    assert list(located_rows(file)) == [(1, {"a": "\ud83d"}), (3, {"a": 2})]
    assert place_of(file, 3) == f"{file}, line 3"


def test_row_72_without_pyarrow_a_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in ("data.parquet", "hidden.json"):
        file = tmp_path / name
        file.write_bytes(b"PAR1")
        assert 'needs pyarrow, which is not installed; run pip install "apollo-video[parquet]"' in (
            refused(file, SettingError)
        )


def test_row_72_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "id": ["1", "2"],
        "options": [["a", "b"], ["c", "d"]],
        "number": [1.5, float("nan")],
        "picture": [{"bytes": b"\xff" * 100, "path": "x"}] * 2,  # as the hub stores them
        "__index_level_0__": [7, 8],
    }
    file = tmp_path / "test-00000-of-00001.parquet"
    parquet.write_table(pyarrow.table(columns), file)
    assert list(located_rows(file)) == [
        (1, {"id": "1", "options": ["a", "b"], "number": 1.5}),
        (2, {"id": "2", "options": ["c", "d"], "number": None}),
    ]
    assert place_of(file, 2) == f"{file}, row 2"
    whole = file.read_bytes()
    for damaged in (whole[:-20], whole[:4], b"PAR1" + bytes(200) + b"PAR1", b"not parquet"):
        file.write_bytes(damaged)
        assert "is damaged" in refused(file)
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    assert "cannot be read (Is a directory)" in refused(folder)
    assert "No such data file" in refused(tmp_path / "gone.parquet")
