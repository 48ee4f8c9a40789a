"""Clips that cover what changes: short events are seen, the rest of the video stays covered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from eventful import EVENTS_S, FPS, eventful, write_eventful
from make_videos import write_video
from PIL import Image

from apollo.errors import VideoError
from apollo.video import reader, survey
from apollo.video.choice import EVEN_SHARE, change, differences, varied_clips
from apollo.video.clips import Clip, plan_clips
from apollo.video.reader import Video
from apollo.video.survey import LOOK_SHAPE, Survey

STORED = {
    "keyframes at cuts": {"g": "250"},
    "few keyframes": {"g": "250", "sc_threshold": "0"},
    "one keyframe": {"g": "10000", "sc_threshold": "0"},
    "only keyframes": {"g": "1"},
}


@pytest.fixture(scope="module", params=STORED)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eventful(tmp_path_factory.mktemp("choice") / "v.mp4", STORED[request.param])


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    reader._surveys.clear()


def every_clip(video: Video) -> list[Clip]:
    return plan_clips(video.info, clip_duration_s=2.0)


def uniform_clips(video: Video, count: int) -> list[Clip]:
    return plan_clips(video.info, clip_duration_s=2.0, max_clips=count)


def seen_events(clips: Sequence[Clip]) -> int:
    """How many events are in at least two frames of a clip."""
    return sum(
        any(sum(a * FPS <= i < b * FPS for i in clip.frame_ids) >= 2 for clip in clips)
        for a, b in EVENTS_S
    )


def test_short_events_are_seen(stored: Path) -> None:
    with Video(stored) as video:
        chosen = varied_clips(video, every_clip(video), uniform_clips(video, 12))
        uniform = uniform_clips(video, 12)
    assert len(chosen) == 12
    assert seen_events(chosen) == len(EVENTS_S) > seen_events(uniform)


def test_two_readings_choose_the_same_and_the_second_decodes_nothing(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    real = reader.survey_of
    monkeypatch.setattr(reader, "survey_of", lambda *a: made.append(real(*a)) or made[-1])
    for count in (9, 9, 20):
        with Video(stored) as video:
            chosen = varied_clips(video, every_clip(video), uniform_clips(video, count))
        assert len(made) == 1
    reader._surveys.clear()
    with Video(stored) as video:
        assert varied_clips(video, every_clip(video), uniform_clips(video, 20)) == chosen
    assert len(made) == 2


def test_what_comes_before_and_after_a_range_is_not_chosen(stored: Path) -> None:
    with Video(stored) as video:
        clips = plan_clips(video.info, clip_duration_s=2.0, start_s=30, end_s=110)
        chosen = varied_clips(video, clips, clips[:9])
    assert set(chosen) <= set(clips) and seen_events(chosen) == 3


# ---- whatever the first pass found ---------------------------------------------------------------


class Surveyed:
    """Stands for a video of which only the first pass matters."""

    def __init__(self, found: Survey | None) -> None:
        self.found = found

    def survey(self) -> Survey | None:
        return self.found


def clips_of(number: int) -> list[Clip]:
    """Of 4 frames each, without room between them."""
    return [Clip(tuple(range(4 * i, 4 * i + 4)), 2.0 * i, 2.0 * i + 1.5) for i in range(number)]


def found(seen: Sequence[int], looks: np.ndarray, num_frames: int, size: int = 0) -> Survey:
    """Keyframes of 1000 bytes that look like this; the other frames are of one size."""
    is_key = np.isin(np.arange(num_frames), seen)
    sizes = np.where(is_key, 1000, size)
    return Survey(sizes, is_key, np.array(seen), looks)


def plain_looks(levels: Sequence[int]) -> np.ndarray:
    """(J, *LOOK_SHAPE), each of one grey level."""
    shape = (len(levels), *LOOK_SHAPE)
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], shape)


def random_survey(rng: np.random.Generator, num_frames: int) -> Survey:
    keys = np.unique([0, *rng.integers(0, num_frames, int(rng.integers(1, 40)))])
    looks = rng.integers(0, 256, (len(keys), *LOOK_SHAPE), np.uint8)
    sizes = (10 ** rng.uniform(0, 5, num_frames)).astype(np.int64)
    return Survey(sizes, np.isin(np.arange(num_frames), keys), keys, looks)


@pytest.mark.parametrize("seed", range(30))
def test_the_choice_is_ordered_distinct_and_covers_every_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = clips_of(int(rng.integers(1, 300)))
    count = int(rng.integers(1, len(clips) + 5))
    video: Any = Surveyed(random_survey(rng, 4 * len(clips)))
    chosen = varied_clips(video, clips, clips[:count])
    if chosen == clips[:count]:
        return  # new everywhere, or too few to choose from
    places = [clips.index(clip) for clip in chosen]
    assert len(places) == min(count, len(clips))
    assert places == sorted(set(places))
    parts = max(1, round(EVEN_SHARE * count))
    if count < len(clips):
        edges = [i * len(clips) // parts for i in range(parts + 1)]
        for low, high in zip(edges, edges[1:], strict=False):
            assert any(low <= place < high for place in places)


@pytest.mark.parametrize("size", [1, 990])
@pytest.mark.parametrize("count", [8, 25, 50])
def test_where_nothing_changes_the_clips_are_spread_evenly(size: int, count: int) -> None:
    video: Any = Surveyed(found(range(0, 400, 4), plain_looks([90] * 100), 400, size))
    chosen = varied_clips(video, clips_of(100), clips_of(count))
    starts = [clip.frame_ids[0] // 4 for clip in chosen]
    assert max(np.diff(starts)) <= 1.5 * 100 / count + 1


@pytest.mark.parametrize("count", [8, 25, 50])
def test_where_everything_changes_the_clips_are_those_of_the_uniform_plan(count: int) -> None:
    looks = np.random.default_rng(0).integers(0, 256, (100, *LOOK_SHAPE), np.uint8)
    video: Any = Surveyed(found(range(0, 400, 4), looks, 400))
    uniform = clips_of(count)
    assert varied_clips(video, clips_of(100), uniform) == uniform
    half = np.where(np.arange(100)[:, None, None, None] < 50, 90, looks).astype(np.uint8)
    video = Surveyed(found(range(0, 400, 4), half, 400))
    chosen = varied_clips(video, clips_of(100), uniform)
    moving = sum(clip.frame_ids[0] >= 200 for clip in chosen)
    assert chosen != uniform and 0.6 * count <= moving < count


@pytest.mark.parametrize("rare", [1, 8, 16, 29, 32])
def test_what_comes_back_is_known_already(rare: int) -> None:
    """Two pictures take turns, three clips each; a third one comes once."""
    levels = [(50, 150)[turn % 2] for turn in range(33) for _ in range(3)]
    levels[3 * rare : 3 * rare + 3] = [250] * 3
    video: Any = Surveyed(found(range(0, 396, 4), plain_looks(levels), 396))
    places = [clip.frame_ids[0] // 4 for clip in varied_clips(video, clips_of(99), clips_of(6))]
    assert rare in [place // 3 for place in places]
    assert {50, 150, 250} == {levels[place] for place in places}


def test_a_large_packet_is_a_cut_and_a_steady_stream_of_them_is_none() -> None:
    survey = found([0, 100], plain_looks([9, 9]), 200, 20)
    survey.sizes[[50, 130]] = 900
    assert np.flatnonzero(change(survey) > 0.5).tolist() == [50, 130]
    steady = found([0, 100], plain_looks([9, 9]), 200, 600)
    assert not change(steady).any()


def test_a_change_between_keyframes_is_counted_once() -> None:
    survey = found([0, 100], plain_looks([0, 255]), 200, 20)
    assert np.flatnonzero(change(survey)).tolist() == [100]
    survey.sizes[70] = 1000
    assert np.flatnonzero(change(survey) > 0.5).tolist() == [70]


def test_motion_between_keyframes_that_look_alike_is_seen() -> None:
    """Something comes and goes; no packet of it is as large as a new picture's."""
    survey = found(range(0, 400, 100), plain_looks([70] * 4), 400, 30)
    survey.sizes[330:342] = 200
    video: Any = Surveyed(survey)
    places = [clip.frame_ids[0] for clip in varied_clips(video, clips_of(100), clips_of(5))]
    assert any(324 <= place < 342 for place in places)
    survey.sizes[330:342] = 35
    places = [clip.frame_ids[0] for clip in varied_clips(video, clips_of(100), clips_of(5))]
    assert not any(324 <= place < 342 for place in places)


