"""What questions, buttons and videos do to the page, with a fake model."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fake_apollo import ELSEWHERE, FakeApollo
from paths import GOLDEN, TINY

import apollo
from apollo.demo import actions, worker
from apollo.demo.turns import Turns

VIDEO = str(GOLDEN / "videos" / "v02_15fps_0p6s.mp4")
OTHER_VIDEO = str(GOLDEN / "videos" / "v11_1fps_9s.mp4")
SETTINGS = (0.4, 0.7, 256)
pytestmark = pytest.mark.usefixtures("model")


def send(turns: Turns, question: str, video: str | None = VIDEO) -> list[tuple]:
    """Every update of the page, as (messages, box, status)."""
    return list(actions.send(turns, video, question, *SETTINGS))


def shown(updates: list[tuple]) -> list[list[dict[str, str]]]:
    return [chat for chat, _, _ in updates if isinstance(chat, list)]


def until(updates: Iterator[tuple], text: str) -> list[dict[str, str]]:
    """Pulls updates until the answer contains the text."""
    for chat, _, _ in updates:
        if isinstance(chat, list) and chat and text in chat[-1]["content"]:
            return chat
    raise AssertionError(f"{text!r} never came")


# ---- streaming -------------------------------------------------------------------------------


def test_an_answer_streams_into_the_chat():
    updates = send(Turns(), "What is it?")
    answers = [chat[-1]["content"] for chat in shown(updates) if chat[-1]["role"] == "assistant"]
    assert len(set(answers)) >= 3
    assert all(b.startswith(a) for a, b in itertools.pairwise(answers))
    assert answers[-1] == "You asked 'What is it?' in message 1 and this is my answer. "
    statuses = [status for *_, status in updates]
    assert any(re.fullmatch("Reading the video: [1-4] of 4 clips", str(s)) for s in statuses)
    assert statuses[-1] == "4 clips read · first word after 0.5 s · 16 tokens/s"


def test_the_box_is_emptied_once_and_what_is_typed_meanwhile_stays():
    boxes = [box for _, box, _ in send(Turns(), "What is it?")]
    assert boxes[0] == ""
    assert all(box == actions.KEEP for box in boxes[1:])


def test_settings_reach_the_model(model: FakeApollo):
    list(actions.send(Turns(), None, "hi", 0, 0.9, 64))
    (_, _, generation) = model.asked[0]
    assert generation == apollo.Generation(temperature=0, top_p=0.9, max_new_tokens=64)


def test_a_question_waits_while_the_model_loads(host: worker.Host):
    host.ready.clear()
    updates = actions.send(Turns(), None, "hi", *SETTINGS)
    next(updates)
    assert next(updates)[2] == "Loading the model nano …"
    host.ready.set()
    assert until(updates, "this is my answer")


def test_a_model_that_cannot_be_loaded_says_why(host: worker.Host):
    with pytest.raises(apollo.CheckpointError):
        host.load("no-such-model")
    turns = Turns()
    with pytest.raises(gr.Error, match="There is no model"):
        send(turns, "hi")
    assert actions.fail(turns, "")[1] == "hi"
    assert "There is no model" in "".join(asyncio.run(_lines()))


async def _lines() -> list[str]:
    return [line async for line in actions.model_line()]


def test_the_page_says_what_nano_knows_and_how_to_switch():
    (line,) = asyncio.run(_lines())
    assert "apollo-nano" in line and "cartoon" in line
    for name in ("1.5B", "3B", "7B"):
        card = apollo.MODELS[name]
        assert card.title in line and card.licence in line and f"{card.size_gb:g} GB" in line
    assert "apollo demo --model 3B" in line
    assert "adapter" not in line


def test_the_page_names_the_adapter(host: worker.Host):
    host.adapter = "/somewhere/my <b>clips"
    (line,) = asyncio.run(_lines())
    assert "**apollo-nano** with the adapter **my &lt;b&gt;clips**" in line


# ---- conversation ----------------------------------------------------------------------------


def test_a_follow_up_keeps_the_conversation(model: FakeApollo):
    turns = Turns()
    send(turns, "one")
    send(turns, "two")
    video, messages, _ = model.asked[1]
    assert video == VIDEO
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"].startswith("You asked 'one'")


def test_a_new_video_starts_a_new_conversation(model: FakeApollo):
    """Defect 3 of the original: the old video's turns stayed in the prompt."""
    turns = Turns()
    send(turns, "one")
    chat, box, _ = actions.change_video(turns, OTHER_VIDEO, "typed")
    assert (chat, box) == ([], actions.KEEP)
    send(turns, "two", OTHER_VIDEO)
    assert model.asked[1][:2] == (OTHER_VIDEO, [{"role": "user", "content": "two"}])


