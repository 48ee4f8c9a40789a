"""A question about a file, the whole line: events, and which frames are behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import (
    GREEDY,
    LONG,
    MESSAGES,
    PICTURE,
    QUESTION,
    SHORT,
    TEN_S,
    VIDEOS,
    Calls,
    refusal,
    text_of,
)
from PIL import Image

from apollo.chat import Apollo
from apollo.errors import PromptError, SettingError
from apollo.events import Done, Reading, Text
from apollo.model.prompt import build_prompt, image_block, tokenize, video_block
from apollo.settings import Generation, Sampling
from apollo.video.reader import probe, read_clips

# ---- events ----------------------------------------------------------------------------------


def test_events_come_in_order(apollo: Apollo, endless: None) -> None:
    events = list(apollo.events(TEN_S, QUESTION, generation=GREEDY))
    kinds = [type(event) for event in events]
    done = kinds.index(Text)
    assert kinds == [Reading] * done + [Text] * (len(kinds) - done - 1) + [Done]
    readings = [(event.done, event.total) for event in events[:done]]
    assert readings == [(n, 6) for n in range(7)]  # 10.01 s in clips of 2 s
    assert text_of(events)


def test_stats(apollo: Apollo, endless: None) -> None:
    stats = list(apollo.events(SHORT, QUESTION, generation=GREEDY))[-1].stats
    block = video_block(apollo.clips(SHORT), duration_s=4, clip_duration_s=2, tokens_per_clip=8)
    prompt = build_prompt([{"role": "user", "content": QUESTION}], block)
    assert stats.prompt_tokens == len(tokenize(prompt, apollo.model.tokenizer))
    assert (stats.clips, stats.covered_s, stats.note) == (2, 4.0, None)
    assert stats.answer_tokens == GREEDY.max_new_tokens
    assert not stats.reused_visual_tokens
    assert 0 < stats.first_token_s < 300 and 0 < stats.tokens_per_s < 1e5


def test_an_answer_of_one_token_has_no_pace(apollo: Apollo) -> None:
    one = Generation(temperature=0, max_new_tokens=1)
    stats = list(apollo.events(None, QUESTION, generation=one))[-1].stats
    assert (stats.answer_tokens, stats.tokens_per_s) == (1, 0.0)
    assert stats.first_token_s > 0


def test_stream_and_answer_are_the_joined_events(apollo: Apollo) -> None:
    text = text_of(list(apollo.events(SHORT, QUESTION, generation=GREEDY)))
    pieces = list(apollo.stream(SHORT, QUESTION, generation=GREEDY))
    assert "".join(pieces) == text and all(pieces)
    assert apollo.answer(SHORT, QUESTION, generation=GREEDY) == text.strip()


def by_hand(model: Any, block: str | None, tokens: Any, **prompt: Any) -> str:
    """The greedy answer, put together without chat.py."""
    ids = tokenize(build_prompt(prompt.pop("messages"), block, **prompt), model.tokenizer)
    out = model.generate(
        torch.tensor([ids]), visual_tokens=[tokens], do_sample=False, max_new_tokens=12
    )
    return model.tokenizer.decode(out[0], skip_special_tokens=True)


def test_a_conversation_about_a_video(apollo: Apollo) -> None:
    """The same text as from the parts of the line, put together here."""
    clips = apollo.clips(SHORT)
    pixels = apollo._viewer.resized(read_clips(SHORT, clips))
    tokens = apollo._viewer.encode(pixels).flatten(0, 1)  # (N, K, D) -> (N*K, D)
    block = video_block(clips, duration_s=4, clip_duration_s=2, tokens_per_clip=8)
    expected = by_hand(apollo.model, block, tokens, messages=MESSAGES)
    events = list(apollo.events(SHORT, MESSAGES, generation=GREEDY))
    assert text_of(events) == expected != ""
    assert text_of(list(apollo.events(SHORT, QUESTION, generation=GREEDY))) != expected


def test_text_alone(apollo: Apollo, calls: Calls) -> None:
    events = list(apollo.events(None, MESSAGES, generation=GREEDY))
    assert {type(event) for event in events} == {Text, Done}
    assert text_of(events) == by_hand(apollo.model, None, None, messages=MESSAGES)
    stats = events[-1].stats
    assert (stats.clips, stats.covered_s, calls.encoded, calls.clips) == (0, 0.0, 0, [])


def test_the_system_prompt_is_used(apollo: Apollo) -> None:
    system = Generation(temperature=0, max_new_tokens=12, system_prompt="You are a pirate.")
    text = text_of(list(apollo.events(None, MESSAGES, generation=system)))
    given = {"messages": MESSAGES, "system_prompt": "You are a pirate."}
    assert text == by_hand(apollo.model, None, None, **given)


def test_an_image(apollo: Apollo) -> None:
    picture = Image.open(PICTURE).convert("RGB")
    array = np.asarray(picture)
    tokens = apollo._viewer.encode(apollo._viewer.resized([np.stack([array] * 4)]))[
        0
    ]  # (1, K, D) -> (K, D)
    messages = [{"role": "user", "content": QUESTION}]
    expected = by_hand(apollo.model, image_block(8), tokens, messages=messages)
    for image in (PICTURE, str(PICTURE), picture, array):
        events = list(apollo.events(None, QUESTION, image=image, generation=GREEDY))
        assert text_of(events) == expected
        assert (events[-1].stats.clips, events[-1].stats.covered_s) == (0, 0.0)


# ---- what is read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(clip_duration_s=1, frames_per_clip=8),
        Sampling(max_clips=2),
        Sampling(start_s=2.5, end_s=7),
    ],
)
def test_clips_and_frames_say_what_is_read(
    apollo: Apollo, calls: Calls, sampling: Sampling
) -> None:
    planned = apollo.clips(TEN_S, sampling)
    assert calls.clips == []  # nothing is decoded for the plan
    stats = list(apollo.events(TEN_S, QUESTION, sampling=sampling, generation=GREEDY))[-1].stats
    assert calls.clips == planned and stats.clips == len(planned)
    fps = probe(TEN_S).fps
    shown = list(apollo.frames(TEN_S, sampling, height_px=24))
    frame_ids = [frame_id for clip in planned for frame_id in clip.frame_ids]
    assert [time_s for time_s, _ in shown] == [frame_id / fps for frame_id in frame_ids]
    assert {picture.height for _, picture in shown} == {24}
    for clip in planned:
        assert len(clip.frame_ids) == sampling.frames_per_clip
        assert (sampling.start_s or 0) <= clip.start_s <= clip.end_s <= (sampling.end_s or 10.1)


def test_the_thumbnails_are_the_frames(apollo: Apollo) -> None:
    clip = apollo.clips(SHORT)[0]
    _, thumbnail = next(apollo.frames(SHORT, height_px=1000))  # no smaller than the frame
    frame = next(read_clips(SHORT, [clip]))[0]
    assert np.array_equal(np.asarray(thumbnail), frame)


def test_thumbnails_without_height_are_refused_row_84(apollo: Apollo) -> None:
    for height_px in (0, -5):
        with pytest.raises(SettingError, match=f"height_px is {height_px}; choose a height of at"):
            list(apollo.frames(SHORT, height_px=height_px))


def test_covered_seconds(apollo: Apollo) -> None:
    def covered_s(video: Path, **sampling: Any) -> float:
        settings = {"sampling": Sampling(**sampling), "generation": GREEDY}
        events = list(apollo.events(video, QUESTION, **settings))
        return events[-1].stats.covered_s

    assert covered_s(TEN_S, start_s=1, end_s=4) == pytest.approx(3)
    assert covered_s(TEN_S, max_clips=2) == pytest.approx(4)
    assert covered_s(VIDEOS / "v02_15fps_0p6s.mp4") == pytest.approx(0.6)


def test_a_long_video_is_thinned_to_fit(apollo: Apollo, calls: Calls) -> None:
    dense = Sampling(clip_duration_s=0.5)
    planned = apollo.clips(LONG, dense)
    events = list(apollo.events(LONG, QUESTION, sampling=dense, generation=GREEDY))
    stats = events[-1].stats
    assert 10 < stats.clips < 190 and stats.clips == len(calls.clips) == calls.encoded
    assert calls.clips == planned
    limit = apollo.model.config.max_context_tokens
    assert 0.7 * limit < stats.prompt_tokens < 0.8 * limit  # a quarter is for the conversation
    assert stats.note is not None
    assert stats.note.startswith(f"The video is long, so only {stats.clips} clips of it could be")
    assert calls.clips[-1].end_s > 90  # to its end
    assert stats.covered_s == pytest.approx(stats.clips * 0.5)


def test_a_conversation_that_is_too_long(apollo: Apollo, calls: Calls) -> None:
    long_question = "word " * 3000
    for video in (None, SHORT):
        with pytest.raises(PromptError, match="but the model holds 2048; ask a shorter") as error:
            apollo.answer(video, long_question, generation=GREEDY)
        refusal(error)
    with pytest.raises(PromptError, match="the answer may take 8000"):
        apollo.answer(None, QUESTION, generation=Generation(max_new_tokens=8000))
    assert calls.encoded == 0 and calls.layers == [0, 0, 0]  # refused before any work
