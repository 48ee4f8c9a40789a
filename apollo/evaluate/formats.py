"""Public benchmarks read from their own local files, as the questions of `records.py`.

In:  an annotation file as its authors publish it (or a folder of such files), and the folder with
     the videos.  Out: `Question`s, checked like any others.
Odd: a video is found by its name, wherever it lies in the folder, because the archives of the
     benchmarks nest them differently. Both the authors' files and the row-wise exports of the same
     data are read. Subtitles are not used.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from apollo.data.choices import LETTERS
from apollo.errors import DataError
from apollo.evaluate.records import (
    Located,
    Question,
    check_records,
    located_records,
    read_text,
)
from apollo.evaluate.video_folder import VideoFolder

_LETTERED = re.compile(r"^\s*[(\[]?([A-Z])[.):\]]\s*(.*)$", re.DOTALL)
_NAMED = re.compile(r"^\s*((?:Option|Sentence|Caption) \w+):\s*(.*)$", re.DOTALL)

NEXT_QA_TYPES = {"C": "causal", "T": "temporal", "D": "descriptive"}


def read_format(name: str, file: Path, videos: Path | None) -> list[Question]:
    """The questions of a benchmark; `name` is a key of `FORMATS`.

    Raises:
        DataError: a file is not in this format, or a video is missing; names file and line.
    """
    root = videos or (file if file.is_dir() else file.parent)
    folder = VideoFolder(root)
    questions: dict[str, Question] = {}
    for part in _files(file):
        records = (
            (
                line,
                {**record, "video": folder.find(record["video"], f"{part}, line {line}")},
            )
            for line, record in _guarded(FORMATS[name](part), name, part)
        )
        for question in check_records(records, part, root):
            if question.id in questions:
                raise DataError(
                    f'{part}: the id "{question.id}" stands in another file of the folder too; '
                    "keep only one of the files."
                )
            questions[question.id] = question
    return list(questions.values())


# ---- one reader per benchmark ------------------------------------------------------------------


def _video_mme(file: Path) -> Iterator[Located]:
    """Rows of questions, or videos that hold "questions"."""
    for line, row in located_records(file):
        for asked in row.get("questions", [row]):
            both = {**row, **asked}
            yield (
                line,
                {
                    "id": both["question_id"],
                    "video": both.get("videoID") or both["video_id"],
                    "question": both["question"],
                    "options": [_without_letter(o) for o in both.get("options") or both["choices"]],
                    "answer": both["answer"].strip().rstrip("."),
                    "category": both["task_type"],
                },
            )


def _mlvu(file: Path) -> Iterator[Located]:
    """One file per task; the answer is the text of a candidate."""
    for number, (line, row) in enumerate(located_records(file)):
        if "candidates" not in row:
            raise DataError(
                f"{file}, line {line}: a question of MLVU without candidates; its open tasks need "
                "a judge, so leave that file out."
            )
        yield (
            line,
            {
                "id": str(row.get("question_id") or f"{file.stem}-{number}"),
                "video": row.get("video") or row["video_name"],
                "question": row["question"],
                "options": row["candidates"],
                "answer": row["answer"],
                "category": row.get("question_type") or row["task_type"],
            },
        )


def _long_video_bench(file: Path) -> Iterator[Located]:
    """The validation file; the test file has no answers."""
    for line, row in located_records(file):
        if row.get("correct_choice") in (None, -1):
            raise DataError(
                f"{file}, line {line}: no correct_choice; the test set keeps its answers secret, "
                "so give the validation file."
            )
        options = row.get("candidates")
        if options is None:
            numbered = [row[key] for key in sorted(row) if re.fullmatch(r"option\d", key)]
            options = [option for option in numbered if option not in (None, "", "N/A")]
        yield (
            line,
            {
                "id": row["id"],
                "video": row["video_path"],
                "question": row["question"],
                "options": options,
                "answer": _letter_at(row["correct_choice"]),
                "category": row["question_category"],
            },
        )


def _temp_compass(file: Path) -> Iterator[Located]:
    """Multi-choice, yes/no and caption matching: {video: {aspect: [question, ...]}}, or rows."""
    seen: dict[str, int] = {}
    for line, video, aspect, asked in _temp_compass_rows(file):
        text, options, answer = asked["question"], [], asked["answer"].strip()
        lines = text.split("\n")
        found = [m for m in (_LETTERED.match(s) or _NAMED.match(s) for s in lines) if m]
        if found:
            text = "\n".join(s for s in lines if not (_LETTERED.match(s) or _NAMED.match(s)))
            options = [match.group(2).strip() for match in found]
            right = _LETTERED.match(answer) or _NAMED.match(answer)
            names = [match.group(1) for match in found]
            if right and right.group(1) in names:
                answer = _letter_at(names.index(right.group(1)))
        elif answer.lower() in ("yes", "no"):
            options, answer = ["yes", "no"], answer.lower()
        else:
            raise DataError(
                f"{file}, line {line}: a question of TempCompass without options; captioning "
                "needs a judge, so give another of its files."
            )
        number = seen.get(video, 0)
        seen[video] = number + 1
        record = {"id": f"{file.stem}-{video}-{number}", "video": video, "question": text.strip()}
        yield line, {**record, "options": options, "answer": answer, "category": aspect}


def _temp_compass_rows(file: Path) -> Iterator[tuple[int, str, str, dict[str, str]]]:
    """(line, video, aspect, question) of either shape."""
    text = read_text(file)
    if text.lstrip().startswith("[") or file.suffix == ".jsonl":
        for line, row in located_records(file):
            yield line, row["video_id"], row["dim"], row
        return
    for video, aspects in _whole(file, text).items():
        for aspect, questions in aspects.items():
            for asked in questions:
                yield _line_of(text, video), video, aspect, asked


def _perception_test(file: Path) -> Iterator[Located]:
    """{video: {"mc_question": [...]}}, or rows."""
    text = read_text(file)
    rows: list[tuple[int, str, dict[str, Any]]] = []
    if text.lstrip().startswith("[") or file.suffix == ".jsonl":
        rows = [(line, row["video_name"], row) for line, row in located_records(file)]
    else:
        for video, entry in _whole(file, text).items():
            line = _line_of(text, video)
            rows += [(line, video, asked) for asked in entry["mc_question"]]
    for line, video, asked in rows:
        if asked.get("answer_id") is None:
            raise DataError(
                f"{file}, line {line}: no answer_id; the test set keeps its answers secret, so "
                "give the validation file."
            )
        number = asked["id"] if "id" in asked else asked["question_id"]
        yield (
            line,
            {
                "id": f"{video}-{number}",
                "video": video,
                "question": asked["question"],
                "options": asked["options"],
                "answer": _letter_at(asked["answer_id"]),
                "category": asked["area"],
            },
        )


def _next_qa(file: Path) -> Iterator[Located]:
    """A CSV with the columns a0 to a4; `answer` is a number, or in NExT-GQA a text."""
    rows = csv.DictReader(io.StringIO(read_text(file)))
    for row in rows:
        answer = row["answer"]
        yield (
            rows.line_num,
            {
                "id": f"{row['video'] if 'video' in row else row['video_id']}-{row['qid']}",
                "video": row["video"] if "video" in row else row["video_id"],
                "question": row["question"],
                "options": [row[f"a{i}"] for i in range(5)],
                "answer": _letter_at(answer) if answer.isdecimal() else answer,
                "category": NEXT_QA_TYPES.get(row["type"][:1], row["type"]),
            },
        )


FORMATS: dict[str, Callable[[Path], Iterator[Located]]] = {
    "video-mme": _video_mme,
    "mlvu": _mlvu,
    "longvideobench": _long_video_bench,
    "tempcompass": _temp_compass,
    "perceptiontest": _perception_test,
    "next-qa": _next_qa,
}


# ---- shared by the readers ---------------------------------------------------------------------


def _guarded(records: Iterator[Located], name: str, file: Path) -> Iterator[Located]:
    """A key or a type that the format does not know becomes a sentence."""
    last = 0
    try:
        for line, record in records:
            last = line
            yield line, record
    except KeyError as error:
        raise DataError(
            f"{file}, after line {last}: the key {error} of the {name} format is missing; is this "
            "another benchmark's file?"
        ) from error
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{file}, after line {last}: not the {name} format ({error}); is this another "
            "benchmark's file?"
        ) from error


def _files(file: Path) -> list[Path]:
    if not file.is_dir():
        return [file]
    files = sorted(f for f in file.iterdir() if f.suffix in (".json", ".jsonl", ".csv"))
    if not files:
        raise DataError(f"{file} holds no JSON or CSV file; give the folder of the annotations.")
    return files


def _whole(file: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}, line {error.lineno}: broken JSON ({error.msg}); download it again."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{file}, line 1: not an object in curly brackets; download it again.")
    return value


def _line_of(text: str, key: str) -> int:
    """The line where the entry of a video begins."""
    return text.count("\n", 0, max(0, text.find(json.dumps(key)))) + 1


def _letter_at(number: Any) -> str:
    """0 -> A; what is out of range stays a number, which the check of the record refuses."""
    index = int(number)
    return LETTERS[index] if 0 <= index < len(LETTERS) else str(number)


def _without_letter(option: str) -> str:
    match = _LETTERED.match(option)
    return match.group(2).strip() if match else option
