"""Makes nano_bench.json: `python -m examples.nano.make_bench`.

Every category gets as many questions, each of its four letters is right equally often, and no
question comes twice about a video. Everything follows from FIRST_SEED.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from apollo.cartoon.bench import SPEC, BenchQuestion, BenchVideo
from apollo.cartoon.draw.render import render_clip
from apollo.cartoon.talk.asking import WORDINGS, Asked, Asking
from apollo.cartoon.talk.multiple_choice import options_for
from apollo.cartoon.talk.phrases import ENGLISH
from apollo.cartoon.talk.questions import ASKERS
from apollo.cartoon.world.facts import MOTIONS
from apollo.cartoon.world.scenes import Cartoon
from apollo.data.choices import LETTERS

FIRST_SEED = 7_000_000_000  # training never reaches these numbers
HASHED_PX = 96
NUM_VIDEOS = 120
PER_CATEGORY = 80
NUM_OPTIONS = 4
TRIES = 60  # for one question about one video
SIZES_PX = (240, 360, 480)
ASPECTS = (1.0, 4 / 3, 3 / 2, 16 / 9, 3 / 4)
RATES_FPS = (8, 12, 24, 30)

KINDS: dict[str, tuple[str, ...]] = {
    "ocr": ("word", "when"),
    "egocentric": ("passing", "motion"),
    "spatial": ("position", "relation"),
    "perception": ("object", "count", "colour", "background"),
    "reasoning": ("next", "before", "last", "when", "num_scenes", "at"),
}


def _is_directed(asked: Asked) -> bool:
    return asked.about is not None and MOTIONS[asked.about.motion][0] != 0


# which questions of a kind belong to a category, where not all do
BELONGS: dict[tuple[str, str], Callable[[Asked], bool]] = {
    ("ocr", "when"): lambda asked: '"' in asked.question,
    ("reasoning", "when"): lambda asked: '"' not in asked.question,
    ("egocentric", "motion"): _is_directed,
    ("egocentric", "passing"): lambda asked: asked.subject.startswith("side"),
}


def frames_digest(video: Cartoon) -> str:
    """Of the frames that the model would sample, drawn small."""
    digest = hashlib.blake2b(digest_size=8)
    for clip in range(video.num_clips):
        digest.update(render_clip(video, clip, HASHED_PX).tobytes())
    return digest.hexdigest()


def bench_video(number: int) -> BenchVideo:
    rng = np.random.default_rng((FIRST_SEED, number))
    item = BenchVideo(
        name=f"video_{number:03d}",
        seed=FIRST_SEED + number,
        num_scenes=1 + number % 4,
        size_px=int(rng.choice(SIZES_PX)),
        fps=int(rng.choice(RATES_FPS)),
        aspect=round(float(rng.choice(ASPECTS)), 4),
        frames="",
    )
    return BenchVideo(**{**asdict(item), "frames": frames_digest(item.video)})


def _a_question(a: Asking, category: str, seen: set[str]) -> tuple[str, list[str], str] | None:
    """Question, options and the right one, new to this video."""
    for _ in range(TRIES):
        kind = a.choice(KINDS[category])
        asked = ASKERS[kind](a)
        belongs = BELONGS.get((category, kind), lambda asked: True)
        if asked is None or not belongs(asked) or f"{kind} {asked.subject}" in seen:
            continue
        options = options_for(a, kind, asked, NUM_OPTIONS)
        if options is not None:
            seen.add(f"{kind} {asked.subject}")
            return asked.question, options, asked.answer
    return None


def make_bench() -> tuple[list[BenchVideo], list[BenchQuestion]]:
    videos = [bench_video(number) for number in range(NUM_VIDEOS)]
    rngs = [np.random.default_rng((FIRST_SEED, number, 1)) for number in range(NUM_VIDEOS)]
    seen: list[set[str]] = [set() for _ in videos]
    questions: list[BenchQuestion] = []
    for category in KINDS:
        made = turn = 0
        while made < PER_CATEGORY:
            assert turn < 20 * NUM_VIDEOS, f"not enough questions for {category}"
            which = turn % NUM_VIDEOS
            turn += 1
            wordings = WORDINGS[int(rngs[which].integers(2))]
            a = Asking(rngs[which], videos[which].video, ENGLISH, wordings)
            found = _a_question(a, category, seen[which])
            if found is None:
                continue
            question, options, right = found
            options.remove(right)
            options.insert(made % NUM_OPTIONS, right)  # each letter is right equally often
            questions.append(
                BenchQuestion(
                    id=f"{category}-{made:02d}",
                    category=category,
                    video=videos[which].name,
                    question=question,
                    options=tuple(option.rstrip(".") for option in options),
                    answer=LETTERS[made % NUM_OPTIONS],
                )
            )
            made += 1
    asked_about = {question.video for question in questions}
    return [video for video in videos if video.name in asked_about], questions


def spec_text(videos: list[BenchVideo], questions: list[BenchQuestion]) -> str:
    """One line for each video and question, so that a change can be read."""
    parts = []
    for name, items in (("videos", videos), ("questions", questions)):
        rows = ",\n".join(json.dumps(asdict(item), ensure_ascii=False) for item in items)
        parts.append(f'"{name}": [\n{rows}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=SPEC)
    output = parser.parse_args(arguments).output
    output.write_text(spec_text(*make_bench()), encoding="utf-8")


if __name__ == "__main__":
    main()
