"""Which files are videos, which are pictures, and what is not opened at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from make_videos import numbered_frame, read_number, write_video
from PIL import Image

from apollo.errors import VideoError
from apollo.video.formats import DECODERS, DEMUXERS, VIDEO_DECODERS
from apollo.video.reader import Video, probe


def write_animation(path: Path, durations_ms: list[int], **options: Any) -> Path:
    frames = [Image.fromarray(numbered_frame(i)) for i in range(len(durations_ms))]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations_ms, loop=0, **options
    )
    return path


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_animated_pictures_are_videos_with_their_delays_row_24(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    path = write_animation(tmp_path / name, [500, 1000, 200, 300], **options)
    with Video(path) as video:
        assert video.warning is None
        assert video.info.duration_s == pytest.approx(2.0)
        assert [read_number(frame) for frame in video.frames([0, 1, 2, 3])] == [0, 1, 2, 3]
        assert [read_number(frame) for frame in video.frames([2])] == [2]
        times = video._index.frame_pts * (2.0 / (500 + 1000 + 200 + 300))
        assert (times / times[1]).tolist() == pytest.approx([0, 1, 3, 3.4])


def test_transparent_animated_webp_stands_on_white_rows_20_and_24(tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (32, 32), (0, 0, 0, 0)) for _ in range(2)]
    frames[1].paste((255, 0, 0, 255), (8, 8, 24, 24))
    path = tmp_path / "sticker.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    with Video(path) as video:
        first, second = video.frames([0, 1])
    assert (first == 255).all()
    assert second[16, 16].tolist() == [255, 0, 0] and second[2, 2].tolist() == [255] * 3


def test_a_cut_animated_webp_gives_what_is_there(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.webp", [100] * 6, lossless=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    try:
        with Video(path) as video:
            assert [read_number(f) for f in video.frames(range(len(video)))] == [*range(len(video))]
    except VideoError as error:
        assert str(error).startswith("a.webp is damaged")


@pytest.mark.parametrize("name", ["still.webp", "still.png"])
def test_still_pictures_are_no_videos(tmp_path: Path, name: str) -> None:
    Image.fromarray(numbered_frame(1)).save(tmp_path / name)
    with pytest.raises(VideoError, match=f"{name} is a picture, not a video; give it as an image"):
        probe(tmp_path / name)


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_photos_of_phones_are_no_videos_row_26(tmp_path: Path, brand: bytes) -> None:
    """A HEIC is tiles in an mp4 without a moov box; FFmpeg shows the first tile as a video."""
    path = tmp_path / "IMG_0001.HEIC"
    content = box(b"ftyp", brand + bytes(4) + brand + b"miaf") + box(b"meta", bytes(40))
    path.write_bytes(content + box(b"mdat", bytes(400)))
    with pytest.raises(VideoError, match="IMG_0001.HEIC is a picture, not a video; give it as"):
        probe(path)


def test_avif_written_here_is_a_picture_row_26(tmp_path: Path) -> None:
    path = tmp_path / "photo.avif"
    Image.fromarray(numbered_frame(1)).save(path)
    with pytest.raises(VideoError, match="photo.avif is a picture, not a video"):
        probe(path)


def test_a_film_with_a_photo_brand_is_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "live.mp4", frames=5)
    path.write_bytes(path.read_bytes().replace(b"ftypisom", b"ftypheic", 1))
    assert probe(path).num_frames == 5


def test_encrypted_mp4_says_so_row_38(tmp_path: Path) -> None:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    path = write_video(tmp_path / "film.mp4", frames=10, container_options=options)
    with pytest.raises(VideoError, match="film.mp4 is encrypted; give a copy without copy"):
        probe(path)


def test_encrypted_webm_says_so_row_38(tmp_path: Path) -> None:
    path = tmp_path / "film.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.metadata["title"] = "x" * 33  # an element of 36 bytes, to write another over
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    key = b"\x47\xe1\x81\x05" + b"\x47\xe2\x90" + bytes(range(16))  # AES and the key's id
    encryption = b"\x50\x35" + bytes([0x80 + len(key)]) + key
    encoding = b"\x50\x33\x81\x01" + encryption
    encodings = b"\x62\x40" + bytes([0x80 + len(encoding)]) + encoding
    element = b"\x6d\x80" + bytes([0x80 + len(encodings)]) + encodings
    title = b"\x53\x6e\xa1" + b"x" * 33
    data = path.read_bytes()
    assert len(element) == len(title) and data.count(title) == 1
    path.write_bytes(data.replace(title, element))
    with pytest.raises(VideoError, match="film.webm is encrypted; give a copy without copy"):
        probe(path)


# ---------------------------------------------------------------- what FFmpeg may open


def test_decoders_that_nobody_films_with_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mov", codec="dpx", pix_fmt="rgb24", frames=2)
    with pytest.raises(VideoError, match="odd.mov uses the codec dpx, which this build cannot"):
        probe(path)


def test_the_lists_reach_ffmpeg(tmp_path: Path) -> None:
    """FFmpeg itself refuses what is not in them, whatever our own checks say."""
    path = write_video(tmp_path / "odd.mov", codec="dpx", pix_fmt="rgb24", frames=2)
    with av.open(str(path), options={"codec_whitelist": DECODERS}) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"codec_whitelist": DECODERS}
        with pytest.raises(av.error.FFmpegError):
            stream.codec_context.decode(next(container.demux(stream)))


def test_the_lists_name_what_there_is() -> None:
    """A misspelt name would shut out a codec without a word."""
    names = {name for name in DECODERS.split(",") if name not in av.codecs_available}
    assert names <= {"libaom-av1", "mpeg4", "libopus"}, "known to some builds only"
    for name in ("hls", "dash", "concat", "sdp", "image2"):
        assert name not in DEMUXERS.split(",")
    assert {"h264", "hevc", "vp9", "libdav1d"} <= VIDEO_DECODERS


def test_sound_beside_the_picture_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = container.add_stream("aac", rate=16000)
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            container.mux(video.encode(frame))
        samples = av.AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        samples.rate = 16000
        container.mux(sound.encode(samples))
        container.mux([*video.encode(None), *sound.encode(None)])
    with Video(path) as opened:
        assert [read_number(frame) for frame in opened.frames([0, 9])] == [0, 9]
