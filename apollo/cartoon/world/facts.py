"""The vocabulary of the cartoon world: what can be shown, and how each thing is called.

In:  vocabulary.toml.  Out: things, backgrounds, motions and the rest by name, and their label ids.
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
    """An object with a name. `glyph` is its emoji; shapes have none, they are drawn in a colour.

    `zh_measure` is the word that Chinese puts between a number and this noun. `spin_step_deg`: the
    range of turns between two sampled frames (0.5 s) that look like a turn. None: turning it shows
    nothing.
    """

    singular: str
    plural: str
    glyph: str | None
    zh: str
    zh_measure: str = "个"
    spin_step_deg: tuple[float, float] | None = (65.0, 110.0)

    @property
    def article(self) -> str:
        return article_of(self.singular)

    @property
    def is_shape(self) -> bool:
        return self.glyph is None


def article_of(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _sprite(glyph: str, name: str, zh: str, measure: str, plural: str | None = None) -> Thing:
    return Thing(name, plural or f"{name}s", glyph, zh, measure)


def _shape(name: str, zh: str, spin_step_deg: list[float] | None = None) -> Thing:
    low_high = (spin_step_deg[0], spin_step_deg[1]) if spin_step_deg else None
    return Thing(name, f"{name}s", None, zh, spin_step_deg=low_high)


SPRITES = tuple(_sprite(*row) for row in _VOCABULARY["sprites"])
UNTAUGHT = tuple(_sprite(*row) for row in _VOCABULARY["untaught"])  # no seed shows them
SHAPES = tuple(_shape(name, **more) for name, more in _VOCABULARY["shapes"].items())
OBJECTS = SPRITES + SHAPES
OBJECT_BY_NAME: dict[str, Thing] = {thing.singular: thing for thing in OBJECTS + UNTAUGHT}

COLOURS: dict[str, Rgb] = {name: tuple(c["rgb"]) for name, c in _VOCABULARY["colours"].items()}
COLOUR_ZH: dict[str, str] = {name: c["zh"] for name, c in _VOCABULARY["colours"].items()}


@dataclass(frozen=True)
class Background:
    """What is behind the objects. `rgb` is its main colour; `drawn` ones have a picture in them."""

    name: str
    is_phrase: str  # "The background is ___."
    where: str  # "A cat stays still ___."
    zh_is: str  # after "背景是"
    zh_where: str  # "一只猫___不动"
    rgb: Rgb
    clashes: tuple[str, ...]  # colours of shapes that would not stand out
    light_outline: bool  # the outline of sprites: light on dark backgrounds
    drawn: bool = False


def _background(name: str, rgb: list[int], clashes: list[str], **more: Any) -> Background:
    names = {
        "is_phrase": name,
        "where": f"on {article_of(name)} {name} background",
        "zh_where": f"在{more['zh_is']}背景上",
    }
    return Background(name, rgb=(rgb[0], rgb[1], rgb[2]), clashes=(*clashes,), **{**names, **more})


BACKGROUNDS = tuple(_background(name, **more) for name, more in _VOCABULARY["backgrounds"].items())
BACKGROUND_BY_NAME: dict[str, Background] = {b.name: b for b in BACKGROUNDS}


@dataclass(frozen=True)
class Motion:
    """What the objects do: verb forms, and the direction in the frame (x right, y down)."""

    name: str
    singular: str  # "It ___."
    plural: str  # "They ___.", "Does it ___?"
    zh: str  # "它___。"
    direction: tuple[int, int]


MOTIONS = tuple(
    Motion(name, m["singular"], m["plural"], m["zh"], tuple(m.get("direction", (0, 0))))
    for name, m in _VOCABULARY["motions"].items()
)
MOTION_BY_NAME: dict[str, Motion] = {motion.name: motion for motion in MOTIONS}
PLACED_MOTIONS = ("still", "spin")  # only these leave the object where it is
ENTER_MOTIONS = ("enter left", "enter right")
LEAVE_MOTIONS = ("leave left", "leave right")
PASSING_MOTIONS = ENTER_MOTIONS + LEAVE_MOTIONS

COUNTS: dict[int, str] = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}

# name -> (column, row, answer phrase) of a 3 x 3 grid
POSITIONS: dict[str, tuple[int, int, str]] = {
    name: (*place["cell"], place["en"]) for name, place in _VOCABULARY["positions"].items()
}
POSITION_ZH: dict[str, str] = {name: p["zh"] for name, p in _VOCABULARY["positions"].items()}
RELATIONS: dict[str, str] = {name: r["en"] for name, r in _VOCABULARY["relations"].items()}
RELATION_ZH: dict[str, str] = {name: r["zh"] for name, r in _VOCABULARY["relations"].items()}
# Which relations a motion can have, so that it holds in every frame and no other one does.
RELATIONS_OF_MOTION: dict[str, tuple[str, ...]] = {
    "left": ("above", "below", "follows"),
    "right": ("above", "below", "follows"),
    "up": ("left of", "right of"),
    "down": ("left of", "right of"),
    "bounce": ("left of", "right of"),
    **dict.fromkeys(("still", "spin", "bigger", "smaller"), tuple(RELATIONS)[:4]),
}
PLACES: tuple[str, ...] = (*POSITIONS, *RELATIONS)

WORDS: tuple[str, ...] = tuple(_VOCABULARY["words"])
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# The labels of a clip, in this order, with how many values each has (0 = none included).
SLOT_SIZES: dict[str, int] = {
    "object": len(OBJECTS) + 1,
    "count": len(COUNTS) + 1,
    "motion": len(MOTIONS) + 1,
    "colour": len(COLOURS) + 1,
    "background": len(BACKGROUNDS) + 1,
    "word": len(WORDS) + 1,
    "place": len(PLACES) + 1,
    "second_object": len(OBJECTS) + 1,
}


def _ids(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names, start=1)}


OBJECT_ID = _ids(thing.singular for thing in OBJECTS)
COLOUR_ID = _ids(COLOURS)
BACKGROUND_ID = _ids(BACKGROUND_BY_NAME)
MOTION_ID = _ids(MOTION_BY_NAME)
PLACE_ID = _ids(PLACES)
WORD_ID = _ids(WORDS)
LETTER_ID = _ids(LETTERS)