def test_differences_between_looks() -> None:
    apart = differences(np.concatenate([plain_looks([10, 10, 16, 255])]))
    assert np.allclose(apart, apart.T) and not np.diag(apart).any()
    assert apart[0, 1] == 0 < apart[0, 2] < 1 == apart[0, 3]


def test_without_a_first_pass_the_clips_are_those_of_the_uniform_plan() -> None:
    video: Any = Surveyed(None)
    assert varied_clips(video, clips_of(100), clips_of(4)) == clips_of(4)


# ---- the first pass itself -----------------------------------------------------------------------


def frames_that_are_key(path: Path) -> dict[int, np.ndarray]:
    """Number of each keyframe and its pixels, everything decoded."""
    with av.open(str(path)) as file:
        pictures = enumerate(file.decode(video=0))
        return {i: p.to_ndarray(format="rgb24") for i, p in pictures if p.key_frame}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", {"options": {"bf": "3"}}),
        ("h264.ts", {}),
        ("hevc.mkv", {"codec": "libx265"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}}),
        ("pictures.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    ],
)
def test_keyframes_are_seen_as_they_are(name: str, options: Any, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, frames=90, gop=20, **options)
    keyframes = frames_that_are_key(path)
    with Video(path) as video:
        survey = video.survey()
        assert survey is not None
        sizes = [packet.size for packet in av.open(str(path)).demux(video=0) if packet.size]
        assert sorted(survey.sizes) == sorted(sizes)
    assert np.flatnonzero(survey.is_key).tolist() == survey.seen.tolist() == list(keyframes)
    for look, frame in zip(survey.looks, keyframes.values(), strict=True):
        small = Image.fromarray(frame).resize((32, 18), Image.Resampling.BOX)
        assert np.abs(look.astype(int) - np.asarray(small)).mean() < 6
    assert len(keyframes) >= 4


