"""Times are those a player shows, whatever the clock in the file does."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from make_videos import read_number, write_video
from timed_videos import FILES, FPS, TICK, packets_of, slides, sound_first, write_avi

from apollo.errors import VideoError
from apollo.video import budget
from apollo.video.clips import plan_clips
from apollo.video.clock import Continuous, filled_in
from apollo.video.reader import Video, probe
from apollo.video.scan import Scan

VARYING = {
    "screen",
    "held",
    "pause",
    "slides",
    "phone",
    "steps",
    "delays",
    "uneven",
    "nulls",
    "end",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_frames_and_times_are_those_of_a_player(name: str, tmp_path: Path) -> None:
    """Rows 1, 2, 3, 5, 6, 7, 8 and 11."""
    path = tmp_path / name
    times = FILES[name](path)
    count = len(times) - 1
    with Video(path) as video:
        info = video.info
        assert video.warning is None
        assert [read_number(frame) for frame in video.frames(range(count))] == list(range(count))
    shortest = min(later - earlier for earlier, later in zip(times, times[1:], strict=False))
    told = [info.time_of(i) for i in range(count)]
    assert told == pytest.approx(times[:-1], abs=shortest / 2)
    assert info.duration_s == pytest.approx(times[-1], abs=shortest)
    assert (info.starts_s is not None) == (name.split(".")[0] in VARYING)
    ranges: list[tuple[float | None, float | None]] = [(None, None)]
    span = times[-1] - times[0]
    ranges += [(times[0] + span * a, times[0] + span * b) for a, b in ((0.3, 0.5), (0.87, 0.95))]
    for start_s, end_s in ranges:
        plan = plan_clips(info, clip_duration_s=1, start_s=start_s, end_s=end_s, max_clips=20)
        for clip in plan:
            with Video(path) as video:
                seen = [read_number(frame) for frame in video.frames(clip.frame_ids)]
            for number, look_s in ((seen[0], clip.start_s), (seen[-1], clip.end_s)):
                on_screen = [bisect_right(times, look_s + d) - 1 for d in (-0.001, 0.001)]
                assert number in on_screen, (name, clip)
            if start_s is not None and end_s is not None:
                assert start_s - 0.05 <= clip.start_s <= clip.end_s <= end_s


def test_the_slide_on_screen_is_the_one_shown(tmp_path: Path) -> None:
    """Row 2: slides of 2, 10, 1 and 5 seconds."""
    slides(tmp_path / "slides.mp4")
    info = probe(tmp_path / "slides.mp4")
    assert [info.frame_at(t) for t in (0, 1.99, 2, 11.9, 12.5, 13, 17, 99)] == [
        0,
        0,
        1,
        1,
        2,
        3,
        3,
        3,
    ]
    plan = plan_clips(info, clip_duration_s=2)
    assert [clip.frame_ids[0] for clip in plan] == [0, 1, 1, 1, 1, 1, 2, 3, 3]
    assert [clip.start_s for clip in plan] == pytest.approx([0, 2, 4, 6, 8, 10, 12, 14, 16])
    assert plan[6].frame_ids == (2, 2, 3, 3)  # one slide gives way to the next inside it


def test_nothing_is_shown_before_the_first_picture(tmp_path: Path) -> None:
    """Row 7: a range that ends while there is only sound is refused."""
    sound_first(tmp_path / "late.mp4")
    info = probe(tmp_path / "late.mp4")
    clips = plan_clips(info, clip_duration_s=2, start_s=5, end_s=7)
    assert (clips[0].frame_ids[0], clips[-1].frame_ids[-1]) == (60, 105)
    assert (clips[0].start_s, clips[-1].end_s) == (5.0, 6.5)
    assert plan_clips(info, clip_duration_s=2, start_s=1, end_s=5)[0].start_s == 3.0
    with pytest.raises(VideoError, match=r"late.mp4 shows no picture before 3.0 s"):
        plan_clips(info, clip_duration_s=2, start_s=0, end_s=2)


@pytest.mark.parametrize("written", ["00:00:05,000000000", "N/A" + " " * 15, " " * 18])
def test_durations_written_otherwise_are_read(written: str, tmp_path: Path) -> None:
    """Row 34: what other programs write into Matroska's DURATION."""
    path = write_video(tmp_path / "v.mkv")
    content = path.read_bytes()
    assert b"00:00:05.000000000" in content
    path.write_bytes(content.replace(b"00:00:05.000000000", written.encode()))
    with Video(path) as video:
        assert (video.info.duration_s, video.warning) == (5.0, None)


def kind_of(packet: bytes) -> str:
    return "IPBS"[packet[packet.index(b"\0\0\1\xb6") + 4] >> 6]


