"""Public benchmarks from their own files: hand-made samples in the layout of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paths import DATA

from apollo.errors import DataError
from apollo.evaluate.question_file import Question, read_questions
from examples.benchmark_formats import FORMATS, _located_entries
from examples.public_benchmarks import main, read_format

SAMPLES = DATA / "formats"
VIDEOS = (
    "short/hoP-3tail_x.mp4 row_2.mkv 1_plotQA/film_7.mp4 5_order/film_8.mp4 86c_desk.mp4 "
    "1017.mp4 1018_reverse.mp4 valid/video_10.mp4 1150/4010.mp4 1150/4011.mp4"
)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for name in VIDEOS.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not looked into here")
    return root


def read(name: str, sample: str, videos: Path) -> list[Question]:
    return read_format(name, SAMPLES / sample, videos)


def refused(name: str, file: Path, videos: Path) -> str:
    with pytest.raises(DataError) as error:
        read_format(name, file, videos)
    text = str(error.value)
    assert "\n" not in text and text.endswith(("?", ".")) and str(file) in text, text
    return text


def short(questions: list[Question], videos: Path) -> list[tuple[str, str, str, str]]:
    """(id, video, right answer in words, category)."""
    return [
        (q.id, q.video.relative_to(videos).as_posix(), q.answer_text, q.category) for q in questions
    ]


EXPECTED = {
    ("video-mme", "video-mme.json"): [
        ("001-1", "short/hoP-3tail_x.mp4", "Three.", "Counting Problem"),
        ("002-3", "row_2.mkv", "The race ends.", "Object Reasoning"),
    ],
    ("video-mme", "video-mme-nested.json"): [
        ("002-1", "row_2.mkv", "4.", "OCR Problems"),
        ("002-2", "row_2.mkv", "Sing.", "Action Recognition"),
    ],
    ("mlvu", "mlvu"): [
        ("1_plotQA-0", "1_plotQA/film_7.mp4", "Yellow", "plotQA"),
        ("5_order-0", "1_plotQA/film_7.mp4", "2->1", "order"),
        ("5_order-1", "5_order/film_8.mp4", "1->2", "order"),
    ],
    ("longvideobench", "longvideobench.json"): [("86c_desk_0", "86c_desk.mp4", "a pen", "S2A")],
    ("longvideobench", "longvideobench-rows.jsonl"): [
        ("86c_desk_1", "86c_desk.mp4", "the desk", "SSS")
    ],
    ("tempcompass", "tempcompass-multi-choice.json"): [
        ("tempcompass-multi-choice-1017-0", "1017.mp4", "peeling apples", "action"),
        ("tempcompass-multi-choice-1017-1", "1017.mp4", "slow motion", "speed"),
        ("tempcompass-multi-choice-1018_reverse-0", "1018_reverse.mp4", "up", "direction"),
    ],
    ("tempcompass", "tempcompass-yes_no.json"): [
        ("tempcompass-yes_no-1017-0", "1017.mp4", "yes", "action"),
        ("tempcompass-yes_no-1017-1", "1017.mp4", "no", "action"),
    ],
    ("tempcompass", "tempcompass-caption_matching.json"): [
        ("tempcompass-caption_matching-1017-0", "1017.mp4", "First eating, then peeling.", "order"),
        ("tempcompass-caption_matching-1017-1", "1017.mp4", "The train speeds up.", "order"),
    ],
    ("tempcompass", "tempcompass-rows.jsonl"): [
        ("tempcompass-rows-1017-0", "1017.mp4", "a cup", "event order")
    ],
    ("perceptiontest", "perceptiontest.json"): [
        ("video_10-0", "valid/video_10.mp4", "Yes", "physics"),
        ("video_10-3", "valid/video_10.mp4", "under the box", "memory"),
    ],
    ("perceptiontest", "perceptiontest-rows.jsonl"): [
        ("video_10-5", "valid/video_10.mp4", "tea", "semantics")
    ],
    ("next-qa", "next-qa.csv"): [
        ("4010-6", "1150/4010.mp4", "pick up a toy", "causal"),
        ("4010-7", "1150/4010.mp4", "runs away", "temporal"),
        ("4011-0", "1150/4011.mp4", "three", "descriptive"),
    ],
    ("next-qa", "next-gqa.csv"): [("4010-9", "1150/4010.mp4", "garden", "descriptive")],
}


@pytest.mark.parametrize(("name", "sample"), EXPECTED)
def test_a_sample_of_every_layout_is_read(name: str, sample: str, videos: Path) -> None:
    assert short(read(name, sample, videos), videos) == EXPECTED[name, sample]


def test_every_format_has_a_sample() -> None:
    assert {name for name, _ in EXPECTED} == {*FORMATS}


def test_options_lose_their_letters_and_questions_their_options(videos: Path) -> None:
    first = read("video-mme", "video-mme.json", videos)[0]
    assert first.options == ("One.", "Two.", "Three.", "None.") and first.answer == "C"
    asked = read("tempcompass", "tempcompass-multi-choice.json", videos)[0]
    assert asked.question == "What is the man doing?"
    assert asked.options == ("juggling apples", "peeling apples", "selling apples")
    row = read("longvideobench", "longvideobench-rows.jsonl", videos)[0]
    assert row.options == ("the desk", "the door", "the lake")  # "N/A" is no option


def test_a_comma_inside_a_csv_field_is_kept(videos: Path) -> None:
    assert read("next-qa", "next-qa.csv", videos)[0].options[2] == "to pray, perhaps"


@pytest.mark.parametrize(("name", "sample"), [pair for pair in EXPECTED if "." in pair[1]])
def test_another_benchmarks_file_is_refused(name: str, sample: str, videos: Path) -> None:
    for other in FORMATS:
        if other != name:
            refused(other, SAMPLES / sample, videos)


def test_a_missing_video_names_the_line_and_the_flag(videos: Path) -> None:
    (videos / "row_2.mkv").unlink()
    text = refused("video-mme", SAMPLES / "video-mme.json", videos)
    assert "line 15: no video called row_2" in text and "--videos" in text
    (videos / "1018_reverse.mp4").unlink()
    text = refused("tempcompass", SAMPLES / "tempcompass-multi-choice.json", videos)
    assert "line 16: no video called 1018_reverse" in text


def test_equal_names_are_told_apart_by_folders(videos: Path, tmp_path: Path) -> None:
    (videos / "other").mkdir()
    (videos / "other" / "film_7.mp4").write_bytes(b"x")
    text = refused("mlvu", SAMPLES / "mlvu" / "1_plotQA.json", videos)
    assert "2 videos are called film_7.mp4" in text
    rows = json.loads((SAMPLES / "mlvu" / "1_plotQA.json").read_text())
    file = tmp_path / "nested.json"
    file.write_text(json.dumps([{**rows[0], "video": "other/film_7.mp4"}]))
    assert read_format("mlvu", file, videos)[0].video == videos / "other" / "film_7.mp4"


def test_what_cannot_be_scored_is_refused(videos: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('[{"video": "film_7.mp4", "question": "Tell it.", "answer": "A story."}]')
    assert "line 1: a question of MLVU without candidates" in refused("mlvu", file, videos)
    lvb = json.loads((SAMPLES / "longvideobench.json").read_text())[0]
    del lvb["correct_choice"]
    file.write_text(json.dumps([lvb]))
    assert "give the validation file" in refused("longvideobench", file, videos)
    file.write_text('{"1017": {"order": [{"question": "Describe it.", "answer": "A man."}]}}')
    assert "captioning needs a judge" in refused("tempcompass", file, videos)
    file.write_text('{"video_10": {"mc_question": [{"id": 0, "question": "q", "options": ["a"]}]}}')
    assert "no answer_id" in refused("perceptiontest", file, videos)


def test_an_answer_out_of_range_is_refused(videos: Path, tmp_path: Path) -> None:
    row = json.loads((SAMPLES / "longvideobench.json").read_text())[0]
    file = tmp_path / "x.json"
    file.write_text(json.dumps([{**row, "correct_choice": 9}]))
    assert 'the answer "J" is none of the 5 options' in refused("longvideobench", file, videos)


def test_broken_files_and_empty_folders(videos: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{\n"a": ')
    assert "line 2: broken JSON" in refused("perceptiontest", file, videos)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no JSON or CSV file" in refused("mlvu", empty, videos)


def test_the_same_id_in_two_files_is_refused(videos: Path, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / "twice").mkdir(exist_ok=True)
        (tmp_path / "twice" / name).write_text((SAMPLES / "longvideobench.json").read_text())
    text = refused("longvideobench", tmp_path / "twice", videos)
    assert "stands in another file" in text


def test_the_entries_of_an_object_know_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text('{\n"10": {"next": 1}, "1": 0,\n\n"猫": []}', encoding="utf-8")
    assert list(_located_entries(file)) == [(2, "10", {"next": 1}), (2, "1", 0), (4, "猫", [])]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n"a": ', "line 2: broken JSON"),
        ("{1]", "line 1: broken JSON"),
        ('{"a": 1}\n{"a": 2}', "line 2: broken JSON (Extra data); download the file again"),
        ("12", "not one object in curly brackets; download the file again"),
    ],
)
def test_what_is_not_one_object_is_refused(
    tmp_path: Path, videos: Path, text: str, words: str
) -> None:
    file = tmp_path / "data.json"
    file.write_text(text)
    assert words in refused("perceptiontest", file, videos)


def test_the_written_file_is_read_by_eval(videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs" / "questions.json"
    sample = SAMPLES / "next-qa.csv"
    assert main(["next-qa", str(sample), "--videos", str(videos), "--output", str(output)]) == 0
    written = [
        (q.id, q.question, q.options, q.answer, q.video.resolve()) for q in read_questions(output)
    ]
    assert written == [
        (q.id, q.question, q.options, q.answer, q.video.resolve())
        for q in read("next-qa", "next-qa.csv", videos)
    ]


def test_a_wrong_folder_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, gone = str(SAMPLES / "next-qa.csv"), str(tmp_path / "gone")
    output = str(tmp_path / "q.json")
    assert main(["next-qa", sample, "--videos", gone, "--output", output]) == 2
    assert capsys.readouterr().err == (
        f"apollo: No such folder of videos: {gone}; check --videos.\n"
    )
