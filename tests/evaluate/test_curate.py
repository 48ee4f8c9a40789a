"""Curation: what is dropped, why, and that the rest is an evaluation file again."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest
from asking import SHORT, TEN_S

from apollo.errors import DataError, SettingError
from apollo.evaluate import command, curate_command
from apollo.evaluate.curate import Verdict, curate, entropy_bits, summary_table
from apollo.evaluate.question_file import Question, read_questions
from apollo.evaluate.score import ScoredAnswer

OPTIONS = ("a cat", "a dog", "a tree")


def columns(full: str, text: str = "", centre: str = "", categories: str = "") -> Any:
    """One letter per question; "-" is no letter. The right answer is always A."""
    count = len(full)
    questions = [
        Question(f"q{i}", SHORT, "What?", "A", OPTIONS, (categories or "x" * count)[i])
        for i in range(count)
    ]
    texts = {"full": full, "text-only": text or "C" * count, "centre-frame": centre or "C" * count}
    return {
        name: [ScoredAnswer(q, "hm" if said == "-" else said) for q, said in zip(questions, row)]  # noqa: B905
        for name, row in texts.items()
    }


def kept(verdicts: list[Verdict]) -> list[str]:
    return [v.question.id for v in verdicts if v.is_kept]


def test_entropy() -> None:
    assert entropy_bits(["A", "A", "A"]) == 0.0
    assert entropy_bits(["A", "B"]) == pytest.approx(1.0)
    assert entropy_bits(["A", "B", "C", "-"]) == pytest.approx(2.0)
    expected = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert entropy_bits(["A", "B", "A", "A"]) == pytest.approx(expected)


def test_what_is_known_without_the_video_is_dropped_with_its_reason() -> None:
    verdicts = curate(
        {"m": columns("AAAA", text="ABBB", centre="BACB"), "n": columns("BBBB")}, blind_share=0
    )
    assert kept(verdicts) == ["q2", "q3"]
    assert verdicts[0].reason == "answered rightly from the question without the video by m"
    assert verdicts[1].reason == "answered rightly from only the frame in the middle by m"


def test_up_to_half_of_the_models_may_guess_rightly() -> None:
    answers = {"m": columns("AA", text="AA"), "n": columns("BB", text="AB")}
    verdicts = curate(answers)
    assert kept(verdicts) == ["q1"]
    assert verdicts[0].reason.endswith("by m, n")
    assert kept(curate(answers, blind_share=0.4)) == []


def test_the_most_disputed_of_each_category_are_kept() -> None:
    groups = "xxxyyy"
    answers = {
        "m": columns("AAAAA-", categories=groups),
        "n": columns("ABBAAA", categories=groups),
        "o": columns("ACBABC", categories=groups),
    }
    verdicts = curate(answers, per_category=1)
    assert kept(verdicts) == ["q1", "q5"]  # three different answers each; no letter is one of them
    assert "number 2 of x by disagreement (0.92 bits); 1 are kept" in verdicts[2].reason
    assert "number 3 of x by disagreement (0.00 bits)" in verdicts[0].reason
    assert kept(curate(answers, per_category=2)) == ["q1", "q2", "q4", "q5"]
    assert kept(curate(answers)) == [f"q{i}" for i in range(6)]
    assert [v.models_right for v in verdicts] == [3, 1, 1, 3, 2, 1]


def test_equal_entropy_is_decided_by_file_order() -> None:
    assert kept(curate({"m": columns("ABC")}, per_category=2)) == ["q0", "q1"]


def test_open_answers_differ_by_their_words() -> None:
    asked = Question("q", SHORT, "What?", "a cat")

    def says(text: str) -> Any:
        blind = [ScoredAnswer(asked, "")]
        return {"full": [ScoredAnswer(asked, text)], "text-only": blind, "centre-frame": blind}

    (same,) = curate({"m": says("A cat."), "n": says("the cat")})
    (other,) = curate({"m": says("A cat."), "n": says("a dog")})
    assert (same.entropy_bits, same.models_right) == (0.0, 2)
    assert (other.entropy_bits, other.models_right) == (1.0, 1)


def test_the_table_counts_every_question_once() -> None:
    answers = {"m": columns("AABB", text="ABBB", categories="xxxy")}
    lines = summary_table(curate(answers, per_category=1)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["x", "3", "1", "1", "1"],
        ["y", "1", "0", "0", "1"],
        ["all", "4", "1", "1", "2"],
    ]


# ---- the command -----------------------------------------------------------------------------


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    curate_command.add_flags(parser)
    return parser.parse_args(arguments)


def data_file(folder: Path, right: str) -> Path:
    texts = ["What is in the video?", "How many things are there?", "What is it?"]
    records = [
        {"id": f"{i} {video.name}", "video": str(video), "question": text, "answer": right}
        for i, text in enumerate(texts)
        for video in (SHORT, TEN_S)
    ]
    file = folder / "data.json"
    file.write_text(json.dumps(records))
    return file


def test_nano_curates_a_file_that_eval_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    arguments = (str(data_file(tmp_path, "Never said.")), "--models", "nano", "--device", "cpu")
    run = parsed(*arguments, "--output", str(output), "--per-category", "4")
    assert curate_command.run(run) == 0
    questions = read_questions(output / "curated.json")
    assert len(questions) == 4 and all(q.video.samefile(SHORT) for q in questions[::2])
    verdicts = json.loads((output / "verdicts.json").read_text())
    assert [v["kept"] for v in verdicts] == [True] * 4 + [False] * 2
    assert "number 5 of other by disagreement" in verdicts[4]["reason"]
    assert "all       6          0      2              4" in capsys.readouterr().out
    answers = (output / "model-nano" / "answers.jsonl").read_bytes()
    assert answers.count(b"\n") == 3 * 6
    assert curate_command.run(run) == 0  # again: nothing is asked anew
    assert (output / "model-nano" / "answers.jsonl").read_bytes() == answers

    # an answer that nano gives without the video is no good question
    said = json.loads(answers.splitlines()[6])["given"]
    assert said
    blind = parsed(str(data_file(tmp_path, said)), *arguments[1:], "--output", str(output))
    curate_command.run(blind)
    verdicts = json.loads((output / "verdicts.json").read_text())
    assert "answered rightly from the question without the video by nano" in {
        v["reason"] for v in verdicts
    }


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--per-category", "0"), "--per-category is 0"),
        (("--blind-share", "1"), "--blind-share is 1; choose"),
        (("--models", "nano", "nano"), "names a model twice"),
        (("--batch", "0"), "--batch is 0"),
        (("--limit", "0"), "--limit is 0"),
    ],
)
def test_wrong_flags_are_refused(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    data = data_file(tmp_path, "x")
    base = (str(data), "--models", "nano", "--output", str(tmp_path / "out"))
    with pytest.raises(SettingError, match=words):
        curate_command.run(parsed(*base, *flags))


def test_nothing_left_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curate_command, "ask", lambda *_: columns("A", text="A"))
    base = (str(data_file(tmp_path, "x")), "--models", "nano", "--output", str(tmp_path / "out"))
    with pytest.raises(DataError, match="No question of data.json is left; verdicts.json says why"):
        curate_command.run(parsed(*base))


def test_a_limit_takes_evenly_from_the_whole_file(tmp_path: Path) -> None:
    from apollo.evaluate.run import Processes

    data = data_file(tmp_path, "x")
    run = parsed(str(data), "--models", "nano", "--output", str(tmp_path), "--limit", "3")
    picked = command.wanted_questions(run, Processes())
    assert [q.id for q in picked] == [f"{i} {SHORT.name}" for i in range(3)]
