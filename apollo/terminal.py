"""What every command shares: exit codes, one-line errors, writing, and help for common flags."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from apollo.errors import ApolloError

DONE, MENDABLE, INTERRUPTED, READER_GONE = 0, 2, 130, 141
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
        return MENDABLE
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more on the way out; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def write(text: str) -> None:
    """Shows the text at once; a character the terminal cannot show becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
