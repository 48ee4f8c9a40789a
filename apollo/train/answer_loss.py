"""The loss of training a conversation: on the answers' tokens, nowhere else.

In:  padded rows (see rows.py) and the visual tokens of each.  Out: a loss, and what was right.
Odd: logits are made where a label is, nowhere else: the vocabulary is the largest matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from apollo.model.merge import fill_slots, find_slots
from apollo.train.rows import attention_of


@dataclass(frozen=True)
class Answers:
    """Mean loss of the answers' tokens, which were guessed right (A,), where they are (B, S - 1).

    `attentions` are those of every layer, (B, heads, S, S), where they were asked for.
    """

    loss: Tensor
    right: Tensor
    counted: Tensor
    attentions: tuple[Tensor, ...] = ()

    def metrics(self, rows: dict[str, Tensor]) -> dict[str, float]:
        """Shares of the tokens, and of whole conversations, that were guessed right."""
        whole = answer_accuracy(self.right, self.counted, rows["branches"])
        return {"tokens": self.right.float().mean().item(), "answers": whole}


def answer(
    model: Any,
    rows: dict[str, Tensor],
    visual_tokens: Sequence[Tensor | None],
    *,
    with_attention: bool = False,
) -> Answers:
    """Guesses every token of the answers from what stands before it."""
    branches = rows["branches"]
    ids = rows["input_ids"]
    slots = find_slots(ids, branches >= 0, visual_tokens, model.config.tokens_per_clip)
    embeddings = model.llm.get_input_embeddings()(ids.clamp(min=0))  # (B, S, D)
    embeddings = fill_slots(embeddings, slots, visual_tokens)
    sees = attention_of(branches)
    bias = torch.zeros(sees.shape, dtype=embeddings.dtype, device=embeddings.device)
    bias.masked_fill_(~sees, torch.finfo(embeddings.dtype).min)
    out = model.llm.model(
        inputs_embeds=embeddings,
        attention_mask=bias,
        position_ids=rows["position_ids"],
        output_attentions=with_attention,
    )
    hidden = out.last_hidden_state
    wanted = rows["labels"][:, 1:]
    counted = wanted >= 0  # (B, S - 1)
    with torch.autocast(hidden.device.type, enabled=False):
        chosen = hidden[:, :-1][counted].to(model.llm.lm_head.weight.dtype)
        logits = model.llm.lm_head(chosen).float()  # (A, V)
    right = logits.argmax(-1) == wanted[counted]
    loss = cross_entropy(logits, wanted[counted])
    return Answers(loss, right, counted, out.attentions if with_attention else ())


def count_answers(rows: dict[str, Tensor]) -> int:
    """How many tokens the loss of these rows is a mean over."""
    return int((rows["labels"][:, 1:] >= 0).sum())


def answer_accuracy(right: Tensor, counted: Tensor, branches: Tensor) -> float:
    """Share of conversations all of whose answer tokens were guessed right."""
    row = counted.nonzero()[:, 0]  # (A,)
    chat = row * (int(branches.max()) + 1) + branches[:, 1:][counted]
    _, chat = chat.unique(return_inverse=True)
    wrong = torch.zeros(int(chat.max()) + 1, device=right.device)
    wrong = wrong.index_add_(0, chat, (~right).float())
    return (wrong == 0).float().mean().item()
