"""Questions about one scene: what is there, how many, where, and how it moves.

In:  an Asking.  Out: one question with its answer, or None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable

from apollo.cartoon.talk.asking import Asked, Asker, Asking
from apollo.cartoon.world.facts import ENTER_MOTIONS, PASSING_MOTIONS
from apollo.cartoon.world.scenes import Scene

NOTHING_ELSE_SHARE = 0.4  # of the scenes without a second object are asked about it
GENERIC_SHARE = 0.6  # of questions about a single scene name no object
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def about(kind: str, applies: Callable[[Scene], bool] | None = None) -> Asker:
    """Asks a fact of one scene: by name, as "it", or without a name when there is one scene."""

    def ask(a: Asking) -> Asked | None:
        scene = a.scene()
        if applies is not None and not applies(scene):
            return None
        if a.of is not None:
            key = f"{kind} it"
        elif a.single and (kind == "object" or a.chance(GENERIC_SHARE)):
            key = kind
        else:
            key = f"{kind} of"
        answer = a.say.scene_answer(kind, scene)
        return Asked(a.fill(key, scene), answer, scene.object, scene, scene)

    return ask


def ask_object(a: Asking) -> Asked | None:
    return about("object")(a) if a.single else None


def ask_count(a: Asking) -> Asked | None:
    scene = a.scene()
    if a.of is None and (not a.single or scene.second_object or a.chance(0.5)):
        question = a.fill("count of", scene)
    else:
        question = a.fill("count" if a.of is None else "count it", scene)
    return Asked(question, a.say.scene_answer("count", scene), scene.object, scene, scene)


def ask_word(a: Asking) -> Asked | None:
    scene = a.scene()
    answer = a.say.scene_answer("word", scene)
    if a.of is None and a.single:
        return Asked(a.fill("word"), answer, "all", about=scene)
    if a.of is None and a.chance(0.5):
        return Asked(a.fill("words"), a.say.video_answer("words", a.video), "all")
    key = "word of" if a.of is None else "word it"
    return Asked(a.fill(key, scene), answer, scene.object, scene, scene)


def ask_second(a: Asking) -> Asked | None:
    """Most scenes have no second object; those are asked about less often."""
    scene = a.scene()
    if scene.count > 1 or (not scene.second_object and not a.chance(NOTHING_ELSE_SHARE)):
        return None
    generic = a.single and a.chance(GENERIC_SHARE)
    question = a.fill("second_object" if generic else "second_object of", scene)
    return Asked(question, a.say.scene_answer("second_object", scene), scene.object, about=scene)


def ask_relation(a: Asking) -> Asked | None:
    """Where one of two objects is, or which one is there."""
    scene = a.scene()
    if scene.relation is None or scene.second_object is None:
        return None
    main: tuple[str, str | None] = (scene.object, scene.colour)
    second: tuple[str, str | None] = (scene.second_object, None)
    which = int(a.rng.integers(3))
    if scene.relation == "follows":
        if which == 0:
            question = a.fill("followed by", scene)
            return Asked(question, a.say.thing_answer(*second), f"by {scene.object}", about=scene)
        question = a.fill("follower of", other=a.say.the(*second))
        return Asked(question, a.say.thing_answer(*main), f"of {scene.object}", scene, scene)
    if which == 0:
        question = a.fill("relation of", scene, other=a.say.the(*second))
        return Asked(question, a.say.scene_answer("relation", scene), scene.object, scene, scene)
    relation, other, wanted = scene.relation, second, main
    if which == 1:  # the other way round
        relation, other, wanted = OPPOSITE[scene.relation], main, second
    question = a.fill(
        "relation to", relation=a.say.called["relation"][relation], other=a.say.the(*other)
    )
    return Asked(question, a.say.thing_answer(*wanted), f"{relation} {other[0]}", about=scene)


def ask_passing(a: Asking) -> Asked | None:
    """From or to which side something comes or goes, and at which second."""
    spans = [s for s in a.video.seen_spans() if s[2].motion in PASSING_MOTIONS]
    if not spans:
        return None
    start_s, end_s, scene = a.choice(spans)
    what = "enter" if scene.motion in ENTER_MOTIONS else "leave"
    if a.chance(0.5):
        question, answer = a.fill(f"{what} side of", scene), a.say.scene_answer("side", scene)
        return Asked(question, answer, f"side {scene.object}", scene, scene)
    answer = a.say.answer("moment", t_s=start_s if what == "enter" else end_s)
    return Asked(a.fill(f"{what} when of", scene), answer, f"time {scene.object}", scene, scene)
