"""What every command shares: exit codes, one-line errors, writing, and the flags of a model."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

from apollo.errors import ApolloError, SettingError

DONE, USER_ERROR, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141
MODEL_HELP = "nano (comes with Apollo), 1.5B, 3B, 7B, a Hugging Face id or a folder"
ADAPTER_HELP = "folder of a LoRA adapter that was made for the model"
DEVICE_HELP = "cpu, cuda or mps; chosen by itself when left out"


def guarded(work: Callable[[], object]) -> int:
    """Runs the work; what a person caused becomes one line and an exit code, not a traceback."""
    try:
        work()
        sys.stdout.flush()
        return DONE
    except ApolloError as error:
        sys.stderr.write(f"apollo: {error}\n")
        return USER_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more on the way out; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def write(text: str) -> None:
    """Shows the text at once; a character the terminal cannot show becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a model; `model_options` reads them."""
    parser.add_argument("--model", default="nano", help=f"{MODEL_HELP} (default %(default)s)")
    parser.add_argument("--adapter", help=ADAPTER_HELP)
    parser.add_argument("--device", help=DEVICE_HELP)
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="number type of the weights; chosen by the device when left out",
    )
    parser.add_argument(
        "--quantization",
        choices=["8bit", "4bit"],
        help="hold the language model in so few bits, to need less memory",
    )
    parser.add_argument("--revision", help="branch, tag or commit of the Hugging Face id")


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags of `add_model_flags` say, as the arguments of `apollo.load`."""
    options = ("adapter", "device", "dtype", "quantization", "revision")
    return {"name": args.model, **{option: getattr(args, option) for option in options}}


def check_extra(command: str, extra: str, *modules: str) -> None:
    """Makes sure that the modules of one of the package's extras are installed.

    Raises:
        SettingError: one of them is not.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise SettingError(
                f"{command} needs {module}, which is not installed; run "
                f'pip install "apollo-video[{extra}]" and start again.'
            )
