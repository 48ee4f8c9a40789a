"""Public benchmarks as question files that `apollo eval` reads, made from their own local files.

    python -m examples.public_benchmarks video-mme test.jsonl --videos videos --output mme.json
    apollo eval mme.json --model 3B --output runs/mme

In:  an annotation file as its authors publish it (or a folder of such files), and the folder with
     the videos.  Out: one JSON file with every question, checked as `apollo eval` will check it.
Odd: a video is found by its name, wherever it lies in the folder, because the archives of the
     benchmarks nest them differently. Both the authors' files and the row-wise exports of the same
     data are read. Subtitles are not used.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from apollo.data.choices import LETTERS
from apollo.data.json_lines import is_list, read_text
from apollo.data.whole_file import write_text
from apollo.errors import DataError
from apollo.evaluate.question_file import Located, Question, check_records, located_records
from apollo.terminal import guarded, write

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".gif")
NEXT_QA_TYPES = {"C": "causal", "T": "temporal", "D": "descriptive"}
_LETTERED = re.compile(r"^\s*[(\[]?([A-Z])[.):\]]\s*(.*)$", re.DOTALL)
_NAMED = re.compile(r"^\s*((?:Option|Sentence|Caption) \w+):\s*(.*)$", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a question file of a public benchmark.")
    parser.add_argument("name", choices=list(FORMATS), help="the benchmark")
    parser.add_argument("file", type=Path, help="its annotation file, or a folder of such files")
    parser.add_argument("--videos", type=Path, help="folder of the videos, when not beside FILE")
    parser.add_argument("--output", required=True, type=Path, help="the question file to write")
    args = parser.parse_args(argv)
    return guarded(lambda: convert(args.name, args.file, args.videos, args.output))


def convert(name: str, file: Path, videos: Path | None, output: Path) -> None:
    """Writes the questions of a benchmark; the videos' paths are relative to the written file."""
    if videos is not None and not videos.is_dir():
        raise DataError(f"No such folder of videos: {videos}; check --videos.")
    output.parent.mkdir(parents=True, exist_ok=True)
    records = [
        question.as_record(Path(os.path.relpath(question.video, output.parent)).as_posix())
        for question in read_format(name, file, videos)
    ]
    write_text(output, json.dumps(records, ensure_ascii=False, indent=1) + "\n")
    write(f"{output}: {len(records)} questions\n")


def read_format(name: str, file: Path, videos: Path | None) -> list[Question]:
    """The questions of a benchmark; `name` is a key of `FORMATS`.

    Raises:
        DataError: a file is not in this format, or a video is missing; names file and line.
    """
    folder = VideoFolder(videos or (file if file.is_dir() else file.parent))
    questions: dict[str, Question] = {}
    for part in _files(file):
        for question in check_records(_guarded(name, part), part, folder.find):
            if question.id in questions:
                raise DataError(
                    f'{part}: the id "{question.id}" stands in another file of the folder too; '
                    "keep only one of the files."
                )
            questions[question.id] = question
    return list(questions.values())


