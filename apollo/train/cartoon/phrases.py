"""Facts as English: noun phrases and the one canonical answer to each kind of question.

In:  a Scene or a Video.  Out: text. Each fact has exactly one wording, so that an answer can be
marked by comparing strings.
"""

from __future__ import annotations

from apollo.train.cartoon.facts import (
    BACKGROUND_BY_NAME,
    COUNTS,
    MOTION_BY_NAME,
    OBJECT_BY_NAME,
    POSITIONS,
    RELATIONS,
)
from apollo.train.cartoon.world import Scene, Video

UNKNOWN = "I don't know."
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


def second_answer(scene: Scene) -> str:
    return sentence(a_noun(scene.second_object)) if scene.second_object else NOTHING_ELSE


def word_answer(scene: Scene) -> str:
    return f'The text says "{scene.word}".' if scene.word else NO_TEXT


def words_answer(video: Video) -> str:
    words = [f'"{scene.word}"' for scene in video.scenes if scene.word]
    return f"The text says {', then '.join(words)}." if words else NO_TEXT


def list_answer(video: Video) -> str:
    return sentence(", then ".join(who(scene) for scene in video.scenes))


def span_answer(start_s: float, end_s: float) -> str:
    return f"From {start_s:g} to {end_s:g} seconds."


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
