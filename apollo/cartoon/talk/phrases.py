"""Facts in words: noun phrases, and the one right answer to each kind of question.

In:  a Scene or a Cartoon, and a language: wordings/en.toml or zh.toml.  Out: text.
Odd: each fact has exactly one wording, so that an answer can be marked by comparing strings.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apollo.cartoon.world.facts import LEAVE_MOTIONS
from apollo.cartoon.world.scenes import Cartoon, Scene

FOLDER = Path(__file__).with_name("wordings")


class Phrases:
    """How facts are told and asked in one language; all of its words are in its file.

    `called` says, for each sort of fact, what every value is called; objects and verbs have a form
    for one and a form for several. `questions`: kind -> "train" and "held-out" wordings; `chat`:
    the same for small talk, with its "answer".
    """

    def __init__(self, file: Path) -> None:
        words: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        self.called: dict[str, dict[str, Any]] = words["names"]
        self.questions: dict[str, dict[str, list[str]]] = words["questions"]
        self.chat: list[dict[str, Any]] = words["chat"]
        self._answers: dict[str, str] = words["answers"]
        self._parts: dict[str, str] = words["parts"]
        self._forms: dict[str, dict[str, str]] = words["forms"]
        self._measures = {
            name: measure for measure, names in words["measures"].items() for name in names
        }

    # ---- names ---------------------------------------------------------------------------------

    def noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        """cat, cats, red circles; 猫, 红色圆形."""
        noun = self._form("object", name, count)
        if colour is None:
            return noun
        return self._part("coloured", colour=self.called["colour"][colour], noun=noun)

    def a_noun(self, name: str, colour: str | None = None, count: int = 1) -> str:
        """a cat, an orange star, three cats; 一只猫, 三个红色圆形."""
        noun = self.noun(name, colour, count)
        return self._part(
            "a" if count == 1 else "several", noun=noun, number=self.number(count),
            measure=self.measure(name), article="an" if noun[0] in "aeiou" else "a",
        )  # fmt: skip

    def the(self, name: str, colour: str | None = None, count: int = 1) -> str:
        """the cats; 猫."""
        return self._part("the", noun=self.noun(name, colour, count))

    def verb(self, motion: str, count: int) -> str:
        """moves up, move up; 向上移动."""
        return self._form("verb", motion, count)

    def _form(self, kind: str, name: str, count: int) -> str:
        forms: list[str] = self.called[kind][name]
        return forms[0] if count == 1 else forms[-1]

    def number(self, count: int) -> str:
        number: str = self.called["number"][str(count)]
        return number

    def measure(self, name: str) -> str:
        """The word between a number and this noun; nothing in English."""
        return self._measures.get(name, self._parts["measure"])

    def names(self, name: str, colour: str | None = None, count: int = 1) -> dict[str, str]:
        """What a question about an object is filled with."""
        return {
            **self.forms(count),
            "nouns": self.noun(name, colour, 2),
            "a": self.a_noun(name, colour),
            "the": self.the(name, colour, count),
            "shape_name": self.noun(name),
            "colour": self.called["colour"][colour] if colour else "",
            "measure": self.measure(name),
        }

    def forms(self, count: int) -> dict[str, str]:
        """The other words that change with the number of things: it, does, ..."""
        return self._forms["one" if count == 1 else "several"]

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
            "number": self.number(scene.count),
            "measure": self.measure(scene.object),
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

    def video_answer(self, kind: str, video: Cartoon) -> str:
        """What the whole video shows, as the answer to a question of this kind."""
        if kind == "words":
            return self._words_of(video.scenes)
        if kind == "describe":
            return self._description(video)
        number = len(video.scenes)
        things = self._parts["then"].join(self._who(scene) for scene in video.scenes)
        names = {"number": self.number(number), "things": things, **self.forms(number)}
        return self.answer(kind, duration_s=video.duration_s, **names)

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

    # ---- parts of answers ----------------------------------------------------------------------

    def _part(self, key: str, **names: str) -> str:
        return self._parts[key].format(**names)

    def _who(self, scene: Scene) -> str:
        """Everything in the scene: three cats; a cake and a butterfly."""
        main = self.a_noun(scene.object, scene.colour, scene.count)
        if not scene.second_object:
            return main
        return self._part("who", main=main, second=self.a_noun(scene.second_object))

    def _words_of(self, scenes: Sequence[Scene]) -> str:
        quotes = [self._part("quote", word=scene.word) for scene in scenes if scene.word]
        if not quotes:
            return self.answer("no_text")
        return self.answer("words", words=self._parts["then"].join(quotes))

    def _clause(self, scene: Scene) -> str:
        """a cat moves to the left above a bee on a blue background, with the text "LUCKY"."""
        beside = text = ""
        if scene.second_object and scene.relation:
            relation = self.called["relation"][scene.relation]
            key = "follows" if scene.relation == "follows" else "beside"
            beside = self._part(key, relation=relation, a=self.a_noun(scene.second_object))
        if scene.word:
            text = self._part("text", quote=self._part("quote", word=scene.word))
        return self._part(
            "clause",
            main=self.a_noun(scene.object, scene.colour, scene.count),
            verb=self.verb(scene.motion, scene.count),
            where=self.called["where"][scene.background],
            beside=beside,
            text=text,
        )

    def _description(self, video: Cartoon) -> str:
        keys = ["first_scene", *["next_scene"] * (len(video.scenes) - 2), "last_scene"]
        keys = keys if len(video.scenes) > 1 else ["only_scene"]
        told = zip(keys, video.scenes, strict=True)
        sentences = [self.answer(key, clause=self._clause(scene)) for key, scene in told]
        return self._parts["next_sentence"].join(sentences)


PHRASES: dict[str, Phrases] = {name: Phrases(FOLDER / f"{name}.toml") for name in ("en", "zh")}
ENGLISH, CHINESE = PHRASES["en"], PHRASES["zh"]
