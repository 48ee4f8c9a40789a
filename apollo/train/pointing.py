"""What each token of a row should look at, from what is known of the video and the questions.

In:  a row, its conversations and their video.  Out: the row, with `looks`.
Odd: a look-up has steps. What the question names is read, then found among the clips; the word to
be said is in a slot of what was found. A claim is looked for in its slot, and is nowhere if wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.prompt import IM_END, IM_START, tokenize
from apollo.train.cartoon import phrases, phrases_zh
from apollo.train.cartoon.labels import facts_of_clip
from apollo.train.cartoon.questions import Turn
from apollo.train.cartoon.world import CLIP_DURATION_S, Scene, Video
from apollo.train.looking import BEFORE, BELONGS, CLAIM, CLIP, EYES, NOWHERE, OPTION, READ, SLOT
from apollo.train.rows import SHARED, Look, Row
from apollo.train.slot_texts import (
    SLOT_BIT,
    SLOT_OF_KIND,
    SLOT_OF_OPTIONS,
    claimed,
    is_colour,
    is_name,
    key_of,
    says_claim,
    slots_saying,
)

AFTER_QUESTION = f"{IM_END}\n{IM_START}assistant\n"
BETWEEN_TIMES = re.compile(r" to |\u5230")
NUMBER = re.compile(r"\d+")

# kind -> what lies between what is said of one scene and of the next
PARTS = {
    "describe": re.compile(r"(?<=\.) |(?<=\u3002)(?=.)"),
    "list": re.compile(r", then |\uff0c\u7136\u540e\u662f"),
    "word": re.compile(r", then |\uff0c\u7136\u540e\u662f"),
}

DENIALS = (phrases.NO, phrases_zh.NO)

Span = tuple[int, int]


def _slot_of(turn: Turn) -> int:
    """Bit of the slot that decides how an answer begins, or which option is right."""
    kind = turn.kind
    if kind == "choice":
        kind = turn.subject.split()[0]
        kind = SLOT_OF_OPTIONS.get(kind, SLOT_OF_KIND.get(kind, ""))
        return SLOT_BIT.get(kind, 0)
    return SLOT_BIT.get(SLOT_OF_KIND.get(kind, ""), 0)


def clips_of_answer(turn: Turn, video: Video) -> list[tuple[int, int, int]]:
    """(first character, first clip, last clip) of each part of an answer; clips count from 1."""
    if turn.kind == "at" and turn.about is not None:
        clip = int(turn.subject) // int(CLIP_DURATION_S) + 1
        return [(0, clip, clip)]
    if turn.about is not None:
        first, last = _clips_of(turn.about, video)
        border = BETWEEN_TIMES.search(turn.answer) if turn.kind == "when" else None
        if border is not None:  # the beginning is in the first clip, the end in the last one
            return [(0, first, first), (border.start(), last, last)]
        return [(0, first, last)]
    if turn.kind not in PARTS:
        return []
    starts = [0, *(found.start() for found in PARTS[turn.kind].finditer(turn.answer))]
    told = [scene for scene in video.scenes if turn.kind != "word" or scene.word]
    if len(starts) != len(told):
        return []
    clips = [_clips_of(scene, video) for scene in told]
    return [(start, *span) for start, span in zip(starts, clips, strict=True)]


def _clips_of(scene: Scene, video: Video) -> Span:
    """The first and the last clip in which a scene's objects are seen."""
    start_s, end_s = next((s, e) for s, e, other in video.seen_spans() if other == scene)
    return round(start_s / CLIP_DURATION_S) + 1, round(end_s / CLIP_DURATION_S)


