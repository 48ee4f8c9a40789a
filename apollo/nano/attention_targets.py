"""Attention targets: to which tokens each token of a row should attend.

In:  a row, its conversations and their video.  Out: the row, with `targets`, `clips` and `slots`.
Odd: an answer is a look-up in steps. A first head finds what the question names, a second the clips
where it is, a third the visual token there that says the next word. A conclusion ("so no.", "(B)")
has the fact that was told as its target, and the same words in the question; where the question
claims something else there are none, and its target is NOWHERE.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from apollo.cartoon.draw.labels import facts_of_clip, facts_of_scene
from apollo.cartoon.talk.phrases import PHRASES
from apollo.cartoon.talk.questions import Turn
from apollo.cartoon.world.scenes import CLIP_DURATION_S, Cartoon, Scene
from apollo.nano.answer_parts import Fact, asked_scene, clips_of, parts_of, told_fact
from apollo.nano.attention_loss import (
    BEFORE,
    BELONGS,
    CLAIM,
    CLIP,
    HEADS,
    NOWHERE,
    READ,
    SAME,
    SLOT,
)
from apollo.nano.row_reader import RowReader, Span, span_of
from apollo.nano.rows import SHARED, BranchedRow, Target
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

NUMBER = re.compile(r"\d+")
DENIALS = tuple(say.answer("no") for say in PHRASES.values())
NEXT_BY_NAME = ("list", "describe")  # what comes next is found by what was named last

Token = tuple[int, int, int]  # its place in the row; first character in the answer, and the end


def add_targets(
    row: BranchedRow, chats: Sequence[Sequence[Turn]], video: Cartoon, tokenizer: Any
) -> None:
    """Fills in `targets`, `clips` and `slots` of a row with these conversations."""
    targets = _Targets(row, video, tokenizer)
    targets.of_clips()
    answers = iter(targets.read.answers())
    chat_from = row.branches.count(SHARED)
    for chat in chats:
        for turn in chat:
            places = next(answers)
            targets.of_answer(turn, places, chat_from)
        chat_from = places[-1] + 1


class _Targets:
    """Adds to a row's targets; a method for each part of a conversation."""

    def __init__(self, row: BranchedRow, video: Cartoon, tokenizer: Any) -> None:
        self.row, self.video = row, video
        self.read = RowReader(row, video.num_clips, video.duration_s, tokenizer)

    def add(self, head: str, query: int, target: Span, slots: int = 0) -> None:
        self.row.targets.append(Target(*HEADS[head], query, *target, slots))

    def of_clips(self) -> None:
        """A clip's: its time, and the clip before; for a scene's first clip the scene before."""
        clips = self.read.clips
        earlier = {clip: clip - 1 for clip in clips if clip > 1}
        seen = [clips_of(scene, self.video) for scene in self.video.scenes]
        earlier |= {then[0]: now[1] for now, then in zip(seen, seen[1:], strict=False)}
        for clip, (first, last) in clips.items():
            before = clips[earlier[clip]] if clip in earlier else NOWHERE
            time = self.read.times[clip]
            for place in range(first, last + 1):
                self.row.clips[place] = clip
                self.row.slots[place] = 1 << place - first
                self.add(BELONGS, place, (time[0], time[-1]))
                self.add(BEFORE, place, before)

    def of_answer(self, turn: Turn, places: Sequence[int], chat_from: int) -> None:
        """An answer's, whose tokens are at these places: the clips that it is about, and more.

        `chat_from` is where its conversation begins after the question's row is shared.
        """
        asked_at = places[0] - 1  # where the answer's first token is predicted
        fact = told_fact(turn)
        named = self._named(fact.turn, chat_from, asked_at)
        if named is not None:
            self.add(READ, asked_at, named)
        if fact.turn.kind == "yesno":
            self._yes_or_no(fact.turn, asked_at, named)
            return
        if turn.absent:
            self.add(CLIP, asked_at, NOWHERE)
            self.add(SLOT, asked_at, NOWHERE)
            return
        offsets = self.read.answer_offsets(turn.answer)
        tokens = [(place, start, end) for place, (start, end) in zip(places, offsets, strict=True)]
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
            said, query = turn.answer[start:end], place - 1  # where it is predicted
            if said.isdigit():
                self._tell_time(query, turn.answer, start)
            if not parts:
                continue
            part = [part for part in parts if part.start <= start][-1]
            if second is not None and part is parts[-1]:
                named = (second[0], second[0])
            if named is not None and start:
                self.add(READ, query, named)
            clips = self.read.clip_span(part.clips)
            if turn.kind == "list" and start == fact.end - 1:  # nothing comes next
                self.add(CLIP, query, NOWHERE)
            elif turn.kind == "before" and asked is not None:  # only the later clip knows of both
                first = clips_of(asked, self.video)[0]
                span = self.read.clip_span((first, first))
                self.add(CLIP, query, span, self._key(asked, named))
            else:
                self.add(CLIP, query, clips, self._key(part.scene, named))
            if turn.kind in NEXT_BY_NAME and key_of(part.scene, said) == SLOT_BIT["object"]:
                named = (place, place)
            if said.isdigit():
                continue
            facts = facts_of_clip(self.video, part.clips[0] - 1)
            slots = slots_saying(facts, said, turn.answer[part.start : start])
            if start == 0:
                slots = slots or begins_by
            if start == 0 or slots:
                self.add(SLOT, query, clips, slots)

    def _conclude(self, turn: Turn, fact: Fact, tokens: Sequence[Token]) -> None:
        """What follows from a fact: the fact's words, and the same in the question."""
        asked_at = tokens[0][0] - 1
        query = next(place for place, _, end in tokens if end > fact.concluded) - 1
        told = [token for token in tokens if token[1] < fact.end]
        if turn.kind == "choice":
            options = list(self.read.options(asked_at, turn.question.count("\n") - 1))
            self.add(READ, query, (told[0][0], told[-1][0]))
            self.add(SAME, query, options[ord(turn.answer[fact.concluded]) - ord("A")])
            for letter, last in options:
                for place in range(letter + 1, last + 1):
                    self.add(BELONGS, place, (letter, letter))
            return
        if fact.turn.kind == "order":
            digits = [place for place, start, end in told if turn.answer[start:end].isdigit()]
            gap = next(i for i in range(1, len(digits)) if digits[i] - digits[i - 1] > 1)
            self.add(READ, query, (digits[0], digits[gap - 1]))
            self.add(CLAIM, query, (digits[gap], digits[-1]))
            return
        claim = claimed(turn.subject)
        assert claim is not None and turn.about is not None, turn
        slot, value = claim
        true = facts_of_scene(turn.about)[slot]
        words = span_of(
            place for place, start, end in told if says_claim(slot, true, turn.answer[start:end])
        )
        if words:
            self.add(READ, query, words)
        says = self._says_claim(turn, asked_at, claim)
        if says:
            self.add(CLAIM, query, says)
            self.add(SAME, query, says if value == true else NOWHERE)

    def _yes_or_no(self, turn: Turn, asked_at: int, named: Span | None) -> None:
        """First the thing, then what is claimed of it; what is not so, is nowhere."""
        if turn.absent:  # there is no such thing
            self.add(CLIP, asked_at, NOWHERE)
            self.add(SLOT, asked_at, NOWHERE)
        if turn.about is None:
            return
        clips = self.read.clip_span(clips_of(turn.about, self.video))
        key = self._key(turn.about, named)
        self.add(CLIP, asked_at, clips, key)
        claim = claimed(turn.subject)
        if claim is None:
            self.add(SLOT, asked_at, clips, key)
            return
        says = self._says_claim(turn, asked_at, claim)
        if says:
            self.add(CLAIM, asked_at, says)
        if turn.answer in DENIALS:
            self.add(SLOT, asked_at, NOWHERE)
        else:
            self.add(SLOT, asked_at, clips, SLOT_BIT[claim[0]])

    def _says_claim(self, turn: Turn, asked_at: int, claim: tuple[str, int]) -> Span | None:
        """The words of the question that say what it claims."""
        question = self.read.question(turn.question, asked_at)
        return span_of(place for place in question if says_claim(*claim, self.read.text(place)))

    def _second_name(self, turn: Turn, asked_at: int) -> tuple[int, Scene] | None:
        """The place of the later one of two things whose order is asked, and its scene."""
        for place in self.read.question(turn.question, asked_at):
            for scene in self.video.scenes:
                if scene != turn.about and key_of(scene, self.read.text(place)):
                    return place, scene
        return None

    def _named(self, turn: Turn, chat_from: int, asked_at: int) -> Span | None:
        """The words that name a thing or a time in the question, or earlier what "it" means."""
        text = self.read.text
        question = self.read.question(turn.question, asked_at)
        if turn.kind == "at":
            return span_of(place for place in question if text(place).strip().isdigit())
        names = [place for place in question if is_name(text(place))]
        if names:
            return names[0] - is_colour(text(names[0] - 1)), names[0]
        asked = asked_scene(turn, self.video)
        if asked is None:
            return None
        earlier = [place for place in range(chat_from, question[0]) if key_of(asked, text(place))]
        return (earlier[-1], earlier[-1]) if earlier else None

    def _key(self, scene: Scene, named: Span | None) -> int:
        """By which slot the named thing is found in a scene's clips; 0 if by none."""
        return 0 if named is None else key_of(scene, self.read.text(named[1]))

    def _tell_time(self, query: int, answer: str, start: int) -> None:
        """A digit's: the same digit of the time at which a clip begins, or the video ends."""
        number = next(
            found for found in NUMBER.finditer(answer) if found.start() <= start < found.end()
        )
        clip, rest = divmod(int(number[0]), int(CLIP_DURATION_S))
        if not rest:
            digit = self.read.times[clip + 1][start - number.start()]
            self.add(SLOT, query, (digit, digit))
