"""Chinese text in pieces for training a tokenizer: no token then spans two names.

In:  a text.  Out: its pieces.
Odd: Chinese has no blanks, so from whole sentences a tokenizer would learn thousands of rare tokens
such as "a ring on a red background", and the model could not look up words one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from apollo.cartoon.talk.phrases import CHINESE
from apollo.cartoon.world.facts import (
    BACKGROUNDS,
    COLOUR_ZH,
    MOTIONS,
    OBJECTS,
    POSITION_ZH,
    RELATION_ZH,
)

CHINESE_SIGN = re.compile(r"[\u4e00-\u9fff]")


def _names() -> Iterator[str]:
    yield from (thing.zh for thing in OBJECTS)
    yield from (motion.zh for motion in MOTIONS)
    yield from (f"{name}色" for name in COLOUR_ZH.values())
    yield from COLOUR_ZH.values()
    for background in BACKGROUNDS:
        yield from (background.zh_is, background.zh_where)
    yield from (*POSITION_ZH.values(), *RELATION_ZH.values(), "它们", "它")
    measures = {thing.zh_measure for thing in OBJECTS} | {"个"}
    yield from (f"{n}{measure}" for n in CHINESE.called["number"].values() for measure in measures)


NAMES = re.compile("|".join(sorted(set(_names()), key=lambda name: (-len(name), name))))
BORDERS = re.compile(rf"({NAMES.pattern}|[，。？！“”、：；\sA-Za-z0-9]+)")


def pieces_of(text: str) -> list[str]:
    """The text itself, or its names and what lies between them if it is Chinese."""
    if not CHINESE_SIGN.search(text):
        return [text]
    return [piece for piece in BORDERS.split(text) if piece]
