"""The two halves meet: the connector learns the LLM's words, then both learn from real clips.

slots     clips -> facts: latent k gives fact k, through linear heads that are dropped later
connect   clips -> the oracle's vectors: what latent k says, said as the LLM says it
joint     conversations about videos, loss on the answers (towers frozen)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from apollo.train.cartoon.facts import SLOT_SIZES
from apollo.train.cartoon.labels import facts_of_clip
from apollo.train.cartoon.render import clip_times_s
from apollo.train.cartoon.samples import (
    Batch,
    a_clip,
    collate,
    frames_at,
    sample_aspect,
    video_pixels,
)
from apollo.train.language import LanguageTask, answer_accuracy, chat_batches
from apollo.train.loop import Metrics

ORACLE_SHARE = 0.2  # weight of staying at the oracle's vectors
START_SHARPNESS = 0.05  # of the match between a visual token and the values of its slot
REHEARSAL_SHARE = 0.25  # of joint batches keep the oracle in place of the clips
TOWER_RATE = 0.2  # of the connector's


def connect_sample(number: int, transforms: list[Any]) -> Batch:
    """One clip as both towers see it, with its facts."""
    rng = np.random.default_rng((number, 5))
    video, clip = a_clip(rng, number)
    frames = frames_at(video, clip_times_s(clip), rng, sample_aspect(rng))
    pixels = {str(i): transform(frames) for i, transform in enumerate(transforms)}
    return {**pixels, "facts": facts_of_clip(video, clip)}


def connect_batches(
    transforms: list[Any], batch_size: int, start: int, first: int
) -> Iterator[Batch]:
    number = first + start * batch_size
    while True:
        yield collate([connect_sample(n, transforms) for n in range(number, number + batch_size)])
        number += batch_size


class SlotTask(nn.Module):
    """Towers and connector against the facts themselves; the towers follow at a lower rate."""

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


class ConnectTask(nn.Module):
    """Towers and connector against the vectors the LLM was trained on. The LLM stays as it is."""

    def __init__(self, language: LanguageTask, model: Any) -> None:
        super().__init__()
        self.towers = model.vision_tower
        self.connector = model.mm_connector
        self.sharpness = nn.Parameter(torch.tensor(START_SHARPNESS).log())
        with torch.no_grad():  # the vectors to meet, (values + 1, D) per slot
            words = language.llm.get_input_embeddings().weight
            self.targets = [
                language.oracle.values(slot, words, language.norm).clone()
                for slot in range(len(SLOT_SIZES))
            ]

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        pixels = [batch[str(i)] for i in range(len(self.towers.names))]
        tokens = self.connector(self.towers(pixels))  # (B, K, D)
        losses: list[Tensor] = []
        metrics: Metrics = {}
        for slot, (name, wanted) in enumerate(batch["facts"].items()):
            targets = self.targets[slot]
            distance = torch.cdist(tokens[:, slot], targets).square()  # (B, values + 1)
            losses.append(cross_entropy(-self.sharpness.exp() * distance, wanted))
            losses.append(ORACLE_SHARE * mse_loss(tokens[:, slot], targets[wanted]))
            metrics[name] = (distance.argmin(1) == wanted).float().mean().item()
        return torch.stack(losses).sum(), metrics


def joint_batches(model: Any, batch_size: int, start: int, first: int) -> Iterator[dict[str, Any]]:
    """Conversations with the pixels of their videos; some keep the oracle's facts instead."""
    transforms = model.vision_tower.vision_processor
    for step, batch in enumerate(chat_batches(model, batch_size, start, first), start=start):
        rng = np.random.default_rng((first + step, 6))
        batch["rehearsal"] = rng.random() < REHEARSAL_SHARE
        if not batch["rehearsal"]:
            videos = [sample["video"] for sample in batch["samples"]]
            batch["vision_input"] = [
                None if video is None else video_pixels(video, transforms, rng) for video in videos
            ]
        yield batch


class JointTask(nn.Module):
    """Connector and LLM on conversations about what the towers see."""

    def __init__(self, language: LanguageTask, model: Any) -> None:
        super().__init__()
        self.connector, self.llm = model.mm_connector, model.llm
        self.language = language
        self._model = [model]

    def visual_tokens(self, batch: dict[str, Any]) -> list[Tensor | None]:
        model = self._model[0]
        rows = batch["vision_input"]
        present = [row for row in rows if row is not None]
        if not present:
            return [None] * len(rows)
        stacked = [torch.cat(list(pixels)) for pixels in zip(*present, strict=True)]
        with torch.no_grad():
            features = model.vision_tower(stacked)  # (N, P, Dv)
        tokens = iter(self.connector(features).split([len(row[0]) for row in present]))
        return [None if row is None else next(tokens).flatten(0, 1) for row in rows]

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Metrics]:
        if batch["rehearsal"]:
            loss, _ = self.language.loss(batch)
            return loss, {}
        out = self._model[0](**batch["rows"], visual_tokens=self.visual_tokens(batch))
        accuracy = answer_accuracy(out.logits, batch["rows"]["labels"])
        return out.loss, {"answer_tokens": accuracy}
