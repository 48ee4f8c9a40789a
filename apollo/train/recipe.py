"""A recipe file (YAML) as stages: unknown keys, wrong types and loose ends are told at once.

In:  a file, and changes from the command line ("sft.lr=1e-5").  Out: a `Recipe`.
Odd: an error names the file, the stage and the key, and the key that was probably meant.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apollo.data.text import is_text
from apollo.errors import RecipeError
from apollo.settings import LARGEST, shown
from apollo.train.stage import MAX_SEED, MAX_THREADS, Source, Stage

RECIPE_KEYS = ("model", "output", "seed", "threads", "stages")


@dataclass(frozen=True)
class Recipe:
    """Stages in the order they run; each names those it goes on from."""

    file: Path
    stages: tuple[Stage, ...]
    model: str = ""  # a name or folder to start from
    output: Path = Path("runs")
    seed: int = 0
    threads: int = 0  # of torch; 0: its own choice

    def takes(self, stage: Stage) -> tuple[str, ...]:
        """The stages whose results this one begins with."""
        if stage.takes is not None:
            return stage.takes
        at = self.stages.index(stage)
        return (self.stages[at - 1].name,) if at else ()


def read_recipe(file: Path, changes: Sequence[str] = ()) -> Recipe:
    """The recipe in `file`, with "stage.key=value" or "key=value" put in its place.

    Raises:
        RecipeError: it cannot be read, or cannot be run as it is written.
    """
    values = _read_yaml(file)
    for change in changes:
        _put(values, change, file)
    _check_keys(values, RECIPE_KEYS, f"{file}")
    entries = values.get("stages")
    if not isinstance(entries, list) or not entries:
        raise RecipeError(f'{file}: "stages" is missing or empty; list at least one stage.')
    stages = tuple(_stage(entry, number, file) for number, entry in enumerate(entries, start=1))
    known: list[str] = []
    for stage in stages:
        if stage.name in known:
            raise RecipeError(f'{file}: two stages are called "{stage.name}"; rename one.')
        for taken in stage.takes or ():
            if taken not in known:
                raise RecipeError(
                    f'{file}, stage "{stage.name}": it takes "{taken}", which is no earlier stage; '
                    f"the earlier ones are {', '.join(known) or 'none'}."
                )
        known.append(stage.name)
    seed = _typed(values.get("seed", 0), int, f"{file}: seed")
    if not 0 <= seed <= MAX_SEED:
        raise RecipeError(f"{file}: seed is {shown(seed)}; choose 0 to {MAX_SEED}.")
    threads = _typed(values.get("threads", 0), int, f"{file}: threads")
    if not 0 <= threads <= MAX_THREADS:
        raise RecipeError(f"{file}: threads is {shown(threads)}; choose 0 to {MAX_THREADS}.")
    return Recipe(
        file,
        stages,
        model=_typed(values.get("model", ""), str, f"{file}: model"),
        output=file.parent / _typed(values.get("output", "runs"), str, f"{file}: output"),
        seed=seed,
        threads=threads,
    )


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise RecipeError(f"No such recipe: {file}; check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file} cannot be read as text; give a YAML file.") from error
    except (ValueError, RecursionError) as error:  # thousands of digits, thousands of brackets
        raise RecipeError(f"{file} holds a value that cannot be read; correct it.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise RecipeError(f"{file}{line}: {problem}; correct it there.") from error
    if not isinstance(values, dict):
        raise RecipeError(f'{file}: a recipe is a list of keys such as "model:" and "stages:".')
    return values


def _put(values: dict[str, Any], change: str, file: Path) -> None:
    import yaml

    path, equals, text = change.partition("=")
    *stage, key = path.strip().split(".", 1)
    if not equals or not key:
        raise RecipeError(f'"{change}" is no change; write STAGE.KEY=VALUE or KEY=VALUE.')
    place: Any = values
    if stage:
        entries = values.get("stages")
        found = [
            entry
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and entry.get("name") == stage[0]
        ]
        if not found:
            raise RecipeError(f'"{change}": {file} has no stage "{stage[0]}".')
        place = found[0]
    *parents, last = key.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise RecipeError(f'"{change}": "{parent}" holds a value, not keys.')
    try:
        place[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f'"{change[:80]}" holds no value that can be read.') from error


def _check_keys(values: Iterable[Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f'it probably is "{close[0]}".' if close else f"the keys are {', '.join(known)}."
            raise RecipeError(f'{where}: unknown key "{key}"; {hint}')


def _stage(entry: Any, number: int, file: Path) -> Stage:
    where = f"{file}, stage {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise RecipeError(f'{where}: a stage is a list of keys that begins with "name:".')
    name = entry["name"]
    if not name or not all(sign.isalnum() or sign in "-_" for sign in name):
        raise RecipeError(f'{where}: the name "{name}" is a folder; use letters, digits, - and _.')
    where = f'{file}, stage "{name}"'
    fields = {field.name: field for field in dataclasses.fields(Stage)}
    _check_keys(entry, list(fields), where)
    if "train" not in entry:
        raise RecipeError(f'{where}: "train" is missing; name the parts that learn.')
    hints = typing.get_type_hints(Stage)
    values = dict(entry)
    if "data" in values:
        values["data"] = _sources(values["data"], where, file.parent)
    if values.get("validation") is not None:
        values["validation"] = file.parent / _typed(
            values["validation"], str, f"{where}: validation"
        )
    if isinstance(values.get("takes"), list):
        values["takes"] = tuple(values["takes"])
    for key, value in values.items():
        if key not in ("data", "validation"):
            values[key] = _typed(value, hints[key], f"{where}: {key}")
    stage = Stage(**values)
    stage.check(where)
    return stage


def _sources(entries: Any, where: str, folder: Path) -> tuple[Source, ...]:
    if isinstance(entries, str):
        entries = [{"file": entries}]
    if not isinstance(entries, list):
        raise RecipeError(f'{where}: "data" is a list of entries like "- file: my.jsonl".')
    sources = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise RecipeError(f'{where}: every entry of "data" needs "file:".')
        _check_keys(entry, ("file", "share"), f"{where}: data")
        share = _typed(entry.get("share", 1.0), float, f"{where}: data, share")
        name = _typed(entry["file"], str, f"{where}: data, file")
        sources.append(Source(folder / name, share))
    return tuple(sources)


def _typed(value: Any, wanted: Any, where: str) -> Any:
    """The value, if it is of the type; whole numbers are numbers, true is no number."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _typed(value, next(t for t in inner if t is not type(None)), where)
    if origin is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            if inner[1] is Any:
                return value
            return {key: _typed(item, inner[1], f"{where}.{key}") for key, item in value.items()}
        raise RecipeError(f'{where} is {value!r}; it must be a list of "name: value".')
    if origin is tuple:
        if isinstance(value, tuple):
            return tuple(_typed(item, inner[0], where) for item in value)
        raise RecipeError(f"{where} is {value!r}; it must be a list in square brackets.")
    if wanted is float and isinstance(value, str):  # YAML reads 1e-5, without a point, as a text
        try:
            return float(value)
        except ValueError:
            raise RecipeError(f"{where} is {value!r}; it must be a number.") from None
    if wanted is float and type(value) in (int, float):
        if isinstance(value, int) and abs(value) > LARGEST:
            raise RecipeError(f"{where} is {shown(value)}; give a smaller one.")
        return float(value)
    if isinstance(value, str) and not is_text(value):
        raise RecipeError(f"{where} is {value!r}, which holds a sign that is no text; remove it.")
    if type(value) is not wanted:
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise RecipeError(f"{where} is {value!r}; it must be {names.get(wanted, wanted)}.")
    return value
