"""What a person sets, as frozen dataclasses; a checkpoint's own numbers live in `config.py`.

Cheap to import: the command line builds its flags from these fields, so every field carries its
help text and its range.
"""

from __future__ import annotations

import difflib
import sys
import typing
from dataclasses import dataclass, field
from typing import Any

from apollo.errors import SettingError

MAX_SEED = 2**63 - 1  # what a torch generator takes
LARGEST = sys.float_info.max


def _setting(default: Any, help: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"help": help, "low": low, "high": high})


def shown(value: Any) -> str:
    """A value for a sentence, however many digits it has."""
    if isinstance(value, int) and abs(value) > LARGEST:  # has no float, perhaps no decimal digits
        return "beyond all numbers"
    is_long = isinstance(value, int) and abs(value) > 1e25
    return f"{value:g}" if is_long or isinstance(value, float) else repr(value)


def check_kind(name: str, value: Any, *, whole: bool) -> None:
    """Raises `SettingError` unless it is a number, whole if it has to be."""
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        kind = "a whole number" if whole else "a number"
        raise SettingError(f"{name} is {value!r}, which is not {kind}.")


class _Checked:
    """Refuses a name that is no setting, and a value that is out of its range."""

    __dataclass_fields__: typing.ClassVar[dict[str, Any]]

    def __new__(cls, *values: Any, **named: Any) -> Any:
        known = list(cls.__dataclass_fields__)
        for name in named:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}."
                raise SettingError(f"{cls.__name__} has no setting {name!r}; {hint}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        types = typing.get_type_hints(type(self))
        for name, spec in self.__dataclass_fields__.items():
            kinds = {types[name], *typing.get_args(types[name])}
            if getattr(self, name) is not None or type(None) not in kinds:
                self._check(name, kinds, spec.metadata["low"], spec.metadata["high"])

    def _check(self, name: str, kinds: set[Any], low: float | None, high: float | None) -> None:
        value = getattr(self, name)
        if bool in kinds:
            if not isinstance(value, bool):
                raise SettingError(f"{name} is {value!r}; choose True or False.")
            return
        if low is None:
            if not isinstance(value, str):
                raise SettingError(f"{name} is {value!r}, which is not text.")
            return
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SettingError(f"{name} is {value!r}, which is not a number.")
        if float not in kinds and not isinstance(value, int):
            if not value.is_integer():
                raise SettingError(f"{name} is {value:g}; choose a whole number.")
            object.__setattr__(self, name, int(value))  # browsers send 4.0 for 4
        if abs(value) > LARGEST or not low <= value <= (LARGEST if high is None else high):
            limit = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
            is_huge = abs(value) > LARGEST
            text = shown(value) if is_huge else f"{value:g}"
            raise SettingError(f"{name} is {text}; choose a value {limit}.")


@dataclass(frozen=True)
class Sampling(_Checked):
    """Which part of a video is read, and how densely. `None` means what the checkpoint says."""

    clip_duration_s: float | None = _setting(None, "seconds one clip spans", 0.1, 60)
    frames_per_clip: int = _setting(4, "frames read from each clip", 1, 64)
    max_clips: int | None = _setting(None, "never read more clips than this", 1, 100_000)
    start_s: float | None = _setting(None, "read from this second on", 0)
    end_s: float | None = _setting(None, "read up to this second", 0)
    max_read_s: float = _setting(1800.0, "give up if decoding takes longer, in seconds", 0.1, 1e6)
    exact: bool = _setting(False, "resize as the original did, to the bit; slower")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end_s is not None and self.end_s <= (self.start_s or 0.0):
            raise SettingError(
                f"The range ends at {self.end_s:g} s but starts at {self.start_s or 0:g} s; "
                "choose an end after the start."
            )


@dataclass(frozen=True)
class Generation(_Checked):
    """How the answer is written."""

    temperature: float = _setting(0.4, "0 is greedy; higher is more varied", 0, 2)
    top_p: float = _setting(0.7, "sample from the likeliest tokens up to this share", 0.01, 1)
    max_new_tokens: int = _setting(256, "longest answer, in tokens", 1, 8192)
    seed: int | None = _setting(None, "makes a sampled answer repeatable", 0, MAX_SEED)
    system_prompt: str | None = _setting(None, "replaces the default system prompt")
