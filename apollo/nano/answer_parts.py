"""What an answer is made of: the fact it tells, what follows from it, and the clips of each part.

In:  a Turn and its Cartoon.  Out: a plainer Turn, and parts with the clips they are about.
Odd: "It moves to the left, so no." and "It moves to the left (B)" tell a fact first, in the words
of an open question's answer; the conclusion comes after it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from apollo.cartoon.talk.questions import Turn
from apollo.cartoon.world.scenes import CLIP_DURATION_S, Cartoon, Scene

BETWEEN_TIMES = re.compile(r" to |\u5230")
BETWEEN_NAMES = re.compile(r"(?<=seconds), |\uff0c")

# kind -> what lies between what is said of one scene and of the next
PARTS = {
    "describe": re.compile(r"(?<=\.) |(?<=\u3002)(?=.)"),
    "list": re.compile(r", then |\uff0c\u7136\u540e\u662f"),
    "word": re.compile(r", then |\uff0c\u7136\u540e\u662f"),
}
TOLD_FIRST = re.compile(r" \((?=[A-Z]\)$)|, so (?=yes\.$|no\.$)|\uff0c\u6240\u4ee5(?=.{2}\u3002$)")

Clips = tuple[int, int]  # first and last; clips count from 1


class Part(NamedTuple):
    start: int  # the character of the answer at which it begins
    clips: Clips
    scene: Scene


class Fact(NamedTuple):
    """What an answer tells first: a turn with the open question's kind, and where the fact ends.

    The conclusion begins at character `concluded`.
    """

    turn: Turn
    end: int
    concluded: int

    @property
    def concludes(self) -> bool:
        return self.concluded < len(self.turn.answer)


def told_fact(turn: Turn) -> Fact:
    """The whole answer, or what comes before its conclusion."""
    found = TOLD_FIRST.search(turn.answer) if turn.kind in ("choice", "yesno") else None
    if found is None:
        return Fact(turn, len(turn.answer), len(turn.answer))
    kind, _, subject = turn.subject.partition(" ")
    return Fact(turn._replace(kind=kind, subject=subject), found.start(), found.end())


def clips_of(scene: Scene, video: Cartoon) -> Clips:
    """The first and the last clip in which a scene's objects are seen."""
    start_s, end_s = next((s, e) for s, e, other in video.seen_spans() if other == scene)
    return round(start_s / CLIP_DURATION_S) + 1, round(end_s / CLIP_DURATION_S)


def asked_scene(turn: Turn, video: Cartoon) -> Scene | None:
    """The scene that the question names: for "what comes next?" the one before the answer's."""
    if turn.about is None or turn.kind not in ("next", "before"):
        return turn.about
    step = -1 if turn.kind == "next" else 1
    return video.scenes[video.scenes.index(turn.about) + step]


def parts_of(turn: Turn, video: Cartoon, other: Scene | None = None) -> list[Part]:
    """The parts of a fact, each about other clips.

    `other`: the second scene of a question about the order of two.
    """
    about = turn.about
    if turn.kind == "at" and about is not None:
        clip = int(turn.subject) // int(CLIP_DURATION_S) + 1
        return [Part(0, (clip, clip), about)]
    if about is not None:
        first, last = clips_of(about, video)
        if turn.kind == "order" and other is not None:
            border = BETWEEN_NAMES.search(turn.answer)
            assert border is not None, turn.answer
            then = clips_of(other, video)[0]
            return [Part(0, (first, first), about), Part(border.start(), (then, then), other)]
        border = BETWEEN_TIMES.search(turn.answer) if turn.kind == "when" else None
        if border is not None:  # the beginning is in the first clip, the end in the last one
            return [Part(0, (first, first), about), Part(border.start(), (last, last), about)]
        return [Part(0, (first, last), about)]
    if turn.kind not in PARTS:
        return []
    starts = [0, *(found.start() for found in PARTS[turn.kind].finditer(turn.answer))]
    told = [scene for scene in video.scenes if turn.kind != "word" or scene.word]
    if len(starts) != len(told):
        return []
    return [
        Part(start, clips_of(scene, video), scene)
        for start, scene in zip(starts, told, strict=True)
    ]
