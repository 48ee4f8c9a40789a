"""The report of an evaluation: what is written, and that it works in a real browser from disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import WAIT_MS, launched, playwright
from paths import GOLDEN
from PIL import Image

from apollo.evaluate import report
from apollo.evaluate.question_file import Question
from apollo.evaluate.score import ScoredAnswer

expect = playwright.expect
VIDEOS = GOLDEN / "videos"
OPTIONS = ("a cat", "<b>a dog</b>", "a tree")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def rows(video: Path) -> dict[str, list[ScoredAnswer]]:
    """Three questions: right, wrong and hostile, unread; and an open one."""
    asked = [
        Question("1", video, "What is in it?", "A", OPTIONS, "ocr"),
        Question("2", video, HOSTILE, "A", OPTIONS, "spatial & more", start_s=1.0, end_s=3.0),
        Question("3", video, "视频里有什么？", "C", OPTIONS, "ocr"),
        Question("4", video, "Which animal?", "A cat.", (), "ocr"),
    ]
    full = ["A", "B. <b>a dog</b>", "no idea", "a cat"]
    grey = ["B", "C", "C", ""]
    return {
        "full": [ScoredAnswer(q, text) for q, text in zip(asked, full, strict=True)],
        "grey": [ScoredAnswer(q, text) for q, text in zip(asked, grey, strict=True)],
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video beside it, whose names need quoting in an address."""
    root = tmp_path_factory.mktemp("report")
    video = root / "my videos" / "50% #1 猫.mp4"
    video.parent.mkdir()
    shutil.copy(VIDEOS / "v01_8fps_4s.mp4", video)
    output = root / "out"
    output.mkdir()
    report.write_report(rows(video), output, data="data.json", model="nano & <i>co</i>")
    return output


# ---- files -----------------------------------------------------------------------------------


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
    lines = report.table(rows(VIDEOS / "v01_8fps_4s.mp4")).splitlines()
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
        report.write_report(rows(VIDEOS / "v01_8fps_4s.mp4"), tmp_path, data="d", model="m")
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
        report.write_report(rows(VIDEOS / "v01_8fps_4s.mp4"), tmp_path, data="d", model="m")
    assert list((tmp_path / "posters").iterdir()) == []


# ---- in a browser ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, written: Path) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(WAIT_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("requestfailed", lambda request: problems.append(f"lost {request.url}"))
    page.goto((written / "report.html").as_uri())
    yield page
    page.close()
    assert problems == []


def shown(page: Any) -> list[str]:
    """The ids of the cards that can be seen."""
    cards = page.locator("article:visible .head span:nth-child(3)")
    return [text.strip() for text in cards.all_text_contents()]


def test_it_opens_from_disk_with_figures_and_escaped_text(page: Any) -> None:
    assert page.title() == "nano & <i>co</i> on data.json"
    expect(page.locator("h1")).to_have_text("nano & <i>co</i> on data.json")
    expect(page.locator("tbody tr").first).to_contain_text("66.7")
    expect(page.locator(".ask").nth(1)).to_have_text(HOSTILE)
    expect(page.locator("li.answer").first).to_contain_text("right, and chosen")
    expect(page.locator("li.missed").first).to_contain_text("<b>a dog</b>")
    assert page.locator("thead th").count() == 3


def test_filters_work_alone_and_together(page: Any) -> None:
    assert shown(page) == ["1", "2", "3", "4"]
    page.select_option("[name=category]", "spatial & more")
    assert shown(page) == ["2"]
    page.select_option("[name=category]", "ocr")
    page.select_option("[name=outcome]", "right")
    assert shown(page) == ["1", "4"]
    page.fill("[name=words]", "ANIMAL")
    assert shown(page) == ["4"]
    expect(page.locator("output")).to_have_text("1 shown")
    page.fill("[name=words]", "")
    page.select_option("[name=category]", "")
    page.select_option("[name=outcome]", "unread")
    assert shown(page) == ["3"]
    page.select_option("[name=outcome]", "wrong")
    assert shown(page) == ["2"]
    page.keyboard.press("Enter")  # sends no form
    assert shown(page) == ["2"]


def test_the_video_plays_from_its_range(page: Any) -> None:
    video = page.locator("video").nth(1)
    video.scroll_into_view_if_needed()
    assert video.evaluate("v => v.readyState") == 0  # nothing is loaded before it is wanted
    played_s = video.evaluate(
        """async (v) => {
            v.muted = true;
            await v.play();
            while (v.currentTime < 1.2) await new Promise((done) => setTimeout(done, 20));
            return [v.played.start(0), v.duration];
        }"""
    )
    assert played_s[0] >= 0.9 and played_s[1] == pytest.approx(4.0, abs=0.2)


def test_pictures_stand_in_for_the_videos(page: Any) -> None:
    poster = page.locator("video").first.get_attribute("poster")
    size = page.evaluate(
        """async (src) => {
            const image = new Image();
            image.src = src;
            await image.decode();
            return [image.naturalWidth, image.naturalHeight];
        }""",
        poster,
    )
    assert 0 < max(size) <= report.POSTER_PX


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_well_on_a_phone_in_both_schemes(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    ink, back = (sum(map(int, c[4:-1].split(","))) / 3 for c in colours)
    assert (ink < 60 and back > 200) if scheme == "light" else (ink > 200 and back < 60)
