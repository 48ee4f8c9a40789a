"""A question about a file, the whole line: events, stopping, sampling, caching, and refusals."""

from __future__ import annotations

import contextlib
import math
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import GOLDEN, TINY
from PIL import Image

from apollo import placement, seeing, streaming
from apollo.cache import TokenCache, file_digest
from apollo.chat import MODELS, Apollo, Done, Reading, Text, load
from apollo.errors import ApolloError, PromptError, SettingError, VideoError
from apollo.model import ApolloForCausalLM
from apollo.models import card_of
from apollo.prompt import build_prompt, image_block, tokenize, video_block
from apollo.settings import Generation, Sampling
from apollo.video import probe

VIDEOS = GOLDEN / "videos"
SHORT = VIDEOS / "v01_8fps_4s.mp4"  # 2 clips
TEN_S = VIDEOS / "v04_29p97fps_10s.mp4"
LONG = VIDEOS / "v07_15fps_95s.mp4"  # 48 clips
PICTURE = GOLDEN / "images" / "image_a_landscape.png"
GREEDY = Generation(temperature=0, max_new_tokens=12)
VARIED = Generation(temperature=1.5, top_p=1, max_new_tokens=16, seed=5)
QUESTION = "What happens?"


@pytest.fixture
def apollo(tiny_model: Any) -> Apollo:
    """A fresh cache over the shared tiny model."""
    return Apollo(tiny_model, card_of(str(TINY)))


@dataclass
class Calls:
    """What was really decoded, encoded and computed."""

    clips: list[Any] = field(default_factory=list)  # whose frames were decoded
    encoded: int = 0  # clips that went through the towers
    layers: list[int] = field(default_factory=list)  # runs of each LLM layer


