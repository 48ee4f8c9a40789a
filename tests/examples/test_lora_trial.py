"""The trial of `apollo lora`: a new thing, and nobody else's cartoon world changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apollo.cartoon.draw.sprites import scaled
from apollo.cartoon.talk.questions import all_texts
from apollo.cartoon.world.facts import OBJECTS, SPRITES
from apollo.train.records import read_records
from examples.nano.lora_trial import (
    HELD_OUT_SEED,
    naming,
    windmill_videos,
    write_clips,
    write_records,
)

SEED = 8_000_000


def test_no_seed_shows_a_windmill_and_nano_was_taught_no_word_for_it() -> None:
    assert "windmill" not in OBJECTS
    texts = " ".join(all_texts(num_videos=100)).lower()
    assert "cat" in texts and "windmill" not in texts and "风车" not in texts


def test_it_looks_like_nothing_else() -> None:
    def small(name: str) -> np.ndarray:
        return scaled(name, None, True, False, 16).astype(float)

    ours = small("windmill")
    apart = {name: float(np.abs(ours - small(name)).mean()) for name in SPRITES}
    nearest = min(apart, key=lambda name: apart[name])
    assert apart[nearest] > 20, (nearest, apart[nearest])


def test_held_out_clips_share_no_background_and_no_motion_with_the_ten() -> None:
    ten = list(windmill_videos(SEED, 10, for_training=True))
    others = list(windmill_videos(HELD_OUT_SEED, 20, for_training=False))
    assert {video.scenes[0].object for video in ten + others} == {"windmill"}
    for fact in ("background", "motion"):
        seen = {getattr(video.scenes[0], fact) for video in ten}
        assert not seen & {getattr(video.scenes[0], fact) for video in others}, fact


def test_the_records_name_it_and_the_count_is_of_right_answers(tmp_path: Path) -> None:
    class Parrot:
        """Says windmill to every second question."""

        asked = 0

        def answer(self, clip: Path, question: str, **_: object) -> str:
            assert clip.is_file() and question
            self.asked += 1
            return "A Windmill." if self.asked % 2 else "A cat."

    clips = write_clips(tmp_path / "clips", windmill_videos(SEED, 4, for_training=True))
    write_records(tmp_path / "data.jsonl", clips)
    assert naming(Parrot(), clips) == 0.5
    records = read_records(tmp_path / "data.jsonl")
    assert {record.media for record in records} == {clip for clip, _ in clips}
    named = [r for r in records if any("windmill" in m["content"] for m in r.messages)]
    assert len(named) > len(records) / 2
