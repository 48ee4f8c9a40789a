"""Chinese text in pieces for training a tokenizer: no token then spans two names.

In:  a text.  Out: its pieces.
Odd: Chinese has no blanks, so from whole sentences a tokenizer would learn thousands of rare tokens
such as "a ring on a red background", and the model could not look up words one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from apollo.cartoon.talk.phrases import CHINESE
from apollo.cartoon.world.facts import OBJECTS

CHINESE_SIGN = re.compile(r"[\u4e00-\u9fff]")


def _names() -> Iterator[str]:
    called = CHINESE.called
    yield from (name for kind in ("object", "verb") for (name,) in called[kind].values())
    yield from (f"{name}色" for name in called["colour"].values())
    for kind in ("colour", "background", "where", "position", "relation"):
        yield from called[kind].values()
    yield from ("它们", "它")
    measures = {CHINESE.measure(name) for name in OBJECTS}
    yield from (f"{number}{m}" for number in called["number"].values() for m in measures)


NAMES = re.compile("|".join(sorted(set(_names()), key=lambda name: (-len(name), name))))
BORDERS = re.compile(rf"({NAMES.pattern}|[，。？！“”、：；\sA-Za-z0-9]+)")


def pieces_of(text: str) -> list[str]:
    """The text itself, or its names and what lies between them if it is Chinese."""
    if not CHINESE_SIGN.search(text):
        return [text]
    return [piece for piece in BORDERS.split(text) if piece]
