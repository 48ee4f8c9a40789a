"""What cannot be read is refused, or replaced and warned of, in one sentence."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from damage_videos import damaged, sound_files
from make_videos import numbered_frame, read_number, write_sound, write_video
from paths import ROOT
from PIL import Image

from apollo.errors import VideoError
from apollo.video import decoding
from apollo.video.clips import plan_clips
from apollo.video.clock import Clock, clock_of
from apollo.video.picture import read_image
from apollo.video.reader import Video, probe, read_clips

B3 = {"bf": "3", "b-pyramid": "normal"}


def numbers(path: Path, ids: list[int]) -> list[int]:
    with Video(path) as reader:
        return [read_number(frame) for frame in reader.frames(ids)]


# ---------------------------------------------------------------- files that are no videos


def garbage(path: Path) -> Path:
    path.write_bytes(random.Random(5).randbytes(50_000))
    return path


def text(path: Path) -> Path:
    path.write_text("this is a letter, not a film\n" * 400)
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def without_moov(path: Path) -> Path:
    whole = write_video(path.with_name("whole.mp4")).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def no_frames(path: Path) -> Path:
    with av.open(str(path), "w", options={"movflags": "empty_moov"}, format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        container.start_encoding()
    return path


def picture(path: Path) -> Path:
    Image.fromarray(numbered_frame(1)).save(path, format="JPEG")
    return path


def webp(path: Path) -> Path:
    Image.fromarray(numbered_frame(1)).save(path, format="WEBP")
    return path


def concat_script(path: Path) -> Path:
    other = write_video(path.with_name("secret.mp4"), frames=10)
    path.write_text(f"ffconcat version 1.0\nfile {other}\n")
    return path


def playlist(path: Path) -> Path:
    other = write_video(path.with_name("secret.ts"), frames=10)
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other}\n#EXT-X-ENDLIST\n")
    return path


def unknown_codec(path: Path) -> Path:
    whole = write_video(path).read_bytes()
    path.write_bytes(whole.replace(b"avc1", b"Q9z7"))
    return path


def unknown_codec_mkv(path: Path) -> Path:
    whole = write_video(path.with_suffix(".mkv"), frames=20)
    path.write_bytes(whole.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC"))
    return path


def all_damaged(path: Path) -> Path:
    data = bytearray(write_video(path, container_options={"movflags": "faststart"}).read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path.write_bytes(data)
    return path


BAD = [
    ("lost.mp4", lambda path: path, "No such video file: lost.mp4; check the path."),
    ("clips.mp4", folder, "clips.mp4 is a folder, not a video file; give a file in it."),
    ("empty.mp4", empty, "empty.mp4 is empty (0 bytes); the upload may not have finished"),
    ("letter.mp4", text, "letter.mp4 is not a video file this program can read; convert it"),
    ("noise.mp4", garbage, "noise.mp4 is not a video file this program can read; convert it"),
    ("half.mp4", without_moov, "half.mp4 is incomplete: its index (moov) is missing"),
    ("none.mp4", no_frames, "none.mp4 has no video frames; record or convert it again."),
    ("song.m4a", write_sound, "song.m4a has no video track, only sound; give a file with"),
    (
        "album.mp3",
        lambda path: write_sound(path, cover=numbered_frame(0)),
        "album.mp3 has no video track, only sound; give a file with",
    ),
    ("photo.mp4", picture, "photo.mp4 is a picture, not a video; give it as an image."),
    ("modern.mp4", webp, "modern.mp4 is a picture, not a video; give it as an image."),
    ("list.mp4", concat_script, "list.mp4 is not a video file this program can read"),
    ("live.m3u8", playlist, "live.m3u8 is not a video file this program can read"),
    ("rare.mp4", unknown_codec, "rare.mp4 uses the codec Q9z7, which this build cannot decode"),
    ("odd.mp4", unknown_codec_mkv, "odd.mp4 uses the codec V_MPEG9/ISO/AVC, which this build"),
    ("broken.mp4", all_damaged, "broken.mp4 is damaged: none of its frames could be decoded"),
    (
        "wall.mkv",
        lambda path: write_video(path, codec="ffv1", frames=1, size=(8208, 32), pix_fmt="gray"),
        "wall.mkv has pictures of 8208x32 pixels; make them at most 8192x8192.",
    ),
]


@pytest.mark.parametrize(("name", "make", "sentence"), BAD, ids=[bad[0] for bad in BAD])
def test_bad_input_is_refused_in_one_sentence(
    tmp_path: Path, name: str, make: Callable[[Path], Path], sentence: str
) -> None:
    path = make(tmp_path / name)
    with pytest.raises(VideoError) as caught:
        probe(path)
    message = str(caught.value)
    assert message.startswith(sentence)
    assert message.endswith(".") and "\n" not in message and str(tmp_path) not in message


def test_names_that_look_like_addresses_are_files(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="video.mp4 is given as an address, and only files"):
        probe("http://example.invalid/video.mp4")
    path = write_video(tmp_path / "plain.mp4", frames=5).rename(tmp_path / "concat:a|b.mp4")
    assert numbers(path, [3]) == [3]


def test_rate_comes_from_the_timestamps_if_it_is_missing_or_wrong() -> None:
    """Row 5 among them: a rate that is a few per cent off."""
    pts, tick = np.arange(0, 4000, 40), Fraction(1, 1000)
    for header_fps in (0.0, 1000.0, 1.0, 24.0, 25.5, 25.0):
        clock = clock_of(pts, tick, last_s=0.04, header_fps=header_fps, offset_s=0.0)
        assert clock == Clock(25.0, 0.0, 4.0, None)
    slightly = clock_of(pts, tick, last_s=0.04, header_fps=25.1, offset_s=0.0)
    assert slightly is not None and slightly.fps == 25.1  # no frame is half a frame off
    single = clock_of(pts[:1], tick, last_s=60.0, header_fps=25.0, offset_s=0.0)
    assert single is not None and single.end_s == 60.0
    assert clock_of(pts[:1], tick, last_s=0.0, header_fps=0.0, offset_s=0.0) is None


# ---------------------------------------------------------------- damaged files


def front_indexed(path: Path, gop: int = 48) -> bytearray:
    options = {"movflags": "faststart"}
    write_video(path, container_options=options, options=B3, gop=gop)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.webm"])
def test_truncated_file_gives_what_is_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("webm"):
        write_video(path, codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"})
    else:
        front_indexed(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with Video(path) as reader:
        assert 60 < len(reader) < 120
        ids = list(range(0, len(reader), 5)) + [len(reader) - 1] * 2
        assert [read_number(f) for f in reader.frames(ids)] == ids
        assert reader.warning is not None
        assert reader.warning.startswith(f"{name} ends early: ")
        assert f"{len(reader) / 30:.1f} of 5.0 seconds could be read" in reader.warning


def test_truncated_transport_stream_loads(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.ts", options=B3)
    path.write_bytes(path.read_bytes()[:40_000])
    count = probe(path).num_frames
    ids = list(range(0, count - 1, 3))
    assert count > 60 and numbers(path, ids) == ids


def test_damaged_packets_show_the_frame_before_and_warn(tmp_path: Path) -> None:
    path = tmp_path / "hole.mp4"
    data = front_indexed(path, gop=1)  # no frame needs another
    start = data.index(b"mdat") + 4
    hole = start + (len(data) - start) // 2
    data[hole : hole + (len(data) - start) // 12] = bytes((len(data) - start) // 12)
    path.write_bytes(data)
    with Video(path) as reader:
        assert reader.warning is None
        frames = [read_number(f) for f in reader.frames(range(150))]
    assert len(frames) == 150
    lost = [i for i, seen in enumerate(frames) if seen != i]
    assert 1 <= len(lost) <= 30
    assert all(frames[i] < i for i in lost), "a lost frame must show an earlier one"
    assert reader.warning is not None
    assert reader.warning.startswith("hole.mp4 is damaged: ")
    assert " of 150 sampled frames could not be decoded" in reader.warning


def test_too_much_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wreck.mp4"
    data = front_indexed(path)
    start = data.index(b"mdat") + 4
    begin = start + (len(data) - start) // 3
    data[begin:] = bytes(len(data) - begin)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"^wreck.mp4 is damaged: \d+ or more of 150 sampled"):
        numbers(path, list(range(150)))


def test_packet_without_a_picture_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second field of a picture has a packet but no picture: the one before is shown."""
    real = decoding._decoded

    def every_other(codec: Any, packet: Any, damage: Any) -> list[Any]:
        return [p for p in real(codec, packet, damage) if p.pts // 3000 % 2 == 0]

    monkeypatch.setattr(decoding, "_decoded", every_other)
    with Video(write_video(tmp_path / "fields.ts", options=B3)) as reader:
        seen = [read_number(f) for f in reader.frames(range(100))]
        assert reader.warning is None
    assert all(i - shown in (0, 1, -1) for i, shown in enumerate(seen))
    assert len(set(seen)) < 60


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_short_videos_load(tmp_path: Path, count: int) -> None:
    path = write_video(tmp_path / "short.mp4", frames=count)
    (frames,) = read_clips(path, plan_clips(probe(path), clip_duration_s=2))
    assert [read_number(f) for f in frames] == [0] + [count - 1] * 3


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=10)
    assert probe(path).num_frames == 10
    write_video(path, frames=20)
    assert probe(path).num_frames == 20


