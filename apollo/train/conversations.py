"""Conversations about people's own videos: the task behind every stage of the paper's recipe.

In:  data files (see records.py), a base model and a Stage.  Out: a model in the released layout.
Odd: while the towers are frozen, every video is decoded and encoded once, before the first step,
and its features are read back afterwards. Otherwise videos are decoded in worker processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from apollo.catalog import NANO_FOLDER, card_of
from apollo.errors import DataError, RecipeError, VideoError
from apollo.model import hub
from apollo.model.causal_lm import ApolloForCausalLM, Pixels
from apollo.model.clip_cache import ClipCache
from apollo.model.prompt import disarm, image_block, video_block
from apollo.model.visual_tokens import FRAMES_PER_IMAGE, Viewer
from apollo.settings import Sampling
from apollo.train.answer_loss import answer, count_answers
from apollo.train.features import FeatureCache, Seen, read_pixels
from apollo.train.records import Record, check_lengths, read_records
from apollo.train.rows import Row, chat_row, pad_rows
from apollo.train.sample_order import training_order
from apollo.train.stage import Stage
from apollo.train.task import Batch, Start
from apollo.video.clips import Clip


class ConversationLoss(nn.Module):
    """An Apollo whose forward is the loss of its answers."""

    def __init__(self, model: ApolloForCausalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: dict[str, Tensor], seen: list[Pixels | None]) -> dict[str, Any]:
        """`seen` has a row's pixels, one tensor per tower, or its features alone; None for text."""
        answers = answer(self.model, rows, self.visual_tokens(seen))
        loss = answers.loss
        if all(row is None for row in seen):
            loss = loss + 0.0 * self._unused()
        return {"loss": loss, "metrics": answers.metrics(rows)}

    def _unused(self) -> Tensor | int:
        """A sum over what text does not pass through, whose gradients become 0 instead of none.

        So a batch of text has the same effect however it is shared. Where there are several
        processes, all must run the parts they train, and a black clip goes through.
        """
        towers, connector = self.model.vision_tower, self.model.mm_connector
        if not torch.distributed.is_initialized():
            parameters = [*towers.parameters(), *connector.parameters()]
            return sum(p.sum() for p in parameters if p.requires_grad)
        if any(p.requires_grad for p in towers.parameters()):
            black = np.zeros((FRAMES_PER_IMAGE, 8, 8, 3), np.uint8)
            features = self._features([t.resize(black)[None] for t in towers.vision_processor])
        else:
            width = self.model.config.mm_connector_cfg["vision_hidden_size"]
            features = connector.resampler.latents.new_zeros(1, 1, width)
        return connector(features).sum()

    def _features(self, pixels: Pixels) -> Tensor:
        towers = self.model.vision_tower
        return towers(towers.normalised(pixels, next(towers.parameters()).dtype))

    def visual_tokens(self, seen: list[Pixels | None]) -> list[Tensor | None]:
        """Visual tokens (N*K, D) of every row; all clips go through the connector at once."""
        present = [row for row in seen if row is not None]
        if not present:
            return [None] * len(seen)
        stacked = [torch.cat(list(tensors)) for tensors in zip(*present, strict=True)]
        features = stacked[0] if len(stacked) == 1 else self._features(stacked)  # (all N, P, Dv)
        tokens = iter(self.model.mm_connector(features).split([len(row[0]) for row in present]))
        return [None if row is None else next(tokens).flatten(0, 1) for row in seen]


