"""The page in a real browser: what a person does, with a fake model behind it.

Chromium is Debian's; a machine without it skips these, but in CI that is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import WAIT_MS, launched, playwright
from demo_process import running
from fake_apollo import ELSEWHERE
from paths import ROOT

expect = playwright.expect
VIDEOS = ROOT / "tests" / "data" / "golden" / "videos"
VIDEO = VIDEOS / "v02_15fps_0p6s.mp4"
OTHER_VIDEO = VIDEOS / "v11_1fps_9s.mp4"
# A real browser on a busy machine loses a click now and then; a broken page fails three times.
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2)]


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("demo") / "log.txt"
    with running(["tests/helpers/demo_process.py"], log) as address:
        yield address


@pytest.fixture
def page(browser: playwright.Browser, url: str) -> Iterator[playwright.Page]:
    page = open_page(browser, url)
    yield page
    page.context.close()


def open_page(browser: playwright.Browser, url: str, width: int = 1280) -> playwright.Page:
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    page.goto(url)
    page.wait_for_selector("#send")
    return page


def upload(page: playwright.Page, path: Path) -> None:
    if page.locator("#video").get_by_label("Clear").count():
        page.locator("#video").get_by_label("Clear").click()
    page.set_input_files("#video input[type=file]", path)
    expect(page.locator("#video video")).to_have_attribute("src", re.compile(re.escape(path.name)))


def ask(page: playwright.Page, question: str) -> None:
    """Types and sends as a person does: not in the very moment in which the last turn ends, when
    Gradio still drops a second Send, and once more if the question stays where it is."""
    asked_before = questions(page).count()
    page.fill("#question textarea", question)
    page.wait_for_timeout(800)
    page.click("#send")
    page.wait_for_timeout(1200)
    nothing_said = (
        questions(page).count() == asked_before and not page.locator(".toast-body").count()
    )
    if nothing_said and box(page).input_value() == question:
        page.click("#send")


def answered(page: playwright.Page, text: str) -> None:
    """The answer is there and its turn is over: only then does Send take the next question."""
    expect(answers(page).last).to_contain_text(text)
    expect(page.locator("#status")).to_contain_text("first word")
    page.wait_for_timeout(500)  # the page learns of the end just after the last update


def box(page: playwright.Page) -> playwright.Locator:
    return page.locator("#question textarea")


def answers(page: playwright.Page) -> playwright.Locator:
    return page.locator("#chat [data-testid=bot]")


def questions(page: playwright.Page) -> playwright.Locator:
    return page.locator("#chat [data-testid=user]")


def watch(page: playwright.Page) -> None:
    """From now on, keep what the last answer says whenever it changes."""
    page.evaluate(
        """() => {
            window.seen = [];
            const look = () => {
                const all = document.querySelectorAll('#chat [data-testid=bot]');
                const text = all.length ? all[all.length - 1].innerText.trim() : '';
                if (text && text !== window.seen[window.seen.length - 1]) window.seen.push(text);
            };
            new MutationObserver(look).observe(document.querySelector('#chat'),
                {subtree: true, childList: true, characterData: true});
        }"""
    )


def partial_texts(page: playwright.Page, end: str) -> list[str]:
    """What the answer said while it grew since `watch`, until it contains `end`."""
    page.wait_for_function(
        "end => window.seen.length > 1 && window.seen[window.seen.length - 1].includes(end)",
        arg=end,
    )
    return page.evaluate("window.seen")


def test_a_video_is_dropped_and_the_answer_streams(page: playwright.Page):
    upload(page, VIDEO)
    watch(page)
    ask(page, "What is it?")
    texts = partial_texts(page, "this is my answer.")
    assert len(set(texts)) >= 3
    assert all(b.startswith(a) for a, b in zip(texts, texts[1:], strict=False))
    expect(box(page)).to_have_value("")
    expect(page.locator("#status")).to_contain_text("4 clips read")


def test_a_follow_up_keeps_the_conversation_and_a_new_video_ends_it(page: playwright.Page):
    upload(page, VIDEO)
    ask(page, "one")
    answered(page, "in message 1 and this is my answer.")
    ask(page, "two")
    answered(page, "in message 3 and this is my answer.")
    upload(page, OTHER_VIDEO)
    expect(answers(page)).to_have_count(0)
    ask(page, "three")
    expect(answers(page).last).to_contain_text("in message 1 and this is my answer.")


def test_stop_keeps_what_was_written(page: playwright.Page):
    ask(page, "slow")
    expect(answers(page).last).to_contain_text("word3")
    page.click("#stop")
    ask(page, "and then?")
    expect(answers(page).last).to_contain_text("in message 3 and this is my answer.")
    stopped = answers(page).first.inner_text()
    assert "word3" in stopped and "word3999" not in stopped
    expect(questions(page)).to_have_count(2)


def test_stop_before_the_first_word_gives_the_question_back(page: playwright.Page):
    ask(page, "hang")
    expect(questions(page)).to_have_count(1)
    expect(box(page)).to_have_value("")
    page.click("#stop")
    expect(box(page)).to_have_value("hang")
    expect(questions(page)).to_have_count(0)


def test_a_bad_file_says_why_and_leaves_the_question_in_the_box(
    page: playwright.Page, tmp_path: Path
):
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    page.set_input_files("#video input[type=file]", bad)
    expect(page.locator("#video").get_by_label("Clear")).to_be_visible()
    ask(page, "What is it?")
    expect(page.get_by_text("bad.mp4 is not a video")).to_be_visible()
    expect(box(page)).to_have_value("What is it?")
    upload(page, VIDEO)  # the remedy
    page.click("#send")
    expect(answers(page).last).to_contain_text("this is my answer.")


def test_an_example_is_one_click(page: playwright.Page):
    ask(page, "one")
    answered(page, "this is my answer.")
    page.locator("#examples tbody tr").first.click()
    expect(page.locator("#video video")).to_be_visible()
    expect(answers(page)).to_have_count(0)  # a new video, a new conversation
    question = page.locator("#examples tbody tr").first.locator("td").last.inner_text().strip()
    expect(box(page)).to_have_value(question)
    expect_playable(page)
    page.click("#send")
    expect(answers(page).last).to_contain_text("in message 1 and this is my answer.")


def expect_playable(page: playwright.Page) -> None:
    page.wait_for_function("document.querySelector('#video video').readyState >= 2")


def test_retry_and_clear(page: playwright.Page):
    ask(page, "one")
    expect(answers(page).last).to_contain_text("this is my answer.")
    page.fill("#question textarea", "half a thought")
    watch(page)
    page.click("#retry")
    texts = partial_texts(page, "this is my answer.")
    assert texts and texts[-1].startswith("You asked 'one' in message 1")
    expect(questions(page)).to_have_count(1)
    expect(box(page)).to_have_value("half a thought")
    expect(page.locator("#status")).to_contain_text("tokens/s")
    page.click("#clear")
    expect(questions(page)).to_have_count(0)
    ask(page, "two")
    expect(answers(page).last).to_contain_text("in message 1 and this is my answer.")


def test_two_visitors_wait_for_each_other_and_see_only_their_own(
    page: playwright.Page, browser: playwright.Browser, url: str
):
    other = open_page(browser, url)
    ask(page, "slow")
    expect(answers(page).last).to_contain_text("word2")
    ask(other, "mine")
    other.wait_for_timeout(500)
    other.click("#stop")  # stops the other's place in the queue, not this answer
    expect(answers(page).last).to_contain_text("word30")
    page.click("#stop")
    ask(other, "mine")
    expect(answers(other).last).to_contain_text("You asked 'mine' in message 1")
    expect(questions(page)).to_have_count(1)
    other.context.close()


def test_the_page_is_there_before_the_model(browser: playwright.Browser, tmp_path: Path):
    hold = tmp_path / "loaded"
    with running(["tests/helpers/demo_process.py", str(hold)], tmp_path / "log.txt") as address:
        page = open_page(browser, address)
        expect(page.locator("#about")).to_contain_text("Loading the model nano")
        ask(page, "hi")
        expect(page.locator("#status")).to_contain_text("Loading the model nano")
        hold.touch()
        expect(answers(page).last).to_contain_text("this is my answer.")
        expect(page.locator("#about")).to_contain_text("Answers come from apollo-nano")
        page.context.close()


def test_a_phone_shows_the_page_without_scrolling_sideways(browser: playwright.Browser, url: str):
    page = open_page(browser, url, width=360)
    expect(page.locator("#about")).to_contain_text("cartoon")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    tops = [page.locator(part).bounding_box()["y"] for part in ("#video", "#chat", "#examples")]
    assert tops == sorted(tops)
    page.context.close()


def test_nothing_is_fetched_from_elsewhere(browser: playwright.Browser, url: str):
    """Not for the page, and not for what is in a question or an answer."""
    page = browser.new_context().new_page()
    asked: list[str] = []
    refused: list[str] = []  # by the page's own rule, before anything is sent
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda r: refused.append(r.url) if r.failure == "csp" else None)
    page.goto(url)
    page.wait_for_selector("#send")
    upload(page, VIDEO)
    ask(page, f"markup ![three]({ELSEWHERE})")
    expect(answers(page).last).to_contain_text("after.")
    expect(answers(page).last).to_contain_text(f"![one]({ELSEWHERE})")
    expect(questions(page).last).to_contain_text(f"![three]({ELSEWHERE})")
    expect(page.locator("#chat .mermaid svg")).to_be_visible()  # a diagram that has a picture
    page.wait_for_timeout(1000)
    elsewhere = [address for address in asked if not address.startswith((url, "data:", "blob:"))]
    assert elsewhere == refused == [ELSEWHERE]
    page.context.close()
