"""A file or folder is the old one or the new one, never half of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from apollo.data.whole_file import whole_file, whole_folder, write_text


def test_a_file_takes_its_place_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "猫")
    assert path.read_text("utf-8") == "猫"
    with whole_file(path) as growing:
        growing.write_text("half")
        assert path.read_text("utf-8") == "猫"
    assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.txt", tmp_path / "b"
    write_text(file, "old")
    with whole_folder(folder) as growing:
        (growing / "old").touch()
    for place in (whole_file(file), whole_folder(folder)):
        with pytest.raises(ZeroDivisionError), place as growing:
            (growing / "new" if growing.is_dir() else growing).write_text("half")
            raise ZeroDivisionError
    assert file.read_text() == "old" and [p.name for p in folder.iterdir()] == ["old"]
    assert sorted(tmp_path.iterdir()) == [file, folder]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as one, whole_file(path) as other:
        assert one != other and {one.suffix, other.suffix} == {".txt"}
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the last one to end


def test_a_folder_replaces_what_stood_there(tmp_path: Path) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "old").touch()
    with whole_folder(folder) as growing:
        (growing / "new").touch()
    assert [p.name for p in folder.iterdir()] == ["new"]
