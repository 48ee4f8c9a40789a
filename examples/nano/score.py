"""Scores a model on the cartoon world: `python -m examples.nano.score --videos 100`.

In:  a model.  Out: on stdout, tables of right answers; with --output also every answer.
Odd: fresh held-out videos are written as files and asked about like any video, every answer of the
model staying in the conversation. The same questions are asked about a grey video, about another
video or without one, which shows what can be guessed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

import apollo
from apollo.cartoon.talk.asking import WORDINGS
from apollo.cartoon.talk.questions import KINDS, Turn, conversation
from apollo.cartoon.world.scenes import SPLITS, video_from_seed
from apollo.settings import Generation
from examples.nano.score_table import QuestionScore, table, turns_table
from examples.nano.views import BLIND, SHOWN, VIEWS, Shot

FIRST_SEED = 9_000_000_000  # training never reaches these numbers
LANGUAGES = ("en", "en", "zh")  # in turn
TURNS = 4  # of each conversation
GREEDY = Generation(temperature=0, max_new_tokens=160)


def ask_all(model: apollo.Apollo, path: Path | None, asked: Sequence[Turn]) -> list[str]:
    """The model's answers in one conversation, every earlier answer its own."""
    messages: list[dict[str, str]] = []
    for turn in asked:
        messages.append({"role": "user", "content": turn.question})
        answer = model.answer(path, messages, generation=GREEDY)
        messages.append({"role": "assistant", "content": answer})
    return [message["content"] for message in messages[1::2]]


def shots(num_videos: int, scenes: Sequence[int], seed: int, split: str) -> Iterator[Shot]:
    """So many fresh videos of each number of scenes."""
    for num_scenes in scenes:
        first = seed + num_scenes * 10**7
        for number in tqdm(range(first, first + num_videos), desc=f"{num_scenes} scenes"):
            yield Shot(number, split, video_from_seed(number, split=split, num_scenes=num_scenes))


def score(
    model: apollo.Apollo,
    *,
    num_videos: int,
    scenes: Sequence[int],
    views: Sequence[str] = (SHOWN, BLIND),
    seed: int = FIRST_SEED,
    split: str = "held-out",
    kinds: Sequence[str] | None = None,
    wordings: str = "train",
) -> list[QuestionScore]:
    """A conversation about each of `num_videos` videos per number of scenes, under every view."""
    results: list[QuestionScore] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        for number, shot in enumerate(shots(num_videos, scenes, seed, split)):
            language = LANGUAGES[number % num_videos % len(LANGUAGES)]
            rng = np.random.default_rng((shot.seed, 7))
            follow_ups = bool(rng.random() < 0.5) and kinds is None
            turns = conversation(
                rng, shot.video, turns=TURNS, kinds=kinds, language=language, wordings=wordings,
                follow_ups=follow_ups,
            )  # fmt: skip
            given = [ask_all(model, VIEWS[view](file, shot), turns) for view in views]
            results += [
                QuestionScore(
                    shot.seed, split, language, len(shot.video.scenes), place, turn.kind,
                    turn.question, turn.answer, dict(zip(views, answers, strict=True)),
                )
                for place, (turn, *answers) in enumerate(zip(turns, *given, strict=True), start=1)
            ]  # fmt: skip
    return results


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--adapter", help="folder of a LoRA adapter for the model")
    parser.add_argument("--videos", type=int, default=100, help="for each number of scenes")
    parser.add_argument("--scenes", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=[SHOWN, BLIND])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="only these (default: all)")
    parser.add_argument("--split", choices=SPLITS, default="held-out")
    parser.add_argument("--wordings", choices=WORDINGS, default="train")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--output", type=Path, help="also write every question as JSON lines")
    options = parser.parse_args(arguments)
    results = score(
        apollo.load(options.model, adapter=options.adapter),
        num_videos=options.videos,
        scenes=options.scenes,
        views=options.views,
        seed=options.seed,
        split=options.split,
        kinds=options.kinds,
        wordings=options.wordings,
    )
    if options.output:
        rows = (
            json.dumps({**asdict(row), "right": {view: row.right(view) for view in row.given}})
            for row in results
        )
        options.output.write_text("\n".join(rows) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(results)}\n\n{turns_table(results)}\n")


if __name__ == "__main__":
    main()