class _Pointer:
    """Fills in what a row's tokens look at."""

    def __init__(self, row: Row, video: Video, tokenizer: Any) -> None:
        self.row, self.video, self.tokenizer = row, video, tokenizer
        slots = [i for i, token_id in enumerate(row.ids) if token_id == X_TOKEN_INDEX]
        tokens_per_clip = len(slots) // video.num_clips
        for place, i in enumerate(slots):
            row.clips[i] = place // tokens_per_clip + 1
            row.slots[i] = 1 << place % tokens_per_clip
        # clip -> the places of its visual tokens; clips count from 1
        starts = slots[::tokens_per_clip]
        self.clips: dict[int, Span] = {
            n: (start, start + tokens_per_clip - 1) for n, start in enumerate(starts, 1)
        }
        self.times = self._times()

    def _times(self) -> dict[int, list[int]]:
        """Clip -> the places of the digits that tell its first second, as in "12.0-13.5 seconds".

        One clip more than there are: the end of the video, from the text before all clips.
        """
        found: dict[int, list[int]] = {}
        for clip, (first_slot, _) in self.clips.items():
            line_ends = (i for i in range(first_slot - 1, 0, -1) if "\n" in self._text(i))
            line = range(next(line_ends) + 1, first_slot)
            found[clip] = list(itertools.takewhile(lambda i: self._text(i).isdigit(), line))
        unit = next(i for i in range(first_slot) if "[" in self._text(i))  # after 0:00:12
        end = next(i for i in range(unit, 0, -1) if self._text(i).isdigit()) + 1
        found[len(self.clips) + 1] = list(range(end - len(f"{self.video.duration_s:.0f}"), end))
        return found

    def _text(self, place: int) -> str:
        token_id = self.row.ids[place]
        text: str = self.tokenizer.decode([token_id]) if token_id >= 0 else ""
        return text

    def look(self, eye: str, place: int, target: Span, slots: int = 0) -> None:
        self.row.looks.append(Look(*EYES[eye], place, *target, slots))

    def places(self, first_clip: int, last_clip: int) -> Span:
        return self.clips[first_clip][0], self.clips[last_clip][1]

    def clips_look(self) -> None:
        """A clip looks at its time, and at the clip before; a scene's first at the scene before."""
        earlier = {clip: clip - 1 for clip in self.clips if clip > 1}
        seen = [_clips_of(scene, self.video) for scene in self.video.scenes]
        earlier |= {then[0]: now[1] for now, then in zip(seen, seen[1:], strict=False)}
        for clip, (first, last) in self.clips.items():
            target = self.clips[earlier[clip]] if clip in earlier else NOWHERE
            time = self.times[clip]
            for place in range(first, last + 1):
                self.look(BELONGS, place, (time[0], time[-1]))
                self.look(BEFORE, place, target)

    def answer(self, turn: Turn, places: Sequence[int], chat_from: int) -> None:
        """An answer, whose tokens are at these places, looks at the clips it is about.

        `chat_from` is where its conversation begins, `places` behind the question.
        """
        asked_at = places[0] - 1  # where the answer's first token is guessed
        if turn.kind == "choice":
            self._option(turn, asked_at)
        named = self._named(turn, chat_from, asked_at)
        if named is not None:
            self.look(READ, asked_at, named)
        if turn.kind == "yesno":
            self._yes_or_no(turn, asked_at, named)
            return
        if turn.absent:
            self.look(CLIP, asked_at, NOWHERE)
            self.look(SLOT, asked_at, NOWHERE)
            return
        parts = clips_of_answer(turn, self.video)
        if not parts and turn.kind != "duration":
            return
        encoded = self.tokenizer(
            turn.answer + IM_END, add_special_tokens=False, return_offsets_mapping=True
        )
        begins_by = _slot_of(turn)
        key = self._key(turn, named)
        for i, (start, end) in zip(places, encoded["offset_mapping"], strict=True):
            said = turn.answer[start:end]
            if said.isdigit():
                self._tell_time(i - 1, turn.answer, start)
            if not parts:
                continue
            part, first, last = [part for part in parts if part[0] <= start][-1]
            clips = self.places(first, last)
            self.look(CLIP, i - 1, clips, key)
            if named is not None and start:
                self.look(READ, i - 1, named)
            if said.isdigit():
                continue
            facts = facts_of_clip(self.video, first - 1)
            slots = slots_saying(facts, said, turn.answer[part:start])
            if start == 0:
                slots = slots or begins_by
            if start == 0 or slots:
                self.look(SLOT, i - 1, clips, slots)

    def _yes_or_no(self, turn: Turn, asked_at: int, named: Span | None) -> None:
        """First the thing is looked for, then what is claimed of it; what is not so, is nowhere."""
        if turn.absent:  # there is no such thing
            self.look(CLIP, asked_at, NOWHERE)
            self.look(SLOT, asked_at, NOWHERE)
        if turn.about is None:
            return
        clips = self.places(*_clips_of(turn.about, self.video))
        key = self._key(turn, named)
        self.look(CLIP, asked_at, clips, key)
        claim = claimed(turn.subject)
        if claim is None:
            self._second_name(turn, asked_at, clips, key)
            return
        slot, value = claim
        says = [i for i in self._question(turn, asked_at) if says_claim(slot, value, self._text(i))]
        if says:
            self.look(CLAIM, asked_at, (says[0], says[-1]))
        if turn.answer in DENIALS:
            self.look(SLOT, asked_at, NOWHERE)
        else:
            self.look(SLOT, asked_at, clips, SLOT_BIT[slot])

    def _second_name(self, turn: Turn, asked_at: int, clips: Span, key: int) -> None:
        """The later one of two things whose order is asked; without one, the first again."""
        for place in self._question(turn, asked_at):
            for scene in self.video.scenes:
                other = key_of(scene, self._text(place))
                if scene != turn.about and other:
                    self.look(CLAIM, asked_at, (place, place))
                    self.look(SLOT, asked_at, self.places(*_clips_of(scene, self.video)), other)
                    return
        self.look(SLOT, asked_at, clips, key)

    def _question(self, turn: Turn, asked_at: int) -> range:
        """The places of the question's first line: options do not belong to it."""
        line, question, rest = (
            len(tokenize(text, self.tokenizer))
            for text in (turn.question.partition("\n")[0], turn.question, AFTER_QUESTION)
        )
        begin = asked_at + 1 - rest - question
        return range(begin, begin + line)

    def _named(self, turn: Turn, chat_from: int, asked_at: int) -> Span | None:
        """The words that name a thing in the question, or earlier what "it" means."""
        question = self._question(turn, asked_at)
        names = [i for i in question if is_name(self._text(i))]
        if names:
            place = names[0]
            before = self._text(place - 1)
            return (place - is_colour(before), place)
        earlier = range(chat_from, question[0])
        if turn.about is not None:
            names = [i for i in earlier if key_of(turn.about, self._text(i))]
        return (names[-1], names[-1]) if names else None

    def _key(self, turn: Turn, named: Span | None) -> int:
        """By which slot the named thing is found in the clips; 0 if by none."""
        if named is None or turn.about is None:
            return 0
        return key_of(turn.about, self._text(named[1]))

    def _tell_time(self, place: int, answer: str, at: int) -> None:
        """A digit looks at the same digit of the time at which a clip begins, or the video ends."""
        number = next(
            found for found in NUMBER.finditer(answer) if found.start() <= at < found.end()
        )
        clip, rest = divmod(int(number[0]), int(CLIP_DURATION_S))
        if not rest:
            digit = self.times[clip + 1][at - number.start()]
            self.look(SLOT, place, (digit, digit))

    def _option(self, turn: Turn, asked_at: int) -> None:
        """The letter looks at its option, whose words look at their letter."""
        lines = list(self._lines(asked_at, turn.question.count("\n") - 1))
        self.look(OPTION, asked_at, lines[ord(turn.answer) - ord("A")])
        for letter, last in lines:
            for place in range(letter + 1, last + 1):
                self.look(BELONGS, place, (letter, letter))

    def _lines(self, asked_at: int, number: int) -> Iterator[Span]:
        """The places of each option; after the last one come three line ends."""
        texts = self.tokenizer.convert_ids_to_tokens
        line_end = self.tokenizer("\n", add_special_tokens=False)["input_ids"][-1]
        mark = texts(line_end)[-1]
        places = range(asked_at, 0, -1)
        ends = [i for i in places if self.row.ids[i] >= 0 and mark in texts(self.row.ids[i])]
        for option in range(number):
            last = 2 + number - 1 - option
            yield ends[last + 1] + 1, ends[last]


def point(row: Row, chats: Sequence[Sequence[Turn]], video: Video, tokenizer: Any) -> None:
    """Fills in what to look at."""
    pointer = _Pointer(row, video, tokenizer)
    pointer.clips_look()
    answers = iter(_answers(row))
    chat_from = row.branches.count(SHARED)
    for chat in chats:
        for turn in chat:
            places = next(answers)
            pointer.answer(turn, places, chat_from)
        chat_from = places[-1] + 1


def _answers(row: Row) -> list[list[int]]:
    """The places of each answer's tokens, answer after answer."""
    found: list[list[int]] = []
    for i, label in enumerate(row.labels):
        if label == IGNORE_INDEX:
            continue
        if i == 0 or row.labels[i - 1] == IGNORE_INDEX:
            found.append([])
        found[-1].append(i)
    return found
