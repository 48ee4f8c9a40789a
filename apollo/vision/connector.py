"""Tower features -> visual tokens: a projector, then a Perceiver resampler.

In:  features (N, P, Dv), P patches of a clip.   Out: visual tokens (N, K, D), D the LLM's width.
Odd (golden items 9 and 10): every norm is a LayerNorm with eps 1e-5 times one more learned weight
that the released files call `wheight`; keys and values see the latents too; no biases, no mask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from apollo.vision.attention import attend
from apollo.vision.part_config import PartConfig


@dataclass(frozen=True)
class ConnectorConfig(PartConfig):
    """The numbers of `mm_connector/config.json` that shape the model; the names are the file's."""

    source = "mm_connector/config.json"

    vision_hidden_size: int
    text_hidden_size: int
    num_output_tokens: int
    projector_type: str = "mlp2x_gelu"
    resampler_depth: int = 3
    resampler_n_heads: int = 16
    resampler_head_dim: int = 96
    num_key_value_heads: int = 4
    ff_multi: int = 4
    hidden_act: str = "silu"
    attn_implementation: str = "sdpa"


class DoublyWeightedNorm(nn.Module):
    """LayerNorm times an extra weight, under the released names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wheight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) * self.wheight


class LatentAttention(nn.Module):
    """Queries from the latents, keys and values from context and latents, heads in groups."""

    is_causal = False

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        width, head_dim = config.text_hidden_size, config.resampler_head_dim
        self.config = config
        self.num_key_value_groups = config.resampler_n_heads // config.num_key_value_heads
        self.q_proj = nn.Linear(width, config.resampler_n_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(config.resampler_n_heads * head_dim, width, bias=False)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        source = torch.cat([context, latents], 1)  # (N, P + K, D)
        q, k, v = (
            t.unflatten(-1, (-1, self.config.resampler_head_dim)).transpose(
                1, 2
            )  # (N, heads, S, d)
            for t in (self.q_proj(latents), self.k_proj(source), self.v_proj(source))
        )
        return self.o_proj(attend(self, q, k, v))  # (N, K, D)


class GatedMLP(nn.Module):
    """The LLM's kind of feed-forward layer."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.act_fn = ACT2FN[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class PerceiverLayer(nn.Module):
    """Cross-attention of the latents to the context, then a feed-forward layer."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        width = config.text_hidden_size
        self.input_latents_norm = DoublyWeightedNorm(width)
        self.input_context_norm = DoublyWeightedNorm(width)
        self.self_attn = LatentAttention(config)
        self.post_attention_layernorm = DoublyWeightedNorm(width)
        self.mlp = GatedMLP(width, config.ff_multi * width, config.hidden_act)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        seen = self.self_attn(self.input_latents_norm(latents), self.input_context_norm(context))
        latents = latents + seen  # the residual is the un-normed latents
        return latents + self.mlp(self.post_attention_layernorm(latents))


class Resampler(nn.Module):
    """(N, P, D) -> (N, K, D) with K learned latents."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        width = config.text_hidden_size
        self.latents = nn.Parameter(torch.randn(config.num_output_tokens, width) * 0.02)
        self.layers = nn.ModuleList(PerceiverLayer(config) for _ in range(config.resampler_depth))
        self.norm = DoublyWeightedNorm(width)

    def forward(self, context: Tensor) -> Tensor:
        latents = self.latents.expand(len(context), -1, -1)  # (K, D) -> (N, K, D)
        for layer in self.layers:
            latents = layer(latents, context)
        return self.norm(latents)


def build_projector(config: ConnectorConfig) -> nn.Sequential:
    """`mlp<N>x_gelu` is N linear layers with exact GELU between; any other name is one (item 9)."""
    match = re.fullmatch(r"mlp(\d+)x_gelu", config.projector_type)
    num_layers = max(1, int(match[1])) if match else 1
    layers: list[nn.Module] = [nn.Linear(config.vision_hidden_size, config.text_hidden_size)]
    for _ in range(num_layers - 1):
        layers += [nn.GELU(), nn.Linear(config.text_hidden_size, config.text_hidden_size)]
    return nn.Sequential(*layers)


class Connector(nn.Module):
    """Features of a clip -> its visual tokens: (N, P, Dv) -> (N, K, D)."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = build_projector(config)
        self.resampler = Resampler(config)

    def forward(self, features: Tensor) -> Tensor:
        return self.resampler(self.proj(features.to(self.resampler.latents.dtype)))