def write_packed(path: Path) -> None:
    """MPEG-4 as DivX stored it: a picture with the one before it, then a packet without one."""
    plain = write_video(
        path.with_name("plain.avi"),
        codec="mpeg4",
        frames=90,
        gop=30,
        options={"bf": "1", "qscale": "2"},
    )
    stored = packets_of(plain)
    packed: list[tuple[bytes, bool]] = []
    for content, is_key in stored:
        if kind_of(content) == "B":
            packed[-1] = (packed[-1][0] + content, packed[-1][1])
            packed.append((b"\0\0\1\xb6\x5f", False))
        else:
            packed.append((content, is_key))
    first = packed[0][0]
    at = first.index(b"\0\0\1\xb6")
    packed[0] = (first[:at] + b"\0\0\1\xb2DivX503b1393p\0" + first[at:], True)
    write_avi(path, packed, b"DX50")


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4", "mov", "nut"])
def test_two_pictures_in_a_packet(suffix: str, tmp_path: Path) -> None:
    """Row 30: packed bitstreams, as they are and copied into other containers."""
    import av

    source, path = tmp_path / "packed.avi", tmp_path / f"copy.{suffix}"
    write_packed(source)
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        track = writer.add_stream_from_template(reader.streams.video[0])
        for number, packet in enumerate(reader.demux(video=0)):
            if packet.size:
                packet.pts = packet.dts = number
                packet.stream = track
                writer.mux(packet)
    for ids in (range(90), [1], [2], [45], [10, 40, 70], [88, 89]):
        with Video(path) as video:
            assert len(video) == 90
            assert [read_number(frame) for frame in video.frames(ids)] == list(ids)
    assert probe(path).time_of(45) == pytest.approx(1.5, abs=0.5 / FPS)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_packets_without_timestamps(codec: str, b_frames: str, tmp_path: Path) -> None:
    """Row 32: H.264 and HEVC in a program stream, as surveillance recorders write it."""
    options = {"bf": b_frames} if codec == "libx264" else {
        "x265-params": f"log-level=none:bframes={b_frames}"
    }  # fmt: skip
    path = write_video(tmp_path / "v.mpg", codec=codec, frames=300, options=options)
    with Video(path) as video:
        assert (len(video), video.info.fps, video.info.duration_s) == (300, 30.0, 10.0)
        assert [read_number(frame) for frame in video.frames(range(300))] == list(range(300))
    (clip,) = plan_clips(video.info, clip_duration_s=2, start_s=6, end_s=8)
    assert clip.frame_ids == (180, 195, 210, 225)


def test_a_file_of_packets_without_timestamps_has_a_budget_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 40: all of its 300 pictures are decoded, whichever is asked for."""
    path = write_video(tmp_path / "v.mpg", frames=300)
    with Video(path) as video:
        monkeypatch.setattr(budget, "MAX_DECODED_PIXELS", 200 * 160 * 96)
        with pytest.raises(VideoError, match="300 pictures of 160x96 pixels would have to be"):
            list(video.frames([0]))


@pytest.mark.parametrize("format", ["mpegts", "mov"])
def test_a_track_that_appears_midway_ends_nothing(format: str) -> None:
    """Damaged transport streams seem to have one; PyAV looks for it in vain at the end."""

    def demux(_: object) -> Iterator[SimpleNamespace]:
        for number in range(3):
            yield SimpleNamespace(size=9, pts=number, dts=number, duration=1)
        raise IndexError("list index out of range")

    container = SimpleNamespace(format=SimpleNamespace(name=format), demux=demux)
    packets = Continuous(container, SimpleNamespace(time_base=TICK))
    assert [packet.pts for packet in packets] == [0, 1, 2]


@pytest.mark.parametrize(("codec", "count"), [("dirac", 2), ("h264", 3)])
def test_a_packet_that_only_marks_the_end_is_no_frame(codec: str, count: int) -> None:
    """Row 33: Dirac in transport streams has one."""

    class Packet(bytes):
        is_discard = is_corrupt = False
        is_keyframe = True
        duration = 1

        def has_sidedata(self, _: str) -> bool:
            return False

    scan = Scan()
    for number, content in enumerate((b"BBCD\x44", b"BBCD\x44", b"BBCD\x10\0\0\0\0")):
        packet: Any = Packet(content)
        packet.pts = packet.dts = number
        scan.add(codec, packet)
    assert (scan.packets, len(scan.pts)) == (3, count)


@pytest.mark.parametrize(
    ("pts", "filled"),
    [
        ([None, None, None], [0, 10, 20]),
        ([0, None, 20], [0, 10, 20]),
        ([0, 12, None], [0, 10, 20]),  # the timestamp of a picture beside it
        ([None, 105, None], [95, 105, 115]),
        ([0, None, 100, None], [0, 50, 100, 110]),  # far from the rate: a pause
    ],
)
def test_pictures_without_timestamps_get_them(pts: list[int | None], filled: list[int]) -> None:
    """Row 32: in steps of 10 ticks."""
    assert filled_in(pts, 10.0).tolist() == filled


def test_raw_streams_say_their_rate_or_that_it_is_assumed(tmp_path: Path) -> None:
    """H.264 states it in its own header; raw JPEG pictures do not."""
    path = write_video(tmp_path / "v.h264", frames=60, fps=24)
    with Video(path) as video:
        assert (video.info.fps, video.info.duration_s, video.warning) == (24.0, 2.5, None)
    path = write_video(tmp_path / "v.mjpeg", codec="mjpeg", pix_fmt="yuvj420p", frames=60, fps=24)
    with Video(path) as video:
        assert video.info.fps == 25.0
        assert video.warning is not None and re.match(
            r"v.mjpeg does not say how fast", video.warning
        )
