"""Teaches apollo-nano one new thing from ten clips: `python -m apollo.nano.lora_trial FOLDER`.

In:  a folder.   Out: in it, ten clips of a windmill, which nano never saw, with questions and
answers, and the adapter that `apollo lora train` makes of them; on stdout, how often nano names
the windmill in clips it was not trained on, and sees one where there is none, before and after.
Odd: the clips it is asked about share no background and no motion with the ten.
A stopped trial goes on from where it was, so its time is a whole one only in a new folder.
`--bench 400` also asks all of nano-bench before and after, which takes longer than the training.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from apollo.adapters.files import AdapterConfig
from apollo.cartoon.draw.sprites import extra_thing
from apollo.cartoon.draw.video_file import write_video
from apollo.cartoon.talk.questions import conversation
from apollo.cartoon.world.facts import BACKGROUNDS, MOTIONS, Thing
from apollo.cartoon.world.scenes import Scene, Video, video_from_seed
from apollo.chat import load
from apollo.settings import Generation
from apollo.train import lora

WINDMILL = Thing("windmill", "windmills", glyph="windmill", zh="风车", zh_measure="座")
NUM_CLIPS = 10
SIZE_PX, FPS = 240, 12
FIRST_SEED, HELD_OUT_SEED, OTHERS_SEED = 8_000_000, 8_100_000, 8_200_000
# what a person would write down about a clip: a name, and some of what happens to it
KINDS = ("object", "object", "describe", "motion", "background", "count")
TALKS = 4  # conversations about a clip
NUM_TURNS = 2
PICTURE_PX, DRAWN_PX = 64, 256
GREEDY = Generation(temperature=0, max_new_tokens=48)


def windmill_picture() -> np.ndarray:
    """A brown tower with a teal cap and four pale sails, (PICTURE_PX, PICTURE_PX, 4)."""
    image = Image.new("RGBA", (DRAWN_PX, DRAWN_PX))
    draw = ImageDraw.Draw(image)
    draw.polygon([(104, 112), (152, 112), (178, 246), (78, 246)], fill=(150, 92, 58, 255))
    draw.polygon([(92, 118), (128, 62), (164, 118)], fill=(22, 128, 128, 255))
    draw.rectangle((112, 196, 144, 246), fill=(70, 40, 26, 255))
    hub = np.array([128.0, 104.0])
    for quarter in range(4):
        angle = np.deg2rad(45 + 90 * quarter)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        corners = [(14, -4), (112, -4), (112, 26), (30, 26)]
        sail = [tuple(hub + a * along + b * across) for a, b in corners]
        draw.polygon(sail, fill=(240, 226, 178, 255))
        draw.line([tuple(hub), tuple(hub + 114 * along)], fill=(80, 50, 32, 255), width=9)
    draw.ellipse((116, 92, 140, 116), fill=(80, 50, 32, 255))
    smaller = image.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
    return np.asarray(smaller)


# ---- clips -------------------------------------------------------------------------------


def is_for_training(scene: Scene) -> bool | None:
    """Which half the background and the motion are of; None when they are not of the same."""
    background = [b.name for b in BACKGROUNDS].index(scene.background) % 2 == 0
    motion = [m.name for m in MOTIONS].index(scene.motion) % 2 == 0
    return background if background == motion else None


def windmill_videos(first_seed: int, count: int, *, for_training: bool) -> Iterator[Video]:
    """Videos of one scene of one half, whose object became a windmill."""
    seed = first_seed
    while count:
        (scene,) = video_from_seed(seed, num_scenes=1).scenes
        if is_for_training(scene) is for_training:
            count -= 1
            yield Video((replace(scene, object=WINDMILL.singular, colour=None),))
        seed += 1


def write_clips(folder: Path, videos: Iterator[Video]) -> list[tuple[Path, Video]]:
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, video in enumerate(videos):
        file = folder / f"{number:02d}.mp4"
        write_video(video, file, size_px=SIZE_PX, fps=FPS)
        clips.append((file, video))
    return clips


def write_records(file: Path, clips: list[tuple[Path, Video]]) -> None:
    """Some short conversations about every clip, as JSON lines."""
    lines = []
    for number, (clip, video) in enumerate(clips):
        rng = np.random.default_rng((FIRST_SEED, number))
        for _ in range(TALKS):
            turns = conversation(rng, video, turns=NUM_TURNS, kinds=KINDS)
            messages = [
                {"role": role, "content": text}
                for turn in turns
                for role, text in (("user", turn.question), ("assistant", turn.answer))
            ]
            path = str(clip.relative_to(file.parent))
            lines.append(json.dumps({"video": path, "messages": messages}) + "\n")
    file.write_text("".join(lines), encoding="utf-8")


# ---- before and after --------------------------------------------------------------------


def naming(model: Any, clips: list[tuple[Path, Video]], is_right: Callable[[str], bool]) -> float:
    """The share of clips whose answer to "what is there?" is right."""
    right = 0
    for number, (clip, video) in enumerate(clips):
        rng = np.random.default_rng((HELD_OUT_SEED, number))
        (turn,) = conversation(rng, video, turns=1, kinds=["object"])
        right += is_right(model.answer(clip, turn.question, generation=GREEDY).lower())
    return right / len(clips)


def bench(folder: Path, base: str, adapter: Path | None, number: int) -> float:
    """Accuracy on so many questions of nano-bench, in per cent, by `apollo eval`."""
    flags = ["--adapter", str(adapter)] if adapter else []
    command = [sys.executable, "-m", "apollo", "eval", "nano-bench", "--output", str(folder)]
    subprocess.run(
        [*command, "--model", base, "--limit", str(number), *flags],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    results = json.loads((folder / "results.json").read_text("utf-8"))
    return float(results["figures"]["full"]["per_question"]["per_cent"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", default="nano", help="nano, or the folder of another version")
    parser.add_argument("--held-out", type=int, default=40, help="clips to ask about (default 40)")
    parser.add_argument("--steps", type=int, default=lora.NUM_STEPS)
    parser.add_argument("--bench", type=int, metavar="N", help="also N questions of nano-bench")
    args = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("apollo").setLevel(logging.INFO)

    data, adapter = args.folder / "windmills.jsonl", args.folder / "adapter"
    others = (video_from_seed(OTHERS_SEED + n, num_scenes=1) for n in range(args.held_out))
    with extra_thing(WINDMILL, windmill_picture()):
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
            named = naming(model, new, lambda text: WINDMILL.singular in text)
            wrong = naming(model, old, lambda text: WINDMILL.singular in text)
            sys.stdout.write(
                f"{label}: {named:.1%} of {len(new)} windmills named, "
                f"{wrong:.1%} of {len(old)} other clips called windmill\n"
            )
    sys.stdout.write(f"training: {seconds:.0f} s in this run\n")
    if args.bench:
        for label, used in (("before", None), ("after", adapter)):
            share = bench(args.folder / f"bench-{label}", args.base, used, args.bench)
            sys.stdout.write(f"nano-bench {label}: {share:.1f} % of {args.bench} questions\n")


if __name__ == "__main__":
    main()
