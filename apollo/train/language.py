"""The LLM learns to talk about facts, before it has seen a video.

Perfect vision is put in its place: every slot of a clip's line holds the mean of the LLM's own
word embeddings for that fact, plus a vector for the slot, through the connector's last norm. The
connector later learns to produce exactly these vectors, so the two meet without a translation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from apollo.prompt import tokenize
from apollo.train.cartoon.facts import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    MOTIONS,
    OBJECTS,
    POSITIONS,
    RELATIONS,
    SLOT_SIZES,
    WORDS,
)
from apollo.train.cartoon.labels import facts_of_clip
from apollo.train.cartoon.questions import conversation
from apollo.train.cartoon.world import CLIP_DURATION_S, Video, video_from_seed
from apollo.train.loop import Metrics
from apollo.train.rows import chat_row, clips_block, pad_rows

SCENE_SHARES = (0.6, 0.25, 0.1, 0.05)  # of 1..4 scenes
TURNS = 8
TEXT_ONLY_SHARE = 0.04  # chats without a video: greetings
NOISE = 0.15  # on the oracle's vectors, whose entries have a spread of about 1

# slot -> the words of its values, in the order of their ids
SLOT_TEXTS: dict[str, list[str]] = {
    "object": [f" {thing.singular}" for thing in OBJECTS],
    "count": [f" {name}" for name in COUNTS.values()],
    "motion": [f" {motion.singular}" for motion in MOTIONS],
    "colour": [f" {name}" for name in COLOURS],
    "background": [f" {background.is_phrase}" for background in BACKGROUNDS],
    "word": list(WORDS),  # in answers they follow a quotation mark
    "place": [
        *(f" {phrase}" for _, _, phrase in POSITIONS.values()),
        *(f" {phrase}" for phrase in RELATIONS.values()),
    ],
    "second_object": [f" {thing.singular}" for thing in OBJECTS],
}


class OracleSlots(nn.Module):
    """Facts (N, K) as ids -> visual tokens (N, K, D) that a perfect connector would give."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        width = model.config.llm_cfg["hidden_size"]
        self.slot_vectors = nn.Parameter(torch.randn(len(SLOT_SIZES), width))
        self.gain = nn.Parameter(torch.tensor(width**0.5))
        tables = [self._table(texts, model) for texts in SLOT_TEXTS.values()]
        self.tables = nn.ParameterList(nn.Parameter(t, requires_grad=False) for t in tables)

    @staticmethod
    def _table(texts: list[str], model: Any) -> Tensor:
        """Share of each token in each value, (values + 1, vocabulary); row 0, none, is empty."""
        table = torch.zeros(len(texts) + 1, model.config.llm_cfg["vocab_size"])
        for value, text in enumerate(texts, start=1):
            ids = tokenize(text, model.tokenizer)
            for token_id in ids:
                table[value, token_id] += 1 / len(ids)
        return table

    def values(self, slot: int, embeddings: Tensor, norm: nn.Module) -> Tensor:
        """The vectors of all values of a slot, (values + 1, D)."""
        return norm(self.gain * (self.tables[slot] @ embeddings) + self.slot_vectors[slot])

    def forward(self, facts: Tensor, embeddings: Tensor, norm: nn.Module) -> Tensor:
        columns = [
            self.values(slot, embeddings, norm)[facts[:, slot]] for slot in range(facts.shape[1])
        ]
        return torch.stack(columns, 1)  # K times (N, D) -> (N, K, D)


def facts_of_video(video: Video) -> Tensor:
    """(N, K) ids, one row per clip."""
    rows = [list(facts_of_clip(video, clip).values()) for clip in range(video.num_clips)]
    return torch.tensor(rows)


def chat_sample(number: int, num_scenes: int, model: Any) -> dict[str, Any]:
    """One conversation: its row, and the facts of its clips (None without a video)."""
    rng = np.random.default_rng((number, 3))
    video = video_from_seed(number, num_scenes=num_scenes)
    if rng.random() < TEXT_ONLY_SHARE:
        turns = conversation(rng, video, turns=2, kinds=("chat",))
        row = chat_row([(turn.question, turn.answer) for turn in turns], None, model.tokenizer)
        return {"row": row, "facts": None, "video": None}
    turns = conversation(rng, video, turns=TURNS)
    block = clips_block(video.num_clips, CLIP_DURATION_S, model.config.tokens_per_clip)
    row = chat_row([(turn.question, turn.answer) for turn in turns], block, model.tokenizer)
    return {"row": row, "facts": facts_of_video(video), "video": video}


def chat_batches(model: Any, batch_size: int, start: int, first: int) -> Iterator[dict[str, Any]]:
    """Endless batches of conversations, from step `start` on.

    The videos of a batch have the same number of scenes, so that little of it is padding.
    """
    for number in itertools.count(first + start * batch_size, batch_size):
        num_scenes = int(np.random.default_rng((number, 4)).choice(4, p=SCENE_SHARES)) + 1
        samples = [chat_sample(n, num_scenes, model) for n in range(number, number + batch_size)]
        rows = pad_rows([sample["row"] for sample in samples], model.tokenizer.pad_token_id)
        yield {"rows": rows, "facts": [s["facts"] for s in samples], "samples": samples}


def answer_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of answer tokens guessed right: logits (B, S, V), labels (B, S)."""
    wanted = labels[:, 1:]
    counted = wanted >= 0
    return (logits[:, :-1].argmax(-1) == wanted)[counted].float().mean().item()


class LanguageTask(nn.Module):
    """The LLM, the connector's last norm and the oracle; nothing of the vision path."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.llm = model.llm
        self.norm = model.mm_connector.resampler.norm
        self.oracle = OracleSlots(model)
        self._model = [model]  # in a list: not a part of this module

    def visual_tokens(self, facts: list[Tensor | None]) -> list[Tensor | None]:
        embeddings = self.llm.get_input_embeddings().weight
        out: list[Tensor | None] = []
        for clip_facts in facts:
            if clip_facts is None:
                out.append(None)
                continue
            tokens = self.oracle(clip_facts, embeddings, self.norm).flatten(0, 1)  # (N*K, D)
            out.append(tokens + NOISE * torch.randn_like(tokens) if self.training else tokens)
        return out

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Metrics]:
        out = self._model[0](**batch["rows"], visual_tokens=self.visual_tokens(batch["facts"]))
        accuracy = answer_accuracy(out.logits, batch["rows"]["labels"])
        return out.loss, {"answer_tokens": accuracy}
