"""apollo-nano, the model that comes with the program, answers about cartoon videos."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any

import pytest

import apollo
import apollo.video
from apollo.models import NANO_FOLDER
from apollo.settings import Generation
from apollo.train.cartoon import phrases
from apollo.train.cartoon.encode import write_grey_video, write_video
from apollo.train.cartoon.facts import OBJECT_ID
from apollo.train.cartoon.make_examples import EXAMPLES
from apollo.train.cartoon.world import video_from_seed
from apollo.train.score import Scored, interval, questions, score, table

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "assets"
SINCE_TRAINED = range(65, 95)  # ids of the objects that came after these weights
GREEDY = Generation(temperature=0, max_new_tokens=64)


def demo_examples() -> list[tuple[str, str]]:
    """(file, question) as app.py offers them, read without building the page."""
    for node in ast.parse((ROOT / "app.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            return ast.literal_eval(node.value)
    raise AssertionError("app.py has no EXAMPLES")


@pytest.fixture(scope="module")
def nano() -> Any:
    return apollo.load("nano")


def test_the_checkpoint_is_small_and_holds_no_code() -> None:
    files = [file for file in NANO_FOLDER.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}
    assert sum(file.stat().st_size for file in files) < 25 * 10**6


def test_every_example_question_is_answered_rightly_three_times_out_of_three(nano: Any) -> None:
    assert len(demo_examples()) >= 2
    for file, question in demo_examples():
        wanted = phrases.describe_answer(EXAMPLES[file])
        assert nano.answer(ASSETS / file, question, generation=GREEDY) == wanted
        for seed in range(3):
            sampled = Generation(temperature=0.4, top_p=0.7, seed=seed)
            assert nano.answer(ASSETS / file, question, generation=sampled) == wanted


def test_the_example_files_are_what_the_generator_makes(tmp_path: Path) -> None:
    """Encoders differ in bytes from version to version; what is seen must not."""
    for name, video in EXAMPLES.items():
        info = apollo.video.probe(ASSETS / name)
        assert info.duration_s == pytest.approx(video.duration_s)
        assert info.codec == "h264"


def test_the_answer_follows_the_video_and_not_the_odds(nano: Any, tmp_path: Path) -> None:
    """Held-out videos: far more objects named with the video than with a grey one in its place."""
    shown, grey, right, guessed = tmp_path / "shown.mp4", tmp_path / "grey.mp4", 0, 0
    seeds = range(8_000_000_000, 9_000_000_000)
    fresh = (video_from_seed(seed, split="held-out", num_scenes=1) for seed in seeds)
    learned = (v for v in fresh if OBJECT_ID[v.scenes[0].object] not in SINCE_TRAINED)
    for video in itertools.islice(learned, 24):
        write_video(video, shown, size_px=240, fps=8)
        write_grey_video(video.duration_s, grey, size_px=240, fps=8)
        noun = phrases.main_noun(video.scenes[0])
        question = "What happens in this video?"
        right += noun in nano.answer(shown, question, generation=GREEDY)
        guessed += noun in nano.answer(grey, question, generation=GREEDY)
    assert right >= 16
    assert guessed <= 4


def test_it_says_what_it_is(nano: Any) -> None:
    assert "video" in nano.answer(None, "What can you do?", generation=GREEDY)


def test_score_counts_right_and_blind_answers(nano: Any) -> None:
    results = score(nano, num_videos=2, num_scenes=1, seed=9_100_000_000)
    asked = [
        question
        for seed in (9_100_000_000, 9_100_000_001)
        for question, *_ in questions(seed, video_from_seed(seed, split="held-out", num_scenes=1))
    ]
    assert [row.question for row in results] == asked
    assert {"object", "motion"} <= {row.kind for row in results}
    assert all(row.given and row.blind for row in results)


def test_the_score_table() -> None:
    rows = [
        Scored(1, 1, "object", "q", "A cat.", given, blind)
        for given, blind in (("A cat.", "A dog."), ("a cat. ", "A cat."), ("Two cats.", "A dog."))
    ]
    text = table(rows)
    assert "| 1 | object | 3 | 66.7 % |" in text and "| 33.3 % |" in text
    low, high = interval(8, 10)
    assert low == pytest.approx(49.0, abs=0.1) and high == pytest.approx(94.3, abs=0.1)