class ConversationTask:
    """See `apollo.train.task.Task`."""

    def __init__(self, stage: Stage, start: Start) -> None:
        where = f'{start.recipe}, stage "{stage.name}"'
        self.stage, self.seed = stage, start.seed
        self.sources = [self._records(source.file) for source in stage.data]
        held_out = self._records(stage.validation) if stage.validation else []
        self.model = self.base_model(start, where)
        if stage.gradient_checkpointing:
            llm = self.model.llm
            # its name in newer versions of transformers, where the older name warns
            enable = getattr(llm, "activation_checkpointing_enable", None)
            (enable or llm.gradient_checkpointing_enable)({"use_reentrant": False})
        self.module: nn.Module = ConversationLoss(self.model)
        self.records = [record for source in self.sources for record in source]
        self.num_trained = len(self.records)
        self.records += held_out
        self.tokenizer: Any = self.model.tokenizer
        self.max_length = min(stage.max_length or 10**9, self.model.config.max_context_tokens)
        self.plans, self.lengths = zip(*map(self._plan, self.records), strict=True)
        check_lengths(self.records, self.lengths, self.max_length)
        towers = {"towers", *self.model.config.tower_names}
        frozen = not any(rate for part, rate in stage.train.items() if part in towers)
        self.cache = (
            FeatureCache(start.cache, self.model) if frozen and stage.feature_cache else None
        )
        self.keys: dict[int, str] = {}  # of the features, by the number of the sample

    def _records(self, file: Path) -> list[Record]:
        return read_records(file, unreadable=self.stage.unreadable)

    def base_model(self, start: Start, where: str) -> ApolloForCausalLM:
        """The model to train."""
        return _base_model(self.stage, start, where)

    # ---- Task ----------------------------------------------------------------------------

    def parts(self) -> dict[str, list[nn.Module]]:
        model = self.model
        towers = {name: [tower] for name, tower in model.vision_tower.towers.items()}
        whole: dict[str, list[nn.Module]] = {
            "connector": [model.mm_connector],
            "llm": [model.llm],
            "towers": [model.vision_tower],
        }
        return whole | towers

    def num_samples(self) -> int:
        return self.num_trained

    def order(self, num_samples: int) -> list[int]:
        numbers: list[list[int]] = []
        first = 0
        for source in self.sources:
            numbers.append(list(range(first, first + len(source))))
            first += len(source)
        return training_order(
            numbers,
            [source.share for source in self.stage.data],
            self.lengths,
            num_samples=num_samples,
            global_batch=self.stage.global_batch,
            seed=self.seed,
        )

    def prepare(self, rank: int, world: int) -> None:
        """Fills the cache of features, each process its part of the videos."""
        if self.cache is None:
            return
        for number, record in enumerate(self.records):
            if record.media is not None:
                with _telling(record):
                    self.keys[number] = self.cache.key(record, self.plans[number])
        mine = list({key: number for number, key in self.keys.items()}.values())[rank::world]
        for number in tqdm(mine, desc="reading videos", disable=rank > 0):
            self._features(number)

    def sample(self, number: int) -> dict[str, Any]:
        """A row and what is seen in it. Where features are kept, no video is opened."""
        record, plan = self.records[number], self.plans[number]
        seen: Pixels | None = None
        row = None
        if record.media is not None and self.cache is not None:
            kept = self._features(number)
            seen, row = [kept.features], self._row(record, kept.clips, kept.duration_s)
        elif record.media is not None:
            with _telling(record):
                (seen,) = read_pixels(self.model, record, plan)
        return {"row": row or self._planned_row(record, plan), "seen": seen}

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        rows = pad_rows([sample["row"] for sample in samples], self.tokenizer.pad_token_id)
        return {"rows": rows, "seen": [sample["seen"] for sample in samples]}

    def count(self, batch: Batch) -> int:
        return count_answers(batch["rows"])

    def validation(self) -> Sequence[int]:
        return range(self.num_trained, len(self.records))

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)

    # ---- records -> rows and pixels ------------------------------------------------------

    def _plan(self, record: Record) -> tuple[list[Clip], int]:
        """The clips to read, and the tokens of the row.

        They are fewer than wanted when the conversation leaves no room for more.
        """
        if record.info is None:
            return [], len(self._planned_row(record, []).ids)
        viewer = Viewer(self.model, ClipCache(max_bytes=0))
        num_clips = self.stage.clips_per_video
        while True:
            sampling = Sampling(max_clips=num_clips, start_s=record.start_s, end_s=record.end_s)
            clips = viewer.plan(record.info, sampling)
            size = len(self._planned_row(record, clips).ids)
            if size <= self.max_length or len(clips) == 1:
                return clips, size
            num_clips = max(1, min(len(clips) - 1, int(len(clips) * self.max_length / size)))

    def _planned_row(self, record: Record, plan: Sequence[Clip]) -> Row:
        duration_s = record.info.duration_s if record.info is not None else 0.0
        return self._row(record, [(clip.start_s, clip.end_s) for clip in plan], duration_s)

    def _row(self, record: Record, times: Sequence[tuple[float, float]], duration_s: float) -> Row:
        """A record's conversation about clips with these times (start_s, end_s)."""
        config = self.model.config
        block = None
        if record.is_image:
            block = image_block(config.tokens_per_clip)
        elif record.media is not None:
            block = video_block(
                [Clip((), start_s, end_s) for start_s, end_s in times],
                duration_s=duration_s,
                clip_duration_s=config.clip_duration_s,
                tokens_per_clip=config.tokens_per_clip,
            )
        messages = [{**m, "content": disarm(m["content"])} for m in record.messages]
        system = messages.pop(0)["content"] if messages[0]["role"] == "system" else None
        texts = [message["content"] for message in messages]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        return chat_row(pairs, block, self.tokenizer, system)

    def _features(self, number: int) -> Seen:
        assert self.cache is not None
        seen = self.cache.get(self.keys[number]) if number in self.keys else None
        if seen is not None:
            return seen
        with _telling(self.records[number]):
            return self.cache.see(self.records[number], self.plans[number])


@contextlib.contextmanager
def _telling(record: Record) -> Iterator[None]:
    """A video that was opened before may still be broken further in; the error names its line."""
    try:
        yield
    except VideoError as error:
        raise DataError(f"{record.where}: {error}") from error


def _base_model(stage: Stage, start: Start, where: str) -> ApolloForCausalLM:
    """The result of the stage before, or the recipe's model, in float32."""
    if len(start.takes) > 1:
        raise RecipeError(f'{where}: conversations go on from one stage; "takes" names more.')
    folder = next(iter(start.takes.values()), None)
    if start.is_check and folder is not None and not folder.is_dir():
        folder = None if start.base else NANO_FOLDER  # of the same shape as what will be there
    if folder is None:
        if not start.base:
            raise RecipeError(f'{start.recipe}: "model" is missing; name the one to start from.')
        folder = hub.find(card_of(start.base).source)
    elif not (folder / "config.json").is_file():
        raise RecipeError(
            f"{where}: {folder} holds no whole model; take a stage that trains conversations."
        )
    model = ApolloForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if stage.tokens_per_clip not in (None, model.config.tokens_per_clip):
        assert stage.tokens_per_clip is not None
        _resize_latents(model, stage.tokens_per_clip, start.seed)
    return model


def _resize_latents(model: ApolloForCausalLM, num_latents: int, seed: int) -> None:
    """Another number of visual tokens per clip: latents are dropped, or new ones are drawn."""
    resampler = model.mm_connector.resampler
    old = resampler.latents.data  # (K, D)
    new = torch.randn(num_latents, old.shape[1], generator=torch.Generator().manual_seed(seed))
    new = new * old.std() + old.mean(0)
    kept = min(num_latents, len(old))
    new[:kept] = old[:kept]
    resampler.latents = nn.Parameter(new)
    model.config.mm_connector_cfg["num_output_tokens"] = num_latents
    model.mm_connector.config = replace(model.mm_connector.config, num_output_tokens=num_latents)
