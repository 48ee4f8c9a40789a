"""Conversations to training rows: ids with slots, and labels on the answers only.

The text comes from the same prompt code that inference uses, so a model never sees in use what it
did not see in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from apollo.clips import Clip
from apollo.constants import IGNORE_INDEX
from apollo.prompt import IM_END, Message, chatml, tokenize, video_block

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
    turns: Sequence[tuple[str, str]], block: str | None, tokenizer: Any
) -> tuple[list[int], list[int]]:
    """(question, answer) pairs -> ids (S,) and labels (S,): answers and their end count."""
    ids: list[int] = []
    labels: list[int] = []
    messages: list[Message] = []
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


def pad_rows(rows: Sequence[tuple[list[int], list[int]]], pad_id: int) -> dict[str, Tensor]:
    """Rows -> input_ids, labels and attention_mask, each (B, S), padded on the right."""
    longest = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORE_INDEX)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, (row, wanted) in enumerate(rows):
        input_ids[i, : len(row)] = torch.tensor(row)
        labels[i, : len(row)] = torch.tensor(wanted)
        mask[i, : len(row)] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": mask}
