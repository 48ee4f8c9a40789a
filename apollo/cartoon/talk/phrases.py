"""Facts in words: noun phrases, and the one right answer to each kind of question.

In:  a Scene or a Video, and wordings/en.toml or zh.toml.  Out: text.
Odd: each fact has exactly one wording, so that an answer can be marked by comparing strings.
"""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apollo.cartoon.world.facts import (
    BACKGROUNDS,
    COLOUR_ZH,
    COLOURS,
    COUNTS,
    LEAVE_MOTIONS,
    MOTION_BY_NAME,
    OBJECT_BY_NAME,
    POSITION_ZH,
    POSITIONS,
    RELATION_ZH,
    RELATIONS,
    article_of,
)
from apollo.cartoon.world.scenes import Scene, Video

WORDINGS = Path(__file__).with_name("wordings")


class Phrases(ABC):
    """How facts are told in one language.

    `questions` and `chat` are as in the file: kind -> "train" and "held-out" wordings, and small
    talk with its "answer". `called` has, for each sort of fact, what every value is called.
    """

    def __init__(self, language: str, called: dict[str, Mapping[Any, str]]) -> None:
        text = (WORDINGS / f"{language}.toml").read_text(encoding="utf-8")
        words: dict[str, Any] = tomllib.loads(text)
        self._answers: dict[str, str] = words["answers"]
        self._parts: dict[str, str] = words["parts"]
        self._forms: dict[str, dict[str, str]] = words["forms"]
        self.questions: dict[str, dict[str, list[str]]] = words["questions"]
        self.chat: list[dict[str, Any]] = words["chat"]
        self.called = called

    # ---- grammar -------------------------------------------------------------------------------

    @abstractmethod
    def noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        """cat, cats, red circles; 猫, 红色圆形."""

    @abstractmethod
    def a_noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        """a cat, an orange star, three cats; 一只猫, 三个红色圆形."""

    @abstractmethod
    def the(self, name: str, colour: str | None = None, count: int = 1) -> str:
        """the cats; 猫."""

    @abstractmethod
    def verb(self, motion: str, count: int) -> str:
        """moves up, move up; 向上移动."""

    def forms(self, count: int) -> dict[str, str]:
        """The words that change with the number of things: it, does, ..."""
        return self._forms["one" if count == 1 else "several"]

    def names(self, name: str, colour: str | None = None, count: int = 1) -> dict[str, str]:
        """What a question about an object is filled with."""
        return {
            **self.forms(count),
            "nouns": self.noun(name, colour, 2),
            "a": self.a_noun(name, colour),
            "the": self.the(name, colour, count),
            "shape_name": self.noun(name),
            "colour": self.called["colour"][colour] if colour else "",
            "measure": OBJECT_BY_NAME[name].zh_measure,
        }

    # ---- answers -------------------------------------------------------------------------------

    def answer(self, key: str, **names: Any) -> str:
        """One of the file's answers, filled in, with a capital."""
        text = self._answers[key].format(**names)
        return text[0].upper() + text[1:]

    def scene_answer(self, kind: str, scene: Scene) -> str:
        """What one scene shows, as the answer to a question of this kind."""
        if kind == "word":
            return self._words_of([scene])
        if kind == "second_object":
            if scene.second_object:
                return self.thing_answer(scene.second_object)
            return self.answer("nothing_else")
        names = {
            **self.forms(scene.count),
            "who": self._who(scene),
            "number": self.called["number"][scene.count],
            "measure": OBJECT_BY_NAME[scene.object].zh_measure,
            "verb": self.verb(scene.motion, scene.count),
        }
        if kind == "side":  # where its objects come from or go to, as the viewer sees it
            kind = "leave_side" if scene.motion in LEAVE_MOTIONS else "enter_side"
            names["side"] = self.called["side"][scene.motion.split()[1]]
        if scene.second_object:
            names["the"] = self.the(scene.second_object)
        for fact in ("background", "colour", "position", "relation"):
            if getattr(scene, fact) is not None:
                names[fact] = self.called[fact][getattr(scene, fact)]
        return self.answer(kind, **names)

    def video_answer(self, kind: str, video: Video) -> str:
        """What the whole video shows, as the answer to a question of this kind."""
        if kind == "words":
            return self._words_of(video.scenes)
        if kind == "describe":
            return self._description(video)
        number = len(video.scenes)
        return self.answer(
            kind, **self.forms(number), number=self.called["number"][number],
            things=self._parts["then"].join(self._who(scene) for scene in video.scenes),
            duration_s=video.duration_s,
        )  # fmt: skip

    def thing_answer(self, name: str, colour: str | None = None) -> str:
        return self.answer("thing", a=self.a_noun(name, colour))

    def so(self, answer: str, yes: bool) -> str:
        """What was asked about, and what follows: The background is red, so no."""
        return self.answer("so_yes" if yes else "so_no", fact=answer.rstrip(".。"))

    def order_answer(self, first: Scene, first_s: float, other: Scene, other_s: float) -> str:
        """When two things appear, the one asked about first."""
        the, the_other = (self.the(s.object, s.colour, s.count) for s in (first, other))
        times = {"start_s": first_s, "other_s": other_s}
        return self.answer("order", the=the, other=the_other, **times, **self.forms(first.count))

    def _who(self, scene: Scene) -> str:
        """Everything in the scene: three cats; a cake and a butterfly."""
        main = self.a_noun(scene.object, scene.colour, scene.count)
        if not scene.second_object:
            return main
        return self._parts["who"].format(main=main, second=self.a_noun(scene.second_object))

    def _quote(self, word: str) -> str:
        return self._parts["quote"].format(word=word)

    def _words_of(self, scenes: Sequence[Scene]) -> str:
        quotes = [self._quote(scene.word) for scene in scenes if scene.word]
        if not quotes:
            return self.answer("no_text")
        return self.answer("words", words=self._parts["then"].join(quotes))

    def _clause(self, scene: Scene) -> str:
        """a cat moves to the left above a bee on a blue background, with the text "LUCKY"."""
        beside = text = ""
        if scene.second_object and scene.relation:
            beside = self._parts["follows" if scene.relation == "follows" else "beside"].format(
                relation=self.called["relation"][scene.relation],
                a=self.a_noun(scene.second_object),
            )
        if scene.word:
            text = self._parts["text"].format(quote=self._quote(scene.word))
        return self._parts["clause"].format(
            main=self.a_noun(scene.object, scene.colour, scene.count),
            verb=self.verb(scene.motion, scene.count),
            where=self.called["where"][scene.background],
            beside=beside,
            text=text,
        )

    def _description(self, video: Video) -> str:
        keys = ["first_scene", *["next_scene"] * (len(video.scenes) - 2), "last_scene"]
        keys = keys if len(video.scenes) > 1 else ["only_scene"]
        told = zip(keys, video.scenes, strict=True)
        sentences = [self.answer(key, clause=self._clause(scene)) for key, scene in told]
        return self._parts["next_sentence"].join(sentences)


