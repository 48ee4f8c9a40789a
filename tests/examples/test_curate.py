"""Curation: what is dropped, why, and that the rest is an evaluation file again."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest
from asking import SHORT, TEN_S

from apollo.evaluate import command
from apollo.evaluate.question_file import Question, read_questions
from apollo.evaluate.report import write_results
from apollo.evaluate.score import ScoredAnswer
from examples.curate import Row, Verdict, curate, entropy_bits, main, summary_table

OPTIONS = ("a cat", "a dog", "a tree")
LETTERS = {"-": "hm"}  # no letter


def run_of(folder: Path, full: str, text: str = "", centre: str = "", categories: str = "") -> Path:
    """What `apollo eval` writes: one letter per question. The right answer is always A."""
    count = len(full)
    questions = [
        Question(f"q{i}", SHORT, "What?", "A", OPTIONS, (categories or "x" * count)[i])
        for i in range(count)
    ]
    texts = {"full": full, "text-only": text or "C" * count, "centre-frame": centre or "C" * count}
    columns = {
        name: [ScoredAnswer(q, LETTERS.get(c, c)) for q, c in zip(questions, row, strict=True)]
        for name, row in texts.items()
    }
    folder.mkdir()
    write_results(columns, folder, data="d", model="m", settings={})
    return folder


@pytest.fixture
def answers(tmp_path: Path) -> Any:
    """answers("AB", text="BB") -> the rows of one model."""

    def rows(*letters: str, **more: str) -> list[Row]:
        folder = run_of(tmp_path / str(len(list(tmp_path.iterdir()))), *letters, **more)
        read: list[Row] = json.loads((folder / "results.json").read_text())["questions"]
        return read

    return rows


def kept(verdicts: list[Verdict]) -> list[str]:
    return [v.question["id"] for v in verdicts if not v.reason]


def test_entropy() -> None:
    assert entropy_bits(["A", "A", "A"]) == 0.0
    assert entropy_bits(["A", "B"]) == pytest.approx(1.0)
    assert entropy_bits(["A", "B", "C", "-"]) == pytest.approx(2.0)
    expected = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert entropy_bits(["A", "B", "A", "A"]) == pytest.approx(expected)


def test_what_is_known_without_the_video_is_dropped_with_its_reason(answers: Any) -> None:
    verdicts = curate(
        {"m": answers("AAAA", text="ABBB", centre="BACB"), "n": answers("BBBB")}, blind_share=0
    )
    assert kept(verdicts) == ["q2", "q3"]
    assert verdicts[0].reason == "answered rightly from the question without the video by m"
    assert verdicts[1].reason == "answered rightly from only the frame in the middle by m"


def test_up_to_half_of_the_models_may_guess_rightly(answers: Any) -> None:
    models = {"m": answers("AA", text="AA"), "n": answers("BB", text="AB")}
    verdicts = curate(models)
    assert kept(verdicts) == ["q1"]
    assert verdicts[0].reason.endswith("by m, n")
    assert kept(curate(models, blind_share=0.4)) == []


def test_the_most_disputed_of_each_category_are_kept(answers: Any) -> None:
    groups = "xxxyyy"
    models = {
        "m": answers("AAAAA-", categories=groups),
        "n": answers("ABBAAA", categories=groups),
        "o": answers("ACBABC", categories=groups),
    }
    verdicts = curate(models, per_category=1)
    assert kept(verdicts) == ["q1", "q5"]  # three different answers each; no letter is one of them
    assert "number 2 of x by disagreement (0.92 bits); 1 are kept" in verdicts[2].reason
    assert "number 3 of x by disagreement (0.00 bits)" in verdicts[0].reason
    assert kept(curate(models, per_category=2)) == ["q1", "q2", "q4", "q5"]
    assert kept(curate(models)) == [f"q{i}" for i in range(6)]
    assert [v.models_right for v in verdicts] == [3, 1, 1, 3, 2, 1]


def test_equal_entropy_is_decided_by_file_order(answers: Any) -> None:
    assert kept(curate({"m": answers("ABC")}, per_category=2)) == ["q0", "q1"]


def test_open_answers_differ_by_their_words() -> None:
    def says(text: str, right: bool) -> list[Row]:
        blind = {"given": "", "letter": None, "right": False}
        given = {"given": text, "letter": None, "right": right}
        by_ablation = {"full": given, "text-only": blind, "centre-frame": blind}
        return [{"id": "q", "category": "x", "answer": "a cat", "answers": by_ablation}]

    (same,) = curate({"m": says("A cat.", True), "n": says("the cat", True)})
    (other,) = curate({"m": says("A cat.", True), "n": says("a dog", False)})
    assert (same.entropy_bits, same.models_right) == (0.0, 2)
    assert (other.entropy_bits, other.models_right) == (1.0, 1)


def test_the_table_counts_every_question_once(answers: Any) -> None:
    models = {"m": answers("AABB", text="ABBB", categories="xxxy")}
    lines = summary_table(curate(models, per_category=1)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["x", "3", "1", "1", "1"],
        ["y", "1", "0", "0", "1"],
        ["all", "4", "1", "1", "2"],
    ]


# ---- the script ------------------------------------------------------------------------------


def test_nano_curates_a_file_that_eval_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["What is in the video?", "How many things are there?", "What is it?"]
    records = [
        {"id": f"{i} {video.name}", "video": str(video), "question": text, "answer": "No."}
        for i, text in enumerate(texts)
        for video in (SHORT, TEN_S)
    ]
    data, run = tmp_path / "data.json", tmp_path / "run"
    data.write_text(json.dumps(records))
    parser = argparse.ArgumentParser()
    command.add_flags(parser)
    flags = ("--device", "cpu", "--ablate", "text-only", "centre-frame")
    command.run(parser.parse_args([str(data), "--output", str(run), *flags]))

    output = tmp_path / "deep" / "out"
    capsys.readouterr()
    assert main([str(run), "--output", str(output), "--per-category", "4"]) == 0
    questions = read_questions(output / "curated.json")
    assert len(questions) == 4 and all(q.video.samefile(SHORT) for q in questions[::2])
    verdicts = json.loads((output / "verdicts.json").read_text())
    assert [v["kept"] for v in verdicts] == [True] * 4 + [False] * 2
    assert "number 5 of other by disagreement" in verdicts[4]["reason"]
    assert "all       6          0      2              4" in capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    return printed.err


def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path / "run", "AB", text="AA")
    out = ("--output", tmp_path / "out")
    assert "--per-category is 0" in refused(capsys, run, *out, "--per-category", 0)
    assert "--blind-share is 1; choose" in refused(capsys, run, *out, "--blind-share", 1)
    assert "holds no results.json" in refused(capsys, run, tmp_path / "gone", *out)
    other = run_of(tmp_path / "other", "A")
    assert "is about other questions than" in refused(capsys, run, other, *out)
    assert "No question is left; " in refused(capsys, run, *out)
    results = json.loads((run / "results.json").read_text())
    del results["questions"][0]["answers"]["centre-frame"]
    (run / "results.json").write_text(json.dumps(results))
    assert "--ablate text-only centre-frame" in refused(capsys, run, *out)
