"""Facts as English: noun phrases and the one canonical answer to each kind of question.

In:  a Scene or a Video.  Out: text. Each fact has exactly one wording, so that an answer can be
marked by comparing strings.
"""

from __future__ import annotations

from apollo.cartoon.world.facts import (
    BACKGROUND_BY_NAME,
    COUNTS,
    LEAVE_MOTIONS,
    MOTION_BY_NAME,
    OBJECT_BY_NAME,
    POSITIONS,
    RELATIONS,
)
from apollo.cartoon.world.scenes import Scene, Video

UNKNOWN = "I can't tell from the video."
YES, NO = "Yes.", "No."
IS_THERE, IS_NOT_THERE = YES, NO
NO_TEXT = "There is no text."
NOTHING_ELSE = "Nothing else."
EMPTY = "Nothing."  # in the picture but the background
NOTHING_BEFORE = "Nothing, that is the start."
NOTHING_AFTER = "Nothing, that is the end."


def sentence(text: str) -> str:
    """First letter in upper case, full stop at the end."""
    return text[0].upper() + text[1:] + "."


def noun(name: str, colour: str | None = None, count: int = 1) -> str:
    """cat, cats, red circle, red circles."""
    thing = OBJECT_BY_NAME[name]
    word = thing.singular if count == 1 else thing.plural
    return f"{colour} {word}" if colour else word


def a_noun(name: str, colour: str | None = None, count: int = 1) -> str:
    """a cat, an owl, an orange star, three cats."""
    if count > 1:
        return f"{COUNTS[count]} {noun(name, colour, count)}"
    article = OBJECT_BY_NAME[name].article
    if colour:
        article = "an" if colour[0] in "aeiou" else "a"
    return f"{article} {noun(name, colour)}"


def main_noun(scene: Scene) -> str:
    return noun(scene.object, scene.colour, scene.count)


def who(scene: Scene) -> str:
    """Everything in the scene: three cats; a cake and a butterfly."""
    main = a_noun(scene.object, scene.colour, scene.count)
    return f"{main} and {a_noun(scene.second_object)}" if scene.second_object else main


def verb(scene: Scene) -> str:
    motion = MOTION_BY_NAME[scene.motion]
    return motion.singular if scene.count == 1 else motion.plural


def clause(scene: Scene) -> str:
    """a cat moves to the left above a bee on a blue background, with the text "LUCKY"."""
    beside = ""
    if scene.second_object and scene.relation:
        beside = f" {RELATIONS[scene.relation]} {a_noun(scene.second_object)}"
    text = f', with the text "{scene.word}"' if scene.word else ""
    main = a_noun(scene.object, scene.colour, scene.count)
    return f"{main} {verb(scene)}{beside} {BACKGROUND_BY_NAME[scene.background].where}{text}"


def object_answer(scene: Scene) -> str:
    return sentence(who(scene))


def count_answer(scene: Scene) -> str:
    return sentence(COUNTS[scene.count])


def motion_answer(scene: Scene) -> str:
    return sentence(f"{'it' if scene.count == 1 else 'they'} {verb(scene)}")


def background_answer(scene: Scene) -> str:
    return f"The background is {BACKGROUND_BY_NAME[scene.background].is_phrase}."


def colour_answer(scene: Scene) -> str:
    assert scene.colour is not None
    return sentence(scene.colour)


def position_answer(scene: Scene) -> str:
    assert scene.position is not None
    return sentence(POSITIONS[scene.position][2])


def relation_answer(scene: Scene) -> str:
    assert scene.relation is not None and scene.second_object is not None
    return sentence(f"{RELATIONS[scene.relation]} the {noun(scene.second_object)}")


def thing_answer(name: str, colour: str | None = None) -> str:
    return sentence(a_noun(name, colour))


def side_answer(scene: Scene) -> str:
    """Where a scene's objects come from or go to, as the viewer sees it."""
    return f"{'To' if scene.motion in LEAVE_MOTIONS else 'From'} the {scene.motion.split()[1]}."


def not_shown_answer(name: str, colour: str | None) -> str:
    return f"There is no {noun(name, colour)} in the video."


def second_answer(scene: Scene) -> str:
    return sentence(a_noun(scene.second_object)) if scene.second_object else NOTHING_ELSE


def word_answer(scene: Scene) -> str:
    return f'The text says "{scene.word}".' if scene.word else NO_TEXT


def words_answer(video: Video) -> str:
    words = [f'"{scene.word}"' for scene in video.scenes if scene.word]
    return f"The text says {', then '.join(words)}." if words else NO_TEXT


def so(answer: str, yes: bool) -> str:
    """What was asked about, and what follows: The background is red, so no."""
    return f"{answer.rstrip('.')}, so {'yes' if yes else 'no'}."


def order_answer(first: Scene, first_s: float, other: Scene, other_s: float) -> str:
    """When two things appear, the one asked about first."""
    names = [the(scene.object, scene.colour, scene.count) for scene in (first, other)]
    verb = "appears" if first.count == 1 else "appear"
    return sentence(f"{names[0]} {verb} at {first_s:g} seconds, {names[1]} at {other_s:g} seconds")


def list_answer(video: Video) -> str:
    return sentence(", then ".join(who(scene) for scene in video.scenes))


def span_answer(start_s: float, end_s: float) -> str:
    return f"From {start_s:g} to {end_s:g} seconds."


def moment_answer(t_s: float) -> str:
    return f"At {t_s:g} seconds."


def duration_answer(video: Video) -> str:
    return f"{video.duration_s:g} seconds."


def num_scenes_answer(video: Video) -> str:
    number = len(video.scenes)
    return sentence(f"{COUNTS[number]} {'scene' if number == 1 else 'scenes'}")


def describe_answer(video: Video) -> str:
    clauses = [clause(scene) for scene in video.scenes]
    if len(clauses) == 1:
        return sentence(clauses[0])
    starts = ["First", *["Then"] * (len(clauses) - 2), "Finally"]
    return " ".join(f"{start}, {text}." for start, text in zip(starts, clauses, strict=True))


def background_name(name: str) -> str:
    return BACKGROUND_BY_NAME[name].is_phrase


def relation_phrase(relation: str) -> str:
    return RELATIONS[relation]


def number(count: int) -> str:
    return COUNTS[count]


def motion_words(motion: str, count: int) -> dict[str, str]:
    """What a wording with {verb} or {base} is filled with."""
    forms = MOTION_BY_NAME[motion]
    return {"verb": forms.singular if count == 1 else forms.plural, "base": forms.plural}


def names(name: str, colour: str | None = None, count: int = 1) -> dict[str, str]:
    """What a wording about an object is filled with."""
    one = count == 1
    return {
        "nouns": noun(name, colour, 2),
        "a": a_noun(name, colour),
        "the": the(name, colour, count),
        "it": "it" if one else "they",
        "them": "it" if one else "them",
        "does": "does" if one else "do",
        "Does": "Does" if one else "Do",
        "is_": "is" if one else "are",
        "Is": "Is" if one else "Are",
        "move": "moves" if one else "move",
        "object": "object" if one else "objects",
        "shape": "shape" if one else "shapes",
        "shape_name": noun(name),
        "colour": colour or "",
        "measure": "",
    }


def the(name: str, colour: str | None = None, count: int = 1) -> str:
    return f"the {noun(name, colour, count)}"
