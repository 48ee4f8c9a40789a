"""What was always right about clocks, containers and names stays so."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import av
import pytest
from make_videos import copy_from, numbered_frame, read_number, write_sound, write_video
from timed_videos import FPS, TICK, from_times, glued

from apollo.errors import VideoError
from apollo.video.reader import Video, probe


def check_numbers(path: Path, numbers: range, fps: float = FPS) -> None:
    """Whole and sparse; times from 0 on."""
    with Video(path) as video:
        assert video.warning is None
        assert [read_number(frame) for frame in video.frames(range(len(video)))] == list(numbers)
        assert video.info.duration_s == pytest.approx(len(numbers) / fps, rel=1e-3)
    picked = [0, len(numbers) // 3, len(numbers) - 1]
    with Video(path) as video:
        assert [read_number(f) for f in video.frames(picked)] == [numbers[i] for i in picked]


def test_a_clock_that_wraps_inside_the_file(tmp_path: Path) -> None:
    """Row 9: transport streams count to 2 to the 33rd."""
    glued(float((1 << 33) * TICK) - 1)(tmp_path / "wrap.ts")
    check_numbers(tmp_path / "wrap.ts", range(60))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts", "flv"])
@pytest.mark.parametrize("start_s", [-0.5, 0.7, 100.0])
def test_early_and_late_starts(suffix: str, start_s: float, tmp_path: Path) -> None:
    """Row 10."""
    pts = [round((start_s + i / FPS) / TICK) for i in range(60)]
    path = write_video(tmp_path / f"v.{suffix}", frames=60, pts=pts, time_base=TICK, gop=20)
    with Video(path) as video:
        shown = [read_number(frame) for frame in video.frames(range(len(video)))]
    assert shown == list(range(60 - len(shown), 60))  # an edit list may cut what is before 0
    assert len(shown) == 60 or (suffix in ("mp4", "mov") and start_s < 0)


def test_a_copy_from_the_middle(tmp_path: Path) -> None:
    """Row 10: cut without encoding anew."""
    source = write_video(tmp_path / "source.mp4", frames=150, gop=30)
    path = copy_from(source, tmp_path / "cut.mp4", 2.5)
    with Video(path) as video:
        assert [read_number(f) for f in video.frames(range(len(video)))] == list(range(75, 150))


@pytest.mark.parametrize(
    "flags", ["frag_keyframe+empty_moov", "frag_every_frame+empty_moov", "faststart", "dash"]
)
def test_fragments(flags: str, tmp_path: Path) -> None:
    """Row 12."""
    options = {"movflags": flags}
    path = write_video(tmp_path / "v.mp4", frames=60, gop=15, container_options=options)
    check_numbers(path, range(60))


def test_a_playlist_of_chunks_is_a_sentence(tmp_path: Path) -> None:
    """Row 13."""
    (tmp_path / "v.mpd").write_text('<?xml version="1.0"?><MPD type="static"></MPD>')
    with pytest.raises(VideoError, match=r"v.mpd is not a video file this program can read"):
        probe(tmp_path / "v.mpd")


def test_the_default_track_is_shown_and_a_cover_is_not(tmp_path: Path) -> None:
    """Row 28."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=FPS) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        streams[1].disposition = av.stream.Disposition.default
        streams[0].disposition = av.stream.Disposition(0)
        packets = []
        for place, stream in enumerate(streams):
            for number in range(10):
                picture = numbered_frame(number + 100 * place)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = number
                packets += stream.encode(frame.reformat(format="yuv420p"))
            packets += stream.encode(None)
        for packet in packets:
            container.mux(packet)
    check_numbers(path, range(100, 110))
    song = write_sound(tmp_path / "song.mp3", cover=numbered_frame(1))
    with pytest.raises(VideoError, match="has no video track, only sound"):
        probe(song)


@pytest.mark.parametrize("box", ["mvhd", "tkhd", "mdhd"])
@pytest.mark.parametrize("duration", [0, 1, (1 << 32) - 1])
def test_durations_that_are_nonsense(box: str, duration: int, tmp_path: Path) -> None:
    """Row 35: in mp4's three headers."""
    path = write_video(tmp_path / "v.mp4", frames=60)
    content = bytearray(path.read_bytes())
    place = content.index(box.encode()) + (24 if box == "tkhd" else 20)
    content[place : place + 4] = struct.pack(">I", duration)
    path.write_bytes(content)
    with Video(path) as video:
        assert [read_number(f) for f in video.frames(range(60))] == list(range(60))
        assert video.info.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize("suffix", ["mkv", "webm", "flv"])