def test_a_new_video_is_noticed_even_when_the_page_did_not_tell(model: FakeApollo):
    turns = Turns()
    send(turns, "one")
    send(turns, "two", OTHER_VIDEO)
    assert len(model.asked[1][1]) == 1


def test_taking_the_video_away_leaves_the_chat_readable():
    turns = Turns()
    send(turns, "one")
    assert len(actions.change_video(turns, None, "")[0]) == 2


def test_two_visitors_never_see_each_other(model: FakeApollo):
    first, second = Turns(), Turns()
    one = actions.send(first, VIDEO, "first slow", *SETTINGS)
    until(one, "word1")
    actions.stop(second, "")  # the other one's Stop
    until(one, "word3")
    one.close()
    send(second, "second", OTHER_VIDEO)
    assert "slow" not in str(second.messages) and "second" not in str(first.messages)
    assert model.asked[1][:2] == (OTHER_VIDEO, [{"role": "user", "content": "second"}])


def test_stop_keeps_the_partial_answer_and_the_roles(model: FakeApollo):
    turns = Turns()
    updates = actions.send(turns, VIDEO, "slow", *SETTINGS)
    until(updates, "word3")
    chat, box, _ = actions.stop(turns, "typed since")
    assert "word3" in chat[-1]["content"] and box == actions.KEEP  # somebody may be typing
    assert list(updates) == []  # nothing more is written
    send(turns, "and then?")
    assert [m["role"] for m in model.asked[1][1]] == ["user", "assistant", "user"]
    assert model.closed == 1


def test_stop_before_the_first_word_gives_the_question_back():
    turns = Turns()
    updates = actions.send(turns, VIDEO, "hang", *SETTINGS)
    next(updates), next(updates)
    assert actions.stop(turns, "typed since")[:2] == ([], "hang\ntyped since")
    assert list(updates) == []


def test_closing_the_stream_stops_the_model(host: worker.Host, model: FakeApollo):
    updates = actions.send(Turns(), None, "slow", *SETTINGS)
    until(updates, "word1")
    updates.close()
    until_s = time.monotonic() + 10
    while len(host.line) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert not len(host.line)  # the model is free again
    assert model.closed == 1


def test_a_visitor_who_leaves_holds_nobody_up(model: FakeApollo, monkeypatch: pytest.MonkeyPatch):
    """Gradio closes a generator on its event loop, where waiting would stop every visitor."""
    closing, go_on = threading.Event(), threading.Event()

    class Slow:
        done, total, is_over, error = 0, 4, False, None

        def wait(self, timeout_s: float) -> None:
            time.sleep(timeout_s / 10)

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: Any) -> None:
            closing.set()
            assert go_on.wait(60)

    monkeypatch.setattr(model, "read_ahead", lambda *_: Slow())
    updates = actions.read_ahead(VIDEO)
    assert next(text for text in updates if isinstance(text, str)) == "Read 0 of 4 clips"
    left = threading.Thread(target=updates.close)
    left.start()
    left.join(10)
    holds_up = left.is_alive()
    go_on.set()
    assert not holds_up and closing.wait(10)


def test_an_answer_that_is_complete_ends_only_its_own_turn(monkeypatch: pytest.MonkeyPatch):
    """Retry, pressed in the moment in which the answer ends, opens a turn that stays open."""
    turns = Turns()
    retried: list[Any] = []

    def answering(*_: Any) -> Iterator[list[worker.Step]]:
        yield [("text", "the answer")]
        retried.append(turns.retry())

    monkeypatch.setattr(actions, "answer", answering)
    list(actions.send(turns, VIDEO, "one", *SETTINGS))
    assert turns.writing is retried[0] is not None


def test_retry_asks_the_same_question_again(model: FakeApollo):
    """Defect 2 of the original: Regenerate asked the emptied text box."""
    turns = Turns()
    send(turns, "one")
    send(turns, "two")
    updates = list(actions.retry(turns, *SETTINGS))
    assert model.asked[2][:2] == model.asked[1][:2]
    assert [m["role"] for m in turns.messages] == ["user", "assistant"] * 2
    assert all(box == actions.KEEP for _, box, _ in updates)


def test_a_retry_stopped_before_its_first_word_keeps_the_old_answer():
    turns = Turns()
    send(turns, "one")
    before = [dict(m) for m in turns.messages]
    next(actions.retry(turns, *SETTINGS))
    assert actions.stop(turns, "")[1] == actions.KEEP
    assert turns.messages == before


