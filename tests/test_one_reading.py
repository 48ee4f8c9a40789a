"""What one question costs: the file is opened, scanned, hashed and decoded once, no more."""

from __future__ import annotations

import builtins
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from asking import GREEDY, LONG, PICTURE, QUESTION, SHORT, TEN_S

from apollo.errors import AdapterError, PromptError, VideoError
from apollo.events import Done, Encoded, Reading, Text
from apollo.settings import Generation, Sampling
from apollo.video import reader
from apollo.video.reader import Video


@dataclass
class Counts:
    opens: int = 0  # of the file, by whatever way
    scans: int = 0
    digests: int = 0
    decodes: int = 0

    def all(self) -> tuple[int, int, int, int]:
        return self.opens, self.scans, self.digests, self.decodes


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    seen = Counts()
    reader._indices.clear()
    reader._digests.clear()

    def counted(owner: Any, name: str, field: str, when: Any = lambda *_: True) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if when(*args):
                setattr(seen, field, getattr(seen, field) + 1)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    is_path = lambda source, *_: isinstance(source, str | Path)  # noqa: E731
    is_video = lambda source, *_: str(source).endswith(".mp4")  # noqa: E731
    counted(builtins, "open", "opens", is_video)
    counted(av, "open", "opens", is_path)
    counted(reader, "read_index", "scans")
    counted(Video, "_digest", "digests")
    counted(reader, "decode", "decodes")
    return seen


def test_a_first_question_opens_once_and_a_second_reads_nothing(
    apollo: Any, counts: Counts
) -> None:
    first = apollo.answer(SHORT, QUESTION, generation=GREEDY)
    assert counts.all() == (1, 1, 1, 1)
    assert apollo.answer(SHORT, QUESTION, generation=GREEDY) == first
    assert counts.all() == (1, 1, 1, 1)  # not even opened


def test_a_picture_is_encoded_once(apollo: Any, calls: Any) -> None:
    for _ in range(2):
        list(apollo.events(None, QUESTION, image=PICTURE, generation=GREEDY))
    assert calls.encoded == 1


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_the_file_is_closed_whenever_the_answer_ends(
    apollo: Any, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    reader._indices.clear()
    opened: list[Any] = []
    reader._indices.clear()  # a known file is not opened before it is decoded
    real = reader.open_file
    monkeypatch.setattr(reader, "open_file", lambda p: opened.append(real(p)) or opened[-1])
    events = apollo.events(LONG, QUESTION, generation=GREEDY)
    for _ in range(stop_after):
        next(events)
    events.close()
    with pytest.raises(PromptError):
        list(apollo.events(SHORT, "word " * 40_000))
    with pytest.raises(VideoError):
        list(apollo.events(SHORT, QUESTION, sampling=Sampling(start_s=99)))
    assert all(file.closed for file in opened) and len(opened) == 1 + bool(stop_after)


def test_events_and_stream_take_their_arguments_in_one_order_and_by_name(apollo: Any) -> None:
    text = apollo.answer(SHORT, QUESTION, generation=GREEDY)
    for events in (
        apollo.events(SHORT, QUESTION, generation=GREEDY),
        apollo.events(question=QUESTION, video=SHORT, generation=GREEDY),
    ):
        assert "".join(e.piece for e in events if isinstance(e, Text)).strip() == text
    streamed = apollo.stream(question=QUESTION, video=SHORT, generation=GREEDY)
    assert "".join(streamed).strip() == text
    assert list(apollo.events(question=QUESTION, generation=GREEDY))
    with pytest.raises(PromptError, match="empty"):
        list(apollo.events(SHORT))


# ---- the two halves --------------------------------------------------------------------------


def test_the_halves_give_what_events_gives(apollo: Any, calls: Any) -> None:
    whole = apollo.answer(TEN_S, QUESTION, generation=GREEDY)
    apollo.cache.clear()
    with apollo.prepare(TEN_S, QUESTION, generation=GREEDY) as prepared:
        request = pickle.loads(pickle.dumps(prepared.request))
        assert request.clips_to_encode == 6 and calls.encoded == 6
        pixels = list(prepared.pixels())
        events = []
        for event in apollo.respond(request, pickle.loads(pickle.dumps(pixels))):
            events.append(event)
            if isinstance(event, Encoded):
                assert event.tokens.device.type == "cpu"
                prepared.keep(event.tokens)
    assert "".join(e.piece for e in events if isinstance(e, Text)).strip() == whole
    readings = [e.done for e in events if isinstance(e, Reading)]
    assert readings[0] == 0 and readings[-1] == 6 and readings == sorted({*readings})
    assert isinstance(events[-1], Done) and not events[-1].stats.reused_visual_tokens
    with apollo.prepare(TEN_S, "And then?", generation=GREEDY) as prepared:
        assert prepared.request.clips_to_encode == 0 and list(prepared.pixels()) == []
        events = list(apollo.respond(prepared.request, prepared.pixels()))
    assert not any(isinstance(e, Encoded | Reading) for e in events)
    assert events[-1].stats.reused_visual_tokens and calls.encoded == 12


def test_preparing_computes_nothing(apollo: Any, calls: Any) -> None:
    with apollo.prepare(SHORT, QUESTION) as prepared:
        assert prepared.request.selection.num_clips == 2
    assert (calls.clips, calls.encoded, sum(calls.layers)) == ([], 0, 0)


# ---- adapters and answers --------------------------------------------------------------------


@pytest.fixture
def writing(apollo: Any, endless: None) -> Iterator[Any]:
    events = apollo.events(None, QUESTION, generation=Generation(max_new_tokens=400))
    next(events)
    yield events
    events.close()


def test_an_adapter_is_not_changed_while_an_answer_is_written(
    apollo: Any, writing: Any, tmp_path: Path
) -> None:
    for change in (lambda: apollo.use_adapter(None), lambda: apollo.load_adapter(tmp_path)):
        with pytest.raises(AdapterError, match="being written"):
            change()
    writing.close()
    apollo.use_adapter(None)


# ---- what is said of a long video ------------------------------------------------------------


def note_of(apollo: Any, video: Path, **sampling: Any) -> str | None:
    with apollo.prepare(video, QUESTION, sampling=Sampling(**sampling)) as prepared:
        return prepared.request.selection.note


def test_a_video_is_called_long_only_when_the_context_left_clips_out(apollo: Any) -> None:
    assert note_of(apollo, TEN_S) is None
    assert note_of(apollo, TEN_S, max_clips=2) is None  # the person asked for two
    assert note_of(apollo, LONG, max_clips=3, start_s=10, end_s=80) is None
    dense = note_of(apollo, LONG, clip_duration_s=0.5)
    assert dense is not None and dense.startswith("The video is long, so only ")
    assert " clips of it could be read, one every " in dense
    with apollo.prepare(LONG, "word " * 1200, sampling=Sampling(clip_duration_s=0.5)) as crowded:
        assert 1 <= crowded.request.selection.num_clips < 190
        assert "The video is long" in (crowded.request.selection.note or "")