class English(Phrases):
    def noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        thing = OBJECT_BY_NAME[name]
        word = thing.singular if count == 1 else thing.plural
        return f"{colour} {word}" if colour else word

    def a_noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        noun = self.noun(name, colour, count)
        return f"{article_of(noun) if count == 1 else COUNTS[count]} {noun}"

    def the(self, name: str, colour: str | None = None, count: int = 1) -> str:
        return f"the {self.noun(name, colour, count)}"

    def verb(self, motion: str, count: int) -> str:
        forms = MOTION_BY_NAME[motion]
        return forms.singular if count == 1 else forms.plural


class Chinese(Phrases):
    """Simple Chinese: no articles, no plurals, a measure word between a number and its noun."""

    def noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        zh = OBJECT_BY_NAME[name].zh
        return f"{COLOUR_ZH[colour]}色{zh}" if colour else zh

    def a_noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        measure = OBJECT_BY_NAME[name].zh_measure
        return f"{self.called['number'][count]}{measure}{self.noun(name, colour)}"

    def the(self, name: str, colour: str | None = None, count: int = 1) -> str:
        return self.noun(name, colour)

    def verb(self, motion: str, count: int) -> str:
        return MOTION_BY_NAME[motion].zh


ENGLISH = English(
    "en",
    {
        "number": COUNTS,
        "colour": {name: name for name in COLOURS},
        "background": {background.name: background.is_phrase for background in BACKGROUNDS},
        "where": {background.name: background.where for background in BACKGROUNDS},
        "position": {name: phrase for name, (_, _, phrase) in POSITIONS.items()},
        "relation": RELATIONS,
        "side": {name: name for name in ("left", "right")},
    },
)
CHINESE = Chinese(
    "zh",
    {
        "number": {1: "一", 2: "两", 3: "三", 4: "四", 5: "五"},  # before a measure word
        "colour": COLOUR_ZH,
        "background": {background.name: background.zh_is for background in BACKGROUNDS},
        "where": {background.name: background.zh_where for background in BACKGROUNDS},
        "position": POSITION_ZH,
        "relation": RELATION_ZH,
        "side": {name: POSITION_ZH[name] for name in ("left", "right")},
    },
)
PHRASES: dict[str, Phrases] = {"en": ENGLISH, "zh": CHINESE}
