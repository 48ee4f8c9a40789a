"""What was read before is not read again, and only for the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from asking import GREEDY, QUESTION, SHORT, VIDEOS, Calls, text_of

from apollo.chat import Apollo
from apollo.events import Reading
from apollo.model.token_cache import TokenCache
from apollo.settings import Sampling


def test_a_second_question_decodes_and_encodes_nothing(apollo: Apollo, calls: Calls) -> None:
    first = list(apollo.events(SHORT, QUESTION, generation=GREEDY))
    assert (len(calls.clips), calls.encoded) == (2, 2)
    again = list(apollo.events(SHORT, QUESTION, generation=GREEDY))
    assert (len(calls.clips), calls.encoded) == (2, 2)
    assert text_of(again) == text_of(first)
    assert not [event for event in again if isinstance(event, Reading)]
    assert [events[-1].stats.reused_visual_tokens for events in (first, again)] == [False, True]
    part = Sampling(end_s=2)
    assert not list(apollo.events(SHORT, QUESTION, sampling=part, generation=GREEDY))[
        -1
    ].stats.reused_visual_tokens
    assert calls.encoded == 3


def test_the_content_decides_not_the_name(apollo: Apollo, calls: Calls, tmp_path: Path) -> None:
    video = tmp_path / "upload.mp4"
    shutil.copy(SHORT, video)
    apollo.answer(video, QUESTION, generation=GREEDY)
    other_name = shutil.copy(SHORT, tmp_path / "other.mp4")
    apollo.answer(other_name, QUESTION, generation=GREEDY)
    assert calls.encoded == 2
    shutil.copy(VIDEOS / "v02_15fps_0p6s.mp4", video)
    apollo.answer(video, QUESTION, generation=GREEDY)
    assert calls.encoded == 3


def test_the_cache_is_bounded_by_bytes() -> None:
    cache = TokenCache(max_bytes=1000)
    tokens = torch.zeros(100)  # 400 bytes
    cache.put("a", tokens)
    cache.put("b", tokens)
    assert cache.get("a") is not None  # used last, so "b" leaves first
    cache.put("c", tokens)
    assert [name for name in "abc" if cache.get(name) is not None] == ["a", "c"]
    cache.put("a", torch.zeros(10))  # replaced by something smaller: there is room again
    cache.put("d", tokens)
    assert len(cache) == 3
    cache.put("e", torch.zeros(251))  # larger than the whole cache
    assert cache.get("e") is None and len(cache) == 3


def test_a_cache_without_room_still_answers(apollo: Apollo, calls: Calls) -> None:
    apollo.cache.max_bytes = 10
    for _ in range(2):
        apollo.answer(SHORT, QUESTION, generation=GREEDY)
    assert calls.encoded == 4
