"""The layouts in which benchmarks are published, one reader each.

In:  an annotation file.  Out: its rows, each with its line, and a row as a record of `apollo eval`.
Odd: a row that is no question stays what it is, and `public_benchmarks.py` says so: one bad row
     does not end a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from apollo.data import tables
from apollo.data.choices import LETTERS
from apollo.data.json_lines import is_list, read_text
from apollo.errors import DataError
from apollo.evaluate.question_file import Located

Row = dict[str, Any]

NEXT_QA_TYPES = {"C": "causal", "T": "temporal", "D": "descriptive"}
_LETTERED = re.compile(r"^\s*[(\[]?([A-Z])[.):\]]\s*(.*)$", re.DOTALL)
_NAMED = re.compile(r"^\s*((?:Option|Sentence|Caption) \w+):\s*(.*)$", re.DOTALL)


def _video_mme_rows(file: Path) -> Iterator[Located]:
    """Rows of questions, or videos that hold "questions"."""
    for line, row in tables.located_rows(file):
        nested = row.get("questions") if isinstance(row, dict) else None
        for asked in nested if isinstance(nested, list) else [{}]:
            yield line, {**row, **asked} if isinstance(asked, dict) else asked


def _video_mme(row: Row, _: str) -> Row:
    options = tables.list_of(row.get("options") or row["choices"])
    return {
        "id": row["question_id"],
        "video": row.get("videoID") or row["video_id"],
        "question": row["question"],
        "options": [_without_letter(*pair) for pair in zip(options, LETTERS, strict=False)],
        "answer": row["answer"].strip().rstrip("."),
        "category": row["task_type"],
    }


def _mlvu(row: Row, name: str) -> Row:
    """One file per task; the answer is the text of a candidate."""
    if "candidates" not in row:
        raise DataError(
            "a question of MLVU without candidates; its open tasks need a judge, so leave that "
            "file out."
        )
    return {
        "id": str(row.get("question_id") or name),
        "video": row.get("video") or row["video_name"],
        "question": row["question"],
        "options": tables.list_of(row["candidates"]) or [],
        "answer": row["answer"],
        "category": row.get("question_type") or row["task_type"],
    }


def _long_video_bench(row: Row, _: str) -> Row:
    """The validation file; the test file has no answers."""
    options = tables.list_of(row.get("candidates"))
    if options is None:
        numbered = [row[key] for key in sorted(row) if re.fullmatch(r"option\d", key)]
        options = [option for option in numbered if option not in (None, "", "N/A")]
    return {
        "id": row["id"],
        "video": row["video_path"],
        "question": row["question"],
        "options": options,
        "answer": _letter_at(row, "correct_choice"),
        "category": row["question_category"],
    }


def _temp_compass_rows(file: Path) -> Iterator[Located]:
    """{video: {aspect: [question, ...]}}, or rows; each gets its "number" among its video's."""
    rows = tables.located_rows(file) if _has_rows(file) else _temp_compass_nested(file)
    seen: dict[Any, int] = {}
    for line, row in rows:
        if isinstance(row, dict):
            number = seen.get(video := str(row.get("video_id")), 0)
            seen[video] = number + 1
            row = {**row, "number": number}
        yield line, row


def _temp_compass_nested(file: Path) -> Iterator[Located]:
    for line, video, aspects in _located_entries(file):
        for aspect, questions in aspects.items() if isinstance(aspects, dict) else [("", aspects)]:
            for asked in questions if isinstance(questions, list) else [questions]:
                named = {"video_id": video, "dim": aspect}
                yield line, {**named, **asked} if isinstance(asked, dict) else asked


