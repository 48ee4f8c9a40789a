"""Trains apollo-nano from nothing: `python -m apollo.train.nano --output runs/nano`.

Stages, each a checkpoint of its own that a later call goes on from:
  image      SigLIP on single frames, dense labels          (vision.py)
  video      InternVideo2 on clips, dense labels            (vision.py)
  language   the LLM on perfect facts instead of video      (language.py)
`image`, `video` and `language` do not depend on each other: with two cores, run two at a time with
`--only`. Everything follows from the seed; one torch thread gives the same weights again.
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
from apollo.train.language import LanguageTask, chat_batches
from apollo.train.loop import run_stage
from apollo.train.nano_model import (
    GRID,
    MAX_LENGTH,
    build_internvideo2,
    build_nano,
    build_siglip,
)
from apollo.train.optimizer import parameter_groups
from apollo.train.tokenizer import train_tokenizer
from apollo.train.vision import ImageTask, VideoTask

NUM_STEPS = {"image": 1600, "video": 800, "language": 2000}
BATCH_SIZE = {"image": 64, "video": 32, "language": 8}
LR = {"image": 3e-3, "video": 3e-3, "language": 3e-3}


def first_number(stage: str, seed: int) -> int:
    """Where the stage's stream of sample numbers starts: apart from every other stream."""
    return (seed * 100 + list(STAGES).index(stage) + 1) * SEED_STRIDE * 1000


def train_image(folder: Path, seed: int) -> ImageTask:
    torch.manual_seed(seed)
    task = ImageTask(build_siglip())
    make = partial(frame_sample, grid=GRID, transform=task.tower.transform)
    size, first = BATCH_SIZE["image"], first_number("image", seed)
    _run("image", task, lambda step: batches(make, size, step, first), folder)
    return task


def train_video(folder: Path, seed: int) -> VideoTask:
    torch.manual_seed(seed + 1)
    task = VideoTask(build_internvideo2())
    make = partial(clip_sample, grid=GRID, transform=task.tower.transform)
    size, first = BATCH_SIZE["video"], first_number("video", seed)
    _run("video", task, lambda step: batches(make, size, step, first), folder)
    return task


def fresh_model(seed: int) -> ApolloForCausalLM:
    """The whole model before training, with its tokenizer."""
    torch.manual_seed(seed + 2)
    return build_nano(train_tokenizer(all_texts(), MAX_LENGTH))


def train_language(folder: Path, seed: int) -> LanguageTask:
    model = fresh_model(seed)
    task = LanguageTask(model)
    size, first = BATCH_SIZE["language"], first_number("language", seed)
    _run("language", task, lambda step: chat_batches(model, size, step, first), folder)
    return task


def _run(stage: str, task: Any, batches_from: Any, folder: Path) -> None:
    run_stage(
        stage,
        task,
        parameter_groups([task]),
        batches_from,
        task.loss,
        num_steps=NUM_STEPS[stage],
        lr=LR[stage],
        folder=folder,
    )


STAGES = {"image": train_image, "video": train_video, "language": train_language}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for all checkpoints")
    parser.add_argument("--only", choices=list(STAGES), nargs="+", help="run just these stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(options.threads)
    for stage in options.only or STAGES:
        STAGES[stage](options.output, options.seed)


if __name__ == "__main__":
    main()
