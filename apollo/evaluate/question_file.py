"""The questions of an evaluation, read from a data file and checked to the last one.

In:  JSON, JSON lines, CSV, TSV or Parquet, with {"id", "video", "question", "answer"} and, if
     wanted, "options", "category", "start_s", "end_s".
Out: `Question`s whose videos exist and whose answers are among their options.
Odd: everything is checked before the first question is asked. Published files hold some bad
     records: a caller who gives a list gets the good ones, and in that list the others with the
     reason; one who does not gets the first fault as an error. A video's path is relative to the
     file, or to a folder that is given, where its name alone is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apollo.data.choices import LETTERS
from apollo.data.tables import is_table, list_of, located_rows, place_of
from apollo.data.text import whole_characters
from apollo.errors import DataError
from apollo.evaluate.left_out import LeftOut, nothing_left
from apollo.evaluate.video_folder import VideoFolder

NO_CATEGORY = "other"
_TEXTS = ("id", "video", "question", "answer")
_KEYS = (*_TEXTS, "options", "category", "start_s", "end_s")

LEFT_OUT = "left_out"  # the key of the reason, in a record whose question is known to be bad
LONGEST_S = 1e9

Located = tuple[int, Any]  # a record and the line of its file where it begins


@dataclass(frozen=True)
class Question:
    """One question. `answer` is a letter when there are options, else the right text."""

    id: str
    video: Path
    question: str
    answer: str
    options: tuple[str, ...] = ()
    category: str = NO_CATEGORY
    start_s: float | None = None
    end_s: float | None = None

    @property
    def answer_text(self) -> str:
        """The right answer in words."""
        return self.options[LETTERS.index(self.answer)] if self.options else self.answer

    def as_record(self, video: str) -> dict[str, Any]:
        """The record it came from, with another path to the video."""
        record: dict[str, Any] = {"id": self.id, "video": video, "question": self.question}
        if self.options:
            record["options"] = list(self.options)
        record |= {"answer": self.answer, "category": self.category}
        times = {"start_s": self.start_s, "end_s": self.end_s}
        return record | {key: time_s for key, time_s in times.items() if time_s is not None}


def read_questions(
    file: Path, videos: Path | None = None, left_out: list[LeftOut] | None = None
) -> list[Question]:
    """Every question of a data file; wrong ones are added to `left_out`, if it is given.

    Raises:
        DataError: the file cannot be read, no question is right, or, without `left_out`, a record
            is wrong; names the file and the line.
    """
    folder = VideoFolder(videos or file.parent, deep=videos is not None)
    rows: Iterable[Located] = located_rows(file)
    if is_table(file):
        rows = ((line, _of_table(row)) for line, row in rows)
    questions = check_records(rows, file, folder.find, left_out)
    if not questions:
        raise nothing_left(left_out or [])
    return questions


def check_records(
    records: Iterable[Located],
    file: Path,
    find_video: Callable[[str], Path],
    left_out: list[LeftOut] | None = None,
) -> list[Question]:
    """Records of any origin as questions; `find_video` turns the name of a video into its path.

    A record that is a DataError is a wrong one. With `left_out` there may be no question.

    Raises:
        DataError: there is no record, or, without `left_out`, one is wrong; the sentence names the
            file, the line and the remedy.
    """
    questions: list[Question] = []
    seen: dict[str, int] = {}
    line = 0
    for line, record in list(records):  # broken JSON anywhere is told before wrong values
        try:
            question = _question(record, find_video)
            if question.id in seen:
                raise DataError(
                    f'the id "{question.id}" stands in line {seen[question.id]} too; give every '
                    "question an id of its own."
                )
        except DataError as error:
            reason = f"{place_of(file, line)}: {error}"
            if left_out is None:
                raise DataError(reason) from error
            id = record.get("id", "") if isinstance(record, dict) else ""
            left_out.append(LeftOut(whole_characters(str(id)), whole_characters(reason)))
            continue
        seen[question.id] = line
        questions.append(question)
    if not line:
        raise DataError(f"{file} holds no question; it needs at least one.")
    return questions


def _of_table(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its empty cells, and with its times as numbers: in CSV all cells are texts."""
    row = {key: cell for key, cell in row.items() if cell is not None}
    for key in ("start_s", "end_s"):
        try:
            row[key] = float(row[key])
        except (KeyError, ValueError):
            continue  # none, or refused like any other text
    return row


def _question(record: Any, find_video: Callable[[str], Path]) -> Question:
    if isinstance(record, DataError):
        raise record
    if not isinstance(record, dict):
        raise DataError(
            f"a question is an object in curly brackets with the keys {', '.join(_TEXTS)}; this is "
            "something else."
        )
    if LEFT_OUT in record:
        raise DataError(str(record[LEFT_OUT]))
    for key in record:
        if key not in _KEYS:
            raise DataError(f'unknown key "{key}"; the keys are {", ".join(_KEYS)}.')
    for key in _TEXTS:
        value = record.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and key in ("id", "answer"):
            record = {**record, key: str(value)}
        elif not isinstance(value, str) or not value.strip():
            raise DataError(f'"{key}" is missing or not a text; every question needs it.')
        elif key != "video":  # a file's name is what it is
            record = {**record, key: whole_characters(value)}
    category = record.get("category", NO_CATEGORY)
    if not isinstance(category, str) or not category.strip():
        raise DataError('"category" must be a text; name it or leave it out.')
    category = whole_characters(category)
    options = _options(record.get("options"))
    start_s, end_s = _times(record)
    video = find_video(record["video"])
    answer = _letter(record["answer"], options) if options else record["answer"].strip()
    return Question(
        record["id"], video, record["question"], answer, options, category, start_s, end_s
    )


def _options(options: Any) -> tuple[str, ...]:
    options = list_of(options)
    if options is None:
        return ()
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(f'"options" must be a list of 2 to {len(LETTERS)} texts.')
    if any(not isinstance(option, str) or not option.strip() for option in options):
        raise DataError("an option is empty or not a text; write every option out.")
    return tuple(whole_characters(option.strip()) for option in options)


def _letter(answer: str, options: tuple[str, ...]) -> str:
    """The answer's letter; the text of an option is taken too, and wins over a letter."""
    answer = answer.strip()
    letters = LETTERS[: len(options)]
    if answer in options:
        letter = LETTERS[options.index(answer)]
    elif len(answer) == 1 and answer.upper() in letters:
        letter = answer.upper()
    else:
        raise DataError(
            f'the answer "{answer}" is none of the {len(options)} options; give a letter from '
            f"{letters[0]} to {letters[-1]}, or the text of an option."
        )
    if options.count(options[letters.index(letter)]) > 1:
        raise DataError("the right option stands there twice; change or remove one.")
    return letter


def _times(record: dict[str, Any]) -> tuple[float | None, float | None]:
    times: list[float | None] = []
    for key in ("start_s", "end_s"):
        time_s = record.get(key)
        wrong = isinstance(time_s, bool) or not isinstance(time_s, (int, float))
        if time_s is not None and (wrong or not 0 <= time_s < LONGEST_S):
            raise DataError(f'"{key}" must be a number of seconds, 0 or more.')
        times.append(None if time_s is None else float(time_s))
    start_s, end_s = times
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DataError('"end_s" must lie after "start_s"; change one of them.')
    return start_s, end_s
