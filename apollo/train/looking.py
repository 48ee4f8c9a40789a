"""Where the LLM should look while it answers: a second loss, on its attention.

In:  a row, its conversations and their video.  Out: the row with the clips to look at, and a loss
     on two attention heads.
Odd: from the answers alone a small LLM first learns what is likely, and needs very long to find
that a question about the cat is answered by the cat's clips. Told where to look, it answers such
questions within a few hundred steps. Nothing of this is left in the trained model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.prompt import IM_END
from apollo.train.cartoon.questions import Turn
from apollo.train.cartoon.world import CLIP_DURATION_S, Scene, Video
from apollo.train.rows import Row

LAYERS, HEAD = (2, 3), 0  # the heads that are told: behind those that read the question
BETWEEN_TIMES = re.compile(r" to |\u5230")
LEAST_SHARE = 1e-6  # of attention, so that its logarithm is finite

# kind -> what lies between what is said of one scene and of the next
PARTS = {
    "describe": re.compile(r"(?<=\.) |(?<=\u3002)(?=.)"),
    "list": re.compile(r", then |\uff0c\u7136\u540e\u662f"),
    "word": re.compile(r", then |\uff0c\u7136\u540e\u662f"),
}


def clips_of_answer(turn: Turn, video: Video) -> list[tuple[int, int, int]]:
    """(first character, first clip, last clip) of each part of an answer; clips count from 1."""
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


def _clips_of(scene: Scene, video: Video) -> tuple[int, int]:
    """The first and the last clip in which a scene's objects are seen."""
    start_s, end_s = next((s, e) for s, e, other in video.seen_spans() if other == scene)
    return round(start_s / CLIP_DURATION_S) + 1, round(end_s / CLIP_DURATION_S)


def point(row: Row, chats: Sequence[Sequence[Turn]], video: Video, tokenizer: Any) -> None:
    """Fills in where to look; in a single clip there is nothing to choose."""
    if video.num_clips == 1:
        return
    slots = [i for i, token_id in enumerate(row.ids) if token_id == X_TOKEN_INDEX]
    tokens_per_clip = len(slots) // video.num_clips
    for place, i in enumerate(slots):
        row.clips[i] = place // tokens_per_clip + 1
    turns = [turn for chat in chats for turn in chat]
    answers = _answers(row)
    assert len(answers) == len(turns)
    for turn, places in zip(turns, answers, strict=True):
        parts = clips_of_answer(turn, video)
        if not parts:
            continue
        encoded = tokenizer(
            turn.answer + IM_END, add_special_tokens=False, return_offsets_mapping=True
        )
        for i, (start, _) in zip(places, encoded["offset_mapping"], strict=True):
            _, first, last = [part for part in parts if part[0] <= start][-1]
            row.look_from[i - 1], row.look_to[i - 1] = first, last


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


def looking_loss(attentions: Sequence[Tensor], rows: dict[str, Tensor]) -> Tensor:
    """How little of the told heads' attention lies on the right clips: attentions (B, H, S, S)."""
    first, last, clips = rows["look_from"], rows["look_to"], rows["clips"]  # (B, S)
    batch, place = first.nonzero(as_tuple=True)  # (A,) each
    if not len(batch):
        return torch.zeros((), device=first.device)
    shown = clips[batch]  # (A, S)
    right = (shown >= first[batch, place][:, None]) & (shown <= last[batch, place][:, None])
    losses = []
    for layer in LAYERS:
        attention = attentions[layer][batch, HEAD, place].float()  # (A, S)
        losses.append(-((attention * right).sum(1) + LEAST_SHARE).log().mean())
    return torch.stack(losses).mean()
