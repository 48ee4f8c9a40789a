"""What each token of a row should look at, from what is known of the video and the questions.

In:  a row, its conversations and their video.  Out: the row, with `looks`.
Odd: a look-up has steps. What the question names is read, then found among the clips; the word to
be said is in a slot of what was found. What then follows is told by the words said: the same is
looked for in the question, and is nowhere if what it claims is wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from apollo.cartoon.draw.labels import facts_of_clip, facts_of_scene
from apollo.cartoon.talk.phrases import PHRASES
from apollo.cartoon.talk.questions import Turn
from apollo.cartoon.world.scenes import CLIP_DURATION_S, Scene, Video
from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.model.prompt import IM_END, IM_START, tokenize
from apollo.nano.answer_parts import Fact, asked_scene, clips_of, parts_of, told_fact
from apollo.nano.attention_loss import BEFORE, BELONGS, CLAIM, CLIP, EYES, NOWHERE, READ, SAME, SLOT
from apollo.nano.slot_texts import (
    SLOT_BIT,
    SLOT_OF_KIND,
    claimed,
    is_colour,
    is_name,
    key_of,
    says_claim,
    slots_saying,
)
from apollo.train.rows import SHARED, Look, Row

AFTER_QUESTION = f"{IM_END}\n{IM_START}assistant\n"
NUMBER = re.compile(r"\d+")
DENIALS = tuple(say.answer("no") for say in PHRASES.values())
NEXT_BY_NAME = ("list", "describe")  # what comes next is found by what was named last

Span = tuple[int, int]
Token = tuple[int, int, int]  # its place in the row; first character in the answer, and the end


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
        seen = [clips_of(scene, self.video) for scene in self.video.scenes]
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
        fact = told_fact(turn)
        named = self._named(fact.turn, chat_from, asked_at)
        if named is not None:
            self.look(READ, asked_at, named)
        if fact.turn.kind == "yesno":
            self._yes_or_no(fact.turn, asked_at, named)
            return
        if turn.absent:
            self.look(CLIP, asked_at, NOWHERE)
            self.look(SLOT, asked_at, NOWHERE)
            return
        encoded = self.tokenizer(
            turn.answer + IM_END, add_special_tokens=False, return_offsets_mapping=True
        )
        tokens = [
            (place, start, end)
            for place, (start, end) in zip(places, encoded["offset_mapping"], strict=True)
        ]
        self._tell(fact, [token for token in tokens if token[1] < fact.end], named)
        if fact.concludes:
            self._conclude(turn, fact, tokens)

    def _tell(self, fact: Fact, tokens: Sequence[Token], named: Span | None) -> None:
        """The words of a fact, one after the other."""
        turn, asked_at = fact.turn, tokens[0][0] - 1
        second = self._second_name(turn, asked_at) if turn.kind == "order" else None
        parts = parts_of(turn, self.video, second[1] if second else None)
        begins_by = SLOT_BIT.get(SLOT_OF_KIND.get(turn.kind, ""), 0)
        asked = asked_scene(turn, self.video)
        for place, start, end in tokens:
            said, at = turn.answer[start:end], place - 1  # where it is guessed
            if said.isdigit():
                self._tell_time(at, turn.answer, start)
            if not parts:
                continue
            part = [part for part in parts if part.start <= start][-1]
            if second is not None and part is parts[-1]:
                named = (second[0], second[0])
            if named is not None and start:
                self.look(READ, at, named)
            clips = self.places(*part.clips)
            if turn.kind == "list" and start == fact.end - 1:  # nothing comes next
                self.look(CLIP, at, NOWHERE)
            elif turn.kind == "before" and asked is not None:  # only the later clip knows of both
                first = clips_of(asked, self.video)[0]
                self.look(CLIP, at, self.places(first, first), self._key(asked, named))
            else:
                self.look(CLIP, at, clips, self._key(part.scene, named))
            if turn.kind in NEXT_BY_NAME and key_of(part.scene, said) == SLOT_BIT["object"]:
                named = (place, place)
            if said.isdigit():
                continue
            facts = facts_of_clip(self.video, part.clips[0] - 1)
            slots = slots_saying(facts, said, turn.answer[part.start : start])
            if start == 0:
                slots = slots or begins_by
            if start == 0 or slots:
                self.look(SLOT, at, clips, slots)

    def _conclude(self, turn: Turn, fact: Fact, tokens: Sequence[Token]) -> None:
        """What follows from a fact looks at its words, and for the same in the question."""
        asked_at = tokens[0][0] - 1
        at = next(place for place, _, end in tokens if end > fact.concluded) - 1
        told = [token for token in tokens if token[1] < fact.end]
        if turn.kind == "choice":
            lines = list(self._lines(asked_at, turn.question.count("\n") - 1))
            self.look(READ, at, (told[0][0], told[-1][0]))
            self.look(SAME, at, lines[ord(turn.answer[fact.concluded]) - ord("A")])
            for letter, last in lines:
                for place in range(letter + 1, last + 1):
                    self.look(BELONGS, place, (letter, letter))
            return
        if fact.turn.kind == "order":
            digits = [place for place, start, end in told if turn.answer[start:end].isdigit()]
            gap = next(i for i in range(1, len(digits)) if digits[i] - digits[i - 1] > 1)
            self.look(READ, at, (digits[0], digits[gap - 1]))
            self.look(CLAIM, at, (digits[gap], digits[-1]))
            return
        claim = claimed(turn.subject)
        assert claim is not None and turn.about is not None, turn
        slot, value = claim
        true = facts_of_scene(turn.about)[slot]
        words = [
            place for place, start, end in told if says_claim(slot, true, turn.answer[start:end])
        ]
        if words:
            self.look(READ, at, (words[0], words[-1]))
        says = [i for i in self._question(turn, asked_at) if says_claim(slot, value, self._text(i))]
        if says:
            self.look(CLAIM, at, (says[0], says[-1]))
            self.look(SAME, at, (says[0], says[-1]) if value == true else NOWHERE)

    def _yes_or_no(self, turn: Turn, asked_at: int, named: Span | None) -> None:
        """First the thing is looked for, then what is claimed of it; what is not so, is nowhere."""
        if turn.absent:  # there is no such thing
            self.look(CLIP, asked_at, NOWHERE)
            self.look(SLOT, asked_at, NOWHERE)
        if turn.about is None:
            return
        clips = self.places(*clips_of(turn.about, self.video))
        key = self._key(turn.about, named)
        self.look(CLIP, asked_at, clips, key)
        claim = claimed(turn.subject)
        if claim is None:
            self.look(SLOT, asked_at, clips, key)
            return
        slot, value = claim
        says = [i for i in self._question(turn, asked_at) if says_claim(slot, value, self._text(i))]
        if says:
            self.look(CLAIM, asked_at, (says[0], says[-1]))
        if turn.answer in DENIALS:
            self.look(SLOT, asked_at, NOWHERE)
        else:
            self.look(SLOT, asked_at, clips, SLOT_BIT[slot])

    def _second_name(self, turn: Turn, asked_at: int) -> tuple[int, Scene] | None:
        """The place of the later one of two things whose order is asked, and its scene."""
        for place in self._question(turn, asked_at):
            for scene in self.video.scenes:
                if scene != turn.about and key_of(scene, self._text(place)):
                    return place, scene
        return None

    def _question(self, turn: Turn, asked_at: int) -> range:
        """The places of the question's first line: options do not belong to it."""
        line, question, rest = (
            len(tokenize(text, self.tokenizer))
            for text in (turn.question.partition("\n")[0], turn.question, AFTER_QUESTION)
        )
        begin = asked_at + 1 - rest - question
        return range(begin, begin + line)

    def _named(self, turn: Turn, chat_from: int, asked_at: int) -> Span | None:
        """The words that name a thing or a time in the question, or earlier what "it" means."""
        question = self._question(turn, asked_at)
        if turn.kind == "at":
            digits = [i for i in question if self._text(i).strip().isdigit()]
            return (digits[0], digits[-1]) if digits else None
        names = [i for i in question if is_name(self._text(i))]
        if names:
            place = names[0]
            before = self._text(place - 1)
            return (place - is_colour(before), place)
        earlier = range(chat_from, question[0])
        asked = asked_scene(turn, self.video)
        if asked is not None:
            names = [i for i in earlier if key_of(asked, self._text(i))]
        return (names[-1], names[-1]) if names else None

    def _key(self, scene: Scene, named: Span | None) -> int:
        """By which slot the named thing is found in a scene's clips; 0 if by none."""
        return 0 if named is None else key_of(scene, self._text(named[1]))

    def _tell_time(self, place: int, answer: str, at: int) -> None:
        """A digit looks at the same digit of the time at which a clip begins, or the video ends."""
        number = next(
            found for found in NUMBER.finditer(answer) if found.start() <= at < found.end()
        )
        clip, rest = divmod(int(number[0]), int(CLIP_DURATION_S))
        if not rest:
            digit = self.times[clip + 1][at - number.start()]
            self.look(SLOT, place, (digit, digit))

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
