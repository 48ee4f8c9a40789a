"""An answer that is not wanted any more, or fails: nothing goes on computing."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import GREEDY, LONG, QUESTION, Calls, refusal

from apollo.chat import Apollo
from apollo.errors import SettingError
from apollo.events import Done, Reading, Text
from apollo.settings import Generation


def open_files(path: Path) -> int:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    found = 0
    for link in links:
        with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor is gone
            found += link.readlink() == path
    return found


def test_closing_while_the_video_is_read(apollo: Apollo, calls: Calls) -> None:
    events = apollo.events(LONG, QUESTION, generation=GREEDY)
    while next(events) != Reading(3, 48):
        pass
    if Path("/proc/self/fd").exists():
        assert open_files(LONG) == 1
    threads = threading.active_count()
    events.close()  # type: ignore[attr-defined]
    assert 3 <= calls.encoded <= len(calls.clips) < 40
    assert calls.layers == [0, 0, 0]
    assert len(apollo.cache) == calls.encoded  # these need not be read again
    assert threading.active_count() < threads
    if Path("/proc/self/fd").exists():
        assert open_files(LONG) == 0


def test_closing_while_the_answer_is_written(apollo: Apollo, calls: Calls, endless: None) -> None:
    threads = {*threading.enumerate()}
    endless_answer = Generation(temperature=0, max_new_tokens=1500)
    events = apollo.events(None, QUESTION, generation=endless_answer)
    for event in events:
        if isinstance(event, Text) and event.piece:
            break
    assert {*threading.enumerate()} - threads
    events.close()  # type: ignore[attr-defined]
    assert {*threading.enumerate()} == threads  # so nothing computes any more
    assert 0 < calls.layers[0] < 1400


def test_closing_before_the_first_token(apollo: Apollo, calls: Calls) -> None:
    """A long prompt is abandoned between two layers."""
    entered, go_on = threading.Event(), threading.Event()
    first = apollo.model.llm.get_decoder().layers[0]

    def take_long(*_: Any) -> None:
        entered.set()
        assert go_on.wait(120)

    hook = first.register_forward_pre_hook(take_long)
    try:
        threads = {*threading.enumerate()}
        events = apollo.events(None, QUESTION, generation=GREEDY)
        assert next(events) == Text("")  # a sign of life, although nothing is written
        assert entered.wait(120)
        timer = threading.Timer(0.3, go_on.set)  # the layer ends after the reader left
        timer.start()
        events.close()  # type: ignore[attr-defined]
        timer.join()
        assert {*threading.enumerate()} == threads
        assert calls.layers == [1, 0, 0]
    finally:
        go_on.set()
        hook.remove()
    assert apollo.answer(None, QUESTION, generation=GREEDY)  # the model is as it was


@pytest.mark.parametrize("at_call", [1, 4], ids=["at once", "later"])
def test_an_exception_inside_generate_reaches_the_caller(
    apollo: Apollo, endless: None, at_call: int
) -> None:
    num_calls = 0

    def fail(*_: Any) -> None:
        nonlocal num_calls
        num_calls += 1
        if num_calls == at_call:
            raise ZeroDivisionError("a bug")

    hook = apollo.model.llm.get_decoder().layers[1].register_forward_pre_hook(fail)
    threads = {*threading.enumerate()}
    received = []
    try:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            received.extend(apollo.events(None, QUESTION, generation=GREEDY))
    finally:
        hook.remove()
    assert not [event for event in received if isinstance(event, Done)]
    assert {*threading.enumerate()} == threads
    assert apollo.answer(None, QUESTION, generation=GREEDY)


def test_running_out_of_memory_is_a_sentence(apollo: Apollo) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    hook = apollo.model.llm.get_decoder().layers[1].register_forward_pre_hook(fail)
    try:
        with pytest.raises(SettingError, match="ran out of memory; read fewer clips") as error:
            apollo.answer(None, QUESTION, generation=GREEDY)
    finally:
        hook.remove()
    refusal(error)


def test_where_memory_is_short_fewer_clips_are_looked_at(apollo: Apollo, calls: Calls) -> None:
    """Simulated: a prompt of more than 300 tokens does not fit."""
    lengths: list[int] = []

    def fail(module: Any, args: Any, kwargs: Any) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]  # (1, S, D)
        lengths.append(hidden.shape[1])
        if hidden.shape[1] > 300:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    layer = apollo.model.llm.get_decoder().layers[0]
    hook = layer.register_forward_pre_hook(fail, with_kwargs=True)
    try:
        events = list(apollo.events(LONG, QUESTION, generation=GREEDY))
    finally:
        hook.remove()
    stats = events[-1].stats
    assert 4 <= stats.clips <= 12 and stats.prompt_tokens <= 300 < lengths[0]
    assert stats.note == f"Memory ran out, so only {stats.clips} clips of the video were looked at."
    assert calls.encoded == stats.clips_encoded == 48  # once
    assert not stats.reused_visual_tokens and stats.files_opened <= 1
