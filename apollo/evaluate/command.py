"""`apollo eval`: asks a model every question of a file, and writes figures and a report.

In:  a data file, or "nano-bench".  Out: a folder with answers.jsonl,
     results.json and report.html, and the table on stdout.
Odd: light, because `apollo --help` imports it; all work is behind `run`. The data are checked
     before the model is loaded.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from apollo.errors import DataError, SettingError
from apollo.evaluate.left_out import LeftOut, left_out_lines, nothing_left
from apollo.evaluate.protocol import ABLATIONS, FULL, LETTER_TOKENS, EvalProtocol
from apollo.evaluate.question_file import Question, read_questions
from apollo.terminal import add_model_flags, check_extra, model_options, write

if TYPE_CHECKING:
    from apollo.evaluate.run import Processes
    from apollo.evaluate.score import ScoredAnswer

log = logging.getLogger(__name__)

NANO_BENCH = "nano-bench"
TEXT_TOKENS = 64  # an open answer is a sentence


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help="questions as JSON, JSON lines, CSV, TSV or Parquet, or "
        f'"{NANO_BENCH}", the built-in benchmark',
    )
    parser.add_argument(
        "--output", type=Path, help="folder for all results (default runs/, then the name of DATA)"
    )
    add_model_flags(parser)
    parser.add_argument(
        "--ablate",
        nargs="+",
        action="extend",
        default=[],
        choices=list(ABLATIONS),
        metavar="HOW",
        help="ask again and show less: "
        + "; ".join(f"{name} ({text})" for name, text in ABLATIONS.items()),
    )
    parser.add_argument("--batch", type=int, default=8, help="questions asked at once (default 8)")
    parser.add_argument("--limit", type=int, help="ask only so many, evenly from the whole file")
    parser.add_argument("--max-clips", type=int, help="never read more clips of a video than this")
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        help=f"longest answer (default {LETTER_TOKENS}, {TEXT_TOKENS} with open questions)",
    )
    parser.add_argument("--videos", type=Path, help="folder of the videos, when not beside DATA")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse bad records and videos; else they are left out, counted and named",
    )


def run(args: argparse.Namespace) -> int:
    """Raises ApolloError for whatever a person can mend; returns the exit code 0."""
    from apollo import __version__
    from apollo.evaluate.report import table, write_report, write_results
    from apollo.evaluate.run import launched_processes

    check_extra("apollo eval", "eval", "jinja2")  # its report, before hours of work
    processes = launched_processes(args.device)
    args.output = args.output or Path("runs") / Path(args.data).stem
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"The folder {args.output} cannot be made ({error.strerror}); choose another --output."
        ) from error
    if args.data == NANO_BENCH:  # its videos take a while to draw
        check_model(args)
    left_out: list[LeftOut] | None = None if args.strict else []
    questions = wanted_questions(args, processes, left_out)
    if left_out and processes.index == 0:
        log.warning("%s: %s", args.data, left_out_lines(left_out).rstrip())
    ablations = (FULL, *(name for name in ABLATIONS if name in args.ablate))
    protocols = {name: _protocol(args, name, questions) for name in ablations}
    columns = _answers(args, questions, protocols, processes, left_out)
    if processes.index == 0:
        model = Path(args.model).name if Path(args.model).is_dir() else args.model
        if args.adapter:
            model += f" + {Path(args.adapter).name}"
        names = {"data": Path(args.data).name, "model": model}
        settings = {"apollo": __version__, **protocols[FULL].as_json()}
        del settings["ablation"]  # the columns name theirs
        chosen = {name: getattr(args, name) for name in ("dtype", "quantization", "revision")}
        settings |= {name: value for name, value in chosen.items() if value is not None}
        unasked = left_out or []
        try:
            write_results(columns, args.output, settings=settings, left_out=unasked, **names)
            report = write_report(columns, args.output, left_out=unasked, **names)
        except OSError as error:
            raise SettingError(
                f"The report cannot be written to {args.output} ({error.strerror}); make room "
                "there and start again: the answers are kept."
            ) from error
        write(f"{table(columns)}\n{left_out_lines(unasked)}{report}\n")
    processes.wait()
    return 0


def check_model(args: argparse.Namespace) -> None:
    """The model is there, and the adapter is for it; the model itself is not loaded yet.

    Raises:
        CheckpointError, AdapterError: it is not.
    """
    from apollo.adapters.identity import identify
    from apollo.adapters.lora import read_adapter_for
    from apollo.catalog import card_of
    from apollo.model import hub

    folder = hub.find(card_of(args.model).source, args.revision)
    if args.adapter is not None:
        read_adapter_for(args.adapter, identify(folder))


def wanted_questions(
    args: argparse.Namespace, processes: Processes, left_out: list[LeftOut] | None = None
) -> list[Question]:
    """The questions of DATA, or an even choice of --limit of them; bad ones go to `left_out`.

    Raises:
        DataError, SettingError: the data or the flags are wrong.
    """
    for name in ("batch", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise SettingError(f"--{name} is {value}; choose 1 or more.")
    if args.videos is not None and not args.videos.is_dir():
        raise DataError(f"No such folder of videos: {args.videos}; check --videos.")
    if args.data == NANO_BENCH:
        if args.videos:
            raise SettingError(f"{NANO_BENCH} is built in; leave out --videos.")
        questions = _nano_bench(args.output, args.limit, processes)
    else:
        questions = read_questions(Path(args.data), args.videos, left_out)
    if args.limit is not None and args.limit < len(questions):
        count = len(questions)
        questions = [questions[i * count // args.limit] for i in range(args.limit)]
    return questions


def _answers(
    args: argparse.Namespace,
    questions: Sequence[Question],
    protocols: Mapping[str, EvalProtocol],
    processes: Processes,
    left_out: list[LeftOut] | None,
) -> dict[str, list[ScoredAnswer]]:
    """All answers of the model, by ablation; a question that fails in one is left out of all."""
    from apollo.chat import load
    from apollo.evaluate.answering import Answerer
    from apollo.evaluate.run import digest_model, evaluate

    model = load(**{**model_options(args), "device": processes.device})
    digest = digest_model(model, args.adapter and Path(args.adapter))
    columns: dict[str, list[ScoredAnswer]] = {}
    for name, protocol in protocols.items():
        columns[name] = evaluate(
            questions,
            Answerer(model, protocol),
            args.output,
            model_digest=digest,
            batch=args.batch,
            processes=processes,
            left_out=left_out,
        )
        questions = [row.question for row in columns[name]]
        if not questions:
            raise nothing_left(left_out or [])
    kept = {question.id for question in questions}
    return {
        name: [row for row in rows if row.question.id in kept] for name, rows in columns.items()
    }


def _protocol(
    args: argparse.Namespace, ablation: str, questions: Sequence[Question]
) -> EvalProtocol:
    any_open = any(not question.options for question in questions)
    max_new_tokens = args.max_new_tokens
    if max_new_tokens is None:
        max_new_tokens = TEXT_TOKENS if any_open else LETTER_TOKENS
    return EvalProtocol(ablation, max_new_tokens, args.max_clips)


def _nano_bench(output: Path, limit: int | None, processes: Processes) -> list[Question]:
    """Renders the benchmark's videos, those that are needed, unless they lie in `output` already.

    The folder carries a digest of the benchmark, so another version never meets these videos.
    """
    from apollo.cartoon import bench

    digest = hashlib.blake2b(bench.SPEC.read_bytes(), digest_size=4).hexdigest()
    number = min(limit or bench.NUM_QUESTIONS, bench.NUM_QUESTIONS)
    data = output / f"{NANO_BENCH}-{digest}" / bench.file_of(number)
    if processes.index == 0 and not data.exists():  # it is written after the last video
        try:
            bench.write_bench_videos(data.parent, number)
        except OSError as error:
            raise SettingError(
                f"The videos of {NANO_BENCH} cannot be written to {data.parent} "
                f"({error.strerror}); make room there, or choose another --output."
            ) from error
    processes.wait()
    return read_questions(data)
