"""Keywords of the Auto classes' methods: honoured, known to change nothing here, or an error."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from apollo.errors import SettingError

# no code of a checkpoint ever runs, loading is always lean, and weights are always safetensors
MEANINGLESS = frozenset(
    {"trust_remote_code", "low_cpu_mem_usage", "use_safetensors", "_from_auto", "adapter_kwargs"}
)


def check_keywords(
    method: str,
    function: Callable[..., Any],
    given: Mapping[str, Any],
    meaningless: Collection[str] = (),
) -> None:
    """Nothing is dropped in silence.

    Raises:
        SettingError: a keyword that `function` does not name and that is not meaningless.
    """
    known = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    for name in given:
        if name not in meaningless:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}."
            raise SettingError(f"{method} has no keyword {name!r} here; {hint}")