def _temp_compass(row: Row, name: str) -> Row:
    """Multi-choice, yes/no and caption matching."""
    text, options, answer = row["question"], [], row["answer"].strip()
    lines = text.split("\n")
    found = [m for m in (_LETTERED.match(s) or _NAMED.match(s) for s in lines) if m]
    if found:
        text = "\n".join(s for s in lines if not (_LETTERED.match(s) or _NAMED.match(s)))
        options = [match.group(2).strip() for match in found]
        right = _LETTERED.match(answer) or _NAMED.match(answer)
        names = [match.group(1) for match in found]
        if right and right.group(1) in names:
            answer = LETTERS[names.index(right.group(1))]
    elif answer.lower() in ("yes", "no"):
        options, answer = ["yes", "no"], answer.lower()
    else:
        raise DataError(
            "a question of TempCompass without options; captioning needs a judge, so give another "
            "of its files."
        )
    return {
        "id": f"{name.rpartition('-')[0]}-{row['video_id']}-{row['number']}",
        "video": row["video_id"],
        "question": text.strip(),
        "options": options,
        "answer": answer,
        "category": row["dim"],
    }


def _perception_test_rows(file: Path) -> Iterator[Located]:
    """{video: {"mc_question": [...]}}, or rows."""
    if _has_rows(file):
        yield from tables.located_rows(file)
        return
    for line, video, entry in _located_entries(file):
        asked = entry.get("mc_question") if isinstance(entry, dict) else None
        for one in asked if isinstance(asked, list) else [{}]:
            yield line, {"video_name": video, **one} if isinstance(one, dict) else one


def _perception_test(row: Row, _: str) -> Row:
    number = row["id"] if "id" in row else row["question_id"]
    return {
        "id": f"{row['video_name']}-{number}",
        "video": row["video_name"],
        "question": row["question"],
        "options": tables.list_of(row["options"]) or [],
        "answer": _letter_at(row, "answer_id"),
        "category": row["area"],
    }


def _next_qa(row: Row, _: str) -> Row:
    """The columns a0 to a4; `answer` is a number, or in NExT-GQA a text."""
    video = row["video"] if "video" in row else row["video_id"]
    answer = row["answer"]
    if not isinstance(answer, str) or answer.isdecimal():
        answer = _letter_at(row, "answer")
    return {
        "id": f"{video}-{row['qid']}",
        "video": video,
        "question": row["question"],
        "options": [row[f"a{i}"] for i in range(5)],
        "answer": answer,
        "category": NEXT_QA_TYPES.get(row["type"][:1], row["type"]),
    }


Rows = Callable[[Path], Iterator[Located]]
FORMATS: dict[str, tuple[Rows, Callable[[Row, str], Row]]] = {
    "video-mme": (_video_mme_rows, _video_mme),
    "mlvu": (tables.located_rows, _mlvu),
    "longvideobench": (tables.located_rows, _long_video_bench),
    "tempcompass": (_temp_compass_rows, _temp_compass),
    "perceptiontest": (_perception_test_rows, _perception_test),
    "next-qa": (tables.located_rows, _next_qa),
}


# ---- shared by the readers ---------------------------------------------------------------------


def _has_rows(file: Path) -> bool:
    """Whether a file holds one record per question; else it is an object with a key per video."""
    return tables.is_table(file) or file.suffix == ".jsonl" or is_list(read_text(file))


def _located_entries(file: Path) -> Iterator[tuple[int, str, Any]]:
    """(line, key, value) of one JSON object; the line is where the key stands in quotes."""
    text = read_text(file)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}, line {error.lineno}: broken JSON ({error.msg}); download the file again."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, deep brackets
        raise DataError(f"{file}: broken JSON ({error}); download the file again.") from error
    if not isinstance(value, dict):
        raise DataError(f"{file}: not one object in curly brackets; download the file again.")
    line, place = 1, 0
    for key in value:
        found = max(place, text.find(f'"{key}"', place))
        line, place = line + text.count("\n", place, found), found
        yield line, key, value[key]


def _letter_at(row: Row, key: str) -> str:
    """0 -> A; what is out of range stays a number, which the check of the record refuses."""
    if row.get(key) in (None, -1, "-1"):
        raise DataError(
            f"no {key}; the test set keeps its answers secret, so give the validation file."
        )
    index = int(float(row[key]))
    return LETTERS[index] if 0 <= index < len(LETTERS) else str(index)


def _without_letter(option: str, letter: str) -> str:
    """The option "A. One." is "One."."""
    match = _LETTERED.match(option)
    return match.group(2).strip() if match and match.group(1) == letter else option
