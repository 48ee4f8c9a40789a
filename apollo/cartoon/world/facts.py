"""The vocabulary of the cartoon world: what can be shown, and the ids of its labels.

In:  vocabulary.toml.  Out: objects, backgrounds, motions and the rest by their names. The names are
     also the English ones; `talk.phrases` knows what they are called in a language.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Rgb = tuple[int, int, int]

_TEXT = Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8")
_VOCABULARY: dict[str, Any] = tomllib.loads(_TEXT)


@dataclass(frozen=True)
class Thing:
    """An object: a sprite with its emoji, or a shape, which is drawn in a colour.

    `spin_step_deg`: the range of turns between two sampled frames (0.5 s) that look like a turn;
    None when turning it shows nothing.
    """

    emoji: str | None
    spin_step_deg: tuple[float, float] | None = (65.0, 110.0)

    @property
    def is_shape(self) -> bool:
        return self.emoji is None


SPRITES = {name: Thing(emoji) for name, emoji in _VOCABULARY["sprites"].items()}
SHAPES = {name: Thing(None, tuple(r) or None) for name, r in _VOCABULARY["shapes"].items()}
UNTAUGHT = {name: Thing(emoji) for name, emoji in _VOCABULARY["untaught"].items()}
OBJECTS: dict[str, Thing] = SPRITES | SHAPES  # that seeds show
THINGS: dict[str, Thing] = OBJECTS | UNTAUGHT

COLOURS: dict[str, Rgb] = {name: tuple(rgb) for name, rgb in _VOCABULARY["colours"].items()}


@dataclass(frozen=True)
class Background:
    """What is behind the objects. `rgb` is its main colour; `drawn` ones have a picture in them."""

    rgb: Rgb
    clashes: tuple[str, ...]  # colours of shapes that would not stand out
    light_outline: bool  # the outline of sprites: light on dark backgrounds
    drawn: bool = False


BACKGROUNDS = {
    name: Background(tuple(b["rgb"]), tuple(b["clashes"]), b["light_outline"], "drawn" in b)
    for name, b in _VOCABULARY["backgrounds"].items()
}

# name -> direction in the frame, x to the right and y down
MOTIONS: dict[str, tuple[int, int]] = {n: tuple(d) for n, d in _VOCABULARY["motions"].items()}
PLACED_MOTIONS = ("still", "spin")  # only these leave the object where it is
ENTER_MOTIONS = ("enter left", "enter right")
LEAVE_MOTIONS = ("leave left", "leave right")
PASSING_MOTIONS = ENTER_MOTIONS + LEAVE_MOTIONS

COUNTS = (1, 2, 3, 4, 5)
# name -> column and row of a 3 x 3 grid
POSITIONS: dict[str, tuple[int, int]] = {n: tuple(p) for n, p in _VOCABULARY["positions"].items()}
RELATIONS: tuple[str, ...] = tuple(_VOCABULARY["relations"])
# Which relations a motion can have, so that it holds in every frame and no other one does.
RELATIONS_OF_MOTION: dict[str, tuple[str, ...]] = {
    "left": ("above", "below", "follows"),
    "right": ("above", "below", "follows"),
    "up": ("left of", "right of"),
    "down": ("left of", "right of"),
    "bounce": ("left of", "right of"),
    **dict.fromkeys(("still", "spin", "bigger", "smaller"), RELATIONS[:4]),
}

WORDS: tuple[str, ...] = tuple(_VOCABULARY["words"])
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _ids(names: Iterable[Any]) -> dict[Any, int]:
    return {name: number for number, name in enumerate(names, start=1)}


# The slots of a clip's labels, in this order, and the ids of the values of each; 0 is none.
SLOT_IDS: dict[str, dict[Any, int]] = {
    "object": _ids(OBJECTS),
    "count": _ids(COUNTS),
    "motion": _ids(MOTIONS),
    "colour": _ids(COLOURS),
    "background": _ids(BACKGROUNDS),
    "word": _ids(WORDS),
    "place": _ids((*POSITIONS, *RELATIONS)),
    "second_object": _ids(OBJECTS),
}
SLOT_SIZES: dict[str, int] = {slot: len(ids) + 1 for slot, ids in SLOT_IDS.items()}
LETTER_ID = _ids(LETTERS)
