"""Annotation files with the shapes, the sizes and the faults of the published ones.

None is refused; the bad records are counted and named; `--strict` refuses with the place.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apollo.errors import DataError
from apollo.evaluate.left_out import LeftOut
from apollo.evaluate.question_file import read_questions
from examples.public_benchmarks import main, read_format

Rows = list[dict[str, Any]]
MLVU = {  # records per file
    "1_plotQA": 539, "2_needle": 355, "3_ego": 352, "4_count": 206, "5_order": 259,
    "6_anomaly_reco": 200, "7_topic_reasoning": 264,
}  # fmt: skip


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for number in range(30):
        suffix = ("mp4", "mkv", "webm", "ts", "MOV")[number % 5]
        path = root / f"part{number % 3}" / f"v{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked into here")
    return root


def read(name: str, file: Path, videos: Path) -> tuple[int, list[str]]:
    """How many questions are read, and why the others are not."""
    left_out: list[LeftOut] = []
    questions = read_format(name, file, videos, left_out)
    if left_out:
        with pytest.raises(DataError) as error:
            read_format(name, file, videos)
        assert str(error.value) == left_out[0].reason
    for one in left_out:
        assert "\n" not in one.reason and one.reason.endswith((".", "?")), one
        assert ", line " in one.reason or ", row " in one.reason
    return len(questions), [one.reason for one in left_out]


# ---- Video-MME: rows, six of them with equal options -------------------------------------------


def video_mme() -> Rows:
    rows = []
    for number in range(2700):
        options = ["A. Apples.", "B. The man's candles.", 'C. "Berries".', "D. All, or none."]
        if number % 450 == 7:
            options[3] = options[1].replace("B", "D", 1)
        rows.append(
            {
                "video_id": f"{number // 3 + 1:03d}",
                "duration": "short",
                "domain": "Knowledge",
                "sub_category": "Humanity & History",
                "url": f"https://example.org/watch?v=v{number % 30}",
                "videoID": f"v{number % 30}",
                "question_id": f"{number // 3 + 1:03d}-{number % 3 + 1}",
                "task_type": "Counting Problem",
                "question": "What is on the tree,\nand why?",
                "options": options,
                "answer": "B",
            }
        )
    return rows


def as_json(rows: Rows, folder: Path) -> Path:
    file = folder / "test.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def as_json_lines(rows: Rows, folder: Path) -> Path:
    file = folder / "test.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def as_table(
    rows: Rows, folder: Path, *, cell: Callable[[list[str]], str], delimiter: str, encoding: str
) -> Path:
    """As `DataFrame.to_csv` writes it, its own numbers in the first column."""
    file = folder / ("test.tsv" if delimiter == "\t" else "test.csv")
    with file.open("w", newline="", encoding=encoding) as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(["", *rows[0]])
        for number, row in enumerate(rows):
            values = [cell(v) if isinstance(v, list) else v for v in row.values()]
            writer.writerow([number, *values])
    return file


def as_csv_of_lists(rows: Rows, folder: Path) -> Path:
    return as_table(rows, folder, cell=str, delimiter=",", encoding="utf-8")


def as_csv_of_arrays(rows: Rows, folder: Path) -> Path:
    def cell(options: list[str]) -> str:
        return str(np.array(options, dtype=object))

    return as_table(rows, folder, cell=cell, delimiter=",", encoding="utf-8-sig")


def as_tsv(rows: Rows, folder: Path) -> Path:
    return as_table(rows, folder, cell=str, delimiter="\t", encoding="utf-16")


def as_parquet(rows: Rows, folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = folder / "test-00000-of-00001.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file


FORMS = [as_json, as_json_lines, as_csv_of_lists, as_csv_of_arrays, as_tsv, as_parquet]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_rows_71_and_72_video_mme_as_published(
    form: Callable[[Rows, Path], Path], videos: Path, tmp_path: Path
) -> None:
    file = form(video_mme(), tmp_path)
    count, reasons = read("video-mme", file, videos)
    assert (count, len(reasons)) == (2694, 6)
    assert all("the right option stands there twice" in reason for reason in reasons)
    assert read_format("video-mme", file, videos, [])[0].options == (
        *("Apples.", "The man's candles.", '"Berries".', "All, or none."),
    )


# ---- MLVU: seven files, eleven bad records, and two files of open tasks ------------------------


def mlvu(folder: Path) -> Path:
    faults: list[tuple[str, int, dict[str, Any]]] = [
        ("1_plotQA", 3, {"answer": "Purple"}),
        ("1_plotQA", 538, {"candidates": ["red", "red", "blue", "green"], "answer": "red"}),
        ("2_needle", 0, {"candidates": ["red", "", "blue"]}),
        ("2_needle", 7, {"question": ""}),
        ("2_needle", 8, {"video": ""}),
        ("4_count", 1, {"answer": ""}),
        ("4_count", 2, {"candidates": []}),
        ("4_count", 205, {"answer": None}),
        ("5_order", 100, {"candidates": ["1->2", None]}),
        ("5_order", 101, {"candidates": ["one"]}),
        ("7_topic_reasoning", 9, {"candidates": None}),
    ]
    folder.mkdir()
    for name, count in MLVU.items():
        rows = [
            {
                "video": f"v{number % 30}.mp4",
                "duration": 480.25,
                "question": "What colour is it?",
                "candidates": ["red", "yellow", "blue"],
                "answer": "yellow",
                "question_type": name.partition("_")[2],
            }
            for number in range(count)
        ]
        for file, number, change in faults:
            if file == name:
                rows[number].update(change)
        (folder / f"{name}.json").write_text(json.dumps(rows, indent=2))
    return folder


@pytest.mark.slow
def test_row_68_mlvu_as_published(videos: Path, tmp_path: Path) -> None:
    folder = mlvu(tmp_path / "mlvu")
    count, reasons = read("mlvu", folder, videos)
    assert (count, len(reasons)) == (2175 - 11, 11)
    for words, times in (
        ("is none of the", 1), ("stands there twice", 1), ("an option is empty", 2),
        ('"question" is missing', 1), ('"answer" is missing', 2), ("must be a list of 2", 3),
    ):  # fmt: skip
        assert sum(words in reason for reason in reasons) == times, words
    summaries = [{"video": "v1.mp4", "question": "Tell it.", "answer": "A story."}] * 3
    (folder / "9_summary.json").write_text(json.dumps(summaries))
    left_out: list[LeftOut] = []
    assert len(read_format("mlvu", folder, videos, left_out)) == count
    assert sum("without candidates" in one.reason for one in left_out) == 3


# ---- NExT-QA and NExT-GQA: CSV, two bad rows and one -------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count", "bad"), [("next-qa", 8564, 2), ("next-gqa", 5553, 1)])
def test_row_69_next_qa_as_published(
    name: str, count: int, bad: int, videos: Path, tmp_path: Path
) -> None:
    first = {"next-qa": "video", "next-gqa": "video_id"}[name]
    head = f"{first},frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    answer = {"next-qa": "3", "next-gqa": "sit, then go"}[name]
    lines = [head]
    for number in range(count):
        options = "run,none,nan,{},look back"
        last = '"sit, then go"'
        if number == 70:  # an empty option
            options = options.replace("run", "")
        if number == 5000 and bad > 1:  # the right one twice
            options = options.replace("run", last)
        kind = ("CW", "TN", "DO")[number % 3]
        head = f'v{number % 30},369,640,480,why is it so,"{answer}",{number},{kind}'
        lines.append(f"{head},{options.format(last)}")
    file = tmp_path / f"{name}-test.csv"
    file.write_text("\r\n".join(lines) + "\r\n")
    read_count, reasons = read("next-qa", file, videos)
    assert (read_count, len(reasons)) == (count - bad, bad)
    assert "line 72: an option is empty" in reasons[0]


def test_next_qa_with_numbers_as_the_hub_stores_it(videos: Path, tmp_path: Path) -> None:
    row = {"video": 4010, "question": "why", "answer": 4, "qid": 6, "type": "CW"}
    row |= {f"a{i}": text for i, text in enumerate("abcde")}
    (videos / "4010.mp4").write_bytes(b"x")
    file = as_json([row, {**row, "qid": 7, "answer": 9}], tmp_path)
    assert read("next-qa", file, videos) == (
        1,
        [
            f'{file}, line 1: the answer "J" is none of the 5 options; give a letter from A to E, '
            "or the text of an option."
        ],
    )


# ---- the others --------------------------------------------------------------------------------


def test_row_70_tempcompass_as_published(videos: Path, tmp_path: Path) -> None:
    question = "What falls?\nA. a leaf\nB. a cup\nC. a book"
    asked = [{"question": question, "answer": "B. a cup"}] * 3
    data: dict[str, Any] = {
        f"v{number}": {aspect: asked for aspect in ("action", "speed", "direction", "order")}
        for number in range(30)
    }
    file = tmp_path / "multi-choice.json"
    file.write_text(json.dumps(data))
    assert read("tempcompass", file, videos) == (360, [])
    data["v3"]["speed"] = [
        {"question": "What falls?\nA. \nB. a cup", "answer": "A. "},
        "torn",
        None,
    ]
    data["v4"] = None
    file.write_text(json.dumps(data))
    count, reasons = read("tempcompass", file, videos)
    assert (count, len(reasons)) == (360 - 3 - 12, 4)


def test_perception_test_as_published(videos: Path, tmp_path: Path) -> None:
    asked = {
        "question": "Where?",
        "options": ["up", "down", "left"],
        "answer_id": 1,
        "area": "memory",
    }
    data: dict[str, Any] = {
        f"v{number}": {
            "metadata": {"split": "valid"},
            "mc_question": [{"id": i, **asked} for i in range(4)] if number % 2 else [],
        }
        for number in range(30)
    }
    questions = data["v5"]["mc_question"]
    questions[0]["options"] = ["down", "down", "left"]
    questions[1]["answer_id"] = 3
    del questions[2]["answer_id"]
    questions[3]["answer_id"] = None
    file = tmp_path / "all_valid.json"
    file.write_text(json.dumps(data))
    count, reasons = read("perceptiontest", file, videos)
    assert (count, len(reasons)) == (56, 4)


@pytest.mark.parametrize("form", FORMS)
def test_long_video_bench_as_published(
    form: Callable[[Rows, Path], Path], videos: Path, tmp_path: Path
) -> None:
    rows = [
        {
            "video_id": f"v{number % 30}", "id": f"v_{number}", "video_path": f"v{number % 30}.mp4",
            "correct_choice": 1, "question": "Which comes first?", "question_category": "SSS",
            "option0": "the desk", "option1": "the door", "option2": "the lake", "option3": "N/A",
            "option4": "N/A",
        }
        for number in range(134)
    ]  # fmt: skip
    rows[5]["option1"] = "the desk"
    rows[6]["correct_choice"] = 4
    rows[7]["video_path"] = "not downloaded.mp4"
    count, reasons = read("longvideobench", form(rows, tmp_path), videos)
    assert (count, len(reasons)) == (131, 3)
    assert "no video called not downloaded.mp4" in reasons[2]


# ---- from the published file to the report -----------------------------------------------------


@pytest.mark.slow
def test_what_was_left_out_is_said_and_reaches_the_next_program(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = mlvu(tmp_path / "mlvu")
    output = tmp_path / "out" / "mlvu.json"
    command = ["mlvu", str(folder), "--videos", str(videos), "--output", str(output)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{output}: 2164 questions\n11 questions were left out:\n" in said
    assert '1_plotQA.json, line 38: the answer "Purple" is none of the 3 options' in said
    left_out: list[LeftOut] = []
    assert len(read_questions(output, left_out=left_out)) == 2164
    assert len(left_out) == 11 and left_out[0].id == "1_plotQA-3"
    assert '1_plotQA.json, line 38: the answer "Purple" is none' in left_out[0].reason
    assert main([*command, "--strict"]) == 2
    assert '1_plotQA.json, line 38: the answer "Purple"' in capsys.readouterr().err


def test_a_file_without_any_right_record_is_refused(videos: Path, tmp_path: Path) -> None:
    rows = [{"id": str(i), "video": "v1", "question": "", "answer": "x"} for i in range(3)]
    with pytest.raises(DataError, match="None of the 3 questions can be asked; .*line 1: "):
        read_questions(as_json(rows, tmp_path), videos, [])
    with pytest.raises(DataError, match="None of the 3 questions can be asked; .*another"):
        read_format("perceptiontest", as_json(rows, tmp_path), videos, [])


@pytest.mark.parametrize("form", FORMS)
def test_row_72_own_questions_in_every_form(
    form: Callable[[Rows, Path], Path], videos: Path, tmp_path: Path
) -> None:
    row = {"id": "1", "video": "v1", "question": "What?", "options": ["a", "b"], "answer": "B"}
    rows = [row, {**row, "id": "2", "answer": "C"}, {**row, "id": "3"}]
    for one in rows:
        one |= {
            "start_s": 1.5,
            "end_s": None if form is not as_json and form is not as_json_lines else 2,
        }
    left_out: list[LeftOut] = []
    file = form(rows, tmp_path)
    questions = read_questions(file, videos, left_out)
    assert [(q.id, q.options, q.answer, q.start_s) for q in questions] == [
        ("1", ("a", "b"), "B", 1.5),
        ("3", ("a", "b"), "B", 1.5),
    ]
    assert [one.id for one in left_out] == ["2"] and "is none of the 2" in left_out[0].reason
