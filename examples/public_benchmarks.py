"""Public benchmarks as question files that `apollo eval` reads, made from their own local files.

    python -m examples.public_benchmarks video-mme test.parquet --videos videos --output mme.json
    apollo eval mme.json --model 3B --output runs/mme

In:  an annotation file as its authors publish it (or a folder of such files): JSON, JSON lines,
     CSV, TSV or Parquet; and the folder with the videos.
Out: one JSON file with every question, checked as `apollo eval` will check it.
Odd: a video is found by its name, wherever it lies in the folder, because the archives of the
     benchmarks nest them differently. Both the authors' files and the row-wise exports of the same
     data are read. Subtitles are not used. The few bad records of published files are counted and
     named, and written with the reason: `apollo eval` leaves them out and names them in its report.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from apollo.data.tables import SUFFIXES
from apollo.data.text import whole_characters
from apollo.data.whole_file import write_text
from apollo.errors import DataError, SettingError
from apollo.evaluate.left_out import LeftOut, left_out_lines, nothing_left
from apollo.evaluate.question_file import LEFT_OUT, Located, Question, check_records
from apollo.evaluate.video_folder import VideoFolder
from apollo.terminal import guarded, write
from examples.benchmark_formats import FORMATS


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a question file of a public benchmark.")
    parser.add_argument("name", choices=list(FORMATS), help="the benchmark")
    parser.add_argument("file", type=Path, help="its annotation file, or a folder of such files")
    parser.add_argument("--videos", type=Path, help="folder of the videos, when not beside FILE")
    parser.add_argument("--output", required=True, type=Path, help="the question file to write")
    parser.add_argument(
        "--strict", action="store_true", help="refuse a bad record instead of leaving it out"
    )
    args = parser.parse_args(argv)
    return guarded(
        lambda: convert(args.name, args.file, args.videos, args.output, strict=args.strict)
    )


def convert(
    name: str, file: Path, videos: Path | None, output: Path, *, strict: bool = False
) -> None:
    """Writes the questions of a benchmark; the videos' paths are relative to the written file."""
    if videos is not None and not videos.is_dir():
        raise DataError(f"No such folder of videos: {videos}; check --videos.")
    left_out: list[LeftOut] = []
    questions = read_format(name, file, videos, None if strict else left_out)
    records = [
        question.as_record(Path(os.path.relpath(question.video, output.parent)).as_posix())
        for question in questions
    ]
    records += [{"id": wrong.id, LEFT_OUT: wrong.reason} for wrong in left_out]
    text = json.dumps(records, ensure_ascii=False, indent=1)
    try:
        write_text(output, whole_characters(text) + "\n")
    except OSError as error:
        raise SettingError(
            f"{output} cannot be written ({error.strerror}); choose another --output."
        ) from error
    write(f"{output}: {len(questions)} questions\n{left_out_lines(left_out)}")


def read_format(
    name: str, file: Path, videos: Path | None, left_out: list[LeftOut] | None = None
) -> list[Question]:
    """The questions of a benchmark; `name` is a key of `FORMATS`.

    Bad records, and those whose video is missing, are added to `left_out`, if it is given.

    Raises:
        DataError: a file is not in this format, or, without `left_out`, a record is bad or a video
            is missing; names file and line.
    """
    folder = VideoFolder(videos or (file if file.is_dir() else file.parent))
    questions: dict[str, Question] = {}
    for part in _files(file):
        for question in check_records(_records(name, part), part, folder.find, left_out):
            if question.id not in questions:
                questions[question.id] = question
                continue
            reason = (
                f'{part}: the id "{question.id}" stands in another file of the folder too; keep '
                "only one of the files."
            )
            if left_out is None:
                raise DataError(reason)
            left_out.append(LeftOut(question.id, reason))
    if not questions:
        raise nothing_left(left_out or [])
    return list(questions.values())


def _records(name: str, file: Path) -> Iterator[Located]:
    """The records of a file; a row that does not fit the format is a DataError."""
    rows_of, record_of = FORMATS[name]
    for number, (line, row) in enumerate(rows_of(file)):
        try:
            record = record_of(row, f"{file.stem}-{number}")
            yield line, {**record, "video": str(record["video"])}
        except DataError as error:
            yield line, error
        except KeyError as error:
            yield (
                line,
                DataError(
                    f"the key {error} of the {name} format is missing; is this another "
                    "benchmark's file?"
                ),
            )
        except (AttributeError, TypeError, ValueError, IndexError, OverflowError) as error:
            yield (
                line,
                DataError(f"not the {name} format ({error}); is this another benchmark's file?"),
            )


def _files(file: Path) -> list[Path]:
    if not file.is_dir():
        return [file]
    files = sorted(f for f in file.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise DataError(
            f"{file} holds no JSON or CSV file, nor Parquet; give the folder of the annotations."
        )
    return files


if __name__ == "__main__":
    raise SystemExit(main())
