"""Questions whose answer is yes or no, each half of the time.

In:  an Asking.  Out: one question with its answer.
Odd: the answer is drawn first, then a question that has it, so the wording gives no hint.
     Where something must be compared, the answer first tells the fact ("It moves to the left, so
     no."): that is more helpful, and a small model compares what it has said far more easily.
"""

from __future__ import annotations

from typing import Any

from apollo.cartoon.talk.asking import Asked, Asking
from apollo.cartoon.talk.scene_questions import OPPOSITE
from apollo.cartoon.talk.story_questions import an_absent_thing
from apollo.cartoon.world.facts import BACKGROUNDS, COLOURS, COUNTS, MOTIONS, WORDS
from apollo.cartoon.world.scenes import Scene, can_move

ANY_TEXT_SHARE = 0.1
SECOND_SHARE = 0.4  # of questions about what is there, where a scene has two objects


def _answer(a: Asking, want: bool, *, exists: bool = False) -> str:
    yes, no = ("is_there", "is_not_there") if exists else ("yes", "no")
    return a.say.answer(yes if want else no)


def _where(scene: Scene | None, want: bool) -> dict[str, Any]:
    """What is claimed to be there: in its scene if it is, else nowhere."""
    return {"about": scene} if want else {"absent": True}


def _ask_object(a: Asking, want: bool) -> Asked:
    """Is there a cat? If not wanted: something that is nowhere in the video."""
    scene = a.scene() if want else None
    if scene is not None:
        name, colour = scene.object, scene.colour
        if scene.second_object and a.chance(SECOND_SHARE):
            name, colour = scene.second_object, None
    else:
        name, colour = an_absent_thing(a)
    question = a.fill("yes object", **a.say.names(name, colour))
    return Asked(
        question, _answer(a, want, exists=True), f"object {name} {colour}", **_where(scene, want)
    )


def _ask_background(a: Asking, want: bool) -> Asked:
    scene = a.scene()
    others = [name for name in BACKGROUNDS if name != scene.background]
    name = scene.background if want else a.choice(others)
    key = "yes background" if a.single else "yes background of"
    question = a.fill(key, scene, bg=a.say.called["background"][name])
    answer = a.say.so(a.say.scene_answer("background", scene), want)
    return Asked(question, answer, f"background {scene.object} {name}", about=scene)


def _ask_motion(a: Asking, want: bool) -> Asked:
    scene = a.scene()
    others = [m for m in MOTIONS if can_move(scene.object, m) and m != scene.motion]
    motion = scene.motion if want else a.choice(others)
    verb, base = (a.say.verb(motion, count) for count in (scene.count, 2))
    question = a.fill("yes motion", scene, verb=verb, base=base)
    answer = a.say.so(a.say.scene_answer("motion", scene), want)
    return Asked(question, answer, f"motion {scene.object} {motion}", about=scene)


def _ask_word(a: Asking, want: bool) -> Asked | None:
    shown = [scene.word for scene in a.video.scenes if scene.word]
    if not shown:
        return None
    word = a.choice(shown if want else [w for w in WORDS if w not in shown])
    scene = next((scene for scene in a.video.scenes if scene.word == word), None)
    return Asked(
        a.fill("yes word", word=word), _answer(a, want), f"word {word}", **_where(scene, want)
    )


def _ask_relation(a: Asking, want: bool) -> Asked | None:
    """The right relation or its opposite; the two objects in either order."""
    scene = a.scene()
    if scene.second_object is None or scene.relation not in OPPOSITE:
        return None
    main, second = a.say.the(scene.object, scene.colour), a.say.the(scene.second_object)
    relation = scene.relation if want else OPPOSITE[scene.relation]
    if a.chance(0.5):
        main, second, relation = second, main, OPPOSITE[relation]
    question = a.fill(
        "yes relation", the=main, other=second, relation=a.say.called["relation"][relation]
    )
    return Asked(
        question,
        _answer(a, want),
        f"relation {scene.object} {main} {relation}",
        about=scene,
    )


def _ask_count(a: Asking, want: bool) -> Asked | None:
    scene = a.scene()
    if scene.count == 1:
        return None
    others = [count for count in COUNTS if count not in (1, scene.count)]
    count = scene.count if want else a.choice(others)
    question = a.fill("yes count", scene, number=a.say.number(count))
    answer = a.say.so(a.say.scene_answer("count", scene), want)
    return Asked(question, answer, f"count {scene.object} {count}", about=scene)


def _ask_colour(a: Asking, want: bool) -> Asked | None:
    scene = a.scene()
    if scene.colour is None or scene.count > 1:
        return None
    colour = scene.colour if want else a.choice([c for c in COLOURS if c != scene.colour])
    question = a.fill("yes colour", **a.say.names(scene.object, colour))
    answer = a.say.so(a.say.scene_answer("colour", scene), want)
    return Asked(question, answer, f"colour {scene.object} {colour}", about=scene)


def _ask_order(a: Asking, want: bool) -> Asked | None:
    if a.single:
        return None
    first, then = sorted(a.rng.choice(len(a.video.scenes), 2, replace=False))
    scenes = [a.video.scenes[at] for at in ((first, then) if want else (then, first))]
    the = [a.say.the(scene.object, scene.colour, scene.count) for scene in scenes]
    question = a.fill("yes order", scenes[0], other=the[1])
    starts_s = {scene.object: start_s for start_s, _, scene in a.video.seen_spans()}
    first_s, other_s = (starts_s[scene.object] for scene in scenes)
    answer = a.say.so(a.say.order_answer(scenes[0], first_s, scenes[1], other_s), want)
    return Asked(question, answer, f"order {the}", about=scenes[0])


ASKERS = (
    *(_ask_object, _ask_object, _ask_background, _ask_motion, _ask_word),
    *(_ask_relation, _ask_count, _ask_colour, _ask_order),
)


def ask_yes_no(a: Asking) -> Asked | None:
    """The answer is drawn first, so that "Yes." is right half of the time."""
    want = a.chance(0.5)
    if a.single and a.chance(ANY_TEXT_SHARE):  # words are in half of all scenes
        there = a.video.scenes[0].word is not None
        return Asked(a.fill("yes text"), _answer(a, there, exists=True), "any text")
    return ASKERS[int(a.rng.integers(len(ASKERS)))](a, want)
