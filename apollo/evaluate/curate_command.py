"""`apollo curate`: from many questions, those that need the video and tell models apart.

In:  a data file and some models.  Out: a folder with curated.json, which `apollo eval` reads, and
     verdicts.json, which says of every question why it was kept or dropped.
Odd: light, because `apollo --help` imports it. Each model answers all questions three times (with
     the video, text only, centre frame); answers are kept, so a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

from apollo.errors import DataError, SettingError
from apollo.evaluate.command import (
    add_asking_flags,
    ask,
    make_folder,
    model_name,
    wanted_questions,
)

CURATED, VERDICTS = "curated.json", "verdicts.json"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="questions as JSON or JSON lines")
    parser.add_argument("--output", required=True, type=Path, help="folder for all results")
    parser.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="the models that judge, as in `apollo ask`; disagreement needs two or more",
    )
    parser.add_argument(
        "--per-category", type=int, help="keep so many of each category (default: all that pass)"
    )
    parser.add_argument(
        "--blind-share",
        type=float,
        default=0.5,
        help="drop what more than this share of the models know without the video (default 0.5)",
    )
    add_asking_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Raises ApolloError for whatever a person can mend; returns the exit code 0."""
    from apollo.evaluate.curate import BLIND, curate, summary_table
    from apollo.evaluate.run import launched_processes

    _check(args)
    processes = launched_processes(args.device)
    make_folder(args.output)
    questions = wanted_questions(args, processes)
    answers = {}
    for model in args.models:
        folder = args.output / _folder_name(model)
        make_folder(folder)
        answers[model] = ask(args, model, None, questions, BLIND, folder, processes)
    if processes.index == 0:
        verdicts = curate(answers, per_category=args.per_category, blind_share=args.blind_share)
        kept = [
            v.question.as_record(Path(os.path.relpath(v.question.video, args.output)).as_posix())
            for v in verdicts
            if v.is_kept
        ]
        _write(args.output / VERDICTS, [verdict.as_json() for verdict in verdicts])
        if not kept:
            raise DataError(
                f"No question of {Path(args.data).name} is left; {VERDICTS} says why. Raise "
                "--blind-share, or write questions that need the video."
            )
        _write(args.output / CURATED, kept)
        sys.stdout.write(f"{summary_table(verdicts)}\n{args.output / CURATED}\n")
    processes.wait()
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.per_category is not None and args.per_category < 1:
        raise SettingError(f"--per-category is {args.per_category}; choose 1 or more.")
    if not 0 <= args.blind_share < 1:
        raise SettingError(
            f"--blind-share is {args.blind_share:g}; choose 0 or more, and less than 1."
        )
    folders = [_folder_name(model) for model in args.models]
    if len({*folders}) < len(folders):
        raise SettingError("--models names a model twice; name each once.")


def _folder_name(model: str) -> str:
    """A name for the model's own answers inside the output folder."""
    return re.sub(r"[^\w.-]+", "-", f"model-{model_name(model, None)}")


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
