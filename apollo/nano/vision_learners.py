"""The first stages of the towers: dense classification, with the generator's labels of each patch.

In:  batches of `samples`.  Out: a loss and metrics.
Odd: a patch is classified by the object, colour and letter on it, and by the facts of the whole
picture that concern it (how many, which word, what is behind). From labels per clip alone, counting
and reading are not learned. Counting also needs the map of the objects' centres: a mean over
patches cannot count things of many sizes, but it can count centres.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from apollo.cartoon.world.facts import LETTERS, SLOT_SIZES
from apollo.nano.shape import TOWER_WIDTH
from apollo.train.task import Batch, Metrics

EMPTY_SHARE = 0.3  # weight of the patches that show nothing
CENTRE_WEIGHT = 8.0  # nearly all patches are easy, so the mean is small


def where_loss(logits: Tensor, labels: Tensor, where: Tensor) -> Tensor:
    """Cross-entropy of the chosen patches: logits (..., C), labels and where (...)."""
    if not bool(where.any()):
        return logits.sum() * 0.0
    return cross_entropy(logits[where], labels[where])


def balanced_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The means over the patches with something on them and over empty ones: most are empty."""
    shown = labels > 0
    return where_loss(logits, labels, shown) + EMPTY_SHARE * where_loss(logits, labels, ~shown)


def share_right(logits: Tensor, labels: Tensor, where: Tensor) -> float:
    """Accuracy over the chosen patches."""
    if not bool(where.any()):
        return 0.0
    return (logits.argmax(-1) == labels)[where].float().mean().item()


class ImageLearner(nn.Module):
    """SigLIP on single frames, with one linear head per kind of label."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        sizes = {
            "object": SLOT_SIZES["object"],
            "colour": SLOT_SIZES["colour"],
            "letter": len(LETTERS) + 1,
            "count": SLOT_SIZES["count"],
            "background": SLOT_SIZES["background"],
            "word": SLOT_SIZES["word"],
        }
        self.norm = nn.LayerNorm(TOWER_WIDTH)
        self.heads = nn.ModuleDict({k: nn.Linear(TOWER_WIDTH, n) for k, n in sizes.items()})
        self.centre = nn.Linear(TOWER_WIDTH, 1)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        features = self.norm(self.tower.encode_frames(batch["pixels"]))  # (B, G, G, D)
        logits = {name: head(features) for name, head in self.heads.items()}
        facts = {k: v[:, None, None].expand(features.shape[:3]) for k, v in batch["facts"].items()}
        shown, lettered = batch["object"] > 0, batch["letter"] > 0
        main = shown & (batch["object"] == facts["object"])
        centre = self.centre(features)[..., 0]  # (B, G, G, 1) -> (B, G, G)
        number = [where.sum((1, 2)) for where in (centre.sigmoid(), batch["centre"])]  # (B,) each
        parts = {
            "object": balanced_loss(logits["object"], batch["object"]),
            "letter": balanced_loss(logits["letter"], batch["letter"]),
            "colour": where_loss(logits["colour"], batch["colour"], main),
            "count": where_loss(logits["count"], facts["count"], main),
            "background": where_loss(logits["background"], facts["background"], batch["inside"]),
            "word": where_loss(logits["word"], facts["word"], lettered),
            "centre": binary_cross_entropy_with_logits(centre, batch["centre"]),
        }
        metrics = {
            "object": share_right(logits["object"], batch["object"], shown),
            "letter": share_right(logits["letter"], batch["letter"], lettered),
            "word": share_right(logits["word"], facts["word"], lettered),
            "count": share_right(logits["count"], facts["count"], main),
            "centres": (number[0].round() == number[1].round()).float().mean().item(),
        }
        weights = {"count": 0.5, "background": 0.3, "colour": 0.5, "centre": CENTRE_WEIGHT}
        return sum_of(parts, weights), metrics


class VideoLearner(nn.Module):
    """InternVideo2 on clips: mostly how objects move, with a small weight what they are."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.LayerNorm(TOWER_WIDTH)
        names = ("motion", "object", "count")
        self.heads = nn.ModuleDict({k: nn.Linear(TOWER_WIDTH, SLOT_SIZES[k]) for k in names})

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        features = self.norm(self.tower(batch["pixels"]))  # (B, T', G, G, D)
        logits = {name: head(features) for name, head in self.heads.items()}
        shown = batch["object"] > 0  # (B, T', G, G)
        count = batch["facts"]["count"][:, None, None, None].expand(shown.shape)
        parts = {
            "motion": where_loss(logits["motion"], batch["motion"], shown),
            "object": balanced_loss(logits["object"], batch["object"]),
            "count": where_loss(logits["count"], count, shown),
        }
        metrics = {
            "motion": share_right(logits["motion"], batch["motion"], shown),
            "object": share_right(logits["object"], batch["object"], shown),
        }
        return sum_of(parts, {"motion": 2.0, "object": 0.3, "count": 0.3}), metrics


def sum_of(parts: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    return torch.stack([loss * weights.get(name, 1.0) for name, loss in parts.items()]).sum()
