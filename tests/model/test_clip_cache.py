"""What was read before is not read again, and only for the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from asking import GREEDY, LONG, QUESTION, SHORT, VIDEOS, Calls, text_of

from apollo.chat import Apollo
from apollo.events import Reading
from apollo.model.clip_cache import ClipCache, ClipKey, EncodedClip
from apollo.settings import Sampling


def test_a_second_question_decodes_and_encodes_nothing(apollo: Apollo, calls: Calls) -> None:
    first = list(apollo.events(SHORT, QUESTION, generation=GREEDY))
    assert (len(calls.clips), calls.encoded) == (2, 2)
    again = list(apollo.events(SHORT, QUESTION, generation=GREEDY))
    assert (len(calls.clips), calls.encoded) == (2, 2)
    assert text_of(again) == text_of(first)
    assert not [event for event in again if isinstance(event, Reading)]
    assert [events[-1].stats.reused_visual_tokens for events in (first, again)] == [False, True]


def test_what_has_been_seen_of_a_video_serves_another_range(apollo: Apollo, calls: Calls) -> None:
    def stats(**sampling: float) -> Any:
        wanted = Sampling(**sampling)  # type: ignore[arg-type]
        return list(apollo.events(LONG, QUESTION, sampling=wanted, generation=GREEDY))[-1].stats

    assert stats(start_s=10, end_s=20).clips_encoded == 5
    more = stats(start_s=14, end_s=30)
    assert (more.clips, more.clips_encoded, calls.encoded) == (8, 5, 10)
    assert not more.reused_visual_tokens
    within = stats(start_s=12, end_s=28)
    assert (within.clips_encoded, calls.encoded, within.reused_visual_tokens) == (0, 10, True)
    alone = Apollo(apollo.model, apollo.card)
    wanted = Sampling(start_s=14, end_s=30)
    assert text_of(list(alone.events(LONG, QUESTION, sampling=wanted, generation=GREEDY))) == (
        text_of(list(apollo.events(LONG, QUESTION, sampling=wanted, generation=GREEDY)))
    )
    assert stats(start_s=14, end_s=30, exact=True).clips_encoded == 8  # other pixels


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


def key(name: str) -> ClipKey:
    return ClipKey("", name, (0,), False)


def test_the_cache_is_bounded_by_bytes() -> None:
    cache = ClipCache(max_bytes=1000)
    clip = EncodedClip(torch.zeros(10, 10))  # 400 bytes
    cache.put(key("a"), clip)
    cache.put(key("b"), clip)
    assert cache.get(key("a")) is not None  # used last, so "b" leaves first
    cache.put(key("c"), clip)
    assert [name for name in "abc" if cache.get(key(name)) is not None] == ["a", "c"]
    cache.put(key("a"), EncodedClip(torch.zeros(10)))  # smaller: there is room again
    cache.put(key("d"), clip)
    assert len(cache) == 3
    cache.put(key("e"), EncodedClip(torch.zeros(251)))  # larger than the whole cache
    assert cache.get(key("e")) is None and len(cache) == 3
    cache.put(None, clip)
    assert cache.get(None) is None and len(cache) == 3
    cache.clear()
    assert cache.get(key("a")) is None
    cache.put(key("a"), clip)
    cache.put(key("b"), clip)
    assert len(cache) == 2


def test_a_cache_without_room_still_answers(apollo: Apollo, calls: Calls) -> None:
    apollo.cache.max_bytes = 10
    for _ in range(2):
        apollo.answer(SHORT, QUESTION, generation=GREEDY)
    assert calls.encoded == 4


def test_both_caches_can_be_switched_off_after_they_were_used(apollo: Apollo, calls: Calls) -> None:
    apollo.answer(SHORT, QUESTION, generation=GREEDY)
    assert len(apollo.cache) == 2 and apollo.prefixes.num_bytes
    apollo.cache.max_bytes = apollo.prefixes.max_bytes = 0
    assert not len(apollo.cache) and not apollo.prefixes.num_bytes
    apollo.answer(SHORT, QUESTION, generation=GREEDY)
    assert calls.encoded == 4 and not len(apollo.cache) and not len(apollo.prefixes)
