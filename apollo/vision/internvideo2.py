"""The InternVideo2 vision transformer: one clip in, one feature per patch out.

In:  pixels (N, 3, T, H, W), normalised.   Out: features (N, T', G, G, D), time outermost.
Odd:
- features are taken after block `depth + select_layer`; with the released -2 the last block never
  runs (golden item 1). There is no final norm, and the class token is dropped.
- q and k are RMS-normalised over the whole width, before the heads are split (golden item 2).
- the released files carry a contrastive head and image position tables that the video path never
  reads. They are built when the config describes them, so that a released file loads and saves
  tensor for tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apollo.vision.attention import attend
from apollo.vision.part_config import PartConfig

DEFAULT_DEPTH = 40  # InternVideo2-1B; the released config.json does not say it
MLP_RATIO = 48 / 11  # width of the feed-forward part over the model width


@dataclass(frozen=True)
class InternVideo2Config(PartConfig):
    """The numbers of `vision_tower/internvideo2/config.json` that shape the model."""

    source = "The config.json of InternVideo2"

    d_model: int
    num_heads: int
    img_size: int
    patch_size: int
    num_frames: int = 4
    tubelet_size: int = 1
    depth: int = DEFAULT_DEPTH
    mlp_ratio: float = MLP_RATIO
    clip_embed_dim: int = 0  # 0: the file has no contrastive head
    clip_teacher_embed_dim: int = 0
    clip_teacher_final_dim: int = 0
    clip_return_layer: int = 0
    attn_implementation: str = "sdpa"

    @property
    def grid(self) -> int:
        """Patches along one side of a frame (G)."""
        return self.img_size // self.patch_size

    @property
    def num_steps(self) -> int:
        """Time steps after the tubelet convolution (T')."""
        return self.num_frames // self.tubelet_size


class RMSNorm(nn.Module):
    """Root-mean-square norm with a weight, computed in float32."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normed = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch."""

    def __init__(self, width: int, init: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Attention(nn.Module):
    """Self-attention over all patches of a clip."""

    is_causal = False
    num_key_value_groups = 1

    def __init__(self, config: InternVideo2Config) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.q_norm = RMSNorm(config.d_model)
        self.k_norm = RMSNorm(config.d_model)
        self.proj = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # (N, S, D) each
        q, k, v = (
            t.unflatten(-1, (self.config.num_heads, -1)).transpose(1, 2)  # (N, heads, S, d)
            for t in (self.q_norm(q), self.k_norm(k), v)
        )
        return self.proj(attend(self, q, k, v))


class MLP(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Norm, attention, scale, add; then the same with an MLP."""

    def __init__(self, config: InternVideo2Config) -> None:
        super().__init__()
        width = config.d_model
        self.norm1 = RMSNorm(width)
        self.attn = Attention(config)
        self.ls1 = LayerScale(width)
        self.norm2 = RMSNorm(width)
        self.mlp = MLP(width, int(width * config.mlp_ratio))
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Tubelets of pixels -> tokens, flattened time, row, column (golden item 1)."""

    def __init__(self, config: InternVideo2Config) -> None:
        super().__init__()
        size = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.d_model, kernel_size=size, stride=size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).flatten(2).transpose(1, 2)  # (N, 3, T, H, W) -> (N, T'*G*G, D)


class InternVideo2(nn.Module):
    """The tower. `forward` runs only the blocks whose output is used."""

    def __init__(self, config: InternVideo2Config, select_layer: int = -2) -> None:
        super().__init__()
        self.config = config
        self.num_blocks_run = config.depth + 1 + select_layer  # -1: all of them
        num_tokens = config.num_steps * config.grid**2 + 1
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.d_model))
        self.pos_embed = nn.Parameter(torch.zeros(1, num_tokens, config.d_model))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        if config.clip_embed_dim:
            self._add_unused_parts(num_tokens)

    def _add_unused_parts(self, num_tokens: int) -> None:
        """What the released file carries and the video path never reads."""
        config, width = self.config, self.config.d_model
        image_tokens = config.grid**2 + 1
        self.img_pos_embed = nn.Parameter(torch.zeros(1, image_tokens, width))
        self.clip_pos_embed = nn.Parameter(torch.zeros(1, num_tokens, width))
        self.clip_img_pos_embed = nn.Parameter(torch.zeros(1, image_tokens, width))
        self.clip_projector = AttentionPool(width, config.clip_embed_dim)
        self.clip_decoder = nn.ModuleList(
            NormedHead(width, config.clip_teacher_embed_dim)
            for _ in range(config.clip_return_layer)
        )
        self.final_clip_decoder = NormedHead(config.clip_embed_dim, config.clip_teacher_final_dim)

    def pick_frames(self, pixels: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, 3, num_frames, H, W): evenly spaced, repeated if there are fewer.

        Equal to the original for 1, 4, 8, ... frames; it fails on the others (golden item 6).
        """
        num_given, num_wanted = pixels.shape[2], self.config.num_frames
        if num_given == num_wanted:
            return pixels
        picks = torch.arange(num_wanted, device=pixels.device) * num_given // num_wanted
        return pixels.index_select(2, picks)

    def embed(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, T, H, W) -> tokens before the first block (N, 1 + T'*G*G, D)."""
        tokens = self.patch_embed(self.pick_frames(pixels).to(self.pos_embed.dtype))
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1)
        return tokens + self.pos_embed

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.embed(pixels)
        for block in self.blocks[: self.num_blocks_run]:
            tokens = block(tokens)
        grid = self.config.grid
        return tokens[:, 1:].unflatten(1, (-1, grid, grid))  # (N, T', G, G, D)


class NormedHead(nn.Module):
    """A linear head with a norm behind it; part of the contrastive head, never run."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, out)
        self.norm = nn.LayerNorm(out)


class PoolAttention(nn.Module):
    """The weights of the pooling cross-attention; never run."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        for name in ("q", "k", "v"):
            setattr(self, name, nn.Linear(width, width, bias=False))
            setattr(self, f"{name}_bias", nn.Parameter(torch.zeros(width)))
        self.proj = nn.Linear(width, out)


class AttentionPool(nn.Module):
    """The contrastive pooling head; never run."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm1_q = nn.LayerNorm(width)
        self.norm1_k = nn.LayerNorm(width)
        self.norm1_v = nn.LayerNorm(width)
        self.cross_attn = PoolAttention(width, out)
