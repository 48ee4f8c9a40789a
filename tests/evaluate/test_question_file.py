"""Question files: what is read, and that every wrong one is refused with file, line, remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apollo.errors import DataError
from apollo.evaluate.question_file import Question, read_questions

GOOD: dict[str, Any] = {
    "id": "one",
    "video": "clip.mp4",
    "question": "What is it?",
    "options": ["a cat", "a dog"],
    "answer": "B",
    "category": "perception",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").write_bytes(b"not looked into here")
    return tmp_path


def refused(file: Path) -> str:
    with pytest.raises(DataError) as error:
        read_questions(file)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and str(file) in text, text
    return text


def written(folder: Path, *records: Any) -> Path:
    file = folder / "data.json"
    file.write_text(json.dumps(records, indent=1))
    return file


def test_a_list_and_lines_say_the_same(folder: Path) -> None:
    records = [GOOD, {**GOOD, "id": "two", "answer": "a cat", "start_s": 1, "end_s": 2.5}]
    lines = folder / "data.jsonl"
    lines.write_text("\n".join(json.dumps(r) for r in records) + "\n\n")
    questions = read_questions(written(folder, *records))
    assert questions == read_questions(lines)
    assert questions[0] == Question(
        "one", folder / "clip.mp4", "What is it?", "B", ("a cat", "a dog"), "perception"
    )
    assert (questions[1].answer, questions[1].start_s, questions[1].end_s) == ("A", 1.0, 2.5)
    assert questions[1].answer_text == "a cat"


def test_an_open_question_keeps_its_text(folder: Path) -> None:
    record = {key: GOOD[key] for key in ("id", "video", "question")} | {"answer": " A dog. "}
    (question,) = read_questions(written(folder, record))
    assert (question.answer, question.options, question.category) == ("A dog.", (), "other")


def test_a_question_becomes_its_record_again(folder: Path) -> None:
    record = {**GOOD, "start_s": 1.0}
    (question,) = read_questions(written(folder, record))
    assert question.as_record("clip.mp4") == record


def test_videos_may_lie_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = written(tmp_path_factory.mktemp("elsewhere"), GOOD)
    assert "no such video file: clip.mp4" in refused(file)
    assert read_questions(file, folder)[0].video == folder / "clip.mp4"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "C"}, 'the answer "C" is none of the 2 options; give a letter from A to B'),
        ({"answer": ""}, '"answer" is missing'),
        ({"answer": None}, '"answer" is missing'),
        ({"question": 3}, '"question" is missing or not a text'),
        ({"video": "gone.mp4"}, "no such video file: gone.mp4"),
        ({"video": "."}, "no such video file"),
        ({"options": ["a"]}, '"options" must be a list of 2 to 26'),
        ({"options": "ab"}, '"options" must be a list of 2 to 26'),
        ({"options": ["a", ""]}, "an option is empty"),
        ({"options": ["a", "b", "b "]}, "the right option stands there twice"),
        ({"catgory": "x"}, 'unknown key "catgory"'),
        ({"category": 1}, '"category" must be a text'),
        ({"start_s": "1"}, '"start_s" must be a number'),
        ({"start_s": True}, '"start_s" must be a number'),
        ({"end_s": float("nan")}, '"end_s" must be a number'),
        ({"start_s": 3, "end_s": 3}, '"end_s" must lie after'),
    ],
)
def test_a_wrong_record_is_refused_with_its_line(
    folder: Path, change: dict[str, Any], words: str
) -> None:
    lines = folder / "data.jsonl"
    wrong = {**GOOD, "id": "two", **change}
    lines.write_text(f"{json.dumps(GOOD)}\n\n{json.dumps(wrong)}\n")
    text = refused(lines)
    assert "line 3: " in text and words in text
    text = refused(written(folder, GOOD, wrong))
    line = len(json.dumps([GOOD], indent=1).splitlines())  # the second record begins where "]" was
    assert f"line {line}: " in text and words in text


def test_an_id_twice_names_both_lines(folder: Path) -> None:
    file = folder / "data.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{json.dumps(GOOD)}")
    assert 'line 2: the id "one" stands in line 1 too' in refused(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": "a"}\n{"id": ', "line 2: broken JSON"),
        ("[]", "holds no question"),
        ("\n[3]", "line 2: a question is an object"),
        ('"text"', "line 1: a question is an object"),
    ],
)
def test_broken_files_are_refused(folder: Path, text: str, words: str) -> None:
    file = folder / "data.json"
    file.write_text(text)
    assert words in refused(file)


def test_broken_json_far_down_is_told_before_a_wrong_value(folder: Path) -> None:
    file = folder / "data.json"
    file.write_text('{"id": "a"}\n{}\n{')
    assert "line 3: broken JSON" in refused(file)
