"""The loss of training a conversation: on the answers' tokens, nowhere else.

In:  padded rows (see rows.py) and the visual tokens of each.  Out: a loss, and what was right.
Odd: there is no attention mask. Rows are padded on the right, so under causal attention no token
     sees the padding; without a mask the attention kernel is the causal one, which needs no (S, S)
     memory.
     Logits are made where a label is, nowhere else: the vocabulary is the largest matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from apollo.model.merge import fill_slots, find_slots


@dataclass(frozen=True)
class Answers:
    """The mean loss of the answers' A tokens, and which were predicted right, (A,)."""

    loss: Tensor
    right: Tensor

    def metrics(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Shares of the tokens, and of whole rows, that were predicted right."""
        row = (rows["labels"][:, 1:] >= 0).nonzero()[:, 0]  # (A,)
        return {
            "tokens": self.right.float().mean().item(),
            "answers": share_without_error(self.right, row),
        }


def answer(model: Any, rows: dict[str, Tensor], visual_tokens: Sequence[Tensor | None]) -> Answers:
    """Predicts every token of the answers from what stands before it."""
    embeddings = embed(model, rows["input_ids"], visual_tokens)
    hidden = model.llm.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
    return answers_of(model, hidden, rows["labels"])


def embed(model: Any, ids: Tensor, visual_tokens: Sequence[Tensor | None]) -> Tensor:
    """Ids (B, S) -> embeddings (B, S, D), visual tokens in the slots."""
    slots = find_slots(ids, None, visual_tokens, model.config.tokens_per_clip)
    embeddings = model.llm.get_input_embeddings()(ids.clamp(min=0))  # (B, S, D)
    return fill_slots(embeddings, slots, visual_tokens)


def answers_of(model: Any, hidden: Tensor, labels: Tensor) -> Answers:
    """The last layer's output (B, S, D) and labels (B, S) -> the loss of the labelled tokens."""
    wanted = labels[:, 1:]
    counted = wanted >= 0  # (B, S - 1)
    with torch.autocast(hidden.device.type, enabled=False):
        chosen = hidden[:, :-1][counted].to(model.llm.lm_head.weight.dtype)
        logits = model.llm.lm_head(chosen).float()  # (A, V)
    right = logits.argmax(-1) == wanted[counted]
    return Answers(cross_entropy(logits, wanted[counted]), right)


def count_answers(rows: dict[str, Tensor]) -> int:
    """How many tokens the loss of these rows is a mean over."""
    return int((rows["labels"][:, 1:] >= 0).sum())


def share_without_error(right: Tensor, group: Tensor) -> float:
    """Share of the groups of tokens in which all were right; right and group numbers (A,)."""
    _, group = group.unique(return_inverse=True)
    wrong = torch.zeros(int(group.max()) + 1, device=right.device)
    wrong = wrong.index_add_(0, group, (~right).float())
    return (wrong == 0).float().mean().item()
