"""What the LLM computed before is not computed again, and changes no answer."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import GREEDY, LONG, PICTURE, QUESTION, SHORT, TEN_S, Calls, text_of

from apollo.chat import Apollo
from apollo.constants import X_TOKEN_INDEX
from apollo.events import Text
from apollo.model import prefix
from apollo.model.clip_cache import ClipKey
from apollo.model.prefix import Prefixes, marks_of
from apollo.settings import Generation, Sampling

TURNS = [
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": "A red ball rolls."},
    {"role": "user", "content": "And then?"},
]


def uncached(apollo: Apollo) -> Apollo:
    other = Apollo(apollo.model, apollo.card)
    other.prefixes.max_bytes = 0
    return other


def asked(apollo: Apollo, *args: Any, **settings: Any) -> tuple[str, Any]:
    events = list(apollo.events(*args, **{"generation": GREEDY} | settings))
    return text_of(events), events[-1].stats


@pytest.mark.parametrize("video", [SHORT, LONG], ids=["short", "long"])
def test_a_follow_up_computes_only_what_is_new_and_answers_the_same(
    apollo: Apollo, calls: Calls, endless: None, video: Path
) -> None:
    bare = uncached(apollo)
    expected = asked(bare, video, QUESTION)[0]
    first, stats = asked(apollo, video, QUESTION)
    assert (first, stats.reused_prompt_tokens) == (expected, 0)
    turns = [TURNS[0], {"role": "assistant", "content": first}, TURNS[2]]
    follow_up = [
        asked(bare, video, turns)[0],
        *asked(apollo, video, turns),
    ]
    assert follow_up[0] == follow_up[1]
    stats = follow_up[2]
    assert stats.reused_prompt_tokens >= len(first.split()) + stats.prompt_tokens // 2
    assert stats.prompt_tokens - stats.reused_prompt_tokens < 50
    assert (stats.files_opened, stats.frames_decoded, stats.clips_encoded) == (0, 0, 0)


def test_the_numbers_computed_are_those_of_the_new_tokens(
    apollo: Apollo, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def note(module: Any, args: Any, kwargs: Any) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        lengths.append(hidden.shape[1])  # (1, S, D)

    asked(apollo, TEN_S, QUESTION)
    layer = apollo.model.llm.get_decoder().layers[0]
    hook = layer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        _, stats = asked(apollo, TEN_S, "Is there a dog?")
    finally:
        hook.remove()
    assert lengths[0] == stats.prompt_tokens - stats.reused_prompt_tokens < 40
    assert {*lengths[1:]} <= {1}


def test_retries_edits_and_other_conversations_share_the_beginning(apollo: Apollo) -> None:
    bare = uncached(apollo)
    for question in (QUESTION, QUESTION, "What colour is it?", TURNS, "What?"):
        text, stats = asked(apollo, TEN_S, question)
        assert text == asked(bare, TEN_S, question)[0]
    assert stats.reused_prompt_tokens > 0.8 * stats.prompt_tokens
    varied = Generation(temperature=1.2, max_new_tokens=12, seed=4)
    assert (
        asked(apollo, TEN_S, "What?", generation=varied)[0]
        == (asked(bare, TEN_S, "What?", generation=varied)[0])
    )


def test_the_content_decides_not_the_name_nor_the_words_alone(
    apollo: Apollo, tmp_path: Path
) -> None:
    asked(apollo, TEN_S, QUESTION)
    copy = shutil.copy(TEN_S, tmp_path / "copy.mp4")
    assert asked(apollo, copy, QUESTION)[1].reused_prompt_tokens > 100
    part = Sampling(start_s=2)  # other frames behind the same slots
    text, stats = asked(apollo, TEN_S, QUESTION, sampling=part)
    assert stats.reused_prompt_tokens < 60
    assert text == asked(uncached(apollo), TEN_S, QUESTION, sampling=part)[0]


def test_pictures_and_plain_conversations_too(apollo: Apollo) -> None:
    for given in ({"image": PICTURE}, {}):
        asked(apollo, None, QUESTION, **given)
        text, stats = asked(apollo, None, TURNS, **given)
        assert stats.reused_prompt_tokens > 10
        assert text == asked(uncached(apollo), None, TURNS, **given)[0]


def test_a_stopped_answer_leaves_what_it_computed(apollo: Apollo, endless: None) -> None:
    long_answer = Generation(temperature=0, max_new_tokens=1000)
    events = apollo.events(TEN_S, QUESTION, generation=long_answer)
    for event in events:
        if isinstance(event, Text) and event.piece:
            break
    events.close()  # type: ignore[attr-defined]
    (length,) = apollo.prefixes
    text, stats = asked(apollo, TEN_S, QUESTION)
    assert stats.reused_prompt_tokens == stats.prompt_tokens - 1 < length
    assert text == asked(uncached(apollo), TEN_S, QUESTION)[0]


def test_another_adapter_computes_anew(apollo: Apollo) -> None:
    asked(apollo, TEN_S, QUESTION)
    for key in ("another", None):  # None: its weights may still change
        apollo.model.adapter_key = key
        try:
            for _ in range(2):
                _, stats = asked(apollo, TEN_S, QUESTION)
        finally:
            apollo.model.adapter_key = ""
        assert (stats.reused_prompt_tokens > 0) == (key is not None)
    assert len(apollo.prefixes) == 2


# ---- the cache itself ------------------------------------------------------------------------


class _Layer:
    def __init__(self, length: int) -> None:
        self.keys = self.values = torch.zeros(1, 2, length, 4)  # 64 bytes a token with the other

    def get_seq_length(self) -> int:
        return self.keys.shape[2]


class _Cache:
    def __init__(self, *lengths: int) -> None:
        self.layers = [_Layer(length) for length in lengths]


def kept(prefixes: Prefixes, *marks: int, lengths: tuple[int, ...] = ()) -> None:
    prefixes.keep("", np.array(marks), _Cache(*(lengths or (len(marks),))))


@pytest.fixture
def prefixes() -> Prefixes:
    return Prefixes(torch.device("cpu"), max_bytes=64 * 10)


def test_the_cache_is_bounded_and_the_longer_replaces_its_beginning(prefixes: Prefixes) -> None:
    kept(prefixes, 1, 2, 3)
    kept(prefixes, 1, 2, 3, 4)
    assert list(prefixes) == [4] and prefixes.num_bytes == 64 * 4
    kept(prefixes, 1, 2)  # is in it
    assert list(prefixes) == [4]
    kept(prefixes, 1, 9, 9, 9, 9)
    kept(prefixes, 7, 7)
    assert list(prefixes) == [5, 2]  # the first was not used for longest
    kept(prefixes, *range(11))  # larger than the whole
    assert list(prefixes) == [5, 2]
    prefixes.clear()
    assert (len(prefixes), prefixes.num_bytes) == (0, 0)


def test_layers_that_were_stopped_at_different_places_agree(prefixes: Prefixes) -> None:
    kept(prefixes, 1, 2, 3, 4, 5, lengths=(4, 3))
    assert list(prefixes) == [3]
    kept(prefixes, 8, lengths=(1, 0))
    assert list(prefixes) == [3]


def test_when_memory_is_short_everything_leaves(
    prefixes: Prefixes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(prefixes, 1, 2, 3)
    monkeypatch.setattr(prefix, "free_bytes", lambda device: 100)
    kept(prefixes, 4, 5, 6)
    assert not len(prefixes)


def test_a_card_without_memory_for_both_gives_the_answer(
    apollo: Apollo, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(apollo, TEN_S, QUESTION)
    real, failed = type(apollo.model).generate, []

    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "cache" in kwargs:
            failed.append(weakref.ref(kwargs["cache"]))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert failed[0]() is None  # its memory is free before the next attempt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(apollo.model), "generate", generate)
    gc.disable()
    try:
        text, stats = asked(apollo, TEN_S, "What?")
    finally:
        gc.enable()
    monkeypatch.undo()
    assert text == asked(uncached(apollo), TEN_S, "What?")[0]
    assert len(failed) == 1 and not len(apollo.prefixes) and stats.reused_prompt_tokens == 0


def test_marks_differ_by_word_clip_and_slot() -> None:
    slot = X_TOKEN_INDEX
    clips = [ClipKey("", "a", (0, 1), False), ClipKey("", "a", (2, 3), False)]
    marks = marks_of([5, slot, slot, 6, slot, slot, 7], clips)
    assert marks[[0, 3, 6]].tolist() == [5, 6, 7]
    slots = marks[[1, 2, 4, 5]]
    assert len({*slots.tolist()}) == 4 and (slots < 0).all()
    again = marks_of([slot, slot], clips[1:])
    assert again.tolist() == slots[2:].tolist()  # wherever the clip stands
    other = marks_of([slot, slot], [ClipKey("", "b", (2, 3), False)])
    assert not {*other.tolist()} & {*slots.tolist()}