def test_sizes_are_those_of_the_frames_as_they_are_shown(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=60, gop=60, options={"bf": "3"})
    with av.open(str(path)) as file:
        packets = sorted((p.pts, p.size) for p in file.demux(video=0) if p.size)
    with Video(path) as video:
        survey = video.survey()
    assert survey is not None and survey.sizes.tolist() == [size for _, size in packets]


def test_of_many_keyframes_some_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "MAX_KEYFRAMES", 10)
    path = write_video(tmp_path / "v.mp4", frames=90, gop=1)
    with Video(path) as video:
        found = video.survey()
    assert found is not None and found.is_key.all()
    assert 8 <= len(found.seen) <= 10 and max(np.diff(found.seen)) <= 11
    assert found.seen[0] == 0 and found.seen[-1] == 89


def test_there_is_no_first_pass_where_keyframes_cannot_be_decoded_alone(tmp_path: Path) -> None:
    pictures = [Image.fromarray(eventful(130 + i)) for i in range(8)]
    pictures[0].save(tmp_path / "v.gif", save_all=True, append_images=pictures[1:])
    pictures[0].save(tmp_path / "v.webp", save_all=True, append_images=pictures[1:])
    write_video(tmp_path / "v.h264", frames=40)
    for name in ("v.gif", "v.webp", "v.h264"):
        with Video(tmp_path / name) as video:
            assert video.survey() is None
            assert len(varied_clips(video, every_clip(video), uniform_clips(video, 1))) == 1


def damaged(path: Path, *, keep: int) -> Iterator[int]:
    """Overwrites all keyframes but the first `keep`; their places."""
    with av.open(str(path)) as file:
        keys = [(p.pos, p.size) for p in file.demux(video=0) if p.size and p.is_keyframe]
    content = bytearray(path.read_bytes())
    for place, size in keys[keep:]:
        content[place + 5 : place + size] = bytes(size - 5)
        yield place
    path.write_bytes(content)


def test_damaged_keyframes_are_left_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=100, gop=20)
    assert list(damaged(path, keep=2))
    with Video(path) as video:
        survey = video.survey()
    assert survey is not None and survey.seen.tolist() == [0, 20]


def test_the_first_pass_takes_from_the_time_for_reading(stored: Path) -> None:
    with Video(stored, max_read_s=0.1) as video:
        video._budget._spent_s = 0.2
        with pytest.raises(VideoError, match=r"takes longer than 0\.1 seconds to read"):
            varied_clips(video, every_clip(video), uniform_clips(video, 12))
    with Video(stored) as video:
        assert (
            len(varied_clips(video, every_clip(video), uniform_clips(video, 12))) == 12
        )  # nothing wrong is remembered
