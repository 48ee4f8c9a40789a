"""The report of an evaluation: what is written into its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asking import SHORT
from PIL import Image
from reports import HOSTILE, OPTIONS, rows

from apollo.evaluate import report


def test_results_hold_figures_and_every_answer(written: Path) -> None:
    video = written.parent / "my videos" / "50% #1 猫.mp4"
    named = {"data": "data.json", "model": "nano", "settings": {"max_new_tokens": 16}}
    given = report.write_results(rows(video), written, **named)
    results = json.loads((written / "results.json").read_text(encoding="utf-8"))
    assert results == given and {key: results[key] for key in named} == named
    assert results["figures"]["full"]["per_question"]["right"] == 2
    assert results["figures"]["full"]["categories"]["ocr"]["total"] == 3
    assert (results["figures"]["full"]["unread"], results["figures"]["grey"]["unread"]) == (1, 0)
    second = results["questions"][1]
    assert second["video"] == "../my videos/50% #1 猫.mp4"
    assert second["answers"]["full"] == {"given": "B. <b>a dog</b>", "letter": "B", "right": False}
    assert (second["start_s"], second["options"]) == (1.0, list(OPTIONS))


def test_the_table_has_a_line_per_category() -> None:
    lines = report.table(rows(SHORT)).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        *("ocr", "spatial & more", "macro average", "all questions", "no letter to read")
    ]
    assert "66.7 (20.8 to 93.9)" in lines[1] and "50.0" in lines[4]


def test_nothing_from_outside_and_nothing_unescaped(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "http" not in page and "//" not in page.replace("://", "")
    assert HOSTILE not in page and "<i>co</i>" not in page
    assert page.count("<script>") == 1


def test_a_video_that_cannot_be_read_has_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    report.write_report(rows(bad), tmp_path, data="d", model="m")
    assert "poster=" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no picture of bad.mp4" in caplog.text


def test_pictures_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(report, "_middle_frame", spy(report._middle_frame, made))
    for _ in range(2):
        report.write_report(rows(SHORT), tmp_path, data="d", model="m")
    assert len(made) == 1 and len(list((tmp_path / "posters").iterdir())) == 1


def spy(function: Any, calls: list[Any]) -> Any:
    def run(argument: Any) -> Any:
        calls.append(argument)
        return function(argument)

    return run


def test_half_a_picture_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Image.Image, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        report.write_report(rows(SHORT), tmp_path, data="d", model="m")
    assert list((tmp_path / "posters").iterdir()) == []
