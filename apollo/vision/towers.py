"""Pixels -> fused tower features: SigLIP and InternVideo2 behind one small protocol.

In:  one pixel tensor per tower, in the order of `vision_towers`.
Out: features (N, T*G*G, Dv), channels of the towers side by side in that order.
Odd: towers with a smaller (T, G, G) are stretched to the largest by trilinear interpolation in
float32 (docs/original.md#7); the shape comes from the towers, not from the stored
`token_output_shape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from apollo.errors import CheckpointError
from apollo.vision.internvideo2 import InternVideo2, InternVideo2Config
from apollo.vision.transforms import FrameTransform, InternVideo2Transform, SiglipTransform

SIGLIP_TYPES = ("siglip_vision_model", "siglip")


class Tower(Protocol):
    """What the fusion needs of a tower: its output shape (T, G, width) and pixels -> features."""

    grid: int
    width: int
    num_steps: int
    transform: FrameTransform

    def __call__(self, pixels: Tensor) -> Tensor: ...  # -> (N, T, G, G, D)


class SiglipTower(nn.Module):
    """SigLIP on every frame: (N, T, 3, H, W) -> (N, T', G, G, D).

    Hidden states after layer `depth + 1 + select_layer`; no post-norm, no pooling head, no class
    token (docs/original.md#3). Layers behind the selected one never run, and none of the earlier
    outputs is kept.
    """

    def __init__(
        self,
        config: SiglipVisionConfig,
        select_layer: int,
        num_frames: int,
        transform: FrameTransform,
    ) -> None:
        super().__init__()
        self.model = SiglipVisionModel(config)
        self.num_layers_run = config.num_hidden_layers + 1 + select_layer
        self.grid = config.image_size // config.patch_size  # type: ignore[operator]
        self.width = config.hidden_size
        self.num_steps = num_frames
        self.transform = transform

    def encode_frames(self, images: Tensor) -> Tensor:
        """Frames (F, 3, H, W) -> (F, G, G, D)."""
        core = getattr(self.model, "vision_model", self.model)  # nested before transformers 5.2x
        hidden = core.embeddings(images)  # (F, G*G, D)
        for layer in core.encoder.layers[: self.num_layers_run]:
            out = layer(hidden, None)
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden.unflatten(1, (self.grid, self.grid))

    def forward(self, pixels: Tensor, num_frames: int | None = None) -> Tensor:
        """Thins the frames to about `num_frames` first, like the original (docs/original.md#5)."""
        step = max(1, pixels.shape[1] // (num_frames or self.num_steps))
        pixels = pixels[:, ::step]
        features = self.encode_frames(pixels.flatten(0, 1))  # (N*T', G, G, D)
        return features.unflatten(0, pixels.shape[:2])


class InternVideo2Tower(nn.Module):
    """InternVideo2 on a clip: (N, 3, T, H, W) -> (N, T', G, G, D)."""

    def __init__(
        self, config: InternVideo2Config, select_layer: int, transform: FrameTransform
    ) -> None:
        super().__init__()
        self.model = InternVideo2(config, select_layer)
        self.grid = config.grid
        self.width = config.d_model
        self.num_steps = config.num_steps
        self.transform = transform

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixels)


def _siglip_config(name: str, values: dict[str, Any]) -> SiglipVisionConfig:
    try:
        return SiglipVisionConfig(**values)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise CheckpointError(
            f"vision_tower/{name}/config.json does not describe a SigLIP tower "
            f"({' '.join(str(error).split())}); take it from the checkpoint again."
        ) from error


def build_tower(name: str, config: dict[str, Any], select_layer: int, attn: str) -> Any:
    """The tower that `vision_tower/<name>/config.json` describes.

    Raises:
        CheckpointError: the config is of neither tower kind.
    """
    if config.get("model_type") in SIGLIP_TYPES:
        siglip = _siglip_config(name, {**config, "attn_implementation": attn})
        preprocess = config.get("preprocessor", {})
        transform: Any = SiglipTransform(
            int(siglip.image_size),  # type: ignore[arg-type]
            mean=preprocess.get("image_mean", (0.5, 0.5, 0.5)),
            std=preprocess.get("image_std", (0.5, 0.5, 0.5)),
        )
        return SiglipTower(siglip, select_layer, config.get("num_frames", 4), transform)
    if "d_model" in config and "img_size" in config:  # the model_type string may vary in releases
        internvideo2 = InternVideo2Config.from_dict({**config, "attn_implementation": attn})
        transform = InternVideo2Transform(internvideo2.img_size)
        return InternVideo2Tower(internvideo2, select_layer, transform)
    raise CheckpointError(
        f"The vision tower {name!r} is neither SigLIP nor InternVideo2 "
        f"(its config.json says model_type {config.get('model_type')!r}); no other is known here."
    )


class HybridTower(nn.Module):
    """All towers side by side. `vision_processor` lists their transforms in the same order."""

    def __init__(self, towers: dict[str, Any]) -> None:
        super().__init__()
        self.names = list(towers)
        # module names must not contain dots
        self.towers = nn.ModuleDict({name.replace(".", "_"): towers[name] for name in towers})
        self.num_steps = max(tower.num_steps for tower in towers.values())
        self.grid = max(tower.grid for tower in towers.values())
        self.width = sum(tower.width for tower in towers.values())

    @property
    def vision_processor(self) -> list[FrameTransform]:
        return [tower.transform for tower in self.towers.values()]  # type: ignore[misc]

    def tower(self, name: str) -> Any:
        return self.towers[name.replace(".", "_")]

    def stretch(self, features: Tensor) -> Tensor:
        """(N, T, G, G, D) -> (N, T max, G max, G max, D), trilinear, float32."""
        shape = (self.num_steps, self.grid, self.grid)
        if features.shape[1:4] == shape:
            return features
        channels_first = features.movedim(-1, 1).float()  # (N, D, T, G, G)
        stretched = nn.functional.interpolate(
            channels_first, size=shape, mode="trilinear", align_corners=False
        )
        return stretched.movedim(1, -1).to(features.dtype)

    def normalised(self, pixels: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """Pixels, one tensor per tower, on the towers' device; uint8 ones are normalised there."""
        device = next(self.parameters()).device
        moved = [x.to(device) for x in pixels]
        return [
            (transform.normalise(x) if x.dtype == torch.uint8 else x).to(dtype)
            for transform, x in zip(self.vision_processor, moved, strict=True)
        ]

    def forward(self, pixels: list[Tensor]) -> Tensor:
        """One pixel tensor per tower, all with the same N -> (N, T*G*G, Dv)."""
        features = [
            self.stretch(tower(x)) for tower, x in zip(self.towers.values(), pixels, strict=True)
        ]
        return torch.cat(features, -1).flatten(1, 3)  # tokens ordered time, row, column
