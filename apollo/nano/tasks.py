"""The stages of apollo-nano as tasks of the trainer: endless samples, each made from its number.

image      SigLIP on single frames, dense labels              (vision_learners.py)
video      InternVideo2 on clips, dense labels                (vision_learners.py)
language   the LLM, on the oracle's visual tokens             (language_learner.py)
slots      towers and connector give the facts of a clip      (joint_learners.py)
connect    towers and connector give the oracle's tokens      (joint_learners.py)
joint      connector and LLM, conversations about videos      (joint_learners.py)
places     as connect, with more clips of what is rare        (joint_learners.py)
polish     as joint, with more questions about that           (joint_learners.py)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from apollo.cartoon.talk.questions import all_texts
from apollo.cartoon.talk.vocabulary import pieces_of
from apollo.cartoon.world.scenes import CLIP_DURATION_S
from apollo.constants import VIDEO_TOKEN
from apollo.errors import RecipeError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.prompt import SYSTEM_PROMPT
from apollo.nano.joint_learners import (
    ConnectLearner,
    JointLearner,
    SlotLearner,
    connect_sample,
    joint_sample,
)
from apollo.nano.language_learner import LanguageLearner, chat_sample, collate_chats
from apollo.nano.options import chat_options, check_options, share_options
from apollo.nano.rows import clips_block
from apollo.nano.samples import SEED_STRIDE, clip_sample, collate, frame_sample
from apollo.nano.shape import (
    GRID,
    INTERNVIDEO2,
    MAX_LENGTH,
    SIGLIP,
    build_internvideo2,
    build_nano,
    build_siglip,
)
from apollo.nano.tokenizer import train_tokenizer
from apollo.nano.vision_learners import ImageLearner, VideoLearner
from apollo.nano.word_embeddings import init_names
from apollo.train.answer_loss import count_answers
from apollo.train.stage import Stage
from apollo.train.task import Batch, Start

RESULT = "weights.safetensors"
PROMPTS = 12  # prompts among the tokenizer's texts, the first of one clip, each one clip longer
STREAMS = ("image", "video", "language", "slots", "connect", "joint", "places", "polish")


class Loss(nn.Module):
    """A module whose `loss(batch)` becomes its forward."""

    def __init__(self, learner: Any) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, **batch: Any) -> dict[str, Any]:
        loss, metrics = self.learner.loss(batch)
        return {"loss": loss, "metrics": metrics}


class CartoonTask:
    """See `apollo.train.task.Task`. Each stage draws its samples from numbers of its own."""

    def __init__(
        self,
        stream: str,
        start: Start,
        learner: Any,
        parts: dict[str, list[nn.Module]],
        sample: Callable[[int], Any],
        collate: Callable[[list[Any]], Batch],
        save: Callable[[Path], None] | None = None,
    ) -> None:
        self.first = (start.seed * 100 + STREAMS.index(stream) + 1) * SEED_STRIDE * 1000
        self.module = Loss(learner)
        self._parts, self._sample, self._collate = parts, sample, collate
        self._save = save

    def parts(self) -> dict[str, list[nn.Module]]:
        return self._parts

    def num_samples(self) -> None:
        return None

    def order(self, num_samples: int) -> Sequence[int]:
        return range(num_samples)

    def prepare(self, rank: int, world: int) -> None:
        """Nothing: samples are made as they are needed."""

    def sample(self, number: int) -> Any:
        return self._sample(self.first + number)

    def collate(self, samples: list[Any]) -> Batch:
        return self._collate(samples)

    def count(self, batch: Batch) -> int:
        if "rows" in batch:
            return count_answers(batch["rows"])
        return len(next(iter(batch["facts"].values())))

    def validation(self) -> Sequence[int]:
        return ()

    def save(self, folder: Path) -> None:
        if self._save is not None:
            self._save(folder)
        else:
            save_learner(self.module.learner, folder)


def save_learner(learner: nn.Module, folder: Path) -> None:
    """The weights for a later stage, in full precision."""
    named = learner.named_parameters()
    save_file({name: p.detach().contiguous() for name, p in named}, folder / RESULT)


def load_learner(learner: nn.Module, start: Start, taken: str) -> None:
    """Loads the weights of an earlier stage.

    Raises:
        RecipeError: the stage does not take it.
    """
    if taken not in start.takes:
        raise RecipeError(f'{start.recipe}: a stage needs "{taken}" among the stages it takes.')
    if start.is_check:
        return
    parameters = dict(learner.named_parameters())
    with torch.no_grad():
        for name, tensor in load_file(start.takes[taken] / RESULT).items():
            parameters[name].copy_(tensor)


def fresh_model(seed: int) -> ApolloForCausalLM:
    """The whole model before training, with its tokenizer."""
    torch.manual_seed(seed)
    model = build_nano(copy.deepcopy(_tokenizer()))
    init_names(model)
    return model


@cache
def _tokenizer() -> Any:
    return train_tokenizer(tokenizer_texts(), MAX_LENGTH)


def tokenizer_texts() -> Iterator[str]:
    """The texts of conversations, and of the prompt around the clips."""
    for num_clips in range(1, PROMPTS + 1):
        block = clips_block(num_clips, CLIP_DURATION_S, 1).replace(VIDEO_TOKEN, "")
        yield SYSTEM_PROMPT
        yield block
    for text in all_texts():
        yield from pieces_of(text)


def image_task(stage: Stage, start: Start) -> CartoonTask:
    check_options(stage, start)
    torch.manual_seed(start.seed)
    learner = ImageLearner(build_siglip())
    make = partial(frame_sample, grid=GRID, transform=learner.tower.transform)
    return CartoonTask("image", start, learner, {"tower": [learner]}, make, collate)


def video_task(stage: Stage, start: Start) -> CartoonTask:
    check_options(stage, start)
    torch.manual_seed(start.seed + 1)
    learner = VideoLearner(build_internvideo2())
    make = partial(clip_sample, grid=GRID, transform=learner.tower.transform)
    return CartoonTask("video", start, learner, {"tower": [learner]}, make, collate)


def language_task(stage: Stage, start: Start) -> CartoonTask:
    options = chat_options(stage, start)
    model = fresh_model(start.seed + 2)
    learner = LanguageLearner(model)
    if start.takes:
        load_learner(learner, start, next(iter(start.takes)))
    make = partial(chat_sample, model=model, batch_size=stage.global_batch, **options)
    together = partial(collate_chats, tokenizer=model.tokenizer)
    return CartoonTask("language", start, learner, {"llm": [learner]}, make, together)


def _with_towers(start: Start) -> ApolloForCausalLM:
    model = fresh_model(start.seed + 3)
    image, video = ImageLearner(build_siglip()), VideoLearner(build_internvideo2())
    load_learner(image, start, "image")
    load_learner(video, start, "video")
    model.vision_tower.towers[SIGLIP] = image.tower
    model.vision_tower.towers[INTERNVIDEO2] = video.tower
    return model


def slots_task(stage: Stage, start: Start) -> CartoonTask:
    check_options(stage, start)
    model = _with_towers(start)
    learner = SlotLearner(model)
    parts = {"towers": [learner.towers], "connector": [learner.connector, learner.heads]}
    make = partial(connect_sample, transforms=model.vision_tower.vision_processor)
    return CartoonTask("slots", start, learner, parts, make, collate)


def _with_language(start: Start) -> tuple[LanguageLearner, ApolloForCausalLM]:
    model = fresh_model(start.seed + 2)
    language = LanguageLearner(model)
    load_learner(language, start, "language")
    return language, model


def connect_task(stage: Stage, start: Start) -> CartoonTask:
    check_options(stage, start)
    language, model = _with_language(start)
    slots = SlotLearner(model)
    norm = model.mm_connector.resampler.norm
    known = {name: p.detach().clone() for name, p in norm.named_parameters()}
    load_learner(slots, start, "slots")
    with torch.no_grad():  # the connector of "slots", but the norm that the LLM was trained with
        for name, parameter in norm.named_parameters():
            parameter.copy_(known[name])
    return _clips_to_vectors("connect", start, ConnectLearner(language, model))


def places_task(stage: Stage, start: Start) -> CartoonTask:
    shares = ("place_share", "many_share")
    check_options(stage, start, *shares)
    language, model = _with_language(start)
    learner = ConnectLearner(language, model)
    load_learner(learner, start, "connect")
    load_learner(JointLearner(language, model), start, "joint")
    return _clips_to_vectors("places", start, learner, **share_options(stage, start, *shares))


def _clips_to_vectors(
    stream: str, start: Start, learner: ConnectLearner, **shares: Any
) -> CartoonTask:
    parts = {"towers": [learner.towers], "connector": [learner.connector, learner.match]}
    make = partial(connect_sample, transforms=learner.towers.vision_processor, **shares)
    return CartoonTask(stream, start, learner, parts, make, collate)


def joint_task(stage: Stage, start: Start) -> CartoonTask:
    language, model = _with_language(start)
    load_learner(ConnectLearner(language, model), start, "connect")
    return _conversations("joint", stage, start, JointLearner(language, model), model)


def polish_task(stage: Stage, start: Start) -> CartoonTask:
    language, model = _with_language(start)
    learner = JointLearner(language, model)
    load_learner(learner, start, "joint")
    load_learner(ConnectLearner(language, model), start, "places")
    return _conversations("polish", stage, start, learner, model)


def _conversations(
    stream: str, stage: Stage, start: Start, learner: JointLearner, model: ApolloForCausalLM
) -> CartoonTask:
    parts: dict[str, list[nn.Module]] = {
        "connector": [learner.connector],
        "llm": [learner.llm, learner.language.oracle],
    }
    options = chat_options(stage, start)
    make = partial(joint_sample, model=model, batch_size=stage.global_batch, **options)
    together = partial(collate_chats, tokenizer=model.tokenizer)

    def save(folder: Path) -> None:
        save_learner(learner, folder)
        model.bfloat16().save_pretrained(folder)  # half the size, nearly the same answers
        model.float()

    return CartoonTask(stream, start, learner, parts, make, together, save)
