"""Scoring: what is asked under which view, what counts as right, and the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apollo.cartoon.world.scenes import Cartoon, cut_elsewhere, video_from_seed
from apollo.data.shares import Share
from apollo.video.reader import probe
from examples.nano.score import GREEDY, LANGUAGES, TURNS, main, score
from examples.nano.score_table import QuestionScore, table, turns_table
from examples.nano.views import BLIND, SHOWN, VIEWS, Shot


class Parrot:
    """Answers with what it was shown and how much of the conversation it has heard."""

    def answer(self, video: Path | None, messages: Any, generation: Any) -> str:
        assert generation is GREEDY
        shown = probe(video).num_frames if video else 0
        return f"{shown} {len(messages)}"


@pytest.mark.slow
def test_every_view_has_the_same_conversation_with_its_own_answers() -> None:
    parrot: Any = Parrot()
    asking: Any = {"num_videos": 3, "scenes": (1, 2), "seed": 9_200_000_000}
    results = score(parrot, views=(SHOWN, "none"), **asking)
    assert {row.scenes for row in results} == {1, 2}
    assert {row.language for row in results} == set(LANGUAGES)
    assert max(row.turn for row in results) == TURNS
    for row in results:
        assert row.given["none"] == f"0 {2 * row.turn - 1}"
        frames, heard = row.given[SHOWN].split()
        assert int(frames) > 0 and heard == str(2 * row.turn - 1)
    again = score(parrot, views=(SHOWN,), **asking)
    assert [row.question for row in again] == [row.question for row in results]


def shot(seed: int = 9_300_000_001, num_scenes: int = 2) -> Shot:
    return Shot(seed, "held-out", video_from_seed(seed, split="held-out", num_scenes=num_scenes))


@pytest.mark.slow
def test_what_each_view_writes(tmp_path: Path) -> None:
    seen = shot()
    sizes = {}
    for name, write in VIEWS.items():
        path = write(tmp_path / f"{name.replace(':', '-')}.mp4", seen)
        if path is None:
            assert name == "none"
            continue
        info = probe(path)
        if name != "other":
            assert info.duration_s == pytest.approx(seen.video.duration_s, abs=0.2)
        sizes[name] = (info.width, info.height, round(float(info.fps)))
    assert sizes["240p 60fps"] == (240, 240, 60)
    assert sizes["1080p 8fps"] == (1080, 1080, 8)
    assert sizes["16:9"][0] == pytest.approx(sizes["16:9"][1] * 16 / 9, abs=2)
    assert sizes["3:4"][1] == pytest.approx(sizes["3:4"][0] * 4 / 3, abs=2)


def test_cuts_elsewhere_are_off_the_borders_and_every_scene_is_still_seen() -> None:
    for seed in range(9_300_000_000, 9_300_000_020):
        video = video_from_seed(seed, split="held-out", num_scenes=3)
        shifts = cut_elsewhere(np.random.default_rng(seed), list(video.scenes))
        assert len(shifts) == 2 and all(abs(shift) < 1 for shift in shifts)
        moved = Cartoon(video.scenes, shifts)
        assert [scene for _, _, scene in moved.shown_spans()] == list(video.scenes)


def scored(given: str, blind: str, turn: int = 1, language: str = "en") -> QuestionScore:
    return QuestionScore(
        1, "held-out", language, 1, turn, "object", "q", "A cat.", {SHOWN: given, BLIND: blind}
    )


def test_the_tables() -> None:
    rows = [scored("A cat.", "A dog."), scored("a cat. ", "A cat.", 2, "zh"), scored("No.", "No.")]
    text = table(rows)
    assert "| 1 | object | 3 | 66.7 % |" in text and "| 33.3 % |" in text
    assert "| 1 | all | 3 | 66.7 % |" in text
    turns = turns_table(rows)
    assert "| 2 | 1 | 100.0 % |" in turns and "| zh | 1 | 100.0 % |" in turns
    low, high = (100 * end for end in Share(8, 10).interval)
    assert low == pytest.approx(49.0, abs=0.1) and high == pytest.approx(94.3, abs=0.1)


def test_the_command_writes_every_question_under_views_of_ones_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("apollo.load", lambda model, adapter: Parrot())
    file = tmp_path / "answers.jsonl"
    main(["--videos", "1", "--scenes", "2", "--views", "none", "3:4", "--output", str(file)])
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(rows) == TURNS
    assert all(row["right"] == {"none": False, "3:4": False} for row in rows)
    assert "| 2 | all | 4 | 0.0 % | 0 to 49 | 0.0 % |" in capsys.readouterr().out
