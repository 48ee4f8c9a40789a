"""Which clips are read depends on the video, not on how long the conversation has become."""

from __future__ import annotations

from typing import Any

import pytest
from asking import GREEDY, LONG, PICTURE, QUESTION, SHORT, Calls

from apollo.chat import Apollo
from apollo.constants import X_TOKEN_INDEX
from apollo.errors import PromptError
from apollo.model.fitting import thinned
from apollo.settings import Generation, Sampling

DENSE = Sampling(clip_duration_s=0.5)  # 190 clips, more than the context holds
ANSWER = "word " * 30


def turns(number: int, words: int = 30) -> list[dict[str, str]]:
    said = [
        {"role": role, "content": f"{n} " + "word " * words}
        for n in range(number)
        for role in ("user", "assistant")
    ]
    return [*said, {"role": "user", "content": "And now?"}]


def stats_of(apollo: Apollo, question: Any, **settings: Any) -> Any:
    settings = {"sampling": DENSE, "generation": GREEDY} | settings
    return list(apollo.events(LONG, question, **settings))[-1].stats


def test_four_turns_about_a_long_video_read_it_once(apollo: Apollo, calls: Calls) -> None:
    planned = apollo.clips(LONG, DENSE)
    first = stats_of(apollo, QUESTION)
    assert first.clips == first.clips_encoded == len(planned) < 190
    for number in (1, 2, 3, 20, 60):
        stats = stats_of(apollo, turns(number))
        assert stats.clips == len(planned)
        assert (stats.files_opened, stats.frames_decoded, stats.clips_encoded) == (0, 0, 0)
        assert stats.prompt_tokens + GREEDY.max_new_tokens <= 2048
    assert calls.clips == planned


def test_the_oldest_turns_leave_when_the_room_is_used_up(apollo: Apollo) -> None:
    with apollo.prepare(LONG, turns(40), sampling=DENSE, generation=GREEDY) as prepared:
        text = apollo.model.tokenizer.decode([i for i in prepared.request.ids if i >= 0])
        note = prepared.request.selection.note
    assert "39 word" in text and "\n0 word" not in text and "And now?" in text
    assert note.startswith("The video is long, so only ")
    assert "The conversation is long, so its first " in note
    dropped = int(note.split("its first ")[1].split()[0])
    assert note.endswith(f"{dropped} questions and answers were left out.")
    assert f"{dropped} word" in text and f"{dropped - 1} word" not in text
    slots = prepared.request.selection.num_clips * apollo.model.config.tokens_per_clip
    assert prepared.request.ids.count(X_TOKEN_INDEX) == slots


@pytest.mark.parametrize("given", [{}, {"image": PICTURE}], ids=["plain", "picture"])
def test_without_a_video_too(apollo: Apollo, given: Any) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *turns(100)]
    events = list(apollo.events(None, messages, generation=GREEDY, **given))
    note = events[-1].stats.note
    assert note.startswith("The conversation is long, so its first ")
    with apollo.prepare(None, messages, generation=GREEDY, **given) as prepared:
        text = apollo.model.tokenizer.decode([i for i in prepared.request.ids if i >= 0])
    assert "Be brief." in text and "99 word" in text


def test_a_conversation_that_fits_is_whole(apollo: Apollo) -> None:
    with apollo.prepare(SHORT, turns(3), generation=GREEDY) as prepared:
        assert prepared.request.selection.note is None


def test_a_longer_answer_leaves_clips_out_and_reads_none_again(
    apollo: Apollo, calls: Calls
) -> None:
    planned = apollo.clips(LONG, DENSE)
    stats_of(apollo, QUESTION)
    long_answer = Generation(temperature=0, max_new_tokens=1200)
    with apollo.prepare(LONG, QUESTION, sampling=DENSE, generation=long_answer) as first:
        clips = first.request.selection.clips
        assert first.request.clips_to_encode == 0
        assert len(first.request.ids) + 1200 <= 2048
    assert set(clips) < set(planned) and (clips[0], clips[-1]) == (planned[0], planned[-1])
    with apollo.prepare(LONG, turns(4), sampling=DENSE, generation=long_answer) as later:
        assert later.request.selection.clips == clips
    with apollo.prepare(LONG, "word " * 900, sampling=DENSE, generation=GREEDY) as crowded:
        assert 1 <= len(crowded.request.selection.clips) < len(planned)
        assert crowded.request.clips_to_encode == 0
    assert calls.encoded == len(planned)


def test_a_question_too_long_for_one_clip_is_refused(apollo: Apollo, calls: Calls) -> None:
    with pytest.raises(PromptError, match="ask a shorter question or allow a shorter answer"):
        apollo.answer(LONG, "word " * 2040, sampling=DENSE, generation=GREEDY)
    assert calls.encoded == 0


def test_thinned_keeps_the_ends() -> None:
    clips: Any = list(range(10))
    assert thinned(clips, 1) == [5]
    assert thinned(clips, 2) == [0, 9]
    assert thinned(clips, 4) == [0, 3, 6, 9]
    assert thinned(clips, 10) == clips
