"""Multiple choice: a question with lettered options, asked as benchmarks do.

In:  an Asking and the askers that may be used.  Out: the question, answered with an option's text
     and its letter: a small model finds the letter more easily after the text.
Odd: wrong options are of the same kind as the right one, first those that are true of another scene
     of the video: it does not suffice to know what the video shows somewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from apollo.cartoon.talk.asking import Asked, Asker, Asking
from apollo.cartoon.world.facts import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    MOTIONS,
    PASSING_MOTIONS,
    POSITIONS,
    RELATIONS,
    WORDS,
)
from apollo.cartoon.world.scenes import CLIP_DURATION_S, Cartoon, Scene, can_move
from apollo.data.choices import LETTERS, question_text

NUM_OPTIONS = (3, 5)  # least and most
NUM_ABSENT = 6  # things among the wrong options that the video does not show
OBJECT_KINDS = ("object", "first", "last", "next", "before", "at", "second_object")
NOTHING = ("nothing_else", "nothing_after", "nothing_before", "empty", "no_text")
OPTION_KINDS = (
    *OBJECT_KINDS,
    *("count", "motion", "background", "colour", "word", "position", "relation", "passing"),
    *("when", "num_scenes"),
)


def _objects(a: Asking) -> list[str]:
    """Answers that name things: those of other scenes first, then things nowhere in the video."""
    names = a.rng.choice(a.absent_names(), NUM_ABSENT, replace=False).tolist()
    like = a.choice(a.video.scenes)
    absent = [
        replace(like, object=name, second_object=None, relation=None, colour=a.colour_of(name))
        for name in names
    ]
    return [a.say.scene_answer("object", scene) for scene in (*a.video.scenes, *absent)]


def _things(a: Asking) -> list[str]:
    """Answers that name one thing, without its number."""
    scenes = a.video.scenes
    shown = [(s.object, s.colour) for s in scenes]
    shown += [(s.second_object, None) for s in scenes if s.second_object]
    names = a.rng.choice(a.absent_names(), NUM_ABSENT, replace=False).tolist()
    absent = [(name, a.colour_of(name)) for name in names]
    return [a.say.thing_answer(name, colour) for name, colour in (*shown, *absent)]


def _shuffled(a: Asking, items: Iterable[Any]) -> list[Any]:
    items = list(items)
    return [items[i] for i in a.rng.permutation(len(items))]


def _of_scene(kind: str, values: Iterable[Any]) -> Callable[[Asking, Scene], list[str]]:
    """Answers about a scene in which one fact is another; the video's own values first."""

    def pool(a: Asking, scene: Scene) -> list[str]:
        own = [getattr(other, kind) for other in a.video.scenes]
        mixed = [value for value in (*own, *_shuffled(a, values)) if value is not None]
        return [a.say.scene_answer(kind, replace(scene, **{kind: value})) for value in mixed]

    return pool


def _motions(a: Asking, scene: Scene) -> list[str]:
    names = [motion for motion in MOTIONS if can_move(scene.object, motion)]
    return _of_scene("motion", names)(a, scene)


def _times(a: Asking, scene: Scene) -> list[str]:
    """Spans on clip borders, at least a clip apart at one end."""
    spans = [(start_s, end_s) for start_s, end_s, _ in a.video.seen_spans()]
    step_s = CLIP_DURATION_S
    more = [(i * step_s, (i + n) * step_s) for i in range(a.video.num_clips + 2) for n in (1, 2, 3)]
    return [
        a.say.answer("span", start_s=start_s, end_s=end_s)
        for start_s, end_s in (*spans, *_shuffled(a, more))
    ]


def _passings(a: Asking, scene: Scene, answer: str) -> list[str]:
    sides = [a.say.scene_answer("side", replace(scene, motion=m)) for m in PASSING_MOTIONS]
    if answer in sides:
        return [*_shuffled(a, sides), a.say.answer("empty")]
    borders_s = [i * CLIP_DURATION_S for i in range(a.video.num_clips + 3)]
    return [a.say.answer("moment", t_s=t_s) for t_s in _shuffled(a, borders_s)]


def _relations(a: Asking, scene: Scene, answer: str) -> list[str]:
    if answer != a.say.scene_answer("relation", scene):
        return _things(a)
    others = [replace(scene, relation=name) for name in RELATIONS if name != "follows"]
    return _shuffled(a, [a.say.scene_answer("relation", other) for other in others])


SCENE_POOLS: dict[str, Callable[[Asking, Scene], list[str]]] = {
    "count": _of_scene("count", COUNTS),
    "motion": _motions,
    "background": _of_scene("background", BACKGROUNDS),
    "colour": _of_scene("colour", COLOURS),
    "word": _of_scene("word", WORDS),
    "position": _of_scene("position", POSITIONS),
    "when": _times,
}


def _pool(a: Asking, kind: str, asked: Asked) -> list[str]:
    """Answers of the same kind, the most likely first; the right one may be among them."""
    if kind == "num_scenes":
        scenes = (a.video.scenes * 5)[:5]
        videos = [Cartoon(scenes[:number]) for number in range(1, 6)]
        return _shuffled(a, [a.say.video_answer("num_scenes", video) for video in videos])
    if kind == "second_object":
        return _things(a)
    if kind in OBJECT_KINDS:
        return _objects(a)
    scene = asked.about
    if scene is None:  # several words at once
        return []
    if kind == "relation":
        return _relations(a, scene, asked.answer)
    if kind == "passing":
        return _passings(a, scene, asked.answer)
    return SCENE_POOLS[kind](a, scene)


def options_for(a: Asking, kind: str, asked: Asked, number: int) -> list[str] | None:
    """`number` different options, the right one among them, in random order."""
    if asked.answer in [a.say.answer(key) for key in NOTHING]:
        return None
    wrong = [text for text in dict.fromkeys(_pool(a, kind, asked)) if text != asked.answer]
    if len(wrong) < number - 1:
        return None
    return _shuffled(a, [asked.answer, *wrong[: number - 1]])


def ask_choice(a: Asking, askers: Mapping[str, Asker]) -> Asked | None:
    kind = a.choice(OPTION_KINDS)
    asked = askers[kind](a)
    if asked is None:
        return None
    low, high = NUM_OPTIONS
    options = options_for(a, kind, asked, int(a.rng.integers(low, high + 1)))
    if options is None:
        return None
    right = options.index(asked.answer)
    texts = [option.rstrip(".。") for option in options]
    question = question_text(asked.question, texts)
    answer = f"{texts[right]} ({LETTERS[right]})"
    return Asked(question, answer, f"{kind} {asked.subject}", about=asked.about)
