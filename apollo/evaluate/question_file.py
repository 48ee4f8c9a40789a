"""The questions of an evaluation, read from JSON or JSON lines and checked to the last one.

In:  a file of {"id", "video", "question", "answer"} and, if wanted, "options", "category",
     "start_s", "end_s".
Out: `Question`s whose videos exist and whose answers are among their options.
Odd: everything is checked before the first question is asked. A video's path is relative to the
     file, or to a folder that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apollo.data.choices import LETTERS
from apollo.data.json_lines import located_values
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
    folder = videos or file.parent

    def find(name: str) -> Path:
        if "\0" in name or not (folder / name).is_file():
            raise DataError(
                f"no such video file: {name}; paths are relative to {folder.resolve()}."
            )
        return folder / name

    return check_records(located_records(file), file, find)


def located_records(file: Path) -> Iterator[Located]:
    """(line, record) of a JSON list or of JSON lines.

    Raises:
        DataError: the file cannot be read, or a value is no object; names the file and the line.
    """
    for line, value in located_values(file):
        if not isinstance(value, dict):
            raise DataError(
                f"{file}, line {line}: a question is an object in curly brackets with the keys "
                f"{', '.join(_TEXTS)}; this is something else."
            )
        yield line, value


def check_records(
    records: Iterable[Located], file: Path, find_video: Callable[[str], Path]
) -> list[Question]:
    """Records of any origin as questions; `find_video` turns the name of a video into its path.

    Raises:
        DataError: a wrong record; the sentence names the file, the line and the remedy.
    """
    questions: list[Question] = []
    seen: dict[str, int] = {}
    for line, record in list(records):  # broken JSON anywhere is told before wrong values
        try:
            question = _question(record, find_video)
            if question.id in seen:
                raise DataError(
                    f'the id "{question.id}" stands in line {seen[question.id]} too; give every '
                    "question an id of its own."
                )
        except DataError as error:
            raise DataError(f"{file}, line {line}: {error}") from error
        seen[question.id] = line
        questions.append(question)
    if not questions:
        raise DataError(f"{file} holds no question; it needs at least one.")
    return questions


def _question(record: dict[str, Any], find_video: Callable[[str], Path]) -> Question:
    for key in record:
        if key not in _KEYS:
            raise DataError(f'unknown key "{key}"; the keys are {", ".join(_KEYS)}.')
    for key in _TEXTS:
        value = record.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and key in ("id", "answer"):
            record = {**record, key: str(value)}
        elif not isinstance(value, str) or not value.strip():
            raise DataError(f'"{key}" is missing or not a text; every question needs it.')
    category = record.get("category", NO_CATEGORY)
    if not isinstance(category, str) or not category.strip():
        raise DataError('"category" must be a text; name it or leave it out.')
    options = _options(record.get("options"))
    start_s, end_s = _times(record)
    video = find_video(record["video"])
    answer = _letter(record["answer"], options) if options else record["answer"].strip()
    return Question(
        record["id"], video, record["question"], answer, options, category, start_s, end_s
    )


def _options(options: Any) -> tuple[str, ...]:
    if options is None:
        return ()
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(f'"options" must be a list of 2 to {len(LETTERS)} texts.')
    if any(not isinstance(option, str) or not option.strip() for option in options):
        raise DataError("an option is empty or not a text; write every option out.")
    return tuple(option.strip() for option in options)


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
        if time_s is not None and (wrong or not 0 <= time_s < float("inf")):
            raise DataError(f'"{key}" must be a number of seconds, 0 or more.')
        times.append(None if time_s is None else float(time_s))
    start_s, end_s = times
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DataError('"end_s" must lie after "start_s"; change one of them.')
    return start_s, end_s
