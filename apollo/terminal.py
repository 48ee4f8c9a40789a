"""What every command shares: exit codes, one-line errors, writing, and the flags of a model."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import gc
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

from apollo.errors import ApolloError, OutputError, SettingError

DONE, USER_ERROR, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141
MODEL_HELP = "nano (comes with Apollo), 1.5B, 3B, 7B, a Hugging Face id or a folder"
ADAPTER_HELP = "folder of a LoRA adapter that was made for the model"
DEVICE_HELP = "cpu, cuda or mps; chosen by itself when left out"


def guarded(work: Callable[[], object]) -> int:
    """Runs the work; what a person caused becomes one line and an exit code, not a traceback."""
    atexit.register(gc.freeze)  # else Python looks for garbage once more, which takes a second
    try:
        try:
            work()
        except SystemExit:  # --help and --version, whose text may still be on its way
            if sys.stdout is not None:
                write("")
            raise
        return DONE
    except ApolloError as error:
        tell(f"apollo: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        tell("")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except Exception as error:
        if not _is_full_disk(error):
            raise
        tell(f"apollo: The disk is full ({error}); free some space and start again.")
        return USER_ERROR


def write(text: str) -> None:
    """Shows the text at once; a character the terminal cannot show becomes a question mark.

    Raises:
        OutputError: standard output is closed or cannot be written to.
    """
    check_output()
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise OutputError(
            f"The text cannot be written to standard output ({error.strerror}); write it elsewhere."
        ) from error


def check_output() -> None:
    """Raises `OutputError` if standard output is closed."""
    if sys.stdout is None:
        raise OutputError("Standard output is closed, so there is no place for the text; open it.")


def tell(text: str) -> None:
    """A line on stderr, if there is a stderr that takes it; nobody could be told otherwise."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


def _drop_output() -> None:
    """Python flushes stdout once more on the way out; that must go somewhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_full_disk(error: BaseException) -> bool:
    """Rust's libraries put the number of the error into the text."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        return True
    return any(f"os error {number})" in str(error) for number in full)


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