# ---------------------------------------------------------------- pictures


def test_read_image_from_file_image_and_array(tmp_path: Path) -> None:
    pixels = numbered_frame(9)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels):
        np.testing.assert_array_equal(read_image(source), pixels)
    with_alpha = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(read_image(with_alpha), pixels)
    assert read_image(pixels[..., 0]).shape == pixels.shape
    assert read_image(Image.fromarray(pixels).convert("L")).shape == pixels.shape


def test_read_image_stands_upright(tmp_path: Path) -> None:
    image = Image.fromarray(numbered_frame(9))
    exif = image.getexif()
    exif[0x0112] = 6  # turn right to stand upright
    image.save(tmp_path / "phone.png", exif=exif)
    assert read_image(tmp_path / "phone.png").shape == (160, 96, 3)


def test_read_image_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoError, match="No such picture: a.png; check the path"):
        read_image(tmp_path / "a.png")
    with pytest.raises(VideoError, match="b.png is not a picture this program can read"):
        read_image(text(tmp_path / "b.png"))
    with pytest.raises(VideoError, match=r"shape \(2, 2, 5\) and type float64 cannot be used"):
        read_image(np.zeros((2, 2, 5)))
    Image.new("1", (8200, 4)).save(tmp_path / "c.png")
    with pytest.raises(VideoError, match="c.png is larger than 8192x8192 pixels; make it smaller"):
        read_image(tmp_path / "c.png")
    Image.new("1", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(VideoError, match="bomb.png is larger than 8192x8192"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.slow
def test_random_damage_gives_frames_or_a_sentence(tmp_path: Path) -> None:
    """Row 39: 21 kinds of file, ten sorts of damage; more of them: helpers/damage_videos.py."""
    found = damaged(sound_files(tmp_path), tmp_path, rounds=10, seed=7)
    assert found["frames"] > 50 and found["a sentence"] > 30


def test_a_damaged_file_that_threads_would_wait_for_is_a_sentence() -> None:
    """FFmpeg never comes back from this HEVC when it decodes several frames at once."""
    path = ROOT / "tests" / "data" / "damaged_hevc.mov"
    with pytest.raises(VideoError, match="damaged_hevc.mov is damaged"), Video(path) as video:
        list(video.read(plan_clips(video.info, clip_duration_s=2)))
