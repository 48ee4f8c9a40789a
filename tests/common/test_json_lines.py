"""JSON with line numbers: every fault is one sentence with its file, its line and a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apollo.data.json_lines import located_values
from apollo.errors import DataError


def refused(reader: Callable[[Path], Any], file: Path) -> str:
    with pytest.raises(DataError) as error:
        list(reader(file))
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and str(file) in text, text
    return text


def test_a_list_and_lines_give_the_same_values_with_their_own_lines(tmp_path: Path) -> None:
    values = [{"a": [1, "]"]}, 2.5, "x\ny", None, ["好 😀"]]
    listed, lines = tmp_path / "list.json", tmp_path / "lines.jsonl"
    listed.write_text("\ufeff\n" + json.dumps(values, indent=1), encoding="utf-8")
    lines.write_text("\n\n".join(map(json.dumps, values)) + "\n\n")
    assert [value for _, value in located_values(listed)] == values
    assert [value for _, value in located_values(lines)] == values
    assert [line for line, _ in located_values(lines)] == [1, 3, 5, 7, 9]
    rows = listed.read_text(encoding="utf-8").split("\n")
    begins = [rows.index(row) + 1 for row in (" {", " 2.5,", ' "x\\ny",', " null,", " [")]
    assert [line for line, _ in located_values(listed)] == begins


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": "a"}\n{"id": ', "line 2: broken JSON (Expecting value); correct it there"),
        ('{"id": "a"}\n\n{oops}\n', "line 3: broken JSON"),
        ('{"id": "a"} {"id": "b"}', "line 1: more text after the record; write one record per"),
        ('[\n{"id": 1\n "video": 2}]', "line 3: broken JSON"),
        ("[\n{}\n{}]", "line 3: broken JSON, a comma or the closing bracket of the list"),
        ("[\n{}\n\n", "line 4: broken JSON, a comma or the closing bracket of the list"),
        ("[\n", "line 2: broken JSON"),
        ("[\n] x", "line 2: more text after the list; remove it"),
        ("[" * 100_000, "line 1: brackets nest too deep"),
        ("1\n" + "9" * 5000, "line 2: a number has too many digits"),
        ('1\n["\\ud83d"]', "line 2: an escape such as \\ud83d is only half a sign; write the"),
        (" \n\n", "is empty; it needs at least one record"),
    ],
)
def test_broken_json_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "data"
    file.write_text(text)
    assert words in refused(located_values, file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such data file" in refused(located_values, tmp_path / "gone.json")
    assert "cannot be read" in refused(located_values, tmp_path)
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    assert "is not UTF-8 text; save it" in refused(located_values, tmp_path / "latin.json")
