"""One unmasked attention for the towers and the connector, in the implementation asked for.

In:  queries, keys and values by heads.   Out: what each query gathered, heads side by side.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def eager_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Attention written out, for `attn_implementation="eager"`; all heads (N, heads, S, d)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(-1, -2) * kwargs["scaling"]  # (N, heads, S, S')
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2), weights  # (N, S, heads, d)


def attend(module: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Unmasked attention: q (N, heads, S, d), k and v (N, kv heads, S', d) -> (N, S, heads * d).

    `module` carries what transformers' attention functions read: `config`, `is_causal` and
    `num_key_value_groups`; `config.attn_implementation` says which of them computes.
    """
    implementation = module.config.attn_implementation
    function = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention)
    out, _ = function(module, q, k, v, None, scaling=q.shape[-1] ** -0.5, dropout=0.0)
    return out.flatten(2)  # (N, S, heads, d) -> (N, S, heads * d)