@pytest.fixture
def calls(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    seen = Calls()
    read_clips, encode_clips = seeing.read_clips, ApolloForCausalLM.encode_clips

    def reading(path: Any, clips: Any, **keywords: Any) -> Iterator[Any]:
        with contextlib.closing(read_clips(path, clips, **keywords)) as frames:  # type: ignore
            for clip, pictures in zip(clips, frames, strict=True):
                seen.clips.append(clip)
                yield pictures

    def encoding(self: Any, pixels: Any) -> Any:
        seen.encoded += len(pixels[0])
        return encode_clips(self, pixels)

    monkeypatch.setattr(seeing, "read_clips", reading)
    monkeypatch.setattr(ApolloForCausalLM, "encode_clips", encoding)
    layers = tiny_model.llm.get_decoder().layers
    seen.layers = [0] * len(layers)

    def count(number: int) -> Any:
        def run(*_: Any) -> None:
            seen.layers[number] += 1

        return run

    hooks = [layer.register_forward_hook(count(i)) for i, layer in enumerate(layers)]
    yield seen
    for hook in hooks:
        hook.remove()


@pytest.fixture
def endless(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token ends an answer."""
    monkeypatch.setattr(tiny_model.llm.generation_config, "eos_token_id", None)


def text_of(events: list[Any]) -> str:
    return "".join(event.piece for event in events if isinstance(event, Text))


def refusal(error: pytest.ExceptionInfo[ApolloError]) -> str:
    text = str(error.value)
    assert "\n" not in text and text.endswith("."), text
    return text


# ---- events ----------------------------------------------------------------------------------


def test_events_come_in_order(apollo: Apollo, endless: None) -> None:
    events = list(apollo.events(QUESTION, TEN_S, generation=GREEDY))
    kinds = [type(event) for event in events]
    done = kinds.index(Text)
    assert kinds == [Reading] * done + [Text] * (len(kinds) - done - 1) + [Done]
    readings = [(event.done, event.total) for event in events[:done]]
    assert readings == [(n, 5) for n in range(6)]
    assert text_of(events)


def test_stats(apollo: Apollo, endless: None) -> None:
    stats = list(apollo.events(QUESTION, SHORT, generation=GREEDY))[-1].stats
    block = video_block(apollo.clips(SHORT), duration_s=4, clip_duration_s=2, tokens_per_clip=8)
    prompt = build_prompt([{"role": "user", "content": QUESTION}], block)
    assert stats.prompt_tokens == len(tokenize(prompt, apollo.model.tokenizer))
    assert (stats.clips, stats.covered_s, stats.note) == (2, 4.0, None)
    assert stats.answer_tokens == GREEDY.max_new_tokens
    assert not stats.reused_visual_tokens
    assert 0 < stats.first_token_s < 300 and 0 < stats.tokens_per_s < 1e5


def test_an_answer_of_one_token_has_no_pace(apollo: Apollo) -> None:
    one = Generation(temperature=0, max_new_tokens=1)
    stats = list(apollo.events(QUESTION, generation=one))[-1].stats
    assert (stats.answer_tokens, stats.tokens_per_s) == (1, 0.0)
    assert stats.first_token_s > 0


def test_stream_and_answer_are_the_joined_events(apollo: Apollo) -> None:
    text = text_of(list(apollo.events(QUESTION, SHORT, generation=GREEDY)))
    pieces = list(apollo.stream(SHORT, QUESTION, generation=GREEDY))
    assert "".join(pieces) == text and all(pieces)
    assert apollo.answer(SHORT, QUESTION, generation=GREEDY) == text.strip()


MESSAGES = [
    {"role": "user", "content": "What is first?"},
    {"role": "assistant", "content": "A ball."},
    {"role": "user", "content": "And <|video_token|> then?"},
]


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
    frames = seeing.read_clips(SHORT, clips)
    tokens = torch.cat([apollo._viewer.encode([clip]) for clip in frames]).flatten(0, 1)
    block = video_block(clips, duration_s=4, clip_duration_s=2, tokens_per_clip=8)
    expected = by_hand(apollo.model, block, tokens, messages=MESSAGES)
    events = list(apollo.events(MESSAGES, SHORT, generation=GREEDY))
    assert text_of(events) == expected != ""
    assert text_of(list(apollo.events(QUESTION, SHORT, generation=GREEDY))) != expected


def test_text_alone(apollo: Apollo, calls: Calls) -> None:
    events = list(apollo.events(MESSAGES, generation=GREEDY))
    assert {type(event) for event in events} == {Text, Done}
    assert text_of(events) == by_hand(apollo.model, None, None, messages=MESSAGES)
    stats = events[-1].stats
    assert (stats.clips, stats.covered_s, calls.encoded, calls.clips) == (0, 0.0, 0, [])


def test_the_system_prompt_is_used(apollo: Apollo) -> None:
    system = Generation(temperature=0, max_new_tokens=12, system_prompt="You are a pirate.")
    text = text_of(list(apollo.events(MESSAGES, generation=system)))
    given = {"messages": MESSAGES, "system_prompt": "You are a pirate."}
    assert text == by_hand(apollo.model, None, None, **given)


def test_an_image(apollo: Apollo) -> None:
    picture = Image.open(PICTURE).convert("RGB")
    array = np.asarray(picture)
    tokens = apollo._viewer.encode([np.stack([array] * 4)])[0]  # (1, K, D) -> (K, D)
    messages = [{"role": "user", "content": QUESTION}]
    expected = by_hand(apollo.model, image_block(8), tokens, messages=messages)
    for image in (PICTURE, str(PICTURE), picture, array):
        events = list(apollo.events(QUESTION, image=image, generation=GREEDY))
        assert text_of(events) == expected
        assert (events[-1].stats.clips, events[-1].stats.covered_s) == (0, 0.0)


# ---- stopping --------------------------------------------------------------------------------


def open_files(path: Path) -> int:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    found = 0
    for link in links:
        with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor is gone
            found += link.readlink() == path
    return found


def test_closing_while_the_video_is_read(apollo: Apollo, calls: Calls) -> None:
    events = apollo.events(QUESTION, LONG, generation=GREEDY)
    while next(events) != Reading(3, 48):
        pass
    if Path("/proc/self/fd").exists():
        assert open_files(LONG) == 1
    events.close()  # type: ignore[attr-defined]
    assert len(calls.clips) == calls.encoded == 3
    assert calls.layers == [0, 0, 0] and len(apollo.cache) == 0
    if Path("/proc/self/fd").exists():
        assert open_files(LONG) == 0


def test_closing_while_the_answer_is_written(apollo: Apollo, calls: Calls, endless: None) -> None:
    threads = {*threading.enumerate()}
    endless_answer = Generation(temperature=0, max_new_tokens=1500)
    events = apollo.events(QUESTION, generation=endless_answer)
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
        events = apollo.events(QUESTION, generation=GREEDY)
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
            received.extend(apollo.events(QUESTION, generation=GREEDY))
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


# ---- sampling the answer -----------------------------------------------------------------------


def test_temperature_zero_is_deterministic(apollo: Apollo, endless: None) -> None:
    answers = {
        apollo.answer(None, QUESTION, generation=Generation(0, max_new_tokens=12, seed=seed))
        for seed in (None, 1, 2)
    }
    assert len(answers) == 1


def test_a_seed_makes_an_answer_repeatable(apollo: Apollo, endless: None) -> None:
    def ask(seed: int | None) -> str:
        generation = Generation(temperature=1.5, top_p=1, max_new_tokens=16, seed=seed)
        return apollo.answer(None, QUESTION, generation=generation)

    state = torch.random.get_rng_state()
    first = ask(5)
    assert ask(5) == first
    assert len({first, ask(6), ask(None), ask(None)}) == 4
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers are used


def test_a_seed_holds_while_others_are_answered(apollo: Apollo, endless: None) -> None:
    alone = apollo.answer(None, QUESTION, generation=VARIED)
    answers: dict[int, str] = {}
    both_ready = threading.Barrier(2)

    def ask(number: int) -> None:
        both_ready.wait(60)
        answers[number] = apollo.answer(None, QUESTION, generation=VARIED)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: alone, 1: alone}


def test_sampling_follows_the_softmax_up_to_top_p() -> None:
    num_draws, temperature, top_p = 20_000, 0.8, 0.75
    logits = torch.tensor([2.0, 1.5, 0.3, 1.1, -0.5, -4.0])
    shares = (logits / temperature).softmax(0)
    order = shares.argsort(descending=True)
    before = shares[order].cumsum(0) - shares[order]  # what likelier tokens hold already
    kept = order[before < top_p]
    expected = torch.zeros_like(shares)
    expected[kept] = shares[kept] / shares[kept].sum()
    assert 1 < len(kept) < len(logits)

    processors = streaming.logits_processors(Generation(temperature, top_p, seed=0))
    ids = torch.zeros(num_draws, 1, dtype=torch.long)
    drawn = processors(ids, logits.repeat(num_draws, 1)).argmax(-1)  # type: ignore[arg-type]
    counts = drawn.bincount(minlength=len(logits))
    assert counts[expected == 0].sum() == 0
    wanted = expected[kept] * num_draws
    chi_square = ((counts[kept] - wanted) ** 2 / wanted).sum()
    assert chi_square < 16  # 0.1 % of all seeds lie above, for 3 kept tokens


def test_sampling_draws_anew_at_every_token() -> None:
    sampling = streaming.GumbelSampling(seed=0)
    scores = torch.zeros(1, 1000)
    ids = torch.zeros(1, 1, dtype=torch.long)
    assert len({int(sampling(ids, scores).argmax()) for _ in range(20)}) > 15
    cut = torch.full((1, 4), -math.inf)
    cut[0, 2] = 0.0
    assert sampling(ids, cut).argmax() == 2  # what was ruled out stays out


# ---- the cache -------------------------------------------------------------------------------


def test_a_second_question_decodes_and_encodes_nothing(apollo: Apollo, calls: Calls) -> None:
    first = list(apollo.events(QUESTION, SHORT, generation=GREEDY))
    assert (len(calls.clips), calls.encoded) == (2, 2)
    again = list(apollo.events(QUESTION, SHORT, generation=GREEDY))
    assert (len(calls.clips), calls.encoded) == (2, 2)
    assert text_of(again) == text_of(first)
    assert not [event for event in again if isinstance(event, Reading)]
    assert [events[-1].stats.reused_visual_tokens for events in (first, again)] == [False, True]
    part = Sampling(end_s=2)
    assert not list(apollo.events(QUESTION, SHORT, sampling=part, generation=GREEDY))[
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
    assert file_digest(other_name) == file_digest(SHORT) != file_digest(video)


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
    stats = list(apollo.events(QUESTION, TEN_S, sampling=sampling, generation=GREEDY))[-1].stats
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
    frame = next(seeing.read_clips(SHORT, [clip]))[0]
    assert np.array_equal(np.asarray(thumbnail), frame)


def test_covered_seconds(apollo: Apollo) -> None:
    def covered_s(video: Path, **sampling: Any) -> float:
        events = list(apollo.events(QUESTION, video, sampling=Sampling(**sampling)))
        return events[-1].stats.covered_s

    assert covered_s(TEN_S, start_s=1, end_s=4) == pytest.approx(3)
    assert covered_s(TEN_S, max_clips=2) == pytest.approx(4)
    assert covered_s(VIDEOS / "v02_15fps_0p6s.mp4") == pytest.approx(0.6)


def test_a_long_video_is_thinned_to_fit(apollo: Apollo, calls: Calls) -> None:
    dense = Sampling(clip_duration_s=0.5)
    planned = apollo.clips(LONG, dense)
    events = list(apollo.events(QUESTION, LONG, sampling=dense, generation=GREEDY))
    stats = events[-1].stats
    assert 10 < stats.clips < len(planned) and stats.clips == len(calls.clips) == calls.encoded
    limit = apollo.model.config.max_context_tokens
    assert 0.8 * limit < stats.prompt_tokens + GREEDY.max_new_tokens <= limit
    assert stats.note is not None
    assert stats.note.startswith(f"The video is long, so only {stats.clips} clips of it could be")
    assert calls.clips[-1].end_s > 90  # to its end
    assert stats.covered_s == pytest.approx(stats.clips * 0.5)


def test_a_conversation_that_is_too_long(apollo: Apollo, calls: Calls) -> None:
    long_question = "word " * 3000
    for video in (None, SHORT):
        with pytest.raises(PromptError, match="but the model holds 2048; start a new") as error:
            apollo.answer(video, long_question, generation=GREEDY)
        refusal(error)
    with pytest.raises(PromptError, match="the answer may take 8000"):
        apollo.answer(None, QUESTION, generation=Generation(max_new_tokens=8000))
    assert calls.encoded == 0 and calls.layers == [0, 0, 0]  # refused before any work


# ---- what cannot be used -----------------------------------------------------------------------


@pytest.fixture
def bad_files(tmp_path: Path) -> dict[str, Path]:
    files = {
        "missing": tmp_path / "missing.mp4",
        "empty": tmp_path / "empty.mp4",
        "text": tmp_path / "text.mp4",
        "folder": tmp_path,
        "cut": tmp_path / "cut.mp4",
    }
    files["empty"].write_bytes(b"")
    files["text"].write_text("This is not a video.\n" * 100)
    files["cut"].write_bytes(SHORT.read_bytes()[:2000])
    return files


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "folder", "cut"])
def test_bad_files_are_refused_in_one_sentence(
    apollo: Apollo, bad_files: dict[str, Path], kind: str
) -> None:
    file = bad_files[kind]
    for use in (
        lambda: apollo.answer(file, QUESTION, generation=GREEDY),
        lambda: apollo.clips(file),
        lambda: list(apollo.frames(file)),
    ):
        with pytest.raises(VideoError) as error:
            use()
        assert file.name in refusal(error)
    if kind != "folder":
        with pytest.raises(VideoError) as error:
            list(apollo.events(QUESTION, image=file, generation=GREEDY))
        assert file.name in refusal(error)


def test_questions_that_cannot_be_asked(apollo: Apollo) -> None:
    with pytest.raises(PromptError, match="a video or an image, not both"):
        list(apollo.events(QUESTION, SHORT, image=PICTURE))
    with pytest.raises(PromptError, match="The question is empty; type one."):
        apollo.answer(SHORT, "  ")
    with pytest.raises(PromptError, match="ends with the assistant"):
        apollo.answer(SHORT, MESSAGES[:2])
    with pytest.raises(VideoError, match="4.0 s long, so it cannot be read from 9 s on"):
        apollo.answer(SHORT, QUESTION, sampling=Sampling(start_s=9))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Generation(temperature=math.nan), "temperature is nan; choose a value between"),
        (lambda: Generation(top_p=0), "top_p is 0; choose a value between 0.01 and 1"),
        (lambda: Generation(max_new_tokens=2.5), "max_new_tokens is 2.5; choose a whole number"),
        (lambda: Generation(seed=2**64), "seed is .*; choose a value between 0 and"),
        (lambda: Generation(seed="7"), "seed is '7', which is not a number"),
        (lambda: Sampling(frames_per_clip=True), "frames_per_clip is True, which is not a number"),
        (lambda: Sampling(start_s=3, end_s=2), "ends at 2 s but starts at 3 s"),
    ],
)
def test_settings_out_of_range(make: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        make()


def test_whole_numbers_may_come_as_floats() -> None:
    """A browser sends 4.0 for 4."""
    generation = Generation(max_new_tokens=4.0)  # type: ignore[arg-type]
    assert type(generation.max_new_tokens) is int


# ---- loading ---------------------------------------------------------------------------------


def test_a_folder_loads(apollo: Apollo) -> None:
    loaded = load(TINY, device="cpu")
    assert (loaded.card.title, loaded.card.source) == ("tiny-apollo", str(TINY))
    assert loaded.model.dtype == torch.float32 and loaded.model.device.type == "cpu"
    answer = loaded.answer(SHORT, QUESTION, generation=GREEDY)
    assert answer == apollo.answer(SHORT, QUESTION, generation=GREEDY)
    assert load(str(TINY), device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16
    assert MODELS["nano"].source.endswith("nano")


def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("cuda", "This machine has no cuda device; leave it out or use cpu."),
        ("mps", "This machine has no mps device"),
        ("toaster", "The device 'toaster' is unknown; use cpu, cuda or mps."),
        ("meta", "The device 'meta' is not supported"),
    ],
)
def test_devices_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, wanted: str, words: str
) -> None:
    no_gpu(monkeypatch)
    with pytest.raises(SettingError, match=words):
        load(TINY, device=wanted)


def test_the_machine_chooses_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch)
    assert placement.pick_device(None) == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert placement.pick_device(None) == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert placement.pick_device(None) == torch.device("cuda")
    assert placement.pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(SettingError, match="no device cuda:2; choose cuda:0 to cuda:1"):
        placement.pick_device("cuda:2")
