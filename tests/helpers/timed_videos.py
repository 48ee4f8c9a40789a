"""Numbered videos with clocks of every kind, and the times at which a player shows their frames."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from make_videos import numbered_frame, silent_packets, write_video
from PIL import Image

FPS = 30
TICK = Fraction(1, 90000)
Times = Sequence[float]  # when each frame appears, and last when the last one ends


def from_times(path: Path, times: Times, **options: object) -> Times:
    pts = [round(time / TICK) for time in times[:-1]]
    settings = {"video_track_timescale": "90000"} if path.suffix in (".mp4", ".mov") else {}
    write_video(
        path,
        frames=len(pts),
        pts=pts,
        time_base=TICK,
        container_options=settings,
        durations=[round((b - a) / TICK) for a, b in zip(times, times[1:], strict=False)],
        **options,  # type: ignore[arg-type]
    )
    return times


def screen_recording(path: Path) -> Times:
    """Two seconds at 30 frames a second, 50 at one, and two more at 30."""
    fast = [i / FPS for i in range(60)]
    times = [*fast, *(2.0 + i for i in range(50)), *(52 + t for t in fast), 54.0]
    return from_times(path, times)


def held_last_picture(path: Path) -> Times:
    return from_times(path, [*(i / FPS for i in range(60)), 62.0], options={"bf": "0"})


def pause(path: Path) -> Times:
    return from_times(path, [*(i / FPS for i in range(60)), *(22 + i / FPS for i in range(61))])


def slides(path: Path) -> Times:
    return from_times(path, [0.0, 2.0, 12.0, 13.0, 18.0])


def phone(path: Path) -> Times:
    """A rate that sinks in the dark, with jitter."""
    steps = np.random.default_rng(1).normal(0, 0.004, 160)
    rates = [FPS] * 80 + [15] * 80
    return from_times(path, [0.0, *np.cumsum([1 / r for r in rates] + steps).tolist()])


def slow_then_fast(path: Path) -> Times:
    return from_times(path, [*(i / 4 for i in range(16)), *(4 + i / 24 for i in range(97))])


def with_delays(*delays_ms: int) -> Callable[[Path], Times]:
    """A GIF or an animated WebP."""

    def write(path: Path) -> Times:
        pictures = [Image.fromarray(numbered_frame(i)) for i in range(len(delays_ms))]
        options = {"lossless": True} if path.suffix == ".webp" else {}
        first, *others = pictures
        first.save(path, save_all=True, append_images=others, duration=delays_ms, **options)
        return [sum(delays_ms[:i]) / 1000 for i in range(len(delays_ms) + 1)]

    return write


def wrong_rate_in_header(path: Path) -> Times:
    """The header says 25 frames a second, the timestamps 24."""
    times = [i / 24 for i in range(241)]
    return from_times(path, times, fps=25)


def sound_first(path: Path) -> Times:
    """Sound for 3 seconds before the first picture."""
    frames, sound_s, late_s = 120, 7.0, 3.0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.time_base = TICK
        sound = container.add_stream("aac", rate=16000)
        packets = []
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.time_base, frame.pts = TICK, round((late_s + number / FPS) / TICK)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        packets += silent_packets(sound, sound_s)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    if path.suffix == ".ts":  # the encoder's run-in, 1024 samples, is sound there
        late_s += 1024 / 16000
    return [late_s + i / FPS for i in range(frames + 1)]


def glued(*starts_s: float, frames: int = 60) -> Callable[[Path], Times]:
    """Transport streams one after the other, each with a clock that begins elsewhere."""

    def write(path: Path) -> Times:
        whole = b""
        for part, start_s in enumerate(starts_s):
            one = path.with_name("part.ts")
            first = part * frames
            pts = [round((start_s + i / FPS) / TICK) for i in range(frames)]
            write_video(one, frames=frames, first=first, pts=pts, time_base=TICK)
            whole += one.read_bytes()
            one.unlink()
        path.write_bytes(whole)
        return [i / FPS for i in range(frames * len(starts_s) + 1)]

    return write


def late_start(path: Path) -> Times:
    """The first timestamp is 7 seconds; nothing comes before."""
    write_video(
        path, frames=90, pts=[round((7 + i / FPS) / TICK) for i in range(90)], time_base=TICK
    )
    return [i / FPS for i in range(91)]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def write_avi(path: Path, packets: Sequence[tuple[bytes, bool]], code: bytes) -> None:
    """Packets (content, whether it is a keyframe) of 160x96 at 30 frames a second."""
    width, height, count = 160, 96, len(packets)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, code, 0, 0, 0, 0, 0)
    head = b"vids" + code + struct.pack("<IHHIIIIIIII4H", 0, 0, 0, 0, 1, FPS, 0, count, 1 << 16,
                                        0xFFFFFFFF, 0, 0, 0, width, height)  # fmt: skip
    main = struct.pack(
        "<14I", 10**6 // FPS, 0, 0, 16, count, 0, 1, 1 << 16, width, height, *[0] * 4
    )
    stream = _chunk(b"LIST", b"strl" + _chunk(b"strh", head) + _chunk(b"strf", form))
    movie, index = b"movi", b""
    for content, is_key in packets:
        index += b"00dc" + struct.pack("<III", 16 * is_key, len(movie), len(content))
        movie += _chunk(b"00dc", content)
    header = _chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + stream)
    body = b"AVI " + header + _chunk(b"LIST", movie) + _chunk(b"idx1", index)
    path.write_bytes(_chunk(b"RIFF", body))


def packets_of(path: Path) -> list[tuple[bytes, bool]]:
    with av.open(str(path)) as container:
        return [(bytes(p), p.is_keyframe) for p in container.demux(video=0) if p.size]


def null_frames(path: Path) -> Times:
    """Frame 30 stays for two seconds, as 60 empty chunks."""
    source = path.with_name("plain.avi")
    write_video(source, codec="mpeg4", frames=90, options={"qscale": "2"})
    packets = packets_of(source)
    write_avi(path, [*packets[:31], *[(b"", False)] * 60, *packets[31:]], b"FMP4")
    return [i / FPS for i in (*range(31), *range(91, 151))]


FILES: dict[str, Callable[[Path], Times]] = {
    "screen.mp4": screen_recording,
    "screen.mkv": screen_recording,
    "held.mp4": held_last_picture,
    "pause.mp4": pause,
    "pause.mkv": pause,
    "slides.mp4": slides,
    "phone.mov": phone,
    "phone.mkv": phone,
    "steps.mp4": slow_then_fast,
    "delays.gif": with_delays(100, 5000, 3000),
    "uneven.gif": with_delays(500, 1000, 200),
    "uneven.webp": with_delays(500, 1000, 200),
    "header.mkv": wrong_rate_in_header,
    "sound.mp4": sound_first,
    "sound.mkv": sound_first,
    "sound.mov": sound_first,
    "sound.ts": sound_first,
    "anew.ts": glued(0, 0),
    "five.ts": glued(0, 0.0041, 0.0082, 0.0123, 0.0164),
    "back.ts": glued(5000, 10),
    "hour.ts": glued(0, 3600),
    "late.mkv": late_start,
    "nulls.avi": null_frames,
}