class VideoFolder:
    """All videos under `root`, looked through once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = {}  # with and without the suffix
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                for name in (path.name, path.stem):
                    self._by_name.setdefault(name, []).append(path)

    def find(self, name: str) -> Path:
        """The one video called `name`; the folders in the name decide between equal names.

        Raises:
            DataError: there is no such video, or more than one.
        """
        wanted = Path(name)
        found = self._by_name.get(wanted.name, [])
        exact = [path for path in found if path.with_suffix("").match(str(wanted.with_suffix("")))]
        found = exact or found
        if len(found) == 1:
            return found[0]
        if not found:
            raise DataError(
                f"no video called {name} in {self.root}; download it, or give the folder of the "
                "videos with --videos."
            )
        raise DataError(
            f"{len(found)} videos are called {name} in {self.root}; give the folder of this "
            "benchmark alone with --videos."
        )


# ---- one reader per benchmark ------------------------------------------------------------------


def _video_mme(file: Path) -> Iterator[Located]:
    """Rows of questions, or videos that hold "questions"."""
    for line, row in located_records(file):
        for asked in row.get("questions", [row]):
            both = {**row, **asked}
            record = {
                "id": both["question_id"],
                "video": both.get("videoID") or both["video_id"],
                "question": both["question"],
                "options": [_without_letter(o) for o in both.get("options") or both["choices"]],
                "answer": both["answer"].strip().rstrip("."),
                "category": both["task_type"],
            }
            yield line, record


def _mlvu(file: Path) -> Iterator[Located]:
    """One file per task; the answer is the text of a candidate."""
    for number, (line, row) in enumerate(located_records(file)):
        if "candidates" not in row:
            raise DataError(
                f"{file}, line {line}: a question of MLVU without candidates; its open tasks need "
                "a judge, so leave that file out."
            )
        record = {
            "id": str(row.get("question_id") or f"{file.stem}-{number}"),
            "video": row.get("video") or row["video_name"],
            "question": row["question"],
            "options": row["candidates"],
            "answer": row["answer"],
            "category": row.get("question_type") or row["task_type"],
        }
        yield line, record


def _long_video_bench(file: Path) -> Iterator[Located]:
    """The validation file; the test file has no answers."""
    for line, row in located_records(file):
        options = row.get("candidates")
        if options is None:
            numbered = [row[key] for key in sorted(row) if re.fullmatch(r"option\d", key)]
            options = [option for option in numbered if option not in (None, "", "N/A")]
        record = {
            "id": row["id"],
            "video": row["video_path"],
            "question": row["question"],
            "options": options,
            "answer": _letter_at(row, "correct_choice", file, line),
            "category": row["question_category"],
        }
        yield line, record


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
                answer = LETTERS[names.index(right.group(1))]
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
    if _has_rows(file):
        for line, row in located_records(file):
            yield line, row["video_id"], row["dim"], row
        return
    for line, video, aspects in _located_entries(file):
        for aspect, questions in aspects.items():
            for asked in questions:
                yield line, video, aspect, asked


def _perception_test(file: Path) -> Iterator[Located]:
    """{video: {"mc_question": [...]}}, or rows."""
    if _has_rows(file):
        rows = [(line, row["video_name"], row) for line, row in located_records(file)]
    else:
        entries = _located_entries(file)
        rows = [(line, video, q) for line, video, entry in entries for q in entry["mc_question"]]
    for line, video, asked in rows:
        number = asked["id"] if "id" in asked else asked["question_id"]
        record = {
            "id": f"{video}-{number}",
            "video": video,
            "question": asked["question"],
            "options": asked["options"],
            "answer": _letter_at(asked, "answer_id", file, line),
            "category": asked["area"],
        }
        yield line, record


def _next_qa(file: Path) -> Iterator[Located]:
    """A CSV with the columns a0 to a4; `answer` is a number, or in NExT-GQA a text."""
    rows = csv.DictReader(io.StringIO(read_text(file)))
    for row in rows:
        answer = row["answer"]
        if answer.isdecimal():
            answer = _letter_at(row, "answer", file, rows.line_num)
        video = row["video"] if "video" in row else row["video_id"]
        record = {
            "id": f"{video}-{row['qid']}",
            "video": video,
            "question": row["question"],
            "options": [row[f"a{i}"] for i in range(5)],
            "answer": answer,
            "category": NEXT_QA_TYPES.get(row["type"][:1], row["type"]),
        }
        yield rows.line_num, record


FORMATS: dict[str, Callable[[Path], Iterator[Located]]] = {
    "video-mme": _video_mme,
    "mlvu": _mlvu,
    "longvideobench": _long_video_bench,
    "tempcompass": _temp_compass,
    "perceptiontest": _perception_test,
    "next-qa": _next_qa,
}


# ---- shared by the readers ---------------------------------------------------------------------


def _guarded(name: str, file: Path) -> Iterator[Located]:
    """The records of a file; what does not fit the format raises a DataError."""
    last = 0
    try:
        for line, record in FORMATS[name](file):
            last = line
            yield line, {**record, "video": str(record["video"])}
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


def _has_rows(file: Path) -> bool:
    """Whether a file holds one record per question; else it is an object with a key per video."""
    return file.suffix == ".jsonl" or is_list(read_text(file))


def _located_entries(file: Path) -> Iterator[tuple[int, str, Any]]:
    """(line, key, value) of one JSON object; the line is where the key stands in quotes."""
    text = read_text(file)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}, line {error.lineno}: broken JSON ({error.msg}); download the file again."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{file}: not one object in curly brackets; download the file again.")
    line, place = 1, 0
    for key in value:
        found = max(place, text.find(f'"{key}"', place))
        line, place = line + text.count("\n", place, found), found
        yield line, key, value[key]


def _letter_at(row: dict[str, Any], key: str, file: Path, line: int) -> str:
    """0 -> A; what is out of range stays a number, which the check of the record refuses."""
    if row.get(key) in (None, -1):
        raise DataError(
            f"{file}, line {line}: no {key}; the test set keeps its answers secret, so give the "
            "validation file."
        )
    index = int(row[key])
    return LETTERS[index] if 0 <= index < len(LETTERS) else str(index)


def _without_letter(option: str) -> str:
    match = _LETTERED.match(option)
    return match.group(2).strip() if match else option


if __name__ == "__main__":
    raise SystemExit(main())
