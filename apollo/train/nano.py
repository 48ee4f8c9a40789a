"""Trains apollo-nano from nothing: `python -m apollo.train.nano --output runs/nano`.

Stages, each a checkpoint of its own that a later call goes on from:
  image      SigLIP on single frames, dense labels          (vision.py)
  video      InternVideo2 on clips, dense labels            (vision.py)
`image`, `video` and `language` do not depend on each other: with two cores, run two at a time with
`--only`. Everything follows from the seed; one torch thread gives the same weights again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

import torch

from apollo.train.cartoon.samples import SEED_STRIDE, batches, clip_sample, frame_sample
from apollo.train.loop import run_stage
from apollo.train.nano_model import GRID, build_internvideo2, build_siglip
from apollo.train.optimizer import parameter_groups
from apollo.train.vision import ImageTask, VideoTask

NUM_STEPS = {"image": 2000, "video": 1200}
BATCH_SIZE = {"image": 64, "video": 32}
LR = {"image": 3e-3, "video": 3e-3}


def first_number(stage: str, seed: int) -> int:
    """Where the stage's stream of sample numbers starts: apart from every other stream."""
    return (seed * 100 + list(STAGES).index(stage) + 1) * SEED_STRIDE * 1000


def train_image(folder: Path, seed: int) -> ImageTask:
    torch.manual_seed(seed)
    task = ImageTask(build_siglip())
    make = partial(frame_sample, grid=GRID, transform=task.tower.transform)
    _run("image", task, make, folder, seed)
    return task


def train_video(folder: Path, seed: int) -> VideoTask:
    torch.manual_seed(seed + 1)
    task = VideoTask(build_internvideo2())
    make = partial(clip_sample, grid=GRID, transform=task.tower.transform)
    _run("video", task, make, folder, seed)
    return task


def _run(stage: str, task: ImageTask | VideoTask, make: object, folder: Path, seed: int) -> None:
    size, first = BATCH_SIZE[stage], first_number(stage, seed)
    run_stage(
        stage,
        task,
        parameter_groups([task]),
        lambda step: batches(make, size, step, first),
        task.loss,
        num_steps=NUM_STEPS[stage],
        lr=LR[stage],
        folder=folder,
    )


STAGES = {"image": train_image, "video": train_video}


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
