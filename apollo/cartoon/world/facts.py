"""The vocabulary of the cartoon world: what can be shown, and how each thing is called.

Everything here is data. An id is the place in its tuple plus one; 0 always means "none", so a
label array can start as zeros. Append at the end: ids of a trained model stay valid, and so do
most held-out combinations (they are chosen per object, see `world`).
"""

from __future__ import annotations

from dataclasses import dataclass

from apollo.cartoon.world.things import OBJECT_BY_NAME, OBJECTS, SHAPES, SPRITES, Thing

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
COLOUR_ZH: dict[str, str] = {
    "red": "红", "orange": "橙", "yellow": "黄", "green": "绿", "blue": "蓝", "purple": "紫",
    "pink": "粉", "white": "白", "black": "黑",
}  # fmt: skip


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
    drawn: bool = False
    light_outline: bool = False  # the outline of sprites: light on dark backgrounds


def _plain(
    name: str, zh: str, rgb: Rgb, clashes: tuple[str, ...], light_outline: bool
) -> Background:
    article = "an" if name[0] in "aeiou" else "a"
    where, zh_where = f"on {article} {name} background", f"在{zh}背景上"
    return Background(name, name, where, zh, zh_where, rgb, clashes, light_outline=light_outline)


BACKGROUNDS: tuple[Background, ...] = (
    _plain("red", "红色", (200, 40, 40), ("red",), True),
    _plain("yellow", "黄色", (248, 216, 60), ("yellow",), False),
    _plain("green", "绿色", (50, 150, 70), ("green",), True),
    _plain("blue", "蓝色", (50, 90, 205), ("blue",), True),
    _plain("purple", "紫色", (125, 60, 160), ("purple",), True),
    _plain("white", "白色", (244, 244, 244), ("white",), False),
    _plain("black", "黑色", (20, 20, 22), ("black",), True),
    _plain("grey", "灰色", (135, 135, 138), (), True),
    Background(
        "sea", "the sea", "in front of the sea", "大海", "在海边", (40, 130, 190),
        ("blue",), True, True,
    ),
    Background(
        "night sky", "a night sky", "in front of a night sky", "夜空", "在夜空下",
        (18, 24, 66), ("blue", "black"), True, True,
    ),
    Background(
        "grass", "grass", "on the grass", "草地", "在草地上", (110, 190, 80), ("green",), True
    ),
    Background(
        "desert", "a desert", "in a desert", "沙漠", "在沙漠里", (235, 190, 120),
        ("yellow", "orange"), True,
    ),
)  # fmt: skip
BACKGROUND_BY_NAME: dict[str, Background] = {b.name: b for b in BACKGROUNDS}


@dataclass(frozen=True)
class Motion:
    """What the objects do: verb forms, and the direction in the frame (x right, y down)."""

    name: str
    singular: str  # "It ___."
    plural: str  # "They ___.", "Does it ___?"
    zh: str  # "它___。"
    direction: tuple[int, int] = (0, 0)


MOTIONS: tuple[Motion, ...] = (
    Motion("left", "moves to the left", "move to the left", "向左移动", (-1, 0)),
    Motion("right", "moves to the right", "move to the right", "向右移动", (1, 0)),
    Motion("up", "moves up", "move up", "向上移动", (0, -1)),
    Motion("down", "moves down", "move down", "向下移动", (0, 1)),
    Motion("bounce", "bounces", "bounce", "上下跳动"),
    Motion("still", "stays still", "stay still", "静止不动"),
    Motion("spin", "spins", "spin", "旋转"),
    Motion("bigger", "gets bigger", "get bigger", "变大"),
    Motion("smaller", "gets smaller", "get smaller", "变小"),
    Motion("enter left", "comes in from the left", "come in from the left", "从左边进来", (1, 0)),
    Motion(
        "enter right", "comes in from the right", "come in from the right", "从右边进来", (-1, 0)
    ),
    Motion("leave left", "goes out to the left", "go out to the left", "从左边出去", (-1, 0)),
    Motion("leave right", "goes out to the right", "go out to the right", "从右边出去", (1, 0)),
)
MOTION_BY_NAME: dict[str, Motion] = {motion.name: motion for motion in MOTIONS}
PLACED_MOTIONS = ("still", "spin")  # only these leave the object where it is
ENTER_MOTIONS = ("enter left", "enter right")
LEAVE_MOTIONS = ("leave left", "leave right")

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

POSITION_ZH: dict[str, str] = {
    "top left": "左上角", "top": "上方", "top right": "右上角",
    "left": "左边", "middle": "中间", "right": "右边",
    "bottom left": "左下角", "bottom": "下方", "bottom right": "右下角",
}  # fmt: skip

# Of the main object to the second one: name -> how a phrase about the main object goes on.
RELATIONS: dict[str, str] = {
    "left of": "to the left of",
    "right of": "to the right of",
    "above": "above",
    "below": "below",
    "follows": "following",
}
RELATION_ZH: dict[str, str] = {  # "猫在狗的___"; the last one is a verb: "猫___狗"
    "left of": "左边", "right of": "右边", "above": "上面", "below": "下面", "follows": "跟着",
}  # fmt: skip
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
    "place": len(PLACES) + 1,
    "second_object": len(OBJECTS) + 1,
}

OBJECT_ID: dict[str, int] = {thing.singular: i for i, thing in enumerate(OBJECTS, start=1)}
COLOUR_ID: dict[str, int] = {name: i for i, name in enumerate(COLOURS, start=1)}
BACKGROUND_ID: dict[str, int] = {b.name: i for i, b in enumerate(BACKGROUNDS, start=1)}
MOTION_ID: dict[str, int] = {motion.name: i for i, motion in enumerate(MOTIONS, start=1)}
PLACE_ID: dict[str, int] = {name: i for i, name in enumerate(PLACES, start=1)}
WORD_ID: dict[str, int] = {word: i for i, word in enumerate(WORDS, start=1)}
LETTER_ID: dict[str, int] = {letter: i for i, letter in enumerate(LETTERS, start=1)}
