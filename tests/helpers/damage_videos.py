"""Damaged videos: sound files of many kinds, broken at random, read like any upload.

`python tests/helpers/damage_videos.py ROUNDS SEED` reads ROUNDS files of each kind, each damaged in
another way, and prints what came of them, the slowest file and the growth of memory.
"""

from __future__ import annotations

import logging
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from make_videos import numbered_frame, write_video
from PIL import Image

from apollo.errors import ApolloError
from apollo.video.clips import plan_clips
from apollo.video.reader import Video

SMALL = {"frames": 45, "fps": 15, "gop": 20}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
HEVC = {"x265-params": "log-level=none"}


def animation(suffix: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pictures = [Image.fromarray(numbered_frame(i)) for i in range(8)]
        pictures[0].save(path.with_suffix(suffix), save_all=True, append_images=pictures[1:])

    return write


def video(**options: object) -> Callable[[Path], Path]:
    return lambda path: write_video(path, **(SMALL | options))  # type: ignore[arg-type]


KINDS: dict[str, Callable[[Path], object]] = {
    "front.mp4": video(options={"bf": "2"}, container_options={"movflags": "faststart"}),
    "back.mp4": video(),
    "fragments.mp4": video(container_options=FRAGMENTED),
    "h264.mkv": video(),
    "vp9.webm": video(codec="libvpx-vp9", options={"cpu-used": "8"}),
    "vp8.webm": video(codec="libvpx", options={"deadline": "realtime"}),
    "h264.ts": video(),
    "untimed.mpg": video(),
    "mpeg2.mpg": video(codec="mpeg2video", fps=25),
    "mpeg4.avi": video(codec="mpeg4", options={"bf": "2"}),
    "pictures.avi": video(codec="mjpeg", pix_fmt="yuvj420p"),
    "sorenson.flv": video(codec="flv"),
    "hevc.mov": video(codec="libx265", options=HEVC),
    "prores.mov": video(codec="prores_ks", pix_fmt="yuv422p10le", frames=12),
    "windows.wmv": video(codec="wmv2"),
    "raw.h264": video(),
    "lossless.mkv": video(codec="ffv1", frames=12),
    "nut.nut": video(codec="mpeg4"),
    "moving.gif": animation(".gif"),
    "moving.webp": animation(".webp"),
    "moving.png": animation(".png"),
}


def _cut(content: bytearray, rng: random.Random) -> bytearray:
    return content[: rng.randrange(1, len(content))]


def _zeroed(content: bytearray, rng: random.Random) -> bytearray:
    start, length = rng.randrange(len(content)), rng.randrange(1, len(content) // 3)
    content[start : start + length] = bytes(length)
    return content


def _flipped(content: bytearray, rng: random.Random) -> bytearray:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def _sprinkled(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randrange(2, 80)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return content


def _head(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randrange(1, 8)):
        content[rng.randrange(min(len(content), 1500))] = rng.randrange(256)
    return content


def _swapped(content: bytearray, rng: random.Random) -> bytearray:
    first, second = sorted(rng.sample(range(len(content)), 2))
    return content[:first] + content[second:] + content[first:second]


def _doubled(content: bytearray, rng: random.Random) -> bytearray:
    return content + content[rng.randrange(len(content)) :]


def _inserted(content: bytearray, rng: random.Random) -> bytearray:
    place = rng.randrange(len(content))
    return content[:place] + rng.randbytes(rng.randrange(1, 500)) + content[place:]


def _holes(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(max(1, len(content) - 200))
        del content[place : place + rng.randrange(1, 200)]
    return content or bytearray(b"\0")


def _sizes(content: bytearray, rng: random.Random) -> bytearray:
    extremes = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0", b"\0\0\0\x01")
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(max(1, len(content) - 4))
        content[place : place + 4] = rng.choice(extremes)
    return content


DAMAGES = (
    _cut,
    _zeroed,
    _flipped,
    _sprinkled,
    _head,
    _swapped,
    _doubled,
    _inserted,
    _holes,
    _sizes,
)


def sound_files(folder: Path) -> dict[str, bytes]:
    contents = {}
    for name, make in KINDS.items():
        make(folder / name)
        contents[name] = (folder / name).read_bytes()
    return contents


def read(path: Path) -> str:
    """What comes of it; anything but frames or a sentence is raised."""
    try:
        with Video(path) as video:
            info = video.info
            assert info.num_frames >= 1 and info.fps > 0 and info.duration_s > 0, info
            for clip in video.read(plan_clips(info, clip_duration_s=2, max_clips=6)):
                assert clip.ndim == 4 and clip.shape[0] == 4
            last = info.num_frames - 1
            assert len(list(video.frames(sorted({0, last // 2, last})))) == len(
                {0, last // 2, last}
            )
        return "frames with a warning" if video.warning else "frames"
    except ApolloError as error:
        assert str(error).endswith(".") and "\n" not in str(error), error
        return "a sentence"


def damaged(contents: dict[str, bytes], folder: Path, rounds: int, seed: int) -> Counter[str]:
    """Reads `rounds` files of each kind; the counts of what came of them."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for number in range(rounds):
        for name, content in contents.items():
            damage = rng.choice(DAMAGES)
            path = folder / f"{seed}-{number}-{name}"
            path.write_bytes(damage(bytearray(content), rng))
            start_s = time.perf_counter()
            try:
                found[read(path)] += 1
            except Exception as error:
                raise AssertionError(f"{path} ({damage.__name__})") from error
            took_ms = round(1000 * (time.perf_counter() - start_s))
            found["slowest ms"] = max(found["slowest ms"], took_ms)
            path.unlink()
    return found


def main() -> None:
    rounds, seed = (int(text) for text in (sys.argv[1:] + ["10", "0"])[:2])
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp())
    contents = sound_files(folder)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = damaged(contents, folder, rounds, seed)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb) / 1024
    sys.stdout.write(f"{dict(found)}, memory grew by {grown_mb:.0f} MB\n")


if __name__ == "__main__":
    main()
