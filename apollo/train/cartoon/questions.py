"""Whole conversations about a video: questions in many wordings, one right answer to each.

In:  a Generator and a Video.  Out: [(question, answer, kind), ...]; see KINDS for the kinds.
Odd: a kind that does not apply to a video (the colour of a cat) is never asked; a conversation
     may be shorter than asked for when nothing new is left to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from apollo.train.cartoon import phrases
from apollo.train.cartoon.asking import Asked, Asker, a_scene, choice, fill
from apollo.train.cartoon.facts import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    MOTIONS,
    OBJECTS,
    POSITIONS,
    WORDS,
)
from apollo.train.cartoon.templates import CHAT, NAMED, SINGLE, WHOLE
from apollo.train.cartoon.world import Scene, Video, video_from_seed
from apollo.train.cartoon.yes_no import yes_no

LOWER_SHARE = 0.1  # of questions begin in lower case, as people type
NO_MARK_SHARE = 0.1  # of questions lack their final mark
NOTHING_SHARE = 0.12  # of next/before questions are about the end or the start
NOTHING_ELSE_SHARE = 0.4  # of the scenes without a second object are asked about it
GENERIC_SHARE = 0.6  # of questions about a single scene name no object
TRIES_PER_TURN = 40


def _about(
    kind: str, answer: Callable[[Scene], str], applies: Callable[[Scene], bool] | None = None
) -> Asker:
    """Asks a fact of one scene: by name, or without a name when there is only one scene."""

    def ask(rng: np.random.Generator, video: Video) -> Asked | None:
        scene = a_scene(rng, video)
        if applies is not None and not applies(scene):
            return None
        single, named = SINGLE.get(kind, ()), NAMED.get(kind, ())
        generic = len(video.scenes) == 1 and bool(single) and rng.random() < GENERIC_SHARE
        template = choice(rng, single if generic or not named else named)
        question = fill(template, scene, with_colour=kind != "colour")
        return Asked(question, answer(scene), scene.object)

    return ask


def _whole(kind: str, answer: Callable[[Video], str], *, least_scenes: int = 1) -> Asker:
    """Asks a fact of the whole video."""

    def ask(rng: np.random.Generator, video: Video) -> Asked | None:
        if len(video.scenes) < least_scenes:
            return None
        return Asked(choice(rng, WHOLE[kind]), answer(video))

    return ask


def _count(rng: np.random.Generator, video: Video) -> Asked | None:
    scene = a_scene(rng, video)
    if len(video.scenes) == 1 and not scene.second_object and rng.random() < 0.5:
        question = choice(rng, SINGLE["count"])
    else:
        question = fill(choice(rng, NAMED["count"]), scene)
    return Asked(question, phrases.count_answer(scene), scene.object)


def _word(rng: np.random.Generator, video: Video) -> Asked | None:
    scene = a_scene(rng, video)
    if len(video.scenes) == 1:
        return Asked(choice(rng, SINGLE["word"]), phrases.word_answer(scene), "all")
    if rng.random() < 0.5:
        return Asked(choice(rng, WHOLE["words"]), phrases.words_answer(video), "all")
    question = fill(choice(rng, NAMED["word"]), scene)
    return Asked(question, phrases.word_answer(scene), scene.object)


def _when(rng: np.random.Generator, video: Video) -> Asked | None:
    spans = list(video.seen_spans())
    start_s, end_s, scene = spans[int(rng.integers(len(spans)))]
    answer = phrases.span_answer(start_s, end_s)
    if scene.word and rng.random() < 0.3:
        template = choice(rng, WHOLE["when_word"])
        return Asked(template.format(word=scene.word), answer, scene.word)
    return Asked(fill(choice(rng, NAMED["when"]), scene), answer, scene.object)


def _second(rng: np.random.Generator, video: Video) -> Asked | None:
    """Most scenes have no second object; those are asked about less often."""
    scene = a_scene(rng, video)
    if scene.count > 1 or (not scene.second_object and rng.random() > NOTHING_ELSE_SHARE):
        return None
    generic = len(video.scenes) == 1 and rng.random() < GENERIC_SHARE
    template = choice(rng, (SINGLE if generic else NAMED)["second_object"])
    return Asked(fill(template, scene), phrases.second_answer(scene), scene.object)


def _neighbour(kind: str, step: int, nothing: str) -> Asker:
    """Asks what comes after (step 1) or before (step -1) an object."""

    def ask(rng: np.random.Generator, video: Video) -> Asked | None:
        number = len(video.scenes)
        edge = number - 1 if step > 0 else 0
        if number == 1:
            return None
        if rng.random() < NOTHING_SHARE:
            at = edge
        else:
            others = [i for i in range(number) if i != edge]
            at = others[int(rng.integers(len(others)))]
        answer = nothing if at == edge else phrases.object_answer(video.scenes[at + step])
        question = fill(choice(rng, NAMED[kind]), video.scenes[at])
        return Asked(question, answer, video.scenes[at].object)

    return ask


def _at(rng: np.random.Generator, video: Video) -> Asked | None:
    second = int(rng.integers(1, int(video.duration_s)))
    borders_s = {t_s for a, b, _ in video.seen_spans() for t_s in (a, b)} - {0.0, video.duration_s}
    if any(abs(second - border_s) < 1 for border_s in borders_s):
        return None  # close to a change: two answers would be right
    shown = [scene for a, b, scene in video.seen_spans() if a <= second < b]
    answer = phrases.object_answer(shown[0]) if shown else phrases.EMPTY
    return Asked(choice(rng, WHOLE["at"]).format(second=second), answer, str(second))


def _unknown(rng: np.random.Generator, video: Video) -> Asked | None:
    if rng.random() < 0.4:
        question = choice(rng, WHOLE["unknown"])
        return Asked(question, phrases.UNKNOWN, question)
    scene = a_scene(rng, video)
    template = choice(rng, NAMED["unknown"])
    return Asked(fill(template, scene), phrases.UNKNOWN, template + scene.object)


def _chat(rng: np.random.Generator, video: Video) -> Asked | None:
    which = int(rng.integers(len(CHAT)))
    questions, answer = CHAT[which]
    return Asked(choice(rng, questions), answer, str(which))


def _single_only(ask: Asker) -> Asker:
    def wrapped(rng: np.random.Generator, video: Video) -> Asked | None:
        return ask(rng, video) if len(video.scenes) == 1 else None

    return wrapped


# kind -> (how to ask it, its weight when kinds are mixed)
KINDS: dict[str, tuple[Asker, float]] = {
    "object": (_single_only(_about("object", phrases.object_answer)), 3.0),
    "count": (_count, 1.0),
    "motion": (_about("motion", phrases.motion_answer), 2.5),
    "background": (_about("background", phrases.background_answer), 1.5),
    "colour": (_about("colour", phrases.colour_answer, lambda s: s.colour is not None), 2.0),
    "word": (_word, 2.0),
    "position": (
        _about("position", phrases.position_answer, lambda s: s.position is not None), 2.0
    ),
    "second_object": (_second, 0.6),
    "describe": (_whole("describe", phrases.describe_answer), 1.5),
    "yesno": (yes_no, 2.0),
    "duration": (_whole("duration", phrases.duration_answer), 0.3),
    "when": (_when, 1.0),
    "at": (_at, 0.8),
    "num_scenes": (_whole("num_scenes", phrases.num_scenes_answer), 0.4),
    "list": (_whole("list", phrases.list_answer, least_scenes=2), 1.0),
    "first": (
        _whole("first", lambda v: phrases.object_answer(v.scenes[0]), least_scenes=2), 1.0
    ),
    "last": (
        _whole("last", lambda v: phrases.object_answer(v.scenes[-1]), least_scenes=2), 1.0
    ),
    "next": (_neighbour("next", 1, phrases.NOTHING_AFTER), 1.0),
    "before": (_neighbour("before", -1, phrases.NOTHING_BEFORE), 0.8),
    "unknown": (_unknown, 0.2),
    "chat": (_chat, 0.3),
}  # fmt: skip


def _roughen(rng: np.random.Generator, question: str) -> str:
    """As people type: sometimes without a capital or without the final mark."""
    if rng.random() < LOWER_SHARE and not question.startswith("I "):
        question = question[0].lower() + question[1:]
    if rng.random() < NO_MARK_SHARE:
        question = question.rstrip("?.!")
    return question


def conversation(
    rng: np.random.Generator, video: Video, *, turns: int, kinds: Iterable[str] | None = None
) -> list[tuple[str, str, str]]:
    """Up to `turns` (question, answer, kind), none asked twice; all of the given kinds."""
    names = list(KINDS if kinds is None else kinds)
    weights = np.array([KINDS[name][1] for name in names])
    weights /= weights.sum()
    seen: set[str] = set()
    result: list[tuple[str, str, str]] = []
    for _ in range(TRIES_PER_TURN * turns):
        if len(result) == turns:
            break
        kind = names[int(rng.choice(len(names), p=weights))]
        asked = KINDS[kind][0](rng, video)
        if asked is None or {f"{kind} {asked.subject}", asked.question} & seen:
            continue
        seen |= {f"{kind} {asked.subject}", asked.question}
        result.append((_roughen(rng, asked.question), asked.answer, kind))
    return result


def all_texts(num_videos: int = 3000, seed: int = 0) -> Iterator[str]:
    """Enough text to train a tokenizer on: every name and small talk, then conversations."""
    for thing in OBJECTS:
        yield from (thing.singular, thing.plural)
    yield from (f'The text says "{word}".' for word in WORDS)
    yield from (f"The background is {b.is_phrase}. It is {b.where}." for b in BACKGROUNDS)
    yield from (f"It {m.singular}. They {m.plural}." for m in MOTIONS)
    yield from (phrases.sentence(place) for _, _, place in POSITIONS.values())
    yield from (f"{name} {name.capitalize()}" for name in (*COLOURS, *COUNTS.values()))
    yield from (phrases.span_answer(t, t + 2) for t in range(0, 24))
    for questions, answer in CHAT:
        yield from (*questions, answer)
    rng = np.random.default_rng(seed)
    for i in range(num_videos):
        video = video_from_seed(seed + i)
        for question, answer, _ in conversation(rng, video, turns=8):
            yield question
            yield answer
