"""The stages that train the connector, then connector and LLM together.

SlotLearner     stage slots: latent k gives fact k, through linear heads that are dropped later
ConnectLearner  stages connect and places: latent k gives the oracle's vector of fact k
JointLearner    stages joint and polish: conversations about videos, the towers frozen
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from apollo.cartoon.draw.labels import facts_of_clip
from apollo.cartoon.draw.render import clip_times_s
from apollo.cartoon.world.facts import SLOT_SIZES
from apollo.nano.attention_loss import conversation_loss
from apollo.nano.language_learner import OBJECT_SLOT, LanguageLearner, chat_sample
from apollo.nano.samples import SEED_STRIDE, a_clip, frames_at, sample_aspect, video_pixels
from apollo.train.task import Batch, Metrics

ORACLE_WEIGHT = 0.2  # of the distance to the oracle's vectors
OWNER_WEIGHT = 0.3  # of telling in every slot which object it is about
START_SHARPNESS = 0.05  # of the match between a visual token and the values of its slot
REHEARSAL_SHARE = 0.25  # of joint batches keep the oracle in place of the clips
MANY = 3  # objects of a kind that are hard to count
MOST_TRIES = 100  # to find a clip that was asked for; one in seven has a place


def connect_sample(
    number: int, transforms: list[Any], place_share: float = 0.0, many_share: float = 0.0
) -> Batch:
    """One clip as both towers see it, with its facts.

    Shares of the clips are chosen to show where an object is (or beside what), or MANY of one.
    """
    rng = np.random.default_rng((number, 5))
    chance = rng.random() if place_share or many_share else 1.0
    for attempt in range(MOST_TRIES):
        video, clip = a_clip(rng, number + attempt * SEED_STRIDE)
        facts = facts_of_clip(video, clip)
        if chance < place_share:
            found = facts["place"] > 0
        else:
            found = chance >= place_share + many_share or facts["count"] >= MANY
        if found:
            break
    frames = frames_at(video, clip_times_s(clip), rng, sample_aspect(rng))
    pixels = {str(i): transform(frames) for i, transform in enumerate(transforms)}
    return {**pixels, "facts": facts}


class SlotLearner(nn.Module):
    """Towers and connector: cross-entropy of the facts; recipes give the towers a lower rate."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.towers = model.vision_tower
        self.connector = model.mm_connector
        width = model.config.mm_connector_cfg["text_hidden_size"]
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in SLOT_SIZES.values())

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        pixels = [batch[str(i)] for i in range(len(self.towers.names))]
        tokens = self.connector(self.towers(pixels))  # (B, K, D)
        losses: list[Tensor] = []
        metrics: Metrics = {}
        for slot, (name, wanted) in enumerate(batch["facts"].items()):
            logits = self.heads[slot](tokens[:, slot])  # (B, D) -> (B, values + 1)
            losses.append(cross_entropy(logits, wanted))
            metrics[name] = (logits.argmax(1) == wanted).float().mean().item()
        return torch.stack(losses).sum(), metrics


class ConnectLearner(nn.Module):
    """Towers and connector: the vectors the LLM was trained on. The LLM stays as it is."""

    def __init__(self, language: LanguageLearner, model: Any) -> None:
        super().__init__()
        self.towers = model.vision_tower
        self.connector = model.mm_connector
        self.match = Match()
        self._language = [language]  # in a list: not a part of this module
        self._known: tuple[Any, Tensor] | None = None

    @torch.no_grad()
    def _targets(self, facts: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per slot: the vectors of all its values, and of its value with all objects."""
        language = self._language[0]
        if self._known is None:  # the norm is the connector's too, and is trained from here on
            embeddings = language.llm.get_input_embeddings().weight.clone()
            self._known = copy.deepcopy(language.norm), embeddings
        norm, embeddings = self._known
        objects = facts[:, OBJECT_SLOT]
        return [
            (
                language.oracle.values(slot, objects, embeddings, norm),
                language.oracle.owners(slot, facts[:, slot], embeddings, norm),
            )
            for slot in range(facts.shape[1])
        ]

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        pixels = [batch[str(i)] for i in range(len(self.towers.names))]
        tokens = self.connector(self.towers(pixels))  # (B, K, D)
        facts = torch.stack(list(batch["facts"].values()), 1)  # (B, K)
        losses: list[Tensor] = []
        metrics: Metrics = {}
        for slot, (values, owners) in enumerate(self._targets(facts)):
            name, wanted = list(batch["facts"])[slot], facts[:, slot]
            loss, right = self.match(tokens[:, slot], values, wanted)
            losses.append(loss)
            metrics[name] = right
            if slot != OBJECT_SLOT:
                loss, _ = self.match(tokens[:, slot], owners, facts[:, OBJECT_SLOT])
                losses.append(OWNER_WEIGHT * loss)
            oracle = values[torch.arange(len(wanted)), wanted]  # (B, D)
            losses.append(ORACLE_WEIGHT * mse_loss(tokens[:, slot], oracle))
        return torch.stack(losses).sum(), metrics


class Match(nn.Module):
    """Cross-entropy over the distances of a token to some vectors, with a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(START_SHARPNESS).log())

    def forward(self, tokens: Tensor, vectors: Tensor, wanted: Tensor) -> tuple[Tensor, float]:
        """tokens (B, D), vectors (B, V, D), wanted (B,)."""
        distance = (tokens[:, None] - vectors).square().sum(-1)  # (B, V)
        loss = cross_entropy(-self.sharpness.exp() * distance, wanted)
        return loss, (distance.argmin(1) == wanted).float().mean().item()


def joint_sample(number: int, model: Any, batch_size: int, **options: Any) -> dict[str, Any]:
    """Conversations with the pixels of their video; some batches keep the oracle's facts."""
    sample = chat_sample(number, model, batch_size, **options)
    rehearses = np.random.default_rng((number // batch_size, 6)).random() < REHEARSAL_SHARE
    if sample["video"] is not None and not rehearses:
        rng = np.random.default_rng((number, 7))
        transforms = model.vision_tower.vision_processor
        sample["pixels"] = video_pixels(sample["video"], transforms, rng)
    return sample


class JointLearner(nn.Module):
    """Connector and LLM on conversations about what the towers see."""

    def __init__(self, language: LanguageLearner, model: Any) -> None:
        super().__init__()
        self.connector, self.llm = model.mm_connector, model.llm
        self.language = language
        self._model = [model]

    def visual_tokens(self, batch: dict[str, Any]) -> list[Tensor | None]:
        """Of the clips where there are pixels, else of the facts."""
        model, rows = self._model[0], batch["pixels"]
        present = [row for row in rows if row is not None]
        if not present:
            return self.language.visual_tokens(batch["facts"])
        stacked = [torch.cat(list(pixels)) for pixels in zip(*present, strict=True)]
        with torch.no_grad():
            features = model.vision_tower(stacked)  # (N, P, Dv)
        tokens = iter(self.connector(features).split([len(row[0]) for row in present]))
        return [None if row is None else next(tokens).flatten(0, 1) for row in rows]

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Metrics]:
        return conversation_loss(self._model[0], batch["rows"], self.visual_tokens(batch))
