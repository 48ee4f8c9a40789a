"""The loss of branched conversations: on the answers, and on where some attention heads attend.

In:  padded BranchedRows and the visual tokens of each.  Out: a loss, and metrics.
Odd: from the answers alone a small LLM first learns what is likely, and needs very long to find
that a question about the cat is answered by the cat's clips. With targets for one head in some
layers it answers such questions within a few hundred steps. What fits nothing in the video has the
row's first token as its target, so that "No." is a look-up as well. The trained model has the same
shape as one trained without this loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from apollo.nano.rows import attention_mask
from apollo.train.answer_loss import answers_of, embed, share_without_error
from apollo.train.task import Metrics

# what attends to what -> the layer and the head with this target
BELONGS = "belongs"  # a clip to its time, an option to its letter
BEFORE = "before"  # a clip to the clip before it: what comes next can then be looked up
READ = "read"  # an answer to what the question names, a conclusion to the fact it follows from
CLAIM = "claim"  # a yes or no also to what the question claims
CLIP = "clip"  # an answer then to the clips that it is about
SLOT = "slot"  # and, word by word, to the visual tokens that say the word, or to the time it tells
SAME = "same"  # a conclusion to the same words in the question: option or claim
HEADS = {
    BELONGS: (0, 0), BEFORE: (1, 0), READ: (1, 1), CLAIM: (1, 2), CLIP: (2, 0), SLOT: (3, 0),
    SAME: (4, 0),
}  # fmt: skip
NOWHERE = (0, 0)  # first and last place: the row's first token
WEIGHT = 0.3  # of the attention loss beside that of the answers
LEAST_SHARE = 1e-6  # of attention, so that its logarithm is finite


def conversation_loss(
    model: Any, rows: dict[str, Tensor], visual_tokens: Sequence[Tensor | None]
) -> tuple[Tensor, Metrics]:
    """The loss of the answers plus a share of that of the attention."""
    embeddings = embed(model, rows["input_ids"], visual_tokens)
    seen = attention_mask(rows["branches"])
    bias = torch.zeros(seen.shape, dtype=embeddings.dtype, device=embeddings.device)
    out = model.llm.model(
        inputs_embeds=embeddings,
        attention_mask=bias.masked_fill_(~seen, torch.finfo(embeddings.dtype).min),
        position_ids=rows["positions"],
        output_attentions=True,
        use_cache=False,
    )
    answers = answers_of(model, out.last_hidden_state, rows["labels"])
    attention = attention_loss(out.attentions, rows)
    metrics = {
        "tokens": answers.right.float().mean().item(),
        "answers": share_without_error(answers.right, _conversations(rows)),
        "attention": attention.item(),
    }
    return answers.loss + WEIGHT * attention, metrics


def _conversations(rows: dict[str, Tensor]) -> Tensor:
    """The number of the conversation of each labelled token, (A,)."""
    counted = rows["labels"][:, 1:] >= 0  # (B, S - 1)
    branches = rows["branches"]
    first = counted.nonzero()[:, 0] * (int(branches.max()) + 1)  # (A,)
    return first + branches[:, 1:][counted]


def attention_loss(attentions: Sequence[Tensor], rows: dict[str, Tensor]) -> Tensor:
    """How little attention lies on the targets: attentions (B, H, S, S) per layer.

    For each of HEADS the mean over the targets that are somewhere and the mean over those that are
    nowhere, which are fewer, weigh the same; summed over HEADS. From the first to the last token of
    a target those count that are visual tokens if the first is one, else text.
    """
    targets, clips, slots = rows["targets"], rows["clips"], rows["slots"]  # (A, 7), (B, S), (B, S)
    place = torch.arange(clips.shape[1], device=clips.device)
    total = torch.zeros((), device=clips.device)
    for layer, head in HEADS.values():
        chosen = targets[(targets[:, 1] == layer) & (targets[:, 2] == head)]
        row, _, _, query, first, last, bits = chosen.unbind(1)  # (A,) each
        if not len(row):
            continue
        shown = clips[row] > 0  # (A, S)
        wanted = (place >= first[:, None]) & (place <= last[:, None])
        wanted &= shown == shown.gather(1, first[:, None])
        wanted &= (bits == 0)[:, None] | (slots[row] & bits[:, None]).bool()
        attention = attentions[layer][row, head, query].float()  # (A, S)
        losses = -((attention * wanted).sum(1) + LEAST_SHARE).log()  # (A,)
        nowhere = (first == NOWHERE[0]) & (last == NOWHERE[1])
        groups = [losses[group] for group in (nowhere, ~nowhere) if bool(group.any())]
        total = total + torch.stack([group.mean() for group in groups]).mean()
    return total
