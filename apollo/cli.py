"""The command line: `apollo ask | chat | download | demo | train | lora | eval | bench`.

In:  arguments.  Out: text on stdout, progress on stderr when that is a terminal, and an exit code:
0 done, 2 something the user can correct (one line on stderr), 130 interrupted, 141 reader gone.
Odd: nothing heavy is imported before the arguments are understood, so --help is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apollo
import apollo.nano  # its tasks and recipes are known to `apollo train` from here on
from apollo.bench import command as bench_command
from apollo.catalog import card_of
from apollo.demo import command as demo_command
from apollo.errors import OutputError
from apollo.evaluate import command as eval_command
from apollo.settings import Generation, Sampling
from apollo.terminal import add_model_flags, check_output, guarded, model_options, tell, write
from apollo.train import command as train_command
from apollo.train import lora_command


def main(argv: Sequence[str] | None = None) -> int:
    def work() -> None:
        args = build_parser().parse_args(argv)
        args.run(args)

    return guarded(work)


# ---- arguments -------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apollo", description="Chat with a video.")
    parser.add_argument("--version", action="version", version=f"apollo {apollo.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    ask = commands.add_parser("ask", help="ask one question about a video")
    add_asking_flags(ask)
    ask.add_argument("question", metavar="QUESTION", help="in quotation marks")
    ask.set_defaults(run=run_ask)

    chat = commands.add_parser("chat", help="talk about a video, question after question")
    add_asking_flags(chat)
    chat.set_defaults(run=run_chat)

    download = commands.add_parser("download", help="fetch a model now, to be offline later")
    download.add_argument("name", metavar="NAME", help="1.5B, 3B, 7B or a Hugging Face id")
    download.add_argument("--revision", help="a branch or commit of it (default: the newest)")
    download.set_defaults(run=run_download)

    for name, module, text in (
        ("demo", demo_command, "open the page in a browser"),
        ("train", train_command, "train a model by a recipe"),
        ("lora", lora_command, "train a small adapter on your own clips"),
        ("eval", eval_command, "ask many questions and count the right answers"),
        ("bench", bench_command, "measure how fast Apollo is on this machine"),
    ):
        command = commands.add_parser(name, help=text)
        module.add_flags(command)
        command.set_defaults(run=module.run)
    return parser


def add_asking_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", help="a video file")
    add_model_flags(parser)
    add_settings(parser, Sampling, "which part of the video is read")
    add_settings(parser, Generation, "how the answer is written")


def add_settings(parser: argparse.ArgumentParser, settings: type, title: str) -> None:
    """One flag per field of the dataclass, with the field's own type, default and help."""
    group = parser.add_argument_group(title)
    types = typing.get_type_hints(settings)
    for spec in dataclasses.fields(settings):
        wanted = [t for t in typing.get_args(types[spec.name]) if t is not type(None)]
        flag = "--" + spec.name.replace("_", "-")
        if types[spec.name] is bool:  # off unless it is given
            group.add_argument(flag, action="store_true", help=spec.metadata["help"])
            continue
        group.add_argument(
            flag,
            type=wanted[0] if wanted else types[spec.name],
            default=spec.default,
            metavar=spec.name.rsplit("_", 1)[-1].upper(),
            help=spec.metadata["help"] + _range_and_default(spec),
        )


def _range_and_default(spec: dataclasses.Field) -> str:
    low, high = spec.metadata["low"], spec.metadata["high"]
    limits = "" if low is None else f"{low:g} or more" if high is None else f"{low:g} to {high:g}"
    default = "" if spec.default is None else f"default {spec.default}"
    notes = ", ".join(filter(None, [limits, default]))
    return f" ({notes})" if notes else ""


def read_settings(args: argparse.Namespace, settings: type) -> Any:
    names = [spec.name for spec in dataclasses.fields(settings)]
    return settings(**{name: getattr(args, name) for name in names})


# ---- commands --------------------------------------------------------------------------------


def run_ask(args: argparse.Namespace) -> None:
    show(asking(args)(args.question), [])


def run_chat(args: argparse.Namespace) -> None:
    ask = asking(args, ahead=True)
    messages: list[dict[str, str]] = []
    for question in questions():
        messages.append({"role": "user", "content": question})
        answer: list[str] = []
        try:
            show(ask(messages), answer)
        except KeyboardInterrupt:  # stops the answer, not the program
            write(" …\n")
        except OutputError:
            raise
        except apollo.ApolloError as error:  # this question cannot be answered; another may
            if answer:
                write("\n")
            tell(f"apollo: {error}")
        if answer:
            messages.append({"role": "assistant", "content": "".join(answer)})
        else:
            messages.pop()


def asking(args: argparse.Namespace, ahead: bool = False) -> Callable[[Any], Any]:
    """Loads the model that the flags name: question or messages -> the events of the answer.

    What is wrong with the video is said before a large model is downloaded or loaded for it. With
    `ahead` the video is read while the first question is being typed.
    """
    from apollo.video.reader import probe  # imports PyAV; kept out of --help

    check_output()  # before long work
    sampling, generation = read_settings(args, Sampling), read_settings(args, Generation)
    probe(args.video)
    model = apollo.load(**model_options(args))
    if ahead:
        model.read_ahead(args.video, sampling)
    return lambda question: model.events(
        args.video, question, sampling=sampling, generation=generation
    )


def run_download(args: argparse.Namespace) -> None:
    from apollo.model import hub  # imports torch; kept out of --help

    write(f"{hub.find(card_of(args.name).source, args.revision, refresh=True)}\n")


# ---- the terminal ----------------------------------------------------------------------------


def questions() -> Iterator[str]:
    """The lines a person types, until /quit or the end of the input."""
    if sys.stdin is None:
        raise apollo.SettingError("Standard input is closed, so no question can be read; open it.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text in this encoding
    asks = sys.stdin.isatty()
    if asks:
        with contextlib.suppress(ImportError):  # not on Windows; there the console edits lines
            import readline  # noqa: F401  # arrow keys while typing
        tell("Ask about the video. Ctrl-C stops an answer; /quit leaves.")
    while True:
        try:
            line = input("> " if asks else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            tell("\n/quit leaves.")
            continue
        if line == "/quit":
            return
        if line:
            yield line


def show(events: Any, answer: list[str]) -> None:
    """Writes the answer, and adds its pieces to `answer`; a note follows on stderr.

    Meanwhile the reading is shown when stderr is a terminal.
    """
    shows = sys.stderr is not None and sys.stderr.isatty()
    note = None
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, apollo.Text):
                answer.append(event.piece)
                write(event.piece)
            elif isinstance(event, apollo.Done):
                note = event.stats.note
            elif isinstance(event, apollo.Reading) and shows:
                text = f"Reading the video: {event.done} of {event.total} clips"
                end = "\r" + " " * len(text) + "\r" if event.done == event.total else ""
                sys.stderr.write("\r" + text + end)
                sys.stderr.flush()
    write("\n")
    if note:
        tell(f"apollo: {note}")
