"""Trains apollo-nano from nothing: `python -m apollo.train.nano --output runs/nano`.

Stages, each a checkpoint of its own that a later call goes on from:
  image      SigLIP on single frames, dense labels          (vision.py)
  video      InternVideo2 on clips, dense labels            (vision.py)
  language   the LLM on perfect facts instead of video      (language.py)
  slots      towers and connector give the facts of a clip  (joint.py)
  connect    the same in the vectors the LLM knows          (joint.py)
  joint      conversations about videos, end to end         (joint.py)
The language stage depends on no other: with two cores, run it beside the first ones with `--only`.
Everything follows from the seed; one torch thread gives the same weights again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from apollo.model import ApolloForCausalLM
from apollo.train.cartoon.questions import all_texts
from apollo.train.cartoon.samples import SEED_STRIDE, batches, clip_sample, frame_sample
from apollo.train.joint import (
    TOWER_RATE,
    ConnectTask,
    JointTask,
    SlotTask,
    connect_batches,
    joint_batches,
)
from apollo.train.language import LanguageTask, chat_batches
from apollo.train.loop import run_stage
from apollo.train.nano_model import (
    GRID,
    INTERNVIDEO2,
    MAX_LENGTH,
    SIGLIP,
    build_internvideo2,
    build_nano,
    build_siglip,
)
from apollo.train.optimizer import parameter_groups
from apollo.train.tokenizer import train_tokenizer
from apollo.train.vision import ImageTask, VideoTask

NUM_STEPS = {
    "image": 5000,
    "video": 2500,
    "language": 10_000,
    "slots": 800,
    "connect": 300,
    "joint": 600,
}
BATCH_SIZE = {"image": 64, "video": 32, "language": 4, "slots": 32, "connect": 32, "joint": 8}
LR = {
    "image": 3e-3,
    "video": 3e-3,
    "language": 3e-3,
    "slots": 3e-3,
    "connect": 2e-3,
    "joint": 1e-3,
}
STAGES = tuple(NUM_STEPS)


def first_number(stage: str, seed: int) -> int:
    """Where the stage's stream of sample numbers starts: apart from every other stream."""
    return (seed * 100 + STAGES.index(stage) + 1) * SEED_STRIDE * 1000


def train_image(folder: Path, seed: int) -> ImageTask:
    torch.manual_seed(seed)
    task = ImageTask(build_siglip())
    make = partial(frame_sample, grid=GRID, transform=task.tower.transform)
    _run("image", task, partial(batches, make), folder, seed)
    return task


def train_video(folder: Path, seed: int) -> VideoTask:
    torch.manual_seed(seed + 1)
    task = VideoTask(build_internvideo2())
    make = partial(clip_sample, grid=GRID, transform=task.tower.transform)
    _run("video", task, partial(batches, make), folder, seed)
    return task


def fresh_model(seed: int) -> ApolloForCausalLM:
    """The whole model before training, with its tokenizer."""
    torch.manual_seed(seed)
    return build_nano(train_tokenizer(all_texts(), MAX_LENGTH))


def train_language(folder: Path, seed: int) -> tuple[LanguageTask, ApolloForCausalLM]:
    model = fresh_model(seed + 2)
    task = LanguageTask(model)
    _run("language", task, partial(chat_batches, model), folder, seed)
    return task, model


def train_slots(folder: Path, seed: int) -> ApolloForCausalLM:
    model = fresh_model(seed + 3)
    model.vision_tower.towers[SIGLIP] = train_image(folder, seed).tower
    model.vision_tower.towers[INTERNVIDEO2] = train_video(folder, seed).tower
    task = SlotTask(model)
    rest = [task.connector, task.heads]
    groups = parameter_groups([task.towers], scale=TOWER_RATE) + parameter_groups(rest)
    make = partial(connect_batches, model.vision_tower.vision_processor)
    _run("slots", task, make, folder, seed, groups)
    return model


def train_connect(folder: Path, seed: int) -> tuple[LanguageTask, ApolloForCausalLM]:
    language, model = train_language(folder, seed)
    seeing = train_slots(folder, seed)
    model.vision_tower = seeing.vision_tower
    # all of the connector that sees, with the last norm that the LLM knows
    seeing.mm_connector.resampler.norm = model.mm_connector.resampler.norm
    model.mm_connector = seeing.mm_connector
    torch.manual_seed(seed + 4)
    task = ConnectTask(language, model)
    groups = parameter_groups([task.towers], scale=TOWER_RATE) + parameter_groups([task.connector])
    groups.append({"params": [task.sharpness], "muon": False, "scale": 1.0})
    make = partial(connect_batches, model.vision_tower.vision_processor)
    _run("connect", task, make, folder, seed, groups)
    return language, model


def train_joint(folder: Path, seed: int) -> ApolloForCausalLM:
    language, model = train_connect(folder, seed)
    torch.manual_seed(seed + 5)
    task = JointTask(language, model)
    _run("joint", task, partial(joint_batches, model), folder, seed)
    model.bfloat16().save_pretrained(folder / "apollo-nano")  # half the size, the same answers
    return model


def _run(
    stage: str, task: Any, batches_of: Any, folder: Path, seed: int, groups: Any = None
) -> None:
    size, first = BATCH_SIZE[stage], first_number(stage, seed)
    run_stage(
        stage,
        task,
        groups or parameter_groups([task]),
        lambda step: batches_of(size, step, first),
        task.loss,
        num_steps=NUM_STEPS[stage],
        lr=LR[stage],
        folder=folder,
    )


TRAIN: dict[str, Any] = {
    "image": train_image,
    "video": train_video,
    "language": train_language,
    "slots": train_slots,
    "connect": train_connect,
    "joint": train_joint,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for all checkpoints")
    parser.add_argument("--only", choices=STAGES, nargs="+", help="run just these stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(options.threads)
    for stage in options.only or ["joint"]:  # a stage runs those it needs
        TRAIN[stage](options.output, options.seed)


if __name__ == "__main__":
    main()
