"""The trial of `apollo lora`: a new thing, and nobody else's cartoon world changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apollo.cartoon.draw import sprites
from apollo.cartoon.draw.video_file import iter_frames
from apollo.cartoon.world.facts import OBJECT_BY_NAME, OBJECTS
from apollo.cartoon.world.scenes import Video, video_from_seed
from apollo.nano.lora_trial import (
    HELD_OUT_SEED,
    WINDMILL,
    extra_thing,
    naming,
    windmill_picture,
    windmill_videos,
    write_clips,
    write_records,
)
from apollo.train.records import read_records

SEED = 8_000_000


def first_frame(video: Video) -> np.ndarray:
    return next(iter_frames(video, size_px=96, fps=8))


def windmills(first_seed: int, count: int, *, for_training: bool) -> list[Video]:
    with extra_thing(WINDMILL, windmill_picture()):
        return list(windmill_videos(first_seed, count, for_training=for_training))


def test_the_windmill_is_there_only_for_those_who_ask_for_it() -> None:
    video = video_from_seed(SEED, num_scenes=1)
    before, names = first_frame(video), dict(OBJECT_BY_NAME)
    with pytest.raises(KeyError):
        sprites.picture("windmill", None, True, False)
    with extra_thing(WINDMILL, windmill_picture()):
        assert sprites.picture("windmill", None, True, False).any()
        assert np.array_equal(first_frame(video), before)
    assert names == OBJECT_BY_NAME and "windmill" not in {t.singular for t in OBJECTS}
    with pytest.raises(KeyError):
        sprites.picture("windmill", None, True, False)


def test_it_looks_like_nothing_else() -> None:
    def small(name: str) -> np.ndarray:
        return sprites.scaled(name, None, True, False, 16).astype(float)

    with extra_thing(WINDMILL, windmill_picture()):
        ours = small("windmill")
        others = {t.singular: small(t.singular) for t in OBJECTS if not t.is_shape}
    apart = {name: float(np.abs(ours - picture).mean()) for name, picture in others.items()}
    nearest = min(apart, key=lambda name: apart[name])
    assert apart[nearest] > 20, (nearest, apart[nearest])


def test_held_out_clips_share_no_background_and_no_motion_with_the_ten() -> None:
    ten = windmills(SEED, 10, for_training=True)
    others = windmills(HELD_OUT_SEED, 20, for_training=False)
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

    with extra_thing(WINDMILL, windmill_picture()):
        clips = write_clips(tmp_path / "clips", windmill_videos(SEED, 4, for_training=True))
        write_records(tmp_path / "data.jsonl", clips)
        share = naming(Parrot(), clips, lambda text: "windmill" in text)
    assert share == 0.5
    records = read_records(tmp_path / "data.jsonl")
    assert {record.media for record in records} == {clip for clip, _ in clips}
    named = [r for r in records if any("windmill" in m["content"] for m in r.messages)]
    assert len(named) > len(records) / 2
