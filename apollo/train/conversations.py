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
from apollo.model import checkpoint
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.prompt import disarm, image_block, video_block
from apollo.model.token_cache import TokenCache
from apollo.model.visual_tokens import FRAMES_PER_IMAGE, Viewer
from apollo.settings import Sampling
from apollo.train.answer_loss import answer, count_answers
from apollo.train.features import FeatureCache, Seen, record_pixels
from apollo.train.records import Record, check_lengths, read_records
from apollo.train.rows import Row, chat_row, pad_rows
from apollo.train.sample_order import training_order
from apollo.train.stage import Stage
from apollo.train.task import Batch, Start
from apollo.video.clips import Clip

Times = Sequence[tuple[float, float]]  # (start_s, end_s) of clips


class Talking(nn.Module):
    """An Apollo whose forward is the loss of its answers."""

    def __init__(self, model: ApolloForCausalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: dict[str, Tensor], seen: list[list[Tensor] | None]) -> dict[str, Any]:
        """`seen` has a row's pixels, one tensor per tower, or its features alone; None for text."""
        tokens = self.visual_tokens(seen)
        answers = answer(self.model, rows, tokens)
        loss = answers.loss
        if all(row is None for row in seen):
            loss = loss + 0.0 * self._unused()
        return {"loss": loss, "metrics": answers.metrics(rows)}

    def _unused(self) -> Tensor:
        """Something of the parts that text does not pass through: they get gradients of 0.

        So a batch of text has the same effect however it is shared. Where there are several
        processes they must all run what they train, and a black clip goes through.
        """
        towers = self.model.vision_tower
        if not torch.distributed.is_initialized():
            parameters = [*towers.parameters(), *self.model.mm_connector.parameters()]
            sums = [p.sum() for p in parameters if p.requires_grad]
            return torch.stack(sums).sum() if sums else torch.zeros(())
        if any(p.requires_grad for p in towers.parameters()):
            black = np.zeros((FRAMES_PER_IMAGE, 8, 8, 3), np.uint8)
            latents = self.model.mm_connector.resampler.latents
            pixels = [t(black)[None].to(latents.device) for t in towers.vision_processor]
            features = towers(pixels)
        else:
            width = self.model.config.mm_connector_cfg["vision_hidden_size"]
            features = self.model.mm_connector.resampler.latents.new_zeros(1, 1, width)
        return self.model.mm_connector(features).sum()

    def visual_tokens(self, seen: list[list[Tensor] | None]) -> list[Tensor | None]:
        """Visual tokens (N*K, D) of every row; all clips go through the connector at once."""
        present = [row for row in seen if row is not None]
        if not present:
            return [None] * len(seen)
        if len(present[0]) == 1:
            features = torch.cat([row[0] for row in present])  # (all N, P, Dv)
        else:
            features = self.model.vision_tower(
                [torch.cat(list(x)) for x in zip(*present, strict=True)]
            )
        tokens = iter(self.model.mm_connector(features).split([len(row[0]) for row in present]))
        return [None if row is None else next(tokens).flatten(0, 1) for row in seen]


class ConversationTask:
    """See `apollo.train.task.Task`."""

    def __init__(self, stage: Stage, start: Start) -> None:
        where = f'{start.recipe}, stage "{stage.name}"'
        self.stage, self.seed = stage, start.seed
        self.sources = [read_records(s.file, unreadable=stage.unreadable) for s in stage.data]
        held_out = (
            read_records(stage.validation, unreadable=stage.unreadable) if stage.validation else []
        )
        self.model = self.base_model(start, where)
        if stage.gradient_checkpointing:
            llm = self.model.llm
            # its name in transformers from 5.20 on; the older one warns there
            enable = getattr(llm, "activation_checkpointing_enable", None)
            (enable or llm.gradient_checkpointing_enable)({"use_reentrant": False})
        self.module: nn.Module = Talking(self.model)
        self.records = [record for source in self.sources for record in source]
        self.num_trained = len(self.records)
        self.records += held_out
        self.tokenizer: Any = self.model.tokenizer
        self.max_length = min(stage.max_length or 10**9, self.model.config.max_context_tokens)
        self.plans = [self._plan(record) for record in self.records]
        self.lengths = [len(self._row(n).ids) for n in range(len(self.records))]
        check_lengths(self.records, self.lengths, self.max_length)
        towers = {"towers", *self.model.config.tower_names}
        frozen = not any(rate for part, rate in stage.train.items() if part in towers)
        self.cache = (
            FeatureCache(start.cache, self.model) if frozen and stage.feature_cache else None
        )
        self.keys: dict[int, str] = {}  # of the features, by the number of the sample

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
                    self.keys[number] = self.cache.key(record, self._sampling(number))
        mine = list({key: number for number, key in self.keys.items()}.values())[rank::world]
        for number in tqdm(mine, desc="reading videos", disable=rank > 0):
            self._features(number)

    def sample(self, number: int) -> dict[str, Any]:
        """One row and what is seen in it. Where features are kept, no video is opened."""
        record = self.records[number]
        if record.media is None:
            return {"row": self._row_of(record, None), "seen": None}
        if self.cache is not None:
            seen = self._features(number)
            row = self._row_of(record, self._block(record, seen.clips, seen.duration_s))
            return {"row": row, "seen": [seen.features]}
        with _telling(record):
            pixels = record_pixels(self.model, record, self.plans[number])
        return {"row": self._row(number), "seen": pixels}

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

    def _plan(self, record: Record) -> list[Clip]:
        """The clips to read: fewer than wanted when the conversation leaves no room for more."""
        if record.media is None or record.is_image:
            return []
        assert record.info is not None
        viewer = Viewer(self.model, TokenCache(max_bytes=0))
        num_clips = self.stage.clips_per_video
        while True:
            sampling = Sampling(max_clips=num_clips, start_s=record.start_s, end_s=record.end_s)
            clips = viewer.plan(record.info, sampling)
            block = self._block(record, _times(clips), record.info.duration_s)
            size = len(self._row_of(record, block).ids)
            if size <= self.max_length or len(clips) == 1:
                return clips
            num_clips = max(1, min(len(clips) - 1, int(len(clips) * self.max_length / size)))

    def _sampling(self, number: int) -> Sampling:
        return Sampling(max_clips=len(self.plans[number]) or None)

    def _row(self, number: int) -> Row:
        """A row from the plan of its clips, before anything was decoded."""
        record = self.records[number]
        if record.media is None:
            return self._row_of(record, None)
        duration_s = 0.0 if record.info is None else record.info.duration_s
        block = self._block(record, _times(self.plans[number]), duration_s)
        return self._row_of(record, block)

    def _block(self, record: Record, times: Times, duration_s: float) -> str:
        config = self.model.config
        if record.is_image:
            return image_block(config.tokens_per_clip)
        return video_block(
            [Clip((), start_s, end_s) for start_s, end_s in times],
            duration_s=duration_s,
            clip_duration_s=config.clip_duration_s,
            tokens_per_clip=config.tokens_per_clip,
        )

    def _row_of(self, record: Record, block: str | None) -> Row:
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
            return self.cache.see(self.records[number], self._sampling(number))


def _times(clips: Sequence[Clip]) -> Times:
    return [(clip.start_s, clip.end_s) for clip in clips]


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
        folder = checkpoint.find(card_of(start.base).source)
    elif not (folder / "config.json").is_file():
        raise RecipeError(
            f"{where}: {folder} holds no whole model; take a stage that trains conversations."
        )
    model = ApolloForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if model.tokenizer is None:
        raise DataError(f"The model {folder} has no tokenizer, so it cannot read conversations.")
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
