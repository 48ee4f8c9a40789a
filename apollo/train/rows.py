"""Conversations to training rows: ids with slots, and labels on the answers only.

The text comes from the same prompt code that inference uses, so a model never sees in use what it
did not see in training.

In:  conversations as (question, answer) pairs.  Out: Rows, and a batch of them as tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from apollo.constants import IGNORE_INDEX
from apollo.model.prompt import IM_END, Message, chatml, tokenize


class Row(NamedTuple):
    """One conversation: ids (S,) with a slot per visual token, and labels (S,)."""

    ids: list[int]
    labels: list[int]


def chat_row(
    turns: Sequence[tuple[str, str]],
    block: str | None,
    tokenizer: Any,
    system_prompt: str | None = None,
) -> Row:
    """(question, answer) pairs -> a row whose labels are the answers and their end."""
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
    return Row(ids, labels)


def pad_rows(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Rows -> input_ids and labels, each (B, S), padded on the right."""
    return {
        "input_ids": padded([row.ids for row in rows], pad_id),
        "labels": padded([row.labels for row in rows], IGNORE_INDEX),
    }


def padded(columns: Sequence[list[int]], value: int) -> Tensor:
    """Lists of numbers -> (B, S), filled with `value` on the right."""
    longest = max(map(len, columns))
    return torch.tensor([column + [value] * (longest - len(column)) for column in columns])