def test_clear_empties_the_chat_and_keeps_the_video(model: FakeApollo):
    turns = Turns()
    send(turns, "one")
    assert actions.clear(turns)[0] == []
    send(turns, "two")
    assert model.asked[1][:2] == (VIDEO, [{"role": "user", "content": "two"}])


@pytest.mark.parametrize("press", [actions.retry, actions.send])
def test_nothing_to_do_is_said(press: Any):
    args = (Turns(), *SETTINGS) if press is actions.retry else (Turns(), None, " ", *SETTINGS)
    with pytest.warns(UserWarning, match="first|yet"):
        assert list(press(*args)) == [(actions.KEEP,) * 3]


# ---- failures --------------------------------------------------------------------------------


def test_a_bad_video_is_explained_and_nothing_is_lost(tmp_path: Path):
    """Defect 5 of the original: it emptied the video box and said nothing."""
    bad = tmp_path / "<b>bad.mp4"
    bad.write_text("not a video")
    turns = Turns()
    with pytest.raises(gr.Error) as caught:
        send(turns, "What is it?", str(bad))
    assert "&lt;b&gt;bad.mp4 is not a video" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert actions.fail(turns, "typed since")[:2] == ([], "What is it?\ntyped since")


def test_a_bug_is_a_plain_sentence_and_the_partial_answer_stays():
    turns = Turns()
    with pytest.raises(gr.Error, match="Something went wrong.*reference") as caught:
        send(turns, "late boom")
    assert "secret" not in caught.value.message and "Runtime" not in caught.value.message
    chat, box, _ = actions.fail(turns, "")
    assert chat[-1]["content"] == "so far " and box == "late boom"


def test_a_setting_out_of_range_is_explained():
    with pytest.raises(gr.Error, match="temperature is 9"):
        list(actions.send(Turns(), None, "hi", 9, 0.7, 256))


def test_answers_are_not_cut_at_the_last_full_stop(model: FakeApollo, monkeypatch: Any):
    """Defect 4 of the original: "at 12.5 seconds" became "at 12."."""
    pieces = iter(["It ends. ", "No, ", "at 12.5 seconds"])
    monkeypatch.setattr(model, "_answer", lambda *_: pieces)
    turns = Turns()
    send(turns, "When?")
    assert turns.messages[-1]["content"] == "It ends. No, at 12.5 seconds"


def test_a_question_without_a_video_is_answered(model: FakeApollo):
    """Defect 6 of the original: text-only questions crashed."""
    turns = Turns()
    send(turns, "Who are you?", None)
    assert model.asked[0][0] is None and "Who are you?" in turns.messages[-1]["content"]


def test_what_looks_like_markup_is_shown_as_it_is():
    chat = shown(send(Turns(), "markup <i>now</i> ![x](y)"))[-1]
    assert chat[0]["content"] == r"markup &lt;i>now&lt;/i> !\[x](y)"
    assert (
        "&lt;script>alert(1)&lt;/script>" in chat[1]["content"] and "x&lt;y" in chat[1]["content"]
    )


def test_an_image_in_an_answer_is_shown_as_its_text():
    """The browser would fetch it, from whatever address the answer names."""
    answer = shown(send(Turns(), "markup"))[-1][1]["content"]
    assert rf"!\[one]({ELSEWHERE}) !\[two][here]" in answer and "![" not in answer


def test_an_upload_that_has_been_removed_is_said_to_have_expired(model: FakeApollo, tmp_path: Path):
    upload = Path(shutil.copy(VIDEO, tmp_path / "mine.mp4"))
    turns = Turns()
    send(turns, "one", str(upload))
    upload.unlink()
    with pytest.raises(gr.Error) as caught:
        send(turns, "two", str(upload))
    assert caught.value.message == (
        "The video has expired: uploads are kept for 2 hours; choose the video again."
    )
    assert actions.fail(turns, "")[1] == "two"
    assert len(model.asked) == 1


def test_a_follow_up_does_not_read_the_video_again(model: FakeApollo):
    """Defect 8 of the original: every turn decoded and encoded the video again."""
    turns = Turns()
    first, second = send(turns, "one"), send(turns, "two")
    assert "4 clips read" in first[-1][2] and "4 clips reused" in second[-1][2]
    assert not any(str(status).startswith("Reading") for *_, status in second)
    assert model.read == 4


def test_nor_does_a_real_model(host: worker.Host):
    host.load(str(TINY), device="cpu")
    turns = Turns()
    first, second = (
        list(actions.send(turns, VIDEO, question, 0, 1, 8)) for question in ("one", "two")
    )
    assert "1 clip read" in first[-1][2] and "1 clip reused" in second[-1][2]
    assert not any(str(status).startswith("Reading") for *_, status in second)
