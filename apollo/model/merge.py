"""Visual tokens into the slots of a prompt: tensors in, tensors out, no model.

In:  ids (B, S) with one slot (-200) per visual token, their embeddings (B, S, D), and the visual
     tokens of every row.   Out: embeddings, mask and labels as the LLM reads them.
Odd: the slots of a row must equal its visual tokens, or a `PromptError` says both numbers; the
original dropped the video without a word. Rows are padded again, as the original did, so padding
may stand on either side of what comes in (docs/original.md#11 to #14).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.errors import PromptError

log = logging.getLogger(__name__)


def one_prompt(ids: Any, embeddings: Any, visual: Sequence[Any]) -> Tensor | None:
    """The prompts' ids (B, S); None where the prompts are embeddings.

    Raises:
        PromptError: there are both, or neither, or ids of another kind or shape.
    """
    if (ids is None) == (embeddings is None):
        given = "no prompt" if ids is None else "both input_ids and inputs_embeds"
        raise PromptError(f"The model got {given}; give one of input_ids and inputs_embeds.")
    if ids is None and any(given is not None for given in visual):
        raise PromptError(
            "inputs_embeds are prompts with their visual tokens; give a video with input_ids."
        )
    if ids is None:
        return None
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.is_floating_point() or not ids.numel():
        shape = f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
        raise PromptError(
            f"input_ids are {shape}; give a tensor of whole numbers, one row per prompt (B, S)."
        )
    return ids


def check_ids(ids: Tensor, attention_mask: Tensor | None, vocabulary: int) -> None:
    """Raise `PromptError` for an id that is neither a token nor a slot; padding does not count."""
    wrong = (ids >= vocabulary) | ((ids < 0) & (ids != X_TOKEN_INDEX))  # (B, S)
    if attention_mask is not None:
        wrong &= attention_mask.bool()
    if bool(wrong.any()):
        raise PromptError(
            f"input_ids hold {int(ids[wrong][0])}, but the vocabulary has the ids 0 to "
            f"{vocabulary - 1}, and {X_TOKEN_INDEX} for a visual slot; use this model's tokenizer."
        )


def mask_of(ids: Tensor, pad_id: int | None) -> Tensor:
    """The mask (B, S) of rows that were given without one: 0 where a row begins or ends with pads.

    Pads between other tokens are read, and so is a row that holds nothing else.
    """
    read = ids != pad_id if pad_id is not None else torch.ones_like(ids).bool()  # (B, S)
    begun = read.cumsum(1) > 0
    not_over = read.flip(1).cumsum(1).flip(1) > 0
    return ((begun & not_over) | ~read.any(1, keepdim=True)).long()


def warn_of_padding(ids: Tensor, pad_id: int | None) -> None:
    """Says that rows which begin with padding are read as if it were text."""
    if pad_id is not None and len(ids) > 1 and bool((ids[:, 0] == pad_id).any()):
        warnings.warn(
            "Rows that begin with padding were given without an attention_mask, so the padding is "
            "read as text; give the mask.",
            stacklevel=3,
        )


def find_slots(
    input_ids: Tensor,
    attention_mask: Tensor | None,
    visual_tokens: Sequence[Tensor | None],
    tokens_per_clip: int,
) -> Tensor:
    """Where the slots are: ids (B, S) -> bool (B, S). Slots in the padding do not count.

    Raises:
        PromptError: a row's slots and visual tokens differ in number.
    """
    slots = input_ids == X_TOKEN_INDEX  # (B, S)
    if attention_mask is not None:
        slots = slots & attention_mask.bool()
    num_slots = slots.sum(1).tolist()  # (B,)
    if len(num_slots) != len(visual_tokens):
        raise PromptError(
            f"The batch has {len(num_slots)} prompts but {len(visual_tokens)} visual inputs; "
            "give one entry per row, None for a text row."
        )
    for row, (wanted, tokens) in enumerate(zip(num_slots, visual_tokens, strict=True)):
        given = 0 if tokens is None else len(tokens)
        if wanted != given:
            raise PromptError(
                f"Prompt {row} has {wanted} visual slots but its video or image gave {given} "
                f"visual tokens ({tokens_per_clip} per clip); build the prompt "
                "from the same clips, with one placeholder per visual token."
            )
    return slots


def fill_slots(embeddings: Tensor, slots: Tensor, visual_tokens: Sequence[Tensor | None]) -> Tensor:
    """Embeddings (B, S, D) with the visual tokens of the rows, in order, at the slots (B, S)."""
    present = [row for row in visual_tokens if row is not None]
    if not present:
        return embeddings
    rows = torch.cat(present).to(embeddings.device, embeddings.dtype)  # (all slots, D)
    return embeddings.masked_scatter(slots.unsqueeze(-1), rows)


def pad_again(
    embeddings: Tensor,
    attention_mask: Tensor,
    labels: Tensor | None,
    *,
    on_left: bool,
    max_length: int | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Moves padding to one side and cuts what no row needs: S -> S', zeros where there is none."""
    keep = attention_mask.bool()  # (B, S)
    # a stable sort moves padding to one side and keeps the order of everything else
    order = torch.argsort((keep if on_left else ~keep).int(), dim=1, stable=True)  # (B, S)
    longest = int(keep.sum(1).max())
    order = order[:, -longest:] if on_left else order[:, :longest]  # (B, S')
    if max_length and longest > max_length:
        log.warning("Rows of %d tokens are cut to the checkpoint's %d.", longest, max_length)
        order = order[:, :max_length]
    mask = attention_mask.gather(1, order)
    embeddings = _reordered(embeddings, order) * mask.unsqueeze(-1).to(embeddings.dtype)
    if labels is not None:
        labels = labels.gather(1, order).masked_fill(~mask.bool(), IGNORE_INDEX)
    return embeddings, mask, labels


def pad_left(embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the padding of right-padded rows (B, S, D) to the left."""
    order = torch.argsort(mask.int(), dim=1, stable=True)  # (B, S), padding first
    return _reordered(embeddings, order), mask.gather(1, order)


def _reordered(embeddings: Tensor, order: Tensor) -> Tensor:
    """(B, S, D) -> (B, S', D), the positions of each row taken in the order (B, S')."""
    return embeddings.gather(1, order.unsqueeze(-1).expand(-1, -1, embeddings.shape[-1]))
