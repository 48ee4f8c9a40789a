"""The questions of an evaluation, read from JSON or JSON lines and checked to the last one.

In:  a file of {"id", "video", "question", "answer"} and, if wanted, "options", "category",
     "start_s", "end_s".
Out: `Question`s whose videos exist and whose answers are among their options.
Odd: everything is checked before the first question is asked, and an error names the line, also
     inside a JSON list. A video's path is relative to the file, or to a folder that is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apollo.data.choices import LETTERS
from apollo.errors import DataError

NO_CATEGORY = "other"
_TEXTS = ("id", "video", "question", "answer")
_KEYS = (*_TEXTS, "options", "category", "start_s", "end_s")

Located = tuple[int, dict[str, Any]]  # a record and the line of its file where it begins


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


def read_questions(file: Path, videos: Path | None = None) -> list[Question]:
    """Every question of a JSON list or of JSON lines.

    Raises:
        DataError: the file cannot be read, or a record is wrong; names the file and the line.
    """
    return check_records(located_records(file), file, videos or file.parent)


def located_records(file: Path) -> Iterator[Located]:
    """(line, record) of a JSON list or of JSON lines, told apart by their first sign."""
    text = read_text(file)
    if text.lstrip()[:1] == "[":
        yield from _of_list(text, file)
        return
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            yield line, _as_record(_decode(content, 0, file, line)[0], file, line)


def read_text(file: Path) -> str:
    """The text of a data file.

    Raises:
        DataError: it is missing, empty, a folder or not UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"No such data file: {file}; check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text; save it as UTF-8 JSON.") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check the path.") from error
    if not text.strip():
        raise DataError(f"{file} is empty; it needs at least one question.")
    return text


def check_records(records: Iterable[Located], file: Path, videos: Path) -> list[Question]:
    """Records of any origin as questions.

    Raises:
        DataError: a wrong record; the sentence names the file, the line and the remedy.
    """
    questions: list[Question] = []
    seen: dict[str, int] = {}
    for line, record in list(records):  # broken JSON anywhere is told before wrong values
        question = _question(record, f"{file}, line {line}", videos)
        if question.id in seen:
            raise DataError(
                f'{file}, line {line}: the id "{question.id}" stands in line {seen[question.id]} '
                "too; give every question an id of its own."
            )
        seen[question.id] = line
        questions.append(question)
    if not questions:
        raise DataError(f"{file} holds no question; it needs at least one.")
    return questions


def _of_list(text: str, file: Path) -> Iterator[Located]:
    place = line = 0
    counted = 0  # the signs whose line ends are in `line`

    def here() -> int:
        nonlocal line, counted
        line += text.count("\n", counted, place)
        counted = place
        return line + 1

    place = text.index("[") + 1
    blank = re.compile(r"\s*")
    first = True
    while True:
        place = blank.match(text, place).end()  # type: ignore[union-attr]  # it may be empty
        sign = text[place : place + 1]
        if sign == "]":
            if text[place + 1 :].strip():
                raise DataError(f"{file}, line {here()}: more text after the list; remove it.")
            return
        if not first:
            if sign != ",":
                wanted = "a comma or the closing bracket of the list is missing"
                raise DataError(f"{file}, line {here()}: broken JSON, {wanted}; correct it there.")
            place = blank.match(text, place + 1).end()  # type: ignore[union-attr]
        line_now = here()
        value, place = _decode(text, place, file, line_now)
        yield line_now, _as_record(value, file, line_now)
        first = False


def _decode(text: str, place: int, file: Path, line: int) -> tuple[Any, int]:
    decoder = json.JSONDecoder()
    try:
        value, end = decoder.raw_decode(text, place if place else len(text) - len(text.lstrip()))
    except json.JSONDecodeError as error:
        # inside a list the place counts from the file's start, inside a line from the line's
        at = error.lineno if place else line
        raise DataError(
            f"{file}, line {at}: broken JSON ({error.msg}); correct it there."
        ) from error
    except RecursionError as error:
        raise DataError(
            f"{file}, line {line}: brackets nest too deep; correct it there."
        ) from error
    if not place and text[end:].strip():
        raise DataError(
            f"{file}, line {line}: broken JSON (more text after the record); write one record "
            "per line, or a list in square brackets."
        )
    return value, end


def _as_record(value: Any, file: Path, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(
            f"{file}, line {line}: a question is an object in curly brackets with the keys "
            f"{', '.join(_TEXTS)}; this is something else."
        )
    return value


def _question(record: dict[str, Any], at: str, videos: Path) -> Question:
    for key in record:
        if key not in _KEYS:
            raise DataError(f'{at}: unknown key "{key}"; the keys are {", ".join(_KEYS)}.')
    for key in _TEXTS:
        value = record.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and key in ("id", "answer"):
            record = {**record, key: str(value)}
        elif not isinstance(value, str) or not value.strip():
            raise DataError(f'{at}: "{key}" is missing or not a text; every question needs it.')
    category = record.get("category", NO_CATEGORY)
    if not isinstance(category, str) or not category.strip():
        raise DataError(f'{at}: "category" must be a text; name it or leave it out.')
    options = _options(record.get("options"), at)
    start_s, end_s = _times(record, at)
    video = videos / record["video"]
    if "\0" in record["video"] or not video.is_file():
        raise DataError(
            f"{at}: no such video file: {record['video']}; paths are relative to "
            f"{videos.resolve()}."
        )
    answer = _letter(record["answer"], options, at) if options else record["answer"].strip()
    return Question(
        record["id"], video, record["question"], answer, options, category, start_s, end_s
    )


def _options(options: Any, at: str) -> tuple[str, ...]:
    if options is None:
        return ()
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(f'{at}: "options" must be a list of 2 to {len(LETTERS)} texts.')
    if any(not isinstance(option, str) or not option.strip() for option in options):
        raise DataError(f"{at}: an option is empty or not a text; write every option out.")
    return tuple(option.strip() for option in options)


def _letter(answer: str, options: tuple[str, ...], at: str) -> str:
    """The answer's letter; the text of an option is taken too, and wins over a letter."""
    answer = answer.strip()
    letters = LETTERS[: len(options)]
    if answer in options:
        letter = LETTERS[options.index(answer)]
    elif len(answer) == 1 and answer.upper() in letters:
        letter = answer.upper()
    else:
        letter = ""
    if letter and options.count(options[letters.index(letter)]) > 1:
        raise DataError(f"{at}: the right option stands there twice; change or remove one.")
    if letter:
        return letter
    raise DataError(
        f'{at}: the answer "{answer}" is none of the {len(options)} options; give a letter from '
        f"{letters[0]} to {letters[-1]}, or the text of an option."
    )


def _times(record: dict[str, Any], at: str) -> tuple[float | None, float | None]:
    times: list[float | None] = []
    for key in ("start_s", "end_s"):
        time_s = record.get(key)
        wrong = isinstance(time_s, bool) or not isinstance(time_s, (int, float))
        if time_s is not None and (wrong or not 0 <= time_s < float("inf")):
            raise DataError(f'{at}: "{key}" must be a number of seconds, 0 or more.')
        times.append(None if time_s is None else float(time_s))
    start_s, end_s = times
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DataError(f'{at}: "end_s" must lie after "start_s"; change one of them.')
    return start_s, end_s
