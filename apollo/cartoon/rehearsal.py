"""Conversations that apollo-nano knows, mixed into LoRA training so that it does not forget them.

In:  a folder.   Out: short videos in it, and a data file of conversations about them.
Odd: everything is made from fixed seeds, and only once: files are written whole and the data file
last, so an interrupted call is continued by the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from apollo.cartoon.draw.video_file import write_video
from apollo.cartoon.talk.questions import Turn, conversation
from apollo.cartoon.world.scenes import Cartoon, video_from_seed
from apollo.data.whole_file import whole_file, write_text

NUM_VIDEOS = 160
FIRST_SEED = 7_000_000
SCENES = (1, 1, 2, 3)  # in turn
SIZE_PX, FPS = 160, 8
NUM_TURNS_EN, NUM_TURNS_ZH, NUM_CHOICES = 4, 3, 2
DATA = "rehearsal.jsonl"


def write_rehearsal(folder: Path, num_videos: int = NUM_VIDEOS) -> Path:
    """Writes what is not there yet, and returns the data file."""
    data = folder / DATA
    if data.exists():
        return data
    records: list[dict[str, Any]] = []
    for number in tqdm(range(num_videos), desc="drawing rehearsal", unit="video"):
        seed = FIRST_SEED + number
        video = video_from_seed(seed, num_scenes=SCENES[number % len(SCENES)])
        file = folder / f"{number:03d}.mp4"
        if not file.exists():
            with whole_file(file) as unfinished:
                write_video(video, unfinished, size_px=SIZE_PX, fps=FPS)
        records += [record(file.name, turns) for turns in _conversations(video, seed) if turns]
    write_text(data, json_lines(records))
    return data


def _conversations(video: Cartoon, seed: int) -> list[list[Turn]]:
    """An English and a Chinese conversation, and some multiple-choice questions."""
    rng = np.random.default_rng((seed, 1))
    return [
        conversation(rng, video, turns=NUM_TURNS_EN, follow_ups=seed % 2 == 0),
        conversation(rng, video, turns=NUM_TURNS_ZH, language="zh"),
        conversation(rng, video, turns=NUM_CHOICES, kinds=["choice"]),
    ]


def record(video: str, turns: Sequence[Turn]) -> dict[str, Any]:
    """A conversation as a record of a training data file; `video` is a path relative to it."""
    messages = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in (("user", turn.question), ("assistant", turn.answer))
    ]
    return {"video": video, "messages": messages}


def json_lines(records: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
