"""Frames are the ones asked for, in every container and codec that can be written here."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_videos import copy_from, read_number, write_video
from paths import GOLDEN

from apollo.errors import SettingError
from apollo.video import decoding, index, reader, scan
from apollo.video.clips import Clip, plan_clips
from apollo.video.container import open_file
from apollo.video.display import Screen
from apollo.video.index import PacketIndex, Way
from apollo.video.reader import Video, probe, read_clips

B3 = {"bf": "3", "b-pyramid": "normal"}
REFRESH = {"x264-params": "intra-refresh=1:keyint=30:bframes=0"}
VP9 = {"cpu-used": "8", "deadline": "realtime"}
ALT_REF = {"cpu-used": "8", "deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "16"}
X265_OPEN = {
    "preset": "ultrafast",
    "x265-params": "log-level=none:open-gop=1:bframes=3:keyint=24:min-keyint=24:pools=1",
}
AV1 = {"preset": "8", "svtav1-params": "lp=1:crf=1"}
UNEVEN = [sum(130 if i % 7 == 0 else 20 for i in range(n)) for n in range(150)]  # ms

# name -> how to write it; and, where it must not be FAST, the way it must be read
FORMATS: dict[str, dict[str, Any]] = {
    "one_gop.mp4": {"gop": 1000, "options": B3},
    "ntsc.mp4": {"fps": Fraction(30000, 1001), "options": B3},
    "offset.mp4": {"pts": range(100, 250), "time_base": Fraction(1, 30), "options": B3},
    "open_gop.mp4": {"gop": 24, "options": {"x264-params": "open-gop=1:bframes=3:b-pyramid=2"}},
    "open_gop.mkv": {"gop": 24, "options": {"x264-params": "open-gop=1:bframes=3"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "vfr.mp4": {"pts": UNEVEN, "time_base": Fraction(1, 1000), "options": B3},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VP9, "frames": 100},
    "alt_ref.webm": {"codec": "libvpx-vp9", "options": ALT_REF, "frames": 100},
    "vp8.webm": {"codec": "libvpx", "options": ALT_REF, "frames": 100},
    "av1.mp4": {"codec": "libsvtav1", "options": AV1, "frames": 80, "gop": 24},
    "hevc_open_gop.mp4": {"codec": "libx265", "options": X265_OPEN},
    "hevc_open_gop.mkv": {"codec": "libx265", "options": X265_OPEN},
    "h264.ts": {"options": B3},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "b": "2M"}, "gop": 15},
    "mpeg2.vob": {"codec": "mpeg2video", "options": {"bf": "2", "b": "2M"}, "gop": 15},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2", "b": "2M"}, "gop": 30},
    "h264.avi": {"options": B3, "gop": 30},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "frames": 40},
    "refresh.ts": {"options": REFRESH},
    "refresh.mp4": {"options": REFRESH},
    "interlaced.mp4": {"options": {"x264-params": "interlaced=1:bframes=2"}},
    "interlaced.ts": {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme", "b": "2M"}},
    "hevc_10_bit.mp4": {"codec": "libx265", "options": X265_OPEN, "pix_fmt": "yuv420p10le"},
    "moving.gif": {"codec": "gif", "pix_fmt": "rgb8", "fps": 10, "frames": 60},
    "old.flv": {"codec": "flv", "frames": 40},
}
WAYS = {
    "mpeg2.vob": Way.COUNTED,  # two packets share a timestamp
    "h264.avi": Way.COUNTED,  # no timestamps, and FFmpeg makes them up in the wrong order
    "moving.gif": Way.WHOLE,
    "mjpeg.avi": Way.WHOLE,
    "old.flv": Way.WHOLE,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """made("ntsc.mp4") -> that video, written once for the session."""
    folder = tmp_path_factory.mktemp("videos")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            write_video(path, **FORMATS[name])
        return path

    return make


def subsets(num_frames: int) -> list[list[int]]:
    rng = random.Random(7)
    sparse = [sorted(rng.sample(range(num_frames), k)) for k in (1, 1, 2, 3, 5, 12)]
    ends = [[0], [num_frames - 1], [0, num_frames - 1]]
    return [list(range(num_frames)), list(range(0, num_frames, 15)), *ends, *sparse]


def index_of(path: Path) -> PacketIndex:
    with open_file(path) as file:
        return index.read_index(file)


def numbers(path: Path, ids: list[int]) -> list[int]:
    with Video(path) as reader:
        return [read_number(frame) for frame in reader.frames(ids)]


# ---------------------------------------------------------------- the right frames


COMMON = ("one_gop.mp4", "open_gop.mkv", "vfr.mp4", "vp9.webm", "h264.ts", "h264.avi", "moving.gif")


@pytest.mark.parametrize(
    "name",
    [n if n in COMMON else pytest.param(n, marks=pytest.mark.slow) for n in FORMATS],
)
def test_frames_are_the_ones_asked_for(made: Callable[[str], Path], name: str) -> None:
    path = made(name)
    num_frames = FORMATS[name].get("frames", 150)
    assert probe(path).num_frames == num_frames
    assert index_of(path).way is WAYS.get(name, Way.FAST)
    for ids in subsets(num_frames):
        assert numbers(path, ids) == ids
    with Video(path) as video:
        assert video.warning is None


def test_stream_copy_cut_starts_where_a_player_starts(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    path = copy_from(made("one_gop.mp4"), tmp_path / "cut.mp4", start_s=1.23)
    assert probe(path).num_frames == 113  # 150 packets, 37 of them only to decode the others
    for ids in subsets(113):
        assert numbers(path, ids) == [i + 37 for i in ids]


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "phone.mov", frames=12, rotation=rotation)
    info = probe(path)
    assert (info.width, info.height) == ((96, 160) if rotation % 180 else (160, 96))
    with Video(path) as reader:
        frame = next(reader.frames([5]))
    assert frame.shape == (info.height, info.width, 3)
    assert read_number(np.rot90(frame, -rotation // 90)) == 5


@pytest.mark.parametrize("video", sorted(GOLDEN.glob("videos/v*.mp4")), ids=lambda p: p.stem)
def test_recorded_videos(video: Path) -> None:
    truth = json.loads((GOLDEN / "videos" / "videos.json").read_text())[video.stem]
    info = probe(video)
    assert (info.width, info.height) == (truth["width"], truth["height"])
    assert info.fps == truth["fps"][0] / truth["fps"][1]
    assert (info.num_frames, info.codec) == (truth["frames"], truth["codec"])
    assert info.duration_s == info.num_frames / info.fps
    ids = list(range(3, truth["frames"], 17))
    with Video(video) as reader:
        seen = [read_recorded(frame) for frame in reader.frames(ids)]
    assert seen == ids


def read_recorded(frame: np.ndarray) -> int:
    """The recorded videos' own barcode: 11 equal blocks, max(6, H // 8) high."""
    height, width = frame.shape[:2]
    bar = frame[height - max(6, height // 8) + 2 : height - 1].mean(axis=(0, 2))  # (W,)
    middles = [bar[int((k + 0.5) * width / 11)] for k in range(11)]
    return sum((level > 128) << k for k, level in enumerate(middles))


@pytest.mark.parametrize("name", ["v02_15fps_0p6s", "v09_24fps_3p1s_odd"])
def test_recorded_pixels_to_the_bit(golden: Any, name: str) -> None:
    video = GOLDEN / "videos" / f"{name}.mp4"
    clips = plan_clips(probe(video), clip_duration_s=2, max_clips=None)
    recorded = golden("preprocess")[f"{name[:3]}.frames_u8"].numpy()
    read = np.concatenate(list(read_clips(video, clips)))
    matches = [i for i in range(len(read) - 3) if np.array_equal(read[i : i + 4], recorded)]
    assert matches, "none of the clips has the recorded pixels"


# ---------------------------------------------------------------- and no more than those


def test_unwanted_pictures_are_not_decoded(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 150 frames in 7 groups, 3 wanted ones cost only what they refer to."""
    sent: list[str] = []
    real = decoding._decoded

    def spy(codec: Any, packet: Any, damage: Any) -> list[Any]:
        if packet is not None:
            sent.append(str(codec.skip_frame))
        return real(codec, packet, damage)

    monkeypatch.setattr(decoding, "_decoded", spy)
    path = made("open_gop.mp4")
    assert numbers(path, [2, 75, 149]) == [2, 75, 149]
    assert len(sent) < 75
    assert sent.count("DEFAULT") == 3 and set(sent) == {"DEFAULT", "NONREF"}


def test_a_false_keyframe_is_noticed(
    made: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = made("refresh.ts")
    assert len(index_of(path).entries) > 3  # the file promises them
    with caplog.at_level(logging.DEBUG, logger="apollo.video.reader"):
        assert numbers(path, [70, 131]) == [70, 131]
    assert Way.WHOLE.value in caplog.text


def test_disordered_timestamps_are_noticed(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_way", lambda *args: Way.WHOLE)
    monkeypatch.setattr(scan.Scan, "is_made_up", lambda *args: False)
    reader._indices.clear()
    path = made("h264.avi")
    assert numbers(path, list(range(150)))[5:] == list(range(5, 150))
    monkeypatch.undo()
    reader._indices.clear()


def test_repeated_numbers_are_decoded_once(made: Callable[[str], Path]) -> None:
    with Video(made("ntsc.mp4")) as reader:
        frames = list(reader.frames([4, 4, 9, 9, 9]))
    assert [read_number(f) for f in frames] == [4, 4, 9, 9, 9]
    assert frames[0] is frames[1] and frames[2] is frames[4]


def test_only_ascending_numbers_in_the_video(made: Callable[[str], Path]) -> None:
    with Video(made("ntsc.mp4")) as video:
        with pytest.raises(ValueError, match="ascend"):
            video.frames([3, 2])
        for ids in ([-1], [150]):
            with pytest.raises(IndexError, match=r"0\.\.149"):
                video.frames(ids)
        assert list(video.frames([])) == []


# ---------------------------------------------------------------- clips


def clip(*frame_ids: int) -> Clip:
    return Clip(frame_ids, frame_ids[0] / 30, frame_ids[-1] / 30)


def test_clips_may_overlap_and_repeat(made: Callable[[str], Path]) -> None:
    clips = [
        clip(0, 10, 20, 30),
        clip(20, 30, 40, 50),
        clip(50, 50, 50, 50),
        clip(60, 149, 149, 149),
    ]
    read = list(read_clips(made("ntsc.mp4"), clips))
    assert [c.shape for c in read] == [(4, 96, 160, 3)] * 4
    assert [[read_number(f) for f in c] for c in read] == [list(c.frame_ids) for c in clips]


def test_planned_clips_of_a_video(made: Callable[[str], Path]) -> None:
    path = made("h264.ts")
    clips = plan_clips(probe(path), clip_duration_s=1, start_s=1)
    read = [read_number(f) for frames in read_clips(path, clips) for f in frames]
    assert read == [i for c in clips for i in c.frame_ids]


def test_memory_does_not_grow_with_the_video(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the clip, never more frames alive than two and what the next clip shares with it."""
    alive: set[int] = set()
    most = 0

    class Tracked(np.ndarray):
        def __del__(self) -> None:
            alive.discard(id(self))

    real = Screen.show

    def spy(screen: Screen, picture: Any) -> np.ndarray:
        nonlocal most
        frame = real(screen, picture).view(Tracked)
        alive.add(id(frame))
        most = max(most, len(alive))
        return frame

    monkeypatch.setattr(Screen, "show", spy)
    clips = [clip(i, i + 2, i + 4, i + 6) for i in range(0, 140, 4)]
    for _ in read_clips(made("ntsc.mp4"), clips):
        pass
    gc.collect()
    assert 2 <= most <= 5
    assert not alive


def open_files(path: Path) -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.exists(link) and os.path.samefile(link, path) for link in links)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files through /proc")
def test_closing_frees_the_file(made: Callable[[str], Path]) -> None:
    path = made("ntsc.mp4")
    frames = read_clips(path, [clip(0, 1), clip(100, 101)])
    next(frames)
    assert open_files(path) == 1
    frames.close()
    assert open_files(path) == 0
    with Video(path) as reader:
        half_read = reader.frames([0, 100])
        next(half_read)
        assert open_files(path) == 1
    assert open_files(path) == 0
    assert list(half_read) == []


def test_picture_size_may_change_inside_a_clip(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.ts", frames=10, size=(160, 96))
    large = write_video(tmp_path / "large.ts", frames=10, size=(320, 192))
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    count = probe(path).num_frames
    (frames,) = read_clips(path, [clip(2, 4, count - 4, count - 2)])
    assert frames.shape == (4, 96, 160, 3)


# ---------------------------------------------------------------- decord


def test_decord_gives_the_same_frames(made: Callable[[str], Path]) -> None:
    pytest.importorskip("decord", reason="optional extra")
    path = made("ntsc.mp4")
    clips = plan_clips(probe(path), clip_duration_s=1)
    ours, theirs = read_clips(path, clips), read_clips(path, clips, backend="decord")
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_backend_that_is_missing_or_unknown(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(SettingError, match=r'pip install "apollo-video\[decord\]"'):
        next(read_clips(made("ntsc.mp4"), [clip(0)], backend="decord"))
    with pytest.raises(SettingError, match='"auto" or "decord"'):
        next(read_clips(made("ntsc.mp4"), [clip(0)], backend="opencv"))
