"""`apollo bench`: measures how fast Apollo is, beside a plain baseline and the machine's floors.

In:  flags.  Out: tables on stdout; `results.json`, `results.md` and plots in the output folder.
Odd: light, because `apollo --help` imports it, and because processes that are started from a large
one count its memory as theirs. The report is written after every case, so an interrupted run
leaves what it has.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from apollo.bench.cases import CASES, chosen
from apollo.bench.report import write_report
from apollo.bench.session import Session
from apollo.errors import SettingError
from apollo.terminal import check_extra, check_output, tell, write

REPEATS = 3


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, default=Path("runs/bench"), help="folder (default %(default)s)"
    )
    parser.add_argument(
        "--only", metavar="NAME[,NAME]", help=f"only these cases: {', '.join(CASES)}"
    )
    parser.add_argument(
        "--repeats", type=int, help=f"rounds of every measurement (default {REPEATS}; quick: 1)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small videos and models, to see that everything runs; says nothing about speed",
    )


def run(args: argparse.Namespace) -> None:
    """Raises ApolloError for whatever a person can mend."""
    check_output()  # before long work
    cases = chosen(args.only)
    repeats = args.repeats if args.repeats is not None else 1 if args.quick else REPEATS
    if repeats < 1:
        raise SettingError(f"--repeats is {repeats}; choose 1 or more.")
    if importlib.util.find_spec("resource") is None:
        raise SettingError("apollo bench cannot measure on Windows; run it on Linux or macOS.")
    check_extra("apollo bench", "bench", "matplotlib")
    text = ""
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        with Session(args.output, repeats=repeats, quick=args.quick) as session:
            for number, (name, case) in enumerate(cases.items(), start=1):
                tell(f"bench: case {number} of {len(cases)}: {name}")
                session.case = name
                case(session)
                text = write_report(session.results, args.output, repeats=repeats, quick=args.quick)
    except OSError as error:
        raise SettingError(
            f"The folder {args.output} cannot be written ({error.strerror}); make room there or "
            "choose another --output."
        ) from error
    write(f"{text}\nWritten to {args.output}.\n")
