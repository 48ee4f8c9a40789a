"""Questions about the whole video: when, in which order, how long, and what cannot be known.

In:  an Asking.  Out: one question with its answer, or None where it does not apply.
"""

from __future__ import annotations

from apollo.cartoon.talk.asking import Asked, Asker, Asking
from apollo.cartoon.world.facts import COLOURS
from apollo.cartoon.world.scenes import Scene

NOTHING_SHARE = 0.12  # of next/before questions are about the end or the start
LEAST_SECOND = 2  # so that "seconds" is right
CLOSE_S = 1.0  # a moment closer to a change has two right answers
ABSENT_KINDS = ("motion of", "background of", "count of", "when of", "next of", "before of")


def whole(kind: str, *, least_scenes: int = 1) -> Asker:
    """Asks a fact of the whole video."""

    def ask(a: Asking) -> Asked | None:
        if len(a.video.scenes) < least_scenes:
            return None
        return Asked(a.fill(kind), a.say.video_answer(kind, a.video))

    return ask


def edge(kind: str, at: int) -> Asker:
    """Asks what comes first (0) or last (-1)."""

    def ask(a: Asking) -> Asked | None:
        if a.single:
            return None
        scene = a.video.scenes[at]
        answer = a.say.scene_answer("object", scene)
        return Asked(a.fill(kind), answer, scene=_named(scene), about=scene)

    return ask


def _named(scene: Scene) -> Scene | None:
    """What "it" can mean after an answer: the only object of a scene."""
    return None if scene.second_object else scene


def neighbour(kind: str, step: int) -> Asker:
    """Asks what comes after (step 1) or before (step -1) an object."""

    def ask(a: Asking) -> Asked | None:
        scenes = a.video.scenes
        last = len(scenes) - 1 if step > 0 else 0
        if a.single:
            return None
        if a.of is not None:
            at = scenes.index(a.of)
        elif a.chance(NOTHING_SHARE):
            at = last
        else:
            at = a.choice([i for i in range(len(scenes)) if i != last])
        question = a.fill(f"{kind} {'of' if a.of is None else 'it'}", scenes[at])
        if at == last:
            nothing = a.say.answer("nothing_after" if step > 0 else "nothing_before")
            return Asked(question, nothing, scenes[at].object, absent=True)
        there = scenes[at + step]
        answer = a.say.scene_answer("object", there)
        return Asked(question, answer, scenes[at].object, _named(there), there)

    return ask


def ask_when(a: Asking) -> Asked | None:
    spans = [span for span in a.video.seen_spans() if a.of is None or span[2] == a.of]
    start_s, end_s, scene = a.choice(spans)
    answer = a.say.answer("span", start_s=start_s, end_s=end_s)
    if a.of is None and scene.word and not scene.empty_s and a.chance(0.3):
        return Asked(a.fill("when_word", word=scene.word), answer, scene.word, about=scene)
    key = "when of" if a.of is None else "when it"
    return Asked(a.fill(key, scene), answer, scene.object, scene, scene)


def ask_at(a: Asking) -> Asked | None:
    if a.video.duration_s < LEAST_SECOND + 1:
        return None
    second = int(a.rng.integers(LEAST_SECOND, int(a.video.duration_s)))
    spans = list(a.video.seen_spans())
    borders_s = {t_s for start_s, end_s, _ in spans for t_s in (start_s, end_s)}
    borders_s -= {0.0, a.video.duration_s}
    if any(abs(second - border_s) < CLOSE_S for border_s in borders_s):
        return None
    shown = [scene for start_s, end_s, scene in spans if start_s <= second < end_s]
    answer = a.say.scene_answer("object", shown[0]) if shown else a.say.answer("empty")
    scene = _named(shown[0]) if shown else None
    there = shown[0] if shown else None
    return Asked(a.fill("at", second=str(second)), answer, str(second), scene, there)


def an_absent_thing(a: Asking) -> tuple[str, str | None]:
    """(name, colour) of something that is not in the video; half of the time nearly right."""
    shapes = [(s.object, s.colour) for s in a.video.scenes if s.colour]
    if shapes and a.chance(0.5):  # the right shape in a wrong colour
        name, shown = a.choice(shapes)
        return name, a.choice([colour for colour in COLOURS if colour != shown])
    absent: str = a.choice(a.absent_names())
    return absent, a.colour_of(absent)


def ask_not_shown(a: Asking) -> Asked | None:
    """Asks about a thing as if it were there."""
    name, colour = an_absent_thing(a)
    question = a.fill(a.choice(ABSENT_KINDS), **a.say.names(name, colour))
    answer = a.say.answer("not_shown", noun=a.say.noun(name, colour))
    return Asked(question, answer, f"{name} {colour}", absent=True)


def ask_unknown(a: Asking) -> Asked | None:
    question = a.fill("unknown") if a.chance(0.4) else a.fill("unknown of", a.scene())
    return Asked(question, a.say.answer("unknown"), question)


def ask_chat(a: Asking) -> Asked | None:
    which = int(a.rng.integers(len(a.say.chat)))
    chat = a.say.chat[which]
    return Asked(a.choice(chat[a.wordings]), chat["answer"], str(which))
