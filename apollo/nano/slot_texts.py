"""What each value of a clip's slots is called, and which slots a token of an answer comes from.

In:  facts as ids, and the text of a token.  Out: slots, as bits of a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from apollo.cartoon.talk.phrases import CHINESE, ENGLISH
from apollo.cartoon.world.facts import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    MOTIONS,
    OBJECTS,
    POSITIONS,
    RELATIONS,
    SLOT_IDS,
    WORDS,
)
from apollo.cartoon.world.scenes import Scene

EN, ZH = ENGLISH.called, CHINESE.called


def _both(kind: str, names: Iterable[str]) -> list[tuple[str, ...]]:
    """What each is called: in English after a blank, and in Chinese."""
    return [(f" {EN[kind][name]}", ZH[kind][name]) for name in names]


# slot -> the forms of each of its values, in both languages, in the order of their ids
SLOT_TEXTS: dict[str, list[tuple[str, ...]]] = {
    "object": [(*(f" {form}" for form in EN["object"][n]), *ZH["object"][n]) for n in OBJECTS],
    "count": _both("number", map(str, COUNTS)),
    "motion": [(f" {EN['verb'][name][0]}", *ZH["verb"][name]) for name in MOTIONS],
    "colour": _both("colour", COLOURS),
    "background": _both("background", BACKGROUNDS),
    "word": [(word,) for word in WORDS],  # in answers they follow a quotation mark
    "place": _both("position", POSITIONS) + _both("relation", RELATIONS),
    "second_object": [(f" {EN['object'][name][0]}", *ZH["object"][name]) for name in OBJECTS],
}
SLOT_BIT: dict[str, int] = {slot: 1 << number for number, slot in enumerate(SLOT_IDS)}

# slot -> other words that depend on its value, in the order of the ids
MORE_TEXTS: dict[str, list[tuple[str, ...]]] = {
    "count": [("it", "它"), *([("they", "它们")] * (len(COUNTS) - 1))],
    "motion": [(EN["verb"][name][1],) for name in MOTIONS],
    "background": [(EN["where"][name], ZH["where"][name]) for name in BACKGROUNDS],
}
# kind of question -> the slot that decides how its answer begins
SLOT_OF_KIND = {
    "object": "count", "first": "count", "last": "count", "next": "count", "before": "count",
    "at": "count", "count": "count", "motion": "motion", "passing": "motion", "colour": "colour",
    "background": "background", "word": "word", "position": "place",
    "second_object": "second_object",
}  # fmt: skip
SMALL_WORDS = (
    *("a", "an", "the", "in", "on", "of", "to", "front", "background", "it", "they", "its"),
    *("它", "它们"),
)
AROUND = " .,:;!?\"'，。“”"  # not part of a value


@cache
def _parts(slot: str, value: int) -> frozenset[str]:
    """The words, in lower case, and the Chinese characters that may say a value (from 1)."""
    more = MORE_TEXTS.get(slot)
    forms = [*SLOT_TEXTS[slot][value - 1], *(more[value - 1] if more else ())]
    words = [word for form in forms for word in form.lower().split()]
    characters = [character for form in forms if not form.isascii() for character in form]
    return frozenset([*words, *characters])


def slots_saying(facts: Mapping[str, int], text: str, after: str) -> int:
    """Bits of the slots whose value a token with this text says; 0 if it says none.

    `after` is the answer before it: "a" says a count only before the first name.
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
    if not found and said.isupper() and facts["word"]:  # a part of a word in capitals
        word = SLOT_TEXTS["word"][facts["word"] - 1][0]
        found = SLOT_BIT["word"] if said in word else 0
    return found


@cache
def _all_names() -> frozenset[str]:
    names = [form for name in OBJECTS for form in EN["object"][name] + ZH["object"][name]]
    return frozenset([*names, *WORDS])  # words on the screen are in capitals


def is_name(text: str) -> bool:
    """Whether a token names an object or a word on the screen, shown or not."""
    return text.strip(AROUND) in _all_names()


def is_colour(text: str) -> bool:
    """Whether a token says a colour before a name."""
    said = text.strip(AROUND).removesuffix("色")
    return said in COLOURS or said in ZH["colour"].values()


def key_of(scene: Scene, text: str) -> int:
    """Bit of the slot by which a token names something in a scene; 0 if it names nothing there."""
    said = text.strip(AROUND)
    for slot, name in (("object", scene.object), ("second_object", scene.second_object)):
        if name is not None and said in EN["object"][name] + ZH["object"][name]:
            return SLOT_BIT[slot]
    return SLOT_BIT["word"] if said == scene.word else 0


def claimed(subject: str) -> tuple[str, int] | None:
    """(slot, value) of a claim about a scene, from the subject of a yes-or-no question."""
    kind, *_, value = subject.split(" ", 2)
    if kind == "relation":
        relation = next(name for name in RELATIONS if subject.endswith(f" {name}"))
        return "place", SLOT_IDS["place"][relation]
    if kind not in ("background", "motion", "colour", "count"):
        return None
    return kind, int(value) if kind == "count" else SLOT_IDS[kind][value]


def says_claim(slot: str, value: int, text: str) -> bool:
    """Whether a token of a question says the value it claims; small words do not."""
    said = text.strip(AROUND).lower()
    return said not in SMALL_WORDS and bool(slots_saying({slot: value, "word": 0}, text, "it"))
