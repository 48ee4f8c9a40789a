"""Rows of several conversations about one video, which pay for its visual tokens together.

In:  conversations as (question, answer) pairs, and the video's block.  Out: BranchedRows, and a
     batch of them as tensors.
Odd: the conversations of a row do not see each other; each is at the positions it would have
     alone. That takes a dense attention mask, which rows of one conversation do without (see
     apollo/train/rows.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from apollo.constants import IGNORE_INDEX
from apollo.model.prompt import chatml, tokenize, video_block
from apollo.train.rows import Row, chat_row, pad_rows, padded
from apollo.video.clips import Clip

SHARED, PADDING = 0, -1  # branches of a row; its conversations count from 1
FRAME_STEP_S = 0.5


class Target(NamedTuple):
    """In a head of a layer, the token at `query` should attend to those from `first` to `last`.

    Of visual tokens only to those whose bit is in `slots`, where that is not 0.
    """

    layer: int
    head: int
    query: int
    first: int
    last: int
    slots: int = 0


@dataclass
class BranchedRow:
    """Ids with slots, labels, positions and branches, all (S,), and the attention targets.

    `clips` numbers the clips of the visual tokens from 1, 0 is text; `slots` has a bit for the
    place of each in its clip. `attention_targets` fills these two and `targets`.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add(self, ids: Sequence[int], labels: Sequence[int], first: int, branch: int) -> None:
        self.ids += ids
        self.labels += labels
        self.positions += range(first, first + len(ids))
        self.branches += [branch] * len(ids)
        self.clips += [0] * len(ids)
        self.slots += [0] * len(ids)


def clips_block(num_clips: int, clip_duration_s: float, tokens_per_clip: int) -> str:
    """The visual block of a video of whole clips, as the reader's clips would give it."""
    last_s = clip_duration_s - FRAME_STEP_S
    starts_s = [i * clip_duration_s for i in range(num_clips)]
    return video_block(
        [Clip((), start_s, start_s + last_s) for start_s in starts_s],
        duration_s=num_clips * clip_duration_s,
        clip_duration_s=clip_duration_s,
        tokens_per_clip=tokens_per_clip,
    )


def branched_row(
    chats: Sequence[Sequence[tuple[str, str]]], block: str | None, tokenizer: Any
) -> BranchedRow:
    """Several conversations about one video, whose visual block is in the row once.

    Without a block the conversations share nothing.
    """
    row = BranchedRow()
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


def pad_branched(rows: Sequence[BranchedRow], pad_id: int) -> dict[str, Tensor]:
    """Rows -> their tensors by name, each (B, S), padded on the right.

    `targets` is (A, 7): the row's number before each Target.
    """
    targets = [(number, *target) for number, row in enumerate(rows) for target in row.targets]
    width = 1 + len(Target._fields)
    return {
        **pad_rows([Row(row.ids, row.labels) for row in rows], pad_id),
        "positions": padded([row.positions for row in rows], 0),
        "branches": padded([row.branches for row in rows], PADDING),
        "clips": padded([row.clips for row in rows], 0),
        "slots": padded([row.slots for row in rows], 0),
        "targets": torch.tensor(targets, dtype=torch.long).reshape(-1, width),
    }


def attention_mask(branches: Tensor) -> Tensor:
    """Which tokens see which: branches (B, S) -> bool (B, 1, S, S), queries by keys.

    Every token sees what is before it in its own branch and what is shared.
    """
    same = branches[:, :, None] == branches[:, None, :]  # (B, S, S)
    length = branches.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    return ((same | (branches[:, None, :] == SHARED)) & earlier)[:, None]
