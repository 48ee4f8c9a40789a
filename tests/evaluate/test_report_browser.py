"""The report of an evaluation works in a real browser, from the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import WAIT_MS, launched, playwright
from reports import HOSTILE

from apollo.evaluate import report

expect = playwright.expect
pytestmark = pytest.mark.browser


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
