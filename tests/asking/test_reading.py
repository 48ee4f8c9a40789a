"""Reading ahead, and questions that share one reading."""

from __future__ import annotations

import contextlib
import gc
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import GREEDY, LONG, QUESTION, SHORT, TEN_S, Calls, text_of
from paths import TINY

from apollo.chat import Apollo
from apollo.errors import VideoError
from apollo.events import Reading, Text
from apollo.model import prefix
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.settings import Generation, Sampling
from apollo.vision import clip_pixels


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
    seconds: list[Any] = []
    starting = threading.Thread(target=lambda: seconds.append(apollo.read_ahead(SHORT)))
    starting.start()
    while not first._reading._is_cancelled:
        first.wait(0.01)
    gate.release(100)
    starting.join()
    assert first.is_over and first.error is None and 6 <= first.done <= 8  # a group was under way
    (second,) = seconds
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


def test_an_adapter_that_is_changed_while_it_begins_is_the_one_that_reads(
    apollo: Apollo, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, changed = apollo.prepare, []

    def then_change(*args: Any, **settings: Any) -> Any:
        prepared = prepare(*args, **settings)
        if not changed:
            changed.append(apollo.use_adapter(None))
            monkeypatch.setattr(apollo.model, "vision_key", "another")
        return prepared

    monkeypatch.setattr(apollo, "prepare", then_change)
    assert apollo.read_ahead(TEN_S).wait(60)
    assert {key.adapter for key in apollo.cache._entries} == {"another"}


def test_nothing_is_kept_of_a_file_that_is_written_to_meanwhile(
    apollo: Apollo, tmp_path: Path
) -> None:
    """Its digest is that of the file before, which another question may be about."""
    video = Path(shutil.copy(LONG, tmp_path))
    expected = asked(Apollo(apollo.model, apollo.card), LONG, QUESTION)[0]
    events = apollo.events(video, QUESTION, generation=GREEDY)
    next(events)  # the clips are chosen
    content = bytearray(video.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    with video.open("r+b") as file:
        file.write(content)
    with contextlib.suppress(VideoError):  # too many frames are damaged
        list(events)
    text, stats = asked(apollo, LONG, QUESTION)
    assert (text, stats.note) == (expected, None)


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


def test_a_question_is_not_refused_for_the_limit_of_another(
    apollo: Apollo, gate: threading.Semaphore
) -> None:
    short = apollo.read_ahead(TEN_S, Sampling(max_read_s=5))
    short._reading._video._budget._spent_s = 6  # it took long until now
    events = apollo.events(TEN_S, QUESTION, generation=GREEDY)
    assert next(events) == Reading(0, 6)
    gate.release(100)
    assert list(events)[-1].stats.clips == 6


def test_who_leaves_does_not_wait_for_those_who_come(
    apollo: Apollo, gate: threading.Semaphore
) -> None:
    first = apollo.events(LONG, QUESTION, generation=GREEDY)
    assert next(first) == next(first) == Reading(0, 48)  # a group is being encoded
    leaving = threading.Thread(target=first.close)  # type: ignore[attr-defined]
    leaving.start()
    second = apollo.events(LONG, QUESTION, generation=GREEDY)
    assert next(second) == next(second) == Reading(0, 48)
    for _ in range(10):  # groups of 24
        gate.release()
        leaving.join(1)
    is_stuck = leaving.is_alive()
    gate.release(100)
    assert not is_stuck and list(second)[-1].stats.clips == 48
    leaving.join()


def test_closing_ends_decoding_before_the_group_is_complete(
    apollo: Apollo, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, begun, reduced = threading.Semaphore(0), threading.Event(), []
    real = clip_pixels._reduced

    def slowly(*args: Any) -> Any:
        begun.set()
        assert free.acquire(timeout=60)
        reduced.append(args)
        return real(*args)

    monkeypatch.setattr(clip_pixels, "_reduced", slowly)
    ahead = apollo.read_ahead(LONG)
    assert begun.wait(60)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    while not ahead._reading._video.interrupted.is_set():
        assert not ahead.wait(0.01)
    free.release(1000)
    closing.join()
    assert ahead.is_over and ahead.error is None and len(reduced) == 1 and not readings()


# ---- answers that nobody closes --------------------------------------------------------------


def abandon(events: Any) -> None:
    """Only the garbage collector can close it."""
    events.send(None)
    cycle = [events]
    cycle.append(cycle)  # type: ignore[arg-type]


@pytest.fixture
def by_hand() -> Iterator[None]:
    """The garbage collector runs when it is called."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_the_thread_that_reads_may_collect_who_waited_for_it(
    apollo: Apollo, monkeypatch: pytest.MonkeyPatch, by_hand: None
) -> None:
    go_on = threading.Event()

    def collect(self: Any, pixels: Any) -> Any:
        assert go_on.wait(60)
        gc.collect()
        raise AssertionError("it goes on after this")

    monkeypatch.setattr(ApolloForCausalLM, "encode_clips", collect)
    abandon(apollo.events(TEN_S, QUESTION, generation=GREEDY))
    (thread,) = [t for t in readings() if t.name == "apollo-reading"]
    go_on.set()
    thread.join(60)
    assert not readings()
    apollo.use_adapter(None)  # no answer is being written


def test_the_thread_that_writes_may_collect_who_listened(
    apollo: Apollo, endless: None, by_hand: None
) -> None:
    go_on = threading.Event()

    def collect(*_: Any) -> None:
        if go_on.is_set():
            gc.collect()

    hook = apollo.model.llm.get_decoder().layers[0].register_forward_hook(collect)
    before = {*threading.enumerate()}
    abandon(apollo.events(None, QUESTION, generation=Generation(0, max_new_tokens=1900)))
    (thread,) = {*threading.enumerate()} - before
    go_on.set()
    thread.join(60)
    hook.remove()
    assert not thread.is_alive()
    apollo.use_adapter(None)


def test_an_answer_may_be_collected_while_another_looks_at_what_is_kept(
    apollo: Apollo, endless: None, by_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_equal = prefix._num_equal

    def collect(*marks: Any) -> int:
        gc.collect()
        return num_equal(*marks)

    asked(apollo, None, QUESTION)
    abandon(apollo.events(None, "Who?", generation=Generation(0, max_new_tokens=1900)))
    monkeypatch.setattr(prefix, "_num_equal", collect)
    found: list[Any] = []
    other = threading.Thread(
        target=lambda: found.append(asked(apollo, None, QUESTION)), daemon=True
    )
    other.start()
    other.join(60)
    assert found


ENDS = """
import threading, time
from pathlib import Path
import apollo
from apollo.vision import clip_pixels

model = apollo.load(Path(r"{tiny}"))
model.model.llm.generation_config.eos_token_id = None
reduced, begun = clip_pixels._reduced, threading.Event()

def slowly(*args):
    begun.set()
    time.sleep(0.2)
    return reduced(*args)

clip_pixels._reduced = slowly
{work}
print("the end", flush=True)
"""
WORK = {
    "read ahead": "ahead = model.read_ahead(r'{video}'); begun.wait()",
    "asked": "events = model.events(r'{video}', '?'); next(events); begun.wait()",
    "answered": "events = model.events(None, '?'); next(events)",
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_a_program_may_end_at_any_moment(work: str) -> None:
    program = ENDS.format(tiny=TINY, work=work.format(video=LONG))
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (0, "the end\n"), ended.stderr
