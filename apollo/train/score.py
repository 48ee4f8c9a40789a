"""How well a model knows the cartoon world: `python -m apollo.train.score --videos 300`.

Writes fresh held-out videos as real files, asks about them through the whole line, each model
answer staying in the conversation, and compares with the one right answer. The blind row is the
same model shown a grey video of the same length: what can be guessed without seeing.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

import apollo
from apollo.settings import Generation
from apollo.train.cartoon.encode import write_grey_video, write_video
from apollo.train.cartoon.judge import is_right
from apollo.train.cartoon.questions import Turn, conversation
from apollo.train.cartoon.world import Video, video_from_seed

log = logging.getLogger(__name__)

FIRST_SEED = 9_000_000_000  # training never reaches these numbers
SIZES_PX = (240, 360, 480)
RATES_FPS = (8, 15, 24, 30)
ALWAYS = ("object", "motion", "word", "colour")  # asked wherever they apply
MORE_KINDS = (
    *("count", "background", "position", "second_object", "describe", "yesno"),
    *("duration", "when", "num_scenes", "list", "first", "last", "next", "before", "chat"),
)
NO_TEXT = "There is no text."


@dataclass(frozen=True)
class Scored:
    """One question, its right answer, and what came."""

    seed: int
    scenes: int
    kind: str
    question: str
    wanted: str
    given: str
    blind: str

    @property
    def right(self) -> bool:
        return is_right(self.kind, self.wanted, self.given)

    @property
    def blind_right(self) -> bool:
        return is_right(self.kind, self.wanted, self.blind)


def questions(seed: int, video: Video, extra: int = 3) -> list[Turn]:
    """The four main kinds where they apply, then some others."""
    rng = np.random.default_rng((seed, 7))
    asked = [turn for kind in ALWAYS for turn in conversation(rng, video, turns=1, kinds=(kind,))]
    asked += conversation(rng, video, turns=extra, kinds=MORE_KINDS)
    return [asked[i] for i in rng.permutation(len(asked))]


def ask_all(model: apollo.Apollo, path: Path, asked: list[Turn]) -> list[str]:
    """The model's answers in one conversation, every earlier answer its own."""
    messages: list[dict[str, str]] = []
    generation = Generation(temperature=0, max_new_tokens=128)
    for turn in asked:
        messages.append({"role": "user", "content": turn.question})
        answer = model.answer(path, messages, generation=generation)
        messages.append({"role": "assistant", "content": answer})
    return [message["content"] for message in messages[1::2]]


def score(model: apollo.Apollo, num_videos: int, num_scenes: int, seed: int) -> list[Scored]:
    """Questions about `num_videos` fresh held-out videos, and the same ones asked blindly."""
    results: list[Scored] = []
    with tempfile.TemporaryDirectory() as folder:
        shown, grey = Path(folder) / "shown.mp4", Path(folder) / "grey.mp4"
        for number in tqdm(range(seed, seed + num_videos), desc=f"{num_scenes} scenes"):
            rng = np.random.default_rng((number, 8))
            video = video_from_seed(number, split="held-out", num_scenes=num_scenes)
            size_px, fps = int(rng.choice(SIZES_PX)), int(rng.choice(RATES_FPS))
            write_video(video, shown, size_px=size_px, fps=fps)
            write_grey_video(video.duration_s, grey, size_px=size_px, fps=fps)
            asked = questions(number, video)
            answers = zip(
                asked, ask_all(model, shown, asked), ask_all(model, grey, asked), strict=True
            )
            for turn, given, blind in answers:
                asking = (turn.kind, turn.question, turn.answer)
                results.append(Scored(number, num_scenes, *asking, given, blind))
    return results


def interval(right: int, total: int) -> tuple[float, float]:
    """95 % Wilson interval of a share, in per cent."""
    z, share = 1.96, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    return 100 * (middle - half), 100 * (middle + half)


def table(results: list[Scored]) -> str:
    """Markdown: per number of scenes and kind, right answers with and without seeing."""
    groups: dict[tuple[int, str], list[Scored]] = defaultdict(list)
    for row in results:
        kind = row.kind
        if kind == "word" and row.wanted == NO_TEXT:
            kind = "word (none shown)"
        groups[row.scenes, kind].append(row)
        groups[row.scenes, "all"].append(row)
    lines = [
        "| scenes | question | n | right | 95 % interval | blind |",
        "|---|---|---|---|---|---|",
    ]
    for (scenes, kind), rows in sorted(groups.items()):
        right, blind = sum(r.right for r in rows), sum(r.blind_right for r in rows)
        low, high = interval(right, len(rows))
        lines.append(
            f"| {scenes} | {kind} | {len(rows)} | {100 * right / len(rows):.1f} % "
            f"| {low:.0f} to {high:.0f} | {100 * blind / len(rows):.1f} % |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--videos", type=int, default=300, help="held-out videos")
    parser.add_argument("--scenes", type=int, default=1, choices=(1, 2, 3, 4))
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--output", type=Path, help="also write every question as JSON lines")
    options = parser.parse_args(arguments)
    results = score(apollo.load(options.model), options.videos, options.scenes, options.seed)
    if options.output:
        rows = (json.dumps({**asdict(row), "right": row.right}) for row in results)
        options.output.write_text("\n".join(rows) + "\n", encoding="utf-8")
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
