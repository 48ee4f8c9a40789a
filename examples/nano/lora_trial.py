"""Trains a LoRA adapter on ten clips of something new: `python -m examples.nano.lora_trial FOLDER`.

In:  a folder.   Out: in it, ten clips of a windmill, which nano never saw, with questions and
     answers, and the adapter that `apollo lora train` makes of them; on stdout, before and after:
     how often nano names the windmill in other clips of one, and in clips of something else.
Odd: the clips it is asked about share no background and no motion with the ten.
     A stopped trial is resumed, so the time it prints is that of the whole training only in a new
     folder. What else the adapter changes, `apollo eval nano-bench --adapter FOLDER/adapter` says.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from apollo.adapters.files import AdapterConfig
from apollo.cartoon.draw.sprites import OTHER_PICTURES
from apollo.cartoon.draw.video_file import write_video
from apollo.cartoon.rehearsal import json_lines, record
from apollo.cartoon.talk.questions import conversation
from apollo.cartoon.world.facts import BACKGROUNDS, MOTIONS
from apollo.cartoon.world.scenes import Cartoon, Scene, video_from_seed
from apollo.chat import load
from apollo.data.whole_file import write_text
from apollo.settings import Generation
from apollo.train import lora
from examples.nano.windmill import WINDMILL, windmill_picture

OTHER_PICTURES[WINDMILL] = windmill_picture()
NUM_CLIPS = 10
SIZE_PX, FPS = 240, 12
FIRST_SEED, HELD_OUT_SEED, OTHERS_SEED = 8_000_000, 8_100_000, 8_200_000
# what a person would write about a clip: its name, and some of what happens
KINDS = ("object", "object", "describe", "motion", "background", "count")
TALKS = 4  # conversations about a clip
NUM_TURNS = 2
GREEDY = Generation(temperature=0, max_new_tokens=48)


# ---- clips -------------------------------------------------------------------------------


def is_for_training(scene: Scene) -> bool | None:
    """Which half the background and the motion are of; None when they are not of the same."""
    background = list(BACKGROUNDS).index(scene.background) % 2 == 0
    motion = list(MOTIONS).index(scene.motion) % 2 == 0
    return background if background == motion else None


def windmill_videos(first_seed: int, count: int, *, for_training: bool) -> Iterator[Cartoon]:
    """Videos of one scene of one half, whose object became a windmill."""
    seed = first_seed
    while count:
        (scene,) = video_from_seed(seed, num_scenes=1).scenes
        if is_for_training(scene) is for_training:
            count -= 1
            yield Cartoon((replace(scene, object=WINDMILL, colour=None),))
        seed += 1


def write_clips(folder: Path, videos: Iterator[Cartoon]) -> list[tuple[Path, Cartoon]]:
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, video in enumerate(videos):
        file = folder / f"{number:02d}.mp4"
        write_video(video, file, size_px=SIZE_PX, fps=FPS)
        clips.append((file, video))
    return clips


def write_records(file: Path, clips: list[tuple[Path, Cartoon]]) -> None:
    """Some short conversations about every clip, as JSON lines."""
    records = []
    for number, (clip, video) in enumerate(clips):
        rng = np.random.default_rng((FIRST_SEED, number))
        for _ in range(TALKS):
            turns = conversation(rng, video, turns=NUM_TURNS, kinds=KINDS)
            records.append(record(str(clip.relative_to(file.parent)), turns))
    write_text(file, json_lines(records))


# ---- before and after --------------------------------------------------------------------


def naming(model: Any, clips: list[tuple[Path, Cartoon]]) -> float:
    """The share of clips of which "what is there?" is answered with a windmill."""
    named = 0
    for number, (clip, video) in enumerate(clips):
        rng = np.random.default_rng((HELD_OUT_SEED, number))
        (turn,) = conversation(rng, video, turns=1, kinds=["object"])
        named += WINDMILL in model.answer(clip, turn.question, generation=GREEDY).lower()
    return named / len(clips)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", default="nano", help="nano, or the folder of another version")
    parser.add_argument("--held-out", type=int, default=40, help="clips to ask about (default 40)")
    parser.add_argument("--steps", type=int, default=lora.NUM_STEPS)
    args = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("apollo").setLevel(logging.INFO)

    data, adapter = args.folder / "windmills.jsonl", args.folder / "adapter"
    others = (video_from_seed(OTHERS_SEED + n, num_scenes=1) for n in range(args.held_out))
    ten = windmill_videos(FIRST_SEED, NUM_CLIPS, for_training=True)
    write_records(data, write_clips(args.folder / "ten", ten))
    held_out = windmill_videos(HELD_OUT_SEED, args.held_out, for_training=False)
    new = write_clips(args.folder / "held-out", held_out)
    old = write_clips(args.folder / "others", others)
    began_s = time.monotonic()
    settings = lora.LoraSettings(
        data,
        adapter,
        AdapterConfig(targets=lora.default_of(lora.TARGETS, args.base)),
        base=args.base,
        steps=args.steps,
        lr=lora.default_of(lora.RATES, args.base),
        rehearse=lora.default_of(lora.REHEARSED, args.base),
    )
    lora.train_adapter(settings)
    seconds = time.monotonic() - began_s
    model = load(args.base, adapter=adapter)
    for label, name in (("before", None), ("after", model.adapters[0])):
        model.use_adapter(name)
        sys.stdout.write(
            f"{label}: {naming(model, new):.1%} of {len(new)} windmills named, "
            f"{naming(model, old):.1%} of {len(old)} other clips called windmill\n"
        )
    sys.stdout.write(f"training: {seconds:.0f} s in this run\n")


if __name__ == "__main__":
    main()
