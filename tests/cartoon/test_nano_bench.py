"""nano-bench: the committed questions, and the videos that are drawn for them."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import cv2
import pytest

from apollo.cartoon import bench
from apollo.cartoon.world.scenes import is_held_out
from apollo.data.choices import LETTERS
from apollo.video.reader import probe
from examples.nano import make_bench


@pytest.mark.slow
def test_the_committed_questions_are_the_ones_that_are_made() -> None:
    assert make_bench.spec_text(*make_bench.make_bench()) == bench.SPEC.read_text("utf-8")
    assert bench.SPEC.stat().st_size < 250_000


def test_there_are_eighty_questions_in_each_of_five_categories() -> None:
    videos, questions = bench.load_bench()
    counts = Counter(question.category for question in questions)
    assert counts == dict.fromkeys(make_bench.KINDS, 80)
    assert len({question.id for question in questions}) == 400
    names = [video.name for video in videos]
    assert len(set(names)) == len(names) <= 120
    assert {question.video for question in questions} == set(names)


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="drawn by OpenCV 5 then")
def test_every_video_is_held_out_and_drawn_as_when_the_questions_were_made() -> None:
    videos, _ = bench.load_bench()
    assert all(is_held_out(scene) for item in videos for scene in item.video.scenes)
    for item in itertools.islice(videos, 0, None, 12):
        assert make_bench.frames_digest(item.video) == item.frames


def test_no_letter_and_no_answer_is_a_good_guess() -> None:
    _, questions = bench.load_bench()
    for category in make_bench.KINDS:
        asked = [question for question in questions if question.category == category]
        letters = Counter(question.answer for question in asked)
        assert set(letters.values()) == {20}
        texts = [question.options[LETTERS.index(question.answer)] for question in asked]
        often = Counter(texts).most_common(1)[0][0]
        hits = sum(text == often for text in texts)
        assert hits / len(asked) < 0.32, (category, often)


def test_options_differ_and_belong_to_the_question() -> None:
    _, questions = bench.load_bench()
    for question in questions:
        assert len(question.options) == len(set(question.options)) == 4
        assert question.answer in LETTERS[:4]
        kinds = {option.split(" ")[0] for option in question.options}
        if "The" in kinds or "From" in kinds or "It" in kinds:
            assert len(kinds) == 1 or kinds <= {"From", "To", "Nothing"}, question


@pytest.mark.slow
def test_the_videos_and_the_questions_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, questions = bench.load_bench()
    few = videos[:2]
    about = [question for question in questions if question.video in {v.name for v in few}]
    monkeypatch.setattr(bench, "load_bench", lambda: (few, about))
    data = bench.write_bench_videos(tmp_path, len(about))
    rows = json.loads(data.read_text("utf-8"))
    assert [row["id"] for row in rows] == [question.id for question in about]
    for item in few:
        info = probe(tmp_path / item.file)
        assert info.duration_s == pytest.approx(item.video.duration_s)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.mp4")}
    bench.write_bench_videos(tmp_path, len(about))
    assert before == {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.mp4")}


@pytest.mark.slow
def test_a_few_questions_need_only_their_videos(tmp_path: Path) -> None:
    rows = json.loads(bench.write_bench_videos(tmp_path, 2).read_text("utf-8"))
    _, questions = bench.load_bench()
    assert [row["id"] for row in rows] == [questions[0].id, questions[200].id]
    drawn = {file.name for file in tmp_path.glob("*.mp4")}
    assert drawn == {row["video"] for row in rows} and len(drawn) <= 2
