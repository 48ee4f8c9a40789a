"""nano-bench: 400 fixed multiple-choice questions about cartoon videos that training never shows.

In:  nano_bench.json, which names seeds and sizes.  Out: the videos as files, and the questions in
     the schema that `apollo eval` reads.
Odd: only specs are kept; the same seed draws the same frames, to the bit.
     The five categories are ApolloBench's. "egocentric" is what depends on where the viewer is:
     towards which side things move, come and go.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apollo.cartoon.draw.video_file import write_video
from apollo.cartoon.world.scenes import Cartoon, video_from_seed
from apollo.data.whole_file import whole_file, write_text

SPEC = Path(__file__).with_name("nano_bench.json")
NUM_QUESTIONS = 400


@dataclass(frozen=True)
class BenchVideo:
    """A held-out video: its seed, and how it becomes a file."""

    name: str
    seed: int
    num_scenes: int
    size_px: int
    fps: int
    aspect: float
    frames: str  # digest of what is drawn

    @property
    def file(self) -> str:
        """Its file's name says what is in it, so an old file is never taken for a new one."""
        return f"{self.name}-{self.frames}-{self.size_px}px-{self.fps}fps-{self.aspect}.mp4"

    @property
    def video(self) -> Cartoon:
        return video_from_seed(self.seed, split="held-out", num_scenes=self.num_scenes)


@dataclass(frozen=True)
class BenchQuestion:
    id: str
    category: str
    video: str
    question: str
    options: tuple[str, ...]
    answer: str  # a letter


def load_bench(spec: Path = SPEC) -> tuple[list[BenchVideo], list[BenchQuestion]]:
    """The videos and the questions about them."""
    stored: dict[str, Any] = json.loads(spec.read_text(encoding="utf-8"))
    videos = [BenchVideo(**fields) for fields in stored["videos"]]
    questions = [
        BenchQuestion(**{**fields, "options": tuple(fields["options"])})
        for fields in stored["questions"]
    ]
    return videos, questions


def file_of(number: int = NUM_QUESTIONS) -> str:
    """The name of the file that holds so many of the questions."""
    return "nano-bench.json" if number == NUM_QUESTIONS else f"nano-bench-{number}.json"


def write_bench_videos(folder: Path, number: int = NUM_QUESTIONS) -> Path:
    """Writes so many questions, evenly chosen, and their videos into `folder`.

    Returns the file of the questions, which is written last. A video that is there already is left
    as it is.
    """
    videos, questions = load_bench()
    questions = [questions[i * len(questions) // number] for i in range(number)]
    shown = {asked.video for asked in questions}
    videos = [item for item in videos if item.name in shown]
    for item in tqdm(videos, desc="drawing nano-bench", unit="video"):
        path = folder / item.file
        if not path.exists():
            with whole_file(path) as unfinished:
                write_video(
                    item.video, unfinished, size_px=item.size_px, fps=item.fps, aspect=item.aspect
                )
    files = {item.name: item.file for item in videos}
    rows = [{**asdict(asked), "video": files[asked.video]} for asked in questions]
    data = folder / file_of(number)
    write_text(data, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return data
