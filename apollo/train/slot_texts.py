"""What each value of a clip's slots is called, and which slots a piece of an answer comes from.

In:  facts as ids, and the text of a token in an answer.  Out: slots, as bits of a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from apollo.train.cartoon import phrases_zh
from apollo.train.cartoon.facts import (
    BACKGROUNDS,
    COLOUR_ZH,
    COLOURS,
    COUNTS,
    MOTIONS,
    OBJECT_BY_NAME,
    OBJECTS,
    POSITION_ZH,
    POSITIONS,
    RELATION_ZH,
    RELATIONS,
    SLOT_SIZES,
    WORDS,
)
from apollo.train.cartoon.world import Scene

# slot -> the forms of each of its values, in both languages, in the order of their ids
SLOT_TEXTS: dict[str, list[tuple[str, ...]]] = {
    "object": [(f" {thing.singular}", f" {thing.plural}", thing.zh) for thing in OBJECTS],
    "count": [(f" {name}", phrases_zh.number(count)) for count, name in COUNTS.items()],
    "motion": [(f" {motion.singular}", motion.zh) for motion in MOTIONS],
    "colour": [(f" {name}", COLOUR_ZH[name]) for name in COLOURS],
    "background": [(f" {background.is_phrase}", background.zh_is) for background in BACKGROUNDS],
    "word": [(word,) for word in WORDS],  # in answers they follow a quotation mark
    "place": [
        *((f" {phrase}", POSITION_ZH[name]) for name, (_, _, phrase) in POSITIONS.items()),
        *((f" {phrase}", RELATION_ZH[name]) for name, phrase in RELATIONS.items()),
    ],
    "second_object": [(f" {thing.singular}", thing.zh) for thing in OBJECTS],
}
SLOT_BIT: dict[str, int] = {slot: 1 << number for number, slot in enumerate(SLOT_SIZES)}

# slot -> what else is said only because of one of its values, in the order of their ids
MORE_TEXTS: dict[str, list[tuple[str, ...]]] = {
    "count": [("it", "它"), *([("they", "它们")] * (len(COUNTS) - 1))],
    "motion": [(motion.plural,) for motion in MOTIONS],
    "background": [(background.where, background.zh_where) for background in BACKGROUNDS],
}
# The slot that decides how an answer to a question of this kind begins.
SLOT_OF_KIND = {
    "object": "count", "first": "count", "last": "count", "next": "count", "before": "count",
    "at": "count", "count": "count", "motion": "motion", "passing": "motion", "colour": "colour",
    "background": "background", "word": "word", "position": "place",
    "second_object": "second_object",
}  # fmt: skip
AROUND = " .,:;!?\"'，。“”"  # is part of no value


@cache
def _parts(slot: str, value: int) -> frozenset[str]:
    """The words, in lower case, and the Chinese signs that may say a value (from 1)."""
    more = MORE_TEXTS.get(slot)
    forms = [*SLOT_TEXTS[slot][value - 1], *(more[value - 1] if more else ())]
    words = [word for form in forms for word in form.lower().split()]
    signs = [sign for form in forms if not form.isascii() for sign in form]
    return frozenset([*words, *signs])


def slots_saying(facts: Mapping[str, int], text: str, after: str) -> int:
    """Bits of the slots whose value is told by a token with this text; 0 if none is.

    `after` is the answer before it: "a" counts where a thing is named first.
    """
    said = text.strip(AROUND)
    if not said:
        return 0
    if said.lower() in ("a", "an") and (not after or after.endswith((",", ", then"))):
        return SLOT_BIT["count"]
    pieces = {said.lower()} if said.isascii() else set(said)
    found = 0
    for slot, value in facts.items():
        if value and pieces & _parts(slot, value):
            found |= SLOT_BIT[slot]
    if not found and said.isupper() and facts["word"]:  # a piece of a word in capitals
        word = SLOT_TEXTS["word"][facts["word"] - 1][0]
        found = SLOT_BIT["word"] if said in word else 0
    return found


@cache
def _all_names() -> frozenset[str]:
    things = [name for thing in OBJECTS for name in (thing.singular, thing.plural, thing.zh)]
    return frozenset([*things, *WORDS])  # words on the screen are in capitals


def is_name(text: str) -> bool:
    """Whether a token names a thing or a word on the screen, in a video or in none."""
    return text.strip(AROUND) in _all_names()


def names_of(scene: Scene) -> frozenset[str]:
    """What the main thing of a scene is called."""
    thing = OBJECT_BY_NAME[scene.object]
    return frozenset((thing.singular, thing.plural, thing.zh))
