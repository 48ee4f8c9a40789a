"""A process of its own that runs functions of this package, one after another.

In:  a function and its arguments, as a line of JSON.  Out: what it returns, as another.
Odd: what libraries print goes to stderr, since stdout carries the answers. The worker is deaf to
Ctrl-C; whoever started it ends it, and it ends by itself when its input does.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from apollo.bench.meter import NotMeasured
from apollo.errors import ApolloError, SettingError


class Worker:
    """A context manager around the process. `environment` is laid over this process's own; None
    takes a variable away."""

    def __init__(self, environment: Mapping[str, str | None] | None = None) -> None:
        values = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "apollo.bench.worker"],
            env={name: value for name, value in values.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Runs a function of a module there; arguments and result are JSON.

        Raises:
            NotMeasured: there is nothing to measure, and why.
            SettingError: an error that a person can mend.
        """
        assert self._process.stdin and self._process.stdout
        name = f"{function.__module__}:{function.__name__}"
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SettingError(
                f"The process that measures {name} died with code {self._process.wait()}; it "
                "may have run out of memory, so choose other cases with --only."
            )
        kind, value = json.loads(line)
        if kind == "not measured":
            raise NotMeasured(value)
        if kind == "problem":
            raise SettingError(value)
        if kind == "failure":
            raise RuntimeError(f"{name} failed in its process:\n{value}")
        return value

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def answer(line: str) -> tuple[str, Any]:
    """Runs the function that a line names."""
    name, arguments = json.loads(line)
    module, function = name.split(":")
    try:
        return "result", getattr(importlib.import_module(module), function)(**arguments)
    except NotMeasured as reason:
        return "not measured", str(reason)
    except ApolloError as error:
        return "problem", str(error)
    except Exception:
        return "failure", traceback.format_exc()


def serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(json.dumps(answer(line)) + "\n")
            answers.flush()


if __name__ == "__main__":
    serve()
