"""Conversations to training rows: ids with slots, and labels on the answers only.

The text comes from the same prompt code that inference uses, so a model never sees in use what it
did not see in training.

In:  conversations as (question, answer) pairs.  Out: Rows, and a batch of them as tensors.
Odd: a row may hold several conversations about one video. They share its visual tokens and do not
see each other: each is at the positions it would have alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from apollo.constants import IGNORE_INDEX
from apollo.model.prompt import IM_END, Message, chatml, tokenize, video_block
from apollo.video.clips import Clip

SHARED, PADDING = 0, -1  # branches of a row; its conversations count from 1
FRAME_STEP_S = 0.5


def clips_block(num_clips: int, clip_duration_s: float, tokens_per_clip: int) -> str:
    """The visual block of a video of whole clips, as the loader would write it."""
    last_s = clip_duration_s - FRAME_STEP_S
    starts_s = [i * clip_duration_s for i in range(num_clips)]
    return video_block(
        [Clip((), start_s, start_s + last_s) for start_s in starts_s],
        duration_s=num_clips * clip_duration_s,
        clip_duration_s=clip_duration_s,
        tokens_per_clip=tokens_per_clip,
    )


def chat_row(
    turns: Sequence[tuple[str, str]],
    block: str | None,
    tokenizer: Any,
    system_prompt: str | None = None,
) -> tuple[list[int], list[int]]:
    """(question, answer) pairs -> ids (S,) and labels (S,): answers and their end count."""
    ids: list[int] = []
    labels: list[int] = []
    messages: list[Message] = []
    if system_prompt is not None:
        messages.append({"role": "system", "content": system_prompt})
    done = ""
    for number, (question, answer) in enumerate(turns):
        shown = f"{block}\n\n{question}" if block and number == 0 else question
        messages.append({"role": "user", "content": shown})
        asked = tokenize(chatml(messages)[len(done) :], tokenizer)
        answered = tokenize(answer + IM_END, tokenizer)
        ids += asked + answered
        labels += [IGNORE_INDEX] * len(asked) + answered
        messages.append({"role": "assistant", "content": answer})
        done = chatml(messages, add_generation_prompt=False)[: -len("\n")]
    return ids, labels


class Look(NamedTuple):
    """In a head of a layer, the token at `place` should look at the tokens from `first` to `last`.

    Of visual tokens only at those in `slots` (bits), where these are given.
    """

    layer: int
    head: int
    place: int
    first: int
    last: int
    slots: int = 0


@dataclass
class Row:
    """Ids with slots, labels, positions and branches, all (S,).

    `clips` numbers the clips of the visual tokens from 1, 0 is text; `slots` has a bit for the
    place of each in its clip. `looks` says which tokens
    should look at which others; see pointing.py.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def add(self, ids: Sequence[int], labels: Sequence[int], first: int, branch: int) -> None:
        self.ids += ids
        self.labels += labels
        self.positions += range(first, first + len(ids))
        self.branches += [branch] * len(ids)
        self.clips += [0] * len(ids)
        self.slots += [0] * len(ids)


def branched_row(
    chats: Sequence[Sequence[tuple[str, str]]], block: str | None, tokenizer: Any
) -> Row:
    """Several conversations about one video, whose visual block is in the row once.

    Without a block the conversations share nothing.
    """
    row = Row()
    if block:
        shown = f"{block}\n\n"
        text = chatml([{"role": "user", "content": shown}])
        shared = tokenize(text[: text.index(shown) + len(shown)], tokenizer)
        row.add(shared, [IGNORE_INDEX] * len(shared), 0, SHARED)
    num_shared = len(row.ids)
    for branch, turns in enumerate(chats, start=SHARED + 1):
        ids, labels = chat_row(turns, block, tokenizer)
        assert ids[:num_shared] == row.ids[:num_shared]  # a line end never joins what follows
        row.add(ids[num_shared:], labels[num_shared:], num_shared, branch)
    return row


def pad_rows(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Rows -> input_ids, labels and the others by name, each (B, S), padded on the right.

    `looks` is (A, 7): the row's number before each Look.
    """
    longest = max(len(row.ids) for row in rows)

    def padded(name: str, value: int) -> Tensor:
        columns = [getattr(row, name) for row in rows]
        return torch.tensor([column + [value] * (longest - len(column)) for column in columns])

    looks = [(number, *look) for number, row in enumerate(rows) for look in row.looks]
    return {
        "input_ids": padded("ids", pad_id),
        "labels": padded("labels", IGNORE_INDEX),
        "position_ids": padded("positions", 0),
        "branches": padded("branches", PADDING),
        "clips": padded("clips", 0),
        "slots": padded("slots", 0),
        "looks": torch.tensor(looks, dtype=torch.long).reshape(-1, 1 + len(Look._fields)),
    }


def attention_of(branches: Tensor) -> Tensor:
    """What may look at what: branches (B, S) -> bool (B, 1, S, S), rows look at columns.

    Everything looks back at its own branch and at what is shared; padding only at padding.
    """
    same = branches[:, :, None] == branches[:, None, :]  # (B, S, S)
    length = branches.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    return ((same | (branches[:, None, :] == SHARED)) & earlier)[:, None]
