"""Whole conversations about a video: questions in many wordings, one right answer to each.

In:  a Generator and a Cartoon.  Out: Turns; see KINDS for the kinds.
Odd: a kind that does not apply to a video (the colour of a cat) is never asked; a conversation
     is shorter than wanted when nothing new is left to ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from apollo.cartoon.talk.asking import Asker, Asking
from apollo.cartoon.talk.multiple_choice import ask_choice
from apollo.cartoon.talk.phrases import CHINESE, ENGLISH, PHRASES
from apollo.cartoon.talk.scene_questions import (
    about,
    ask_count,
    ask_object,
    ask_passing,
    ask_relation,
    ask_second,
    ask_word,
)
from apollo.cartoon.talk.story_questions import (
    ask_at,
    ask_chat,
    ask_not_shown,
    ask_unknown,
    ask_when,
    edge,
    neighbour,
    whole,
)
from apollo.cartoon.talk.yes_no import ask_yes_no
from apollo.cartoon.world.facts import BACKGROUNDS, COLOURS, MOTIONS, OBJECTS, WORDS
from apollo.cartoon.world.scenes import Cartoon, Scene, video_from_seed

LOWER_SHARE = 0.1  # of questions begin in lower case, as people type
NO_MARK_SHARE = 0.1  # of questions lack their final mark
FOLLOW_UP_SHARE = 0.6  # of the turns that can be asked about "it", where follow-ups are wanted
TRIES_PER_TURN = 40

FOLLOW_UPS = (
    "motion", "background", "count", "colour", "word", "when", "next", "before", "position",
)  # fmt: skip


class Turn(NamedTuple):
    """One question and its answer; see `Asked` for the other fields."""

    question: str
    answer: str
    kind: str
    subject: str = ""
    about: Scene | None = None
    absent: bool = False


# kind -> (how to ask it, its weight when kinds are mixed)
KINDS: dict[str, tuple[Asker, float]] = {
    "object": (ask_object, 3.0),
    "count": (ask_count, 1.0),
    "motion": (about("motion"), 2.5),
    "background": (about("background"), 1.5),
    "colour": (about("colour", lambda scene: scene.colour is not None), 2.0),
    "word": (ask_word, 2.0),
    "position": (about("position", lambda scene: scene.position is not None), 2.0),
    "relation": (ask_relation, 2.0),
    "second_object": (ask_second, 0.6),
    "describe": (whole("describe"), 1.5),
    "yesno": (ask_yes_no, 2.5),
    "duration": (whole("duration"), 0.3),
    "when": (ask_when, 1.5),
    "at": (ask_at, 0.8),
    "num_scenes": (whole("num_scenes"), 0.4),
    "list": (whole("list", least_scenes=2), 1.0),
    "first": (edge("first", 0), 1.0),
    "last": (edge("last", -1), 1.0),
    "next": (neighbour("next", 1), 1.0),
    "before": (neighbour("before", -1), 0.8),
    "passing": (ask_passing, 1.2),
    "not_shown": (ask_not_shown, 1.0),
    "unknown": (ask_unknown, 0.2),
    "chat": (ask_chat, 0.3),
    "choice": (lambda a: ask_choice(a, ASKERS), 1.5),
}
ASKERS: dict[str, Asker] = {kind: asker for kind, (asker, _) in KINDS.items() if kind != "choice"}


def _as_typed(rng: np.random.Generator, question: str) -> str:
    """As people type it: sometimes without a capital or without the final mark."""
    if rng.random() < LOWER_SHARE and not question.startswith("I "):
        question = question[0].lower() + question[1:]
    if rng.random() < NO_MARK_SHARE and "\n" not in question:
        question = question.rstrip("?.!？。！")
    return question


def conversation(
    rng: np.random.Generator,
    video: Cartoon,
    *,
    turns: int,
    kinds: Iterable[str] | None = None,
    language: str = "en",
    wordings: str = "train",
    follow_ups: bool = False,
) -> list[Turn]:
    """Up to `turns` questions, none asked twice; all of the given kinds.

    With `follow_ups`, some ask about what the turn before named ("And the background?").
    `wordings` "held-out" are those that training never uses.
    """
    names = list(KINDS if kinds is None else kinds)
    weights = np.array([KINDS[name][1] for name in names])
    weights /= weights.sum()
    a = Asking(rng, video, PHRASES[language], wordings)
    seen: set[str] = set()
    result: list[Turn] = []
    of: Scene | None = None
    for _ in range(TRIES_PER_TURN * turns):
        if len(result) == turns:
            break
        follows = of is not None and a.chance(FOLLOW_UP_SHARE)
        kind = names[int(rng.choice(len(names), p=weights))]
        kind = str(a.choice(FOLLOW_UPS)) if follows else kind
        asked = KINDS[kind][0](replace(a, of=of) if follows else a)
        if asked is None or f"{kind} {asked.subject}" in seen:
            continue
        if asked.question in seen and not follows:  # "And the text?" can be asked of many
            continue
        seen |= {f"{kind} {asked.subject}", asked.question}
        question = _as_typed(rng, asked.question)
        turn = Turn(question, asked.answer, kind, asked.subject, asked.about, asked.absent)
        result.append(turn)
        of = asked.scene if follow_ups else None
    return result


def _vocabulary() -> Iterator[str]:
    """Every name and phrase, in both languages."""
    en, zh = ENGLISH.called, CHINESE.called
    for name in OBJECTS:
        (one, several), (chinese,) = en["object"][name], zh["object"][name]
        yield from (one, several, chinese, f"A {one} and the {one}, three {several}.")
        yield CHINESE.a_noun(name)
    yield from (f'The text says "{word}". 文字是“{word}”。' for word in WORDS)
    yield from (
        f"The background is {en['background'][b]}. It is {en['where'][b]}." for b in BACKGROUNDS
    )
    yield from (f"背景是{zh['background'][b]}。{zh['where'][b]}" for b in BACKGROUNDS)
    for motion in MOTIONS:
        (one, several), (chinese,) = en["verb"][motion], zh["verb"][motion]
        yield f"It {one}. They {several}. 它{chinese}。"
    for phrase in (*en["position"].values(), *en["relation"].values()):
        yield f"{phrase[0].upper()}{phrase[1:]}."
    for name in (*COLOURS, *en["number"].values()):
        yield f"{name} {name.capitalize()}"
    for say in PHRASES.values():
        yield from (say.answer("span", start_s=t_s, end_s=t_s + 2) for t_s in range(24))
        yield from (say.answer("moment", t_s=t_s) for t_s in range(24))
    for say in PHRASES.values():
        for chat in say.chat:
            yield from (*chat["train"], chat["answer"])


def all_texts(num_videos: int = 3000, seed: int = 0) -> Iterator[str]:
    """Enough text to train a tokenizer on: every name and small talk, then conversations."""
    yield from _vocabulary()
    rng = np.random.default_rng(seed)
    for i in range(num_videos):
        video = video_from_seed(seed + i)
        language = "zh" if i % 4 == 3 else "en"
        for turn in conversation(rng, video, turns=8, language=language, follow_ups=i % 8 < 4):
            yield turn.question
            yield turn.answer
