"""What a frame looks like is what a player shows: colours, shape, way up, ground, size."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from light import gamma, hlg, light, pq
from make_videos import numbered_frame, read_number, write_video

from apollo.errors import VideoError
from apollo.video import display
from apollo.video.clips import Clip
from apollo.video.colour import _FROM_BT2020, _FROM_P3
from apollo.video.reader import Video, probe, read_clips

# sRGB colours as they should look, one patch of 32 pixels each.
PATCHES = {
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "dark": (40, 30, 20),
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "skin": (225, 172, 150),
    "black": (0, 0, 0),
}


def patches() -> np.ndarray:
    image = np.zeros((64, 32 * len(PATCHES), 3), np.uint8)
    for place, colour in enumerate(PATCHES.values()):
        image[:, 32 * place : 32 * place + 32] = colour
    return image


def seen(frame: np.ndarray) -> dict[str, tuple[int, ...]]:
    middles = {name: frame[20:44, 32 * i + 10 : 32 * i + 22] for i, name in enumerate(PATCHES)}
    return {name: tuple(m.mean((0, 1)).round().astype(int)) for name, m in middles.items()}


def write_colours(
    path: Path,
    curve: Callable[[np.ndarray], np.ndarray],
    to_rgb: tuple[tuple[float, ...], ...],
    tags: dict[str, str],
    gain: float = 1.0,
) -> Path:
    """The patches, times `gain`, in the primaries that `to_rgb` turns into those of BT.709."""
    wide = (gain * light(patches().astype(float))) @ np.linalg.inv(np.array(to_rgb)).T
    codes = (curve(np.maximum(wide, 0)) * 65535).round().astype(np.uint16)
    params = ":".join(f"{key}={value}" for key, value in tags.items())
    options = {"x265-params": f"log-level=none:crf=4:{params}"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=10, options=options)
        stream.height, stream.width = codes.shape[:2]
        stream.pix_fmt = "yuv420p10le"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(codes, format="rgb48le").reformat(
                format="yuv420p10le",
                dst_colorspace=Colorspace.BT2020,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def first_frame(path: Path) -> np.ndarray:
    with Video(path) as video:
        return next(video.frames([0]))


HDR_TAGS = {"colorprim": "bt2020", "colormatrix": "bt2020nc"}


@pytest.mark.parametrize("name", ["hdr10.mp4", "hdr10.mkv", "hlg.mov"])
def test_hdr_looks_like_sdr_row_18(tmp_path: Path, name: str) -> None:
    curve, transfer = (hlg, "arib-std-b67") if "hlg" in name else (pq, "smpte2084")
    path = write_colours(tmp_path / name, curve, _FROM_BT2020, {**HDR_TAGS, "transfer": transfer})
    frame = first_frame(path)
    got = seen(frame)
    assert min(got.pop("white")) >= 235
    for patch, colour in got.items():
        np.testing.assert_allclose(colour, PATCHES[patch], atol=6, err_msg=patch)
    assert frame.shape == (64, 256, 3)


@pytest.mark.parametrize(("curve", "transfer"), [(pq, "smpte2084"), (hlg, "arib-std-b67")])
def test_what_is_brighter_than_white_keeps_its_detail_row_18(
    tmp_path: Path, curve: Callable[[np.ndarray], np.ndarray], transfer: str
) -> None:
    tags = {**HDR_TAGS, "transfer": transfer}
    got = seen(first_frame(write_colours(tmp_path / "v.mp4", curve, _FROM_BT2020, tags, gain=3)))
    assert got["black"] == (0, 0, 0)
    assert 190 < got["grey"][0] < 230 < got["white"][0]
    assert got["red"][0] > 240 and max(got["red"][1:]) < 70, "a bright red stays red"


@pytest.mark.parametrize(
    ("to_rgb", "primaries"), [(_FROM_BT2020, "bt2020"), (_FROM_P3, "smpte432")]
)
def test_wide_gamut_is_mapped_row_18(
    tmp_path: Path, to_rgb: tuple[tuple[float, ...], ...], primaries: str
) -> None:
    tags = {"colorprim": primaries, "transfer": "bt709", "colormatrix": "bt2020nc"}
    got = seen(first_frame(write_colours(tmp_path / "v.mp4", gamma, to_rgb, tags)))
    for patch, colour in got.items():
        np.testing.assert_allclose(colour, PATCHES[patch], atol=6, err_msg=patch)


def test_large_hdr_is_reduced_before_its_colours_are_mapped() -> None:
    picture = av.VideoFrame(3840, 2160, "yuv420p10le")
    picture.color_trc, picture.color_primaries, picture.colorspace = 16, 9, 9
    screen = display.Screen()
    assert screen.size_of(picture) == (1920, 1080)
    assert screen.show(picture).shape == (1080, 1920, 3)


# ---------------------------------------------------------------- shape


def write_anamorphic(path: Path, codec: str, size: tuple[int, int], aspect: Fraction) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, *size), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "size", "aspect", "shown"),
    [
        ("pal.mpg", "mpeg2video", (720, 576), Fraction(64, 45), (1024, 576)),
        ("pal.ts", "libx264", (720, 576), Fraction(64, 45), (1024, 576)),
        ("ntsc.mp4", "libx264", (720, 480), Fraction(8, 9), (640, 480)),
        ("half.mkv", "libx264", (360, 640), Fraction(32, 9), (1280, 640)),
        ("twice.avi", "mpeg4", (320, 480), Fraction(2), (640, 480)),
        ("hdv.mov", "libx264", (1440, 1080), Fraction(4, 3), (1920, 1080)),
        ("nearly.mp4", "libx264", (640, 360), Fraction(1279, 1280), (640, 360)),
        ("absurd.mp4", "libx264", (320, 180), Fraction(100), (320, 180)),
    ],
)
def test_pixels_that_are_not_square_row_19(
    tmp_path: Path,
    name: str,
    codec: str,
    size: tuple[int, int],
    aspect: Fraction,
    shown: tuple[int, int],
) -> None:
    path = write_anamorphic(tmp_path / name, codec, size, aspect)
    info = probe(path)
    assert (info.width, info.height) == shown
    with Video(path) as video:
        frames = list(video.frames([0, 3]))
    assert all(frame.shape == (shown[1], shown[0], 3) for frame in frames)
    wide = shown[0] / size[0]
    bars = frames[1][-12:-4, [round((16 * bit + 8) * wide) for bit in range(10)]]
    assert [int(v > 128) for v in bars.mean((0, 2))] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


# ---------------------------------------------------------------- the way up

QUADRANTS = {"R": (-1, -1), "G": (1, -1), "B": (-1, 1), "W": (1, 1)}
MATRICES = {  # a, b, c, d: the pixel at (x, y) is shown at (a x + c y, b x + d y)
    "as it is": (1, 0, 0, 1),
    "left": (0, 1, -1, 0),
    "upside down": (-1, 0, 0, -1),
    "right": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "flipped": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transversed": (0, -1, -1, 0),
}


def quadrant_names(frame: np.ndarray) -> str:
    names = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}
    height, width = frame.shape[:2]
    spots = [frame[y, x] for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    return "".join(names[tuple(int(v > 128) for v in spot)] for spot in spots)


@pytest.mark.parametrize("way", MATRICES)
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_display_matrices_row_15(tmp_path: Path, way: str, suffix: str) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:] = (255, 0, 0), (0, 255, 0)
    image[32:, :48], image[32:, 48:] = (0, 0, 255), (255, 255, 255)
    a, b, c, d = MATRICES[way]
    path = tmp_path / f"v.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb" if suffix == "mov" else "libx264", rate=10)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "rgb24" if suffix == "mov" else "yuv444p"
        one = 1 << 16
        stream.set_display_matrix([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30])
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    places = {q: (a * x + c * y, b * x + d * y) for q, (x, y) in QUADRANTS.items()}
    order = [(x, y) for y in (-1, 1) for x in (-1, 1)]
    right = "".join(next(q for q, place in places.items() if place == spot) for spot in order)
    frame = first_frame(path)
    info = probe(path)
    assert quadrant_names(frame) == right
    assert frame.shape == (info.height, info.width, 3) == ((96, 64, 3) if b else (64, 96, 3))


# ---------------------------------------------------------------- what shows through


def stamps() -> np.ndarray:
    """Black and red squares on transparent ground, whose hidden colour is black."""
    rgba = np.zeros((64, 128, 4), np.uint8)
    rgba[16:48, 16:48] = (0, 0, 0, 255)
    rgba[16:48, 80:112] = (255, 0, 0, 255)
    return rgba


def check_stamps(frame: np.ndarray, tolerance: int = 20) -> None:
    spots = {
        (255, 255, 255): frame[4:10, 56:70],
        (0, 0, 0): frame[24:40, 24:40],
        (255, 0, 0): frame[24:40, 88:104],
    }
    for colour, spot in spots.items():
        np.testing.assert_allclose(spot.reshape(-1, 3).mean(0), colour, atol=tolerance)


TRANSPARENT: dict[str, tuple[str, str]] = {
    "vp9.webm": ("libvpx-vp9", "yuva420p"),
    "vp8.webm": ("libvpx", "yuva420p"),
    "prores.mov": ("prores_ks", "yuva444p10le"),
    "png.mov": ("png", "rgba"),
    "animation.mov": ("qtrle", "argb"),
    "ffv1.mkv": ("ffv1", "bgra"),
    "moving.png": ("apng", "rgba"),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_videos_stand_on_white_row_20(tmp_path: Path, name: str) -> None:
    codec, pix_fmt = TRANSPARENT[name]
    path = tmp_path / name
    options = {"libvpx": {"auto-alt-ref": "0"}, "prores_ks": {"profile": "4444"}}.get(codec, {})
    form = "apng" if codec == "apng" else None
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 64, pix_fmt
        stream.bit_rate = 1_000_000
        for number in range(5):
            rgba = stamps()
            rgba[60:, : 10 * number + 1, 3] = 255  # APNG keeps no frame that is the one before
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with Video(path) as video:
        assert len(video) == 5
        for frame in video.frames([1, 4]):
            check_stamps(frame)


def test_fourth_byte_that_is_always_zero_is_no_transparency(tmp_path: Path) -> None:
    bgra = np.dstack([numbered_frame(5)[..., ::-1], np.zeros((96, 160), np.uint8)])
    path = tmp_path / "recorder.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "bgra"
        frame = av.VideoFrame.from_ndarray(bgra, format="bgra")
        for number in range(2):
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert read_number(first_frame(path)) == 5


# ---------------------------------------------------------------- size


def test_a_change_of_size_is_padded_row_29(tmp_path: Path) -> None:
    wide = write_video(tmp_path / "a.ts", frames=30, gop=10, size=(320, 96))
    pts = list(range(30, 60))
    tall = write_video(tmp_path / "b.ts", frames=30, gop=10, size=(192, 384), pts=pts)
    path = tmp_path / "ab.ts"
    path.write_bytes(wide.read_bytes() + tall.read_bytes())
    (clip,) = read_clips(path, [Clip((20, 25, 35, 40), 0, 1)])
    assert clip.shape == (4, 96, 320, 3)
    assert [read_number(frame) for frame in clip[:2]] == [20, 25]
    padded = clip[2]
    assert not padded[:, :136].any() and not padded[:, 184:].any(), "black at both sides"
    assert padded[40:60, 136:184].any(), "the tall picture is 48 wide in the middle"


def test_large_pictures_are_reduced_as_they_are_decoded_row_40(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "MAX_SHOWN_PIXELS", 320 * 192)
    path = write_video(tmp_path / "huge.mp4", frames=4, size=(960, 576))
    info = probe(path)
    assert (info.width, info.height) == (320, 192)
    frame = first_frame(path)
    assert frame.shape == (192, 320, 3)
    bars = frame[-5:-1, [5 * bit + 2 for bit in range(10)]].mean((0, 2))
    assert np.all(bars < 60), "frame 0 has ten black blocks"


@pytest.mark.parametrize("space", [*range(24), 65, 255])
def test_every_way_of_storing_colours_is_shown_or_a_sentence(space: int) -> None:
    """Row 16: numbers that mean nothing are read like a picture that does not say."""
    grey = np.full((32, 32, 3), 200, np.uint8)
    picture = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="yuv420p")
    picture.colorspace = space
    if space in (8, *range(11, 18)):
        with pytest.raises(VideoError, match=rf"colours as number {space} of ITU-T H.273"):
            display.Screen().show(picture)
    elif space:  # 0 says that the three numbers are RGB
        np.testing.assert_allclose(display.Screen().show(picture), 200, atol=2)
    else:
        assert display.Screen().show(picture).shape == (32, 32, 3)
