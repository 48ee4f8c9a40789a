"""One bad item among many: it is left out, counted and named, and takes nothing with it."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import SHORT, TEN_S

from apollo.errors import (
    ApolloError,
    CheckpointError,
    DataError,
    PromptError,
    SettingError,
    VideoError,
)
from apollo.evaluate import command as evaluate_command
from apollo.evaluate import store
from apollo.evaluate.answering import Answerer
from apollo.evaluate.left_out import LeftOut, left_out_lines
from apollo.evaluate.protocol import EvalProtocol
from apollo.evaluate.question_file import Question, read_questions
from apollo.evaluate.run import Processes, evaluate
from apollo.evaluate.store import Stored, append_answers, read_answers

RECORD = {"video": str(SHORT), "question": "What?", "options": ["a cat", "a dog"], "answer": "A"}


def question(id: str, video: Path = SHORT, **changes: Any) -> Question:
    return Question(id, video, **{"question": "What?", "answer": "A", **changes})


class Picky:
    """Answers every question but some, as a model does whose batch holds a bad one."""

    protocol = EvalProtocol()

    def __init__(self, *bad: str, error: type[Exception] = VideoError, most: int = 8) -> None:
        self.bad, self.error, self.most = bad, error, most
        self.asked: list[list[str]] = []

    def answers(self, questions: Sequence[Question]) -> list[str]:
        ids = [one.id for one in questions]
        self.asked.append(ids)
        if {*ids} & {*self.bad} or len(ids) > self.most:
            raise self.error("bad.")
        return [f"said {id}" for id in ids]


def write_data(folder: Path, *records: dict[str, Any]) -> Path:
    file = folder / "data.json"
    rows = [{"id": str(i), **RECORD, **record} for i, record in enumerate(records)]
    file.write_text(json.dumps(rows))
    return file


def run(data: Path, output: Path, *more: str) -> Any:
    """The command in this process, with nano; what results.json holds."""
    parser = argparse.ArgumentParser()
    evaluate_command.add_flags(parser)
    flags = [str(data), "--output", str(output), "--device", "cpu", *more]
    assert evaluate_command.run(parser.parse_args(flags)) == 0
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


# ---- a batch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [VideoError, PromptError, OSError])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_row_78_a_bad_item_does_not_take_its_batch_with_it(
    tmp_path: Path, batch: int, error: type[Exception]
) -> None:
    questions = [question(str(i)) for i in range(8)]
    left_out: list[LeftOut] = []
    asking: Any = {"model_digest": "m", "batch": batch}
    rows = evaluate(questions, Picky("3", error=error), tmp_path, left_out=left_out, **asking)
    assert [row.given for row in rows] == [f"said {i}" for i in range(8) if i != 3]
    assert left_out == [LeftOut("3", 'Question "3": bad.')]
    again = Picky()
    rows = evaluate(questions, again, tmp_path, left_out=[], **asking)
    assert again.asked == [["3"]] and len(rows) == 8  # it may have been mended


def test_row_78_when_strict_the_others_before_it_are_kept(tmp_path: Path) -> None:
    questions = [question(str(i)) for i in range(8)]
    with pytest.raises(VideoError, match="bad"):
        evaluate(questions, Picky("6"), tmp_path, model_digest="m", batch=8)
    assert len(read_answers(tmp_path)) == 6


def test_what_is_wrong_with_the_model_still_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        evaluate(
            [question("1")], Picky("1", error=CheckpointError), tmp_path, model_digest="m",
            left_out=[],
        )  # fmt: skip


def test_a_batch_that_needs_too_much_memory_is_asked_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(self: Any, questions: Sequence[Question]) -> list[str]:
        if len(questions) > 1 or questions[0].id == "2":
            raise torch.OutOfMemoryError
        return ["A"]

    monkeypatch.setattr(
        Answerer, "__init__", lambda self: setattr(self, "protocol", EvalProtocol())
    )
    monkeypatch.setattr(Answerer, "_answers", answers)
    left_out: list[LeftOut] = []
    three = [question(str(i)) for i in range(3)]
    rows = evaluate(three, Answerer(), tmp_path, model_digest="m", left_out=left_out)
    assert [row.question.id for row in rows] == ["0", "1"]
    assert left_out[0].reason == (
        'Question "2": 1 question at once need more memory than there is; choose a smaller --batch '
        "or --max-clips."
    )


def test_every_process_hears_what_the_others_left_out(tmp_path: Path) -> None:
    questions = [question("1"), question("2", TEN_S), question("3", TEN_S)]
    mine: list[LeftOut] = []
    (tmp_path / "left_out.process1.json").write_text(
        json.dumps([{"id": "2", "reason": 'Question "2": gone.'}])
    )
    rows = evaluate(
        questions, Picky(), tmp_path, model_digest="m", left_out=mine, processes=Processes(0, 2)
    )
    assert [row.question.id for row in rows] == ["1"]
    assert mine == [
        LeftOut("2", 'Question "2": gone.'),
        LeftOut("3", 'Question "3" got no answer; start again to ask it.'),
    ]


# ---- the command -------------------------------------------------------------------------------


def wreck(folder: Path) -> Path:
    """A video whose index is whole and whose pictures are not."""
    content = bytearray(SHORT.read_bytes())
    place = content.index(b"mdat") + 4
    end = content.find(b"moov") if content.find(b"moov") > place else len(content) + 4
    content[place : end - 4] = bytes(end - 4 - place)
    (folder / "wreck.mp4").write_bytes(content)
    return folder / "wreck.mp4"


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["1", "8"])
def test_rows_73_and_78_bad_items_reach_the_report_and_nothing_else(
    tmp_path: Path, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"x" * 1000)
    data = write_data(
        tmp_path,
        {},
        {"video": wreck(tmp_path).name},
        {"question": "word " * 9000},
        {"video": "no.mp4"},
        {"video": "bad.mp4"},
        {"start_s": 60},
        {"options": ["a cat", ""]},
        {"question": " "},
        {},
    )
    output = tmp_path / "out"
    found = run(data, output, "--batch", batch, "--ablate", "text-only")
    assert [q["id"] for q in found["questions"]] == ["0", "8"]
    assert {f["per_question"]["total"] for f in found["figures"].values()} == {2}
    assert sorted(one["id"] for one in found["left_out"]) == [*"1234567"]
    said = capsys.readouterr().out
    assert "7 questions were left out:\n" in said
    for words in (
        'line 1: no such video file: no.mp4', 'line 1: an option is empty', '"question" is missing',
        'Question "1": wreck.mp4 is damaged', 'Question "2": The question takes',
        'Question "4": bad.mp4 is not', 'Question "5" is about second 60',
    ):  # fmt: skip
        assert words in said, words
        assert any(words in one["reason"] for one in found["left_out"])
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "7 of 9 questions were left out." in page and "bad.mp4 is not a video" in page
    assert (output / "answers.jsonl").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"video": "no.mp4"}, "line 1: no such video file: no.mp4"),
        ({"options": ["a", ""]}, "line 1: an option is empty"),
        ({"video": "bad.mp4"}, 'Question "1": bad.mp4 is not a video'),
        ({"start_s": 60}, 'Question "1" is about second 60'),
    ],
)
def test_strict_refuses_before_the_first_question(
    tmp_path: Path, record: dict[str, Any], words: str
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"x" * 1000)
    data = write_data(tmp_path, {}, record)
    with pytest.raises(ApolloError, match=words):
        run(data, tmp_path / "out", "--strict")
    assert not list((tmp_path / "out").iterdir())


def test_when_nothing_can_be_asked_a_sentence_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"x" * 1000)
    data = write_data(tmp_path, {"video": "bad.mp4"}, {"video": "no.mp4"})
    with pytest.raises(DataError, match="None of the 2 questions can be asked; .*no.mp4"):
        run(data, tmp_path / "out")


def test_many_are_counted_and_some_named() -> None:
    lines = left_out_lines([LeftOut(str(i), f"Reason {i}.") for i in range(25)]).splitlines()
    assert lines[0] == "25 questions were left out:" and lines[20:] == [
        "  Reason 19.",
        "  and 5 more",
    ]
    assert left_out_lines([LeftOut("", "So.")]) == "1 question was left out:\n  So.\n"
    assert left_out_lines([]) == ""


# ---- text that is not text ---------------------------------------------------------------------

HALVES = [
    {"question": "What \ud83d?"},
    {"options": ["a cat \udc00", "a dog"]},
    {"id": "x\ud83d"},
    {"category": "\ud83d"},
    {"options": None, "answer": "\ud83d"},
]


def test_row_44_half_characters_are_replaced_and_no_report_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path, *HALVES, {"video": "\ud83d.mp4"}, {"id": "x\udc00"})
    found = run(data, tmp_path / "out", "--batch", "2")
    first, second, third, fourth, fifth = found["questions"]
    assert first["question"] == "What \ufffd?" and second["options"][0] == "a cat \ufffd"
    assert (third["id"], fourth["category"], fifth["answer"]) == ("x\ufffd", "\ufffd", "\ufffd")
    assert len(found["left_out"]) == 2  # no such video, and the same id twice
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "What \ufffd?" in page and "?.mp4" in capsys.readouterr().out.replace("\ufffd", "?")
    append_answers(tmp_path / "answers.jsonl", [Stored("k", "\ud83d", "\udc00")])
    assert read_answers(tmp_path) == {"k": "\ufffd"}


def test_row_44_videos_in_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"  # what Latin-1 leaves on a disk
    folder.mkdir()
    shutil.copy(SHORT, folder / "v.mp4")
    data = write_data(tmp_path, {"video": "v"})
    found = run(data, tmp_path / "out", "--videos", str(folder))
    assert found["questions"][0]["video"] == "../caf\ufffd/v.mp4"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "../caf%E9/v.mp4" in page and "poster=" in page


@pytest.mark.parametrize(
    "record",
    [
        '{"id": 1e400, "video": "v", "question": "q", "answer": "a"}',
        f'{{"id": "1", "video": "v", "question": "q", "answer": "a", "start_s": 1{"0" * 400}}}',
        '{"id": "1", "video": "v\\u0000", "question": "q", "answer": "a"}',
        f'{{"id": "1", "video": "{"v" * 5000}", "question": "q", "answer": "a"}}',
        f'{{"id": {"1" * 5000}, "video": "v", "question": "q", "answer": "a"}}',
        f'{{"id": "1", "options": {"[" * 5000}}}',
    ],
)
def test_odd_numbers_and_names_are_told_in_a_sentence(tmp_path: Path, record: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(record)
    with pytest.raises(DataError, match="line 1: "):
        read_questions(file)
    if "1111" not in record and "[[" not in record:
        (tmp_path / "v.mp4").write_bytes(b"x")
        good = '{"id": "good", "video": "v", "question": "q", "answer": "a"}'
        file.write_text(f"{good}\n{record}\n")
        assert [q.id for q in read_questions(file, left_out=[])] == ["good"]


# ---- disks and folders -------------------------------------------------------------------------


def full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path, {})
    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        with pytest.raises(DataError, match=r"answers.jsonl cannot be written \(No space left"):
            run(data, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("apollo.evaluate.report.write_text", full)
        with pytest.raises(SettingError, match=r"report cannot be written to .* \(No space left"):
            run(data, tmp_path / "out")
    assert len(run(data, tmp_path / "out")["questions"]) == 1


@pytest.mark.parametrize("name", ["answers.jsonl", "results.json", "report.html"])
def test_a_folder_where_a_file_should_be_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(ApolloError, match=r"\(Is a directory\)"):
        run(write_data(tmp_path, {}), tmp_path / "out")
