"""apollo-nano, the model that comes with the program, answers about cartoon videos."""

from __future__ import annotations

import ast
from typing import Any

import av
import numpy as np
import pytest
from paths import EXAMPLE_VIDEOS, ROOT

import apollo
from apollo.cartoon.draw.render import render_frame
from apollo.cartoon.draw.video_file import num_frames
from apollo.cartoon.talk.phrases import PHRASES
from apollo.catalog import NANO_FOLDER
from apollo.settings import Generation
from examples.nano.make_example_videos import EXAMPLES, FPS, SIZE_PX
from examples.nano.score import GREEDY, score
from examples.nano.views import BLIND, SHOWN

# (file, question) -> the right answer
ANSWERS = {
    ("example_1.mp4", "What happens in this video?"): (
        'A rocket moves up in front of a night sky, with the text "DREAM".'
    ),
    ("example_1.mp4", "What does the text say?"): 'The text says "DREAM".',
    ("example_2.mp4", "What comes after the snowman?"): "A butterfly.",
    ("example_2.mp4", "When does the butterfly appear?"): "From 4 to 8 seconds.",
    ("example_3.mp4", "Tell me about the video."): "A yellow star spins on a purple background.",
    ("example_3.mp4", "视频里发生了什么？"): "一个黄色星星在紫色背景上旋转。",
}
VERDICTS = {
    "yes": ("Yes.", "so yes.", "是的。", "有。"),
    "no": ("No.", "so no.", "不是。", "没有。"),
}


def demo_examples() -> list[tuple[str, str]]:
    """(file, question) as the page offers them, read without building the page."""
    for node in ast.parse((ROOT / "apollo/demo/page.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            return ast.literal_eval(node.value)
    raise AssertionError("the page has no EXAMPLES")


@pytest.fixture(scope="module")
def nano() -> Any:
    return apollo.load("nano")


def test_the_checkpoint_is_small_and_holds_no_code() -> None:
    files = [file for file in NANO_FOLDER.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}
    assert sum(file.stat().st_size for file in files) < 25 * 10**6


@pytest.mark.slow
def test_every_example_question_is_answered_rightly_three_times_out_of_three(nano: Any) -> None:
    assert len(demo_examples()) >= 3
    for file, question in demo_examples():
        wanted = ANSWERS[file, question]
        assert nano.answer(EXAMPLE_VIDEOS / file, question, generation=GREEDY) == wanted
        for seed in range(3):
            sampled = Generation(temperature=0.4, top_p=0.7, seed=seed)
            assert nano.answer(EXAMPLE_VIDEOS / file, question, generation=sampled) == wanted


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_files_show_what_the_generator_draws(name: str) -> None:
    """Encoders differ in bytes from version to version; what is seen must not."""
    with av.open(str(EXAMPLE_VIDEOS / name)) as file:
        stored = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(stored) == num_frames(EXAMPLES[name], FPS)
    for number in range(0, len(stored), 10):
        drawn = render_frame(EXAMPLES[name], number / FPS, SIZE_PX)
        assert np.abs(stored[number].astype(int) - drawn).mean() < 4, number


@pytest.mark.slow
def test_it_answers_about_videos_it_never_saw_and_only_when_it_sees_them(nano: Any) -> None:
    """Held-out combinations, in English and Chinese, one scene and more."""
    kinds = ("object", "motion", "background", "first", "last", "word")
    results = score(nano, num_videos=12, scenes=(1, 2, 3), kinds=kinds, seed=8_000_000_000)
    no_text = [say.answer("no_text") for say in PHRASES.values()]  # is true of a grey video
    visible = [row for row in results if row.wanted not in no_text]
    assert len(results) >= 120 and len(visible) >= 100
    assert sum(row.right(SHOWN) for row in results) / len(results) >= 0.85
    assert sum(row.right(BLIND) for row in visible) / len(visible) <= 0.15


@pytest.mark.slow
def test_it_says_yes_to_what_is_there_and_no_to_what_is_not(nano: Any) -> None:
    results = score(
        nano, num_videos=16, scenes=(1, 2), views=(SHOWN,), kinds=("yesno",), seed=8_100_000_000
    )
    for verdict, ends in VERDICTS.items():
        right = [result.right() for result in results if result.wanted.endswith(ends)]
        assert len(right) >= 40, verdict
        assert sum(right) >= 0.8 * len(right), verdict


def test_it_says_what_it_is(nano: Any) -> None:
    assert "video" in nano.answer(None, "What can you do?", generation=GREEDY)
    assert "卡通" in nano.answer(None, "你能做什么？", generation=GREEDY)
