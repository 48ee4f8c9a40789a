"""The vocabulary of the cartoon world: what can be shown, and how each thing is called.

Everything here is data. An id is the place in its tuple plus one; 0 always means "none", so a
label array can start as zeros. Append at the end: ids of a trained model stay valid, and so do
most held-out combinations (they are chosen per object, see `world`).
"""

from __future__ import annotations

from dataclasses import dataclass

from apollo.train.cartoon.things import OBJECT_BY_NAME, OBJECTS, SHAPES, SPRITES, Thing

__all__ = ["OBJECTS", "OBJECT_BY_NAME", "SHAPES", "SPRITES", "Thing"]  # passed on from `things`

Rgb = tuple[int, int, int]


COLOURS: dict[str, Rgb] = {
    "red": (222, 32, 36),
    "orange": (255, 140, 10),
    "yellow": (252, 222, 30),
    "green": (34, 160, 60),
    "blue": (36, 88, 222),
    "purple": (140, 50, 175),
    "pink": (255, 135, 190),
    "white": (250, 250, 250),
    "black": (18, 18, 18),
}


@dataclass(frozen=True)
class Background:
    """What is behind the objects. `rgb` is its main colour; `drawn` ones have a picture in them."""

    name: str
    is_phrase: str  # "The background is ___."
    where: str  # "A cat stays still ___."
    rgb: Rgb
    clashes: tuple[str, ...]  # colours of shapes that would not stand out
    drawn: bool = False
    light_outline: bool = False  # the outline of sprites: light on dark backgrounds


def _plain(name: str, rgb: Rgb, clashes: tuple[str, ...], light_outline: bool) -> Background:
    article = "an" if name[0] in "aeiou" else "a"
    where = f"on {article} {name} background"
    return Background(name, name, where, rgb, clashes, light_outline=light_outline)


BACKGROUNDS: tuple[Background, ...] = (
    _plain("red", (200, 40, 40), ("red",), True),
    _plain("yellow", (248, 216, 60), ("yellow",), False),
    _plain("green", (50, 150, 70), ("green",), True),
    _plain("blue", (50, 90, 205), ("blue",), True),
    _plain("purple", (125, 60, 160), ("purple",), True),
    _plain("white", (244, 244, 244), ("white",), False),
    _plain("black", (20, 20, 22), ("black",), True),
    _plain("grey", (135, 135, 138), (), True),
    Background(
        "sea", "the sea", "in front of the sea", (40, 130, 190), ("blue",), True, True
    ),
    Background(
        "night sky", "a night sky", "in front of a night sky", (18, 24, 66),
        ("blue", "black"), True, True,
    ),
    Background("grass", "grass", "on the grass", (110, 190, 80), ("green",), True, False),
    Background("desert", "a desert", "in a desert", (235, 190, 120), ("yellow", "orange"), True),
)  # fmt: skip
BACKGROUND_BY_NAME: dict[str, Background] = {b.name: b for b in BACKGROUNDS}


@dataclass(frozen=True)
class Motion:
    """What the objects do: verb forms, and the direction in the frame (x right, y down)."""

    name: str
    singular: str  # "It ___."
    plural: str  # "They ___.", "Does it ___?"
    direction: tuple[int, int] = (0, 0)


MOTIONS: tuple[Motion, ...] = (
    Motion("left", "moves to the left", "move to the left", (-1, 0)),
    Motion("right", "moves to the right", "move to the right", (1, 0)),
    Motion("up", "moves up", "move up", (0, -1)),
    Motion("down", "moves down", "move down", (0, 1)),
    Motion("bounce", "bounces", "bounce"),
    Motion("still", "stays still", "stay still"),
    Motion("spin", "spins", "spin"),
    Motion("bigger", "gets bigger", "get bigger"),
    Motion("smaller", "gets smaller", "get smaller"),
)
MOTION_BY_NAME: dict[str, Motion] = {motion.name: motion for motion in MOTIONS}
PLACED_MOTIONS = ("still", "spin")  # only these leave the object where it is

COUNTS: dict[int, str] = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}

# name -> (column, row, answer phrase) of a 3 x 3 grid
POSITIONS: dict[str, tuple[int, int, str]] = {
    "top left": (0, 0, "in the top left"),
    "top": (1, 0, "at the top"),
    "top right": (2, 0, "in the top right"),
    "left": (0, 1, "on the left"),
    "middle": (1, 1, "in the middle"),
    "right": (2, 1, "on the right"),
    "bottom left": (0, 2, "in the bottom left"),
    "bottom": (1, 2, "at the bottom"),
    "bottom right": (2, 2, "in the bottom right"),
}

# Four to seven letters; any two differ by at least two edits, so one misread letter is no hit.
WORDS: tuple[str, ...] = (
    "HELLO", "LUCKY", "MUSIC", "DANCE", "HAPPY", "PARTY", "SUMMER", "WINTER",
    "MAGIC", "DREAM", "FRIDAY", "JUMP", "OPEN", "STOP", "EXIT", "WELCOME",
    "THANKS", "GOLD", "FRESH", "QUICK", "SMILE", "BRAVE", "CLOUD", "STORM",
    "RIVER", "OCEAN", "GARDEN", "KITCHEN", "SCHOOL", "MARKET", "ISLAND", "JUNGLE",
    "PLANET", "VICTORY", "START", "FINISH", "TODAY", "COFFEE", "ZERO", "WATER",
)  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# The labels of a clip, in this order, with how many values each has (0 = none included).
SLOT_SIZES: dict[str, int] = {
    "object": len(OBJECTS) + 1,
    "count": len(COUNTS) + 1,
    "motion": len(MOTIONS) + 1,
    "colour": len(COLOURS) + 1,
    "background": len(BACKGROUNDS) + 1,
    "word": len(WORDS) + 1,
    "position": len(POSITIONS) + 1,
    "second_object": len(OBJECTS) + 1,
}

OBJECT_ID: dict[str, int] = {thing.singular: i for i, thing in enumerate(OBJECTS, start=1)}
COLOUR_ID: dict[str, int] = {name: i for i, name in enumerate(COLOURS, start=1)}
BACKGROUND_ID: dict[str, int] = {b.name: i for i, b in enumerate(BACKGROUNDS, start=1)}
MOTION_ID: dict[str, int] = {motion.name: i for i, motion in enumerate(MOTIONS, start=1)}
POSITION_ID: dict[str, int] = {name: i for i, name in enumerate(POSITIONS, start=1)}
WORD_ID: dict[str, int] = {word: i for i, word in enumerate(WORDS, start=1)}
LETTER_ID: dict[str, int] = {letter: i for i, letter in enumerate(LETTERS, start=1)}
