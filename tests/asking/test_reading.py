"""Reading ahead, and questions that share one reading."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import GREEDY, LONG, QUESTION, SHORT, TEN_S, Calls, text_of

from apollo.chat import Apollo
from apollo.errors import VideoError
from apollo.events import Reading, Text
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.settings import Generation, Sampling


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """As many groups of clips are encoded as it lets through."""
    free = threading.Semaphore(0)
    real = ApolloForCausalLM.encode_clips

    def encode(self: Any, pixels: Any) -> Any:
        assert free.acquire(timeout=60)
        return real(self, pixels)

    monkeypatch.setattr(ApolloForCausalLM, "encode_clips", encode)
    yield free
    free.release(1000)


def asked(apollo: Apollo, *args: Any, **settings: Any) -> Any:
    events = list(apollo.events(*args, **{"generation": GREEDY} | settings))
    return text_of(events), events[-1].stats


def readings() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("apollo-")]


# ---- reading ahead ---------------------------------------------------------------------------


def test_a_question_after_it_is_as_cheap_as_a_follow_up(apollo: Apollo, calls: Calls) -> None:
    expected = asked(Apollo(apollo.model, apollo.card), TEN_S, QUESTION)[0]
    ahead = apollo.read_ahead(TEN_S)
    assert ahead.wait(60) and (ahead.done, ahead.total, ahead.error) == (6, 6, None)
    encoded = calls.encoded
    text, stats = asked(apollo, TEN_S, QUESTION)
    assert text == expected
    assert (stats.files_opened, stats.frames_decoded, stats.clips_encoded) == (0, 0, 0)
    assert stats.reused_prompt_tokens > 0.8 * stats.prompt_tokens
    assert calls.encoded == encoded and not readings()
    again = apollo.read_ahead(TEN_S)  # there is nothing left to do
    assert again.wait(60) and again.done == again.total == 6 and calls.encoded == encoded


def test_a_question_joins_whatever_it_has_reached(
    apollo: Apollo, calls: Calls, gate: threading.Semaphore
) -> None:
    ahead = apollo.read_ahead(TEN_S)  # groups of 2 clips
    gate.release(1)
    while ahead.done < 2:
        assert not ahead.wait(0.01)
    events = apollo.events(TEN_S, QUESTION, generation=GREEDY)
    assert next(events) == Reading(0, 4)
    gate.release(100)
    rest = list(events)
    assert Reading(4, 4) in rest and rest[-1].stats.clips == 6
    assert calls.encoded == 6
    assert ahead.wait(60)


def test_it_rests_while_another_answer_is_written(
    apollo: Apollo, calls: Calls, endless: None
) -> None:
    answer = apollo.events(None, QUESTION, generation=Generation(0, max_new_tokens=1500))
    for event in answer:
        if isinstance(event, Text) and event.piece:
            break
    ahead = apollo.read_ahead(TEN_S)
    assert not ahead.wait(0.5) and (ahead.done, calls.encoded) == (0, 0)
    answer.close()  # type: ignore[attr-defined]
    assert ahead.wait(60) and ahead.done == 6


def test_another_video_or_nobody_ends_it(apollo: Apollo, gate: threading.Semaphore) -> None:
    first = apollo.read_ahead(LONG)
    gate.release(3)
    while first.done < 6:
        assert not first.wait(0.01)
    gate.release(1)  # the group that is under way
    second = apollo.read_ahead(SHORT)
    assert first.is_over and first.error is None and 6 <= first.done < 12
    gate.release(100)
    assert second.wait(60) and second.done == 2
    third = apollo.read_ahead(TEN_S)
    with third:
        assert third.total == 6
    assert third.is_over and not readings()
    assert asked(apollo, LONG, QUESTION)[1].clips_encoded == 48 - first.done  # it was kept


def test_ending_it_does_not_take_the_clips_from_a_question(
    apollo: Apollo, calls: Calls, gate: threading.Semaphore
) -> None:
    ahead = apollo.read_ahead(TEN_S)
    events = apollo.events(TEN_S, QUESTION, generation=GREEDY)
    next(events)
    gate.release(100)
    ahead.close()
    assert list(events)[-1].stats.clips == 6 and calls.encoded == 6


def test_what_cannot_be_read_is_said(apollo: Apollo, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    with pytest.raises(VideoError, match="not a video"):
        apollo.read_ahead(bad)
    with pytest.raises(VideoError):
        apollo.read_ahead(SHORT, Sampling(start_s=99))
    ahead = apollo.read_ahead(LONG, Sampling(max_read_s=0.1, frames_per_clip=64, max_clips=48))
    ahead.wait(60)
    if ahead.done < ahead.total:  # a slow machine: the time is up
        assert isinstance(ahead.error, VideoError)


def test_an_adapter_is_changed_only_after_it(apollo: Apollo, gate: threading.Semaphore) -> None:
    ahead = apollo.read_ahead(TEN_S)
    gate.release(1)
    apollo.use_adapter(None)
    assert ahead.is_over and not readings()


# ---- questions at the same time --------------------------------------------------------------


@pytest.mark.parametrize("leaves", [False, True], ids=["both stay", "the first leaves"])
def test_two_questions_about_a_new_video_encode_it_once(
    apollo: Apollo, calls: Calls, gate: threading.Semaphore, leaves: bool
) -> None:
    expected = []
    first = apollo.events(TEN_S, QUESTION, generation=GREEDY)
    assert next(first) == Reading(0, 6)
    assert next(first) == Reading(0, 6)  # it is under way
    second = apollo.events(TEN_S, "What else?", generation=GREEDY)
    assert next(second) == Reading(0, 6)
    assert next(second) == Reading(0, 6)
    if leaves:
        first.close()  # type: ignore[attr-defined]
    gate.release(100)
    expected.append(text_of(list(second)))
    if not leaves:
        expected.append(text_of(list(first)))
    assert calls.encoded == 6 and not readings()
    alone = Apollo(apollo.model, apollo.card)
    for question, text in zip(["What else?", QUESTION], expected, strict=False):
        assert asked(alone, TEN_S, question)[0] == text


def test_an_error_reaches_everybody_who_waits(
    apollo: Apollo, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def fail(self: Any, pixels: Any) -> Any:
        assert go_on.wait(60)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(ApolloForCausalLM, "encode_clips", fail)
    both = [apollo.events(TEN_S, QUESTION, generation=GREEDY) for _ in range(2)]
    for events in both:
        assert next(events) == next(events) == Reading(0, 6)
    go_on.set()
    for events in both:
        with pytest.raises(ZeroDivisionError):
            list(events)
    monkeypatch.undo()
    assert asked(apollo, TEN_S, QUESTION)[1].clips == 6 and not readings()