def test_recordings_without_a_duration(suffix: str, tmp_path: Path) -> None:
    """Row 35: as they are written live."""
    codec = {"webm": "libvpx"}.get(suffix, "libx264")
    options = {"live": "1"} if suffix != "flv" else {"flvflags": "no_duration_filesize"}
    path = write_video(tmp_path / f"v.{suffix}", codec=codec, frames=60, container_options=options)
    check_numbers(path, range(60))


@pytest.mark.parametrize(
    ("suffix", "fps"),
    [
        *(("mp4", fps) for fps in (240, 1000, 0.5, 0.01)),
        *(("mkv", fps) for fps in (100, 0.5, 0.01, 1 / 86400)),
    ],
)
def test_rates_from_a_frame_a_day_to_a_thousand_a_second(
    suffix: str, fps: float, tmp_path: Path
) -> None:
    """Row 36."""
    count = 40
    from_times(tmp_path / f"v.{suffix}", [i / fps for i in range(count + 1)])
    check_numbers(tmp_path / f"v.{suffix}", range(count), fps)
    info = probe(tmp_path / f"v.{suffix}")
    assert info.time_of(20) == pytest.approx(20 / fps, abs=0.5 / fps)


def test_a_stream_joined_in_the_middle_of_a_group(tmp_path: Path) -> None:
    """Row 37: what refers to missing frames shows the first whole one."""
    path = write_video(tmp_path / "v.ts", frames=150, gop=50, options={"sc_threshold": "0"})
    content = path.read_bytes()
    start = len(content) // 5 // 188 * 188
    path.write_bytes(content[start:])
    with Video(path) as video:
        shown = [read_number(frame) for frame in video.frames(range(len(video)))]
    first = shown[0]
    assert first % 50 == 0
    after = [number for number in shown if number != first]
    assert after == list(range(first + 1, 150))


NAMES = [
    *("with blanks in it.mp4", "ünïcödé.mp4", "视频.mp4", "🎬 film.mp4", "100% sure.mp4", "-i.mp4"),
    *("a\nb.mp4", "tab\there.mp4", 'quote\'d "name".mp4', "semi;colon&.mp4", "noend", ".hidden"),
    *("two.dots.mp4", "%03d.mp4", "a:b.mp4", "pipe:0", "file:v.mp4", "UPPER.MP4", "#1?.mp4"),
    *("עברית.mp4", "e\u0301.mp4", "x" * 246 + ".mp4", "trailing .mp4", "back\\slash.mp4"),
    os.fsdecode(b"latin-\xe9.mp4"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_every_kind(name: str, tmp_path: Path) -> None:
    """Row 42."""
    plain = write_video(tmp_path / "plain.mkv", frames=3)
    path = plain.rename(tmp_path / name)
    with Video(path) as video:
        assert [read_number(frame) for frame in video.frames([0, 2])] == [0, 2]


def test_links_are_followed_and_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    """Row 43."""
    path = write_video(tmp_path / "v.mp4", frames=3)
    link = tmp_path / "link.mp4"
    link.symlink_to(path)
    assert probe(link).num_frames == 3
    loop, fifo = tmp_path / "loop.mp4", tmp_path / "fifo.mp4"
    loop.symlink_to(loop)
    os.mkfifo(fifo)
    for odd in (loop, fifo, "/dev/zero", tmp_path, "", "https://example.invalid/a.mp4", "a\0b"):
        with pytest.raises(VideoError) as told:
            probe(odd)
        assert str(told.value).endswith(".") and "\n" not in str(told.value)


def test_a_file_that_goes_while_it_is_open_is_still_read(tmp_path: Path) -> None:
    """Row 81: deleted between the plan and the digest, or replaced by another."""
    path = write_video(tmp_path / "v.mp4", frames=30)
    other = write_video(tmp_path / "other.mp4", frames=30, first=100)
    with Video(path) as video:
        other.rename(path)
        path.unlink()
        assert len(video.digest) == 32
        assert [read_number(frame) for frame in video.frames([0, 29])] == [0, 29]
    with pytest.raises(VideoError, match="No such video file: v.mp4"):
        probe(path)
