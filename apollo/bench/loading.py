"""Cases `loader` and `memory`: from a file to the pixels of both towers, and what that holds.

In:  a session.  Out: ratios with the plain way and with the floor, which only decodes.
Odd: the towers' full sizes are used, 384 and 224 pixels, whatever model is at hand. The floor
leaves out pictures that nothing refers to, as Apollo may.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from apollo.bench.meter import Run, cost_of
from apollo.bench.session import Runs, Session

SIGLIP_PX, INTERNVIDEO2_PX = 384, 224
CLIP_S, MAX_CLIPS = 2.0, 666  # as the released models read
THREADS = 2
LOADER_VIDEOS: list[tuple[tuple[Any, ...], dict[tuple[str, str], float]]] = [
    (
        (60, 1080),
        {("default", "wall_s"): 5, ("default", "cpu_s"): 3.8, ("exact", "cpu_s"): 3},
    ),
    ((180, 720), {("default", "wall_s"): 6, ("default", "cpu_s"): 4.2}),
    ((30, 1080, "libx265"), {("default", "cpu_s"): 4}),
]
FLOOR_AT_MOST = 1.15
MEMORY_SHARE_AT_MOST = 1 / 20
MEMORY_VIDEOS = [((3600, 480), 100.0), ((20, 2160), 250.0)]  # at most so many MB
GROWTH_AT_MOST = 1.05
SMALL = Path(__file__).parent.parent / "demo" / "assets" / "example_1.mp4"


def run_loader(session: Session) -> None:
    ways = ["default", "exact", "baseline", "floor"]
    for kind, targets in LOADER_VIDEOS:
        footage = session.video(*kind)
        with session.worker() as worker:
            runs = session.rounds(
                footage.label,
                {w: partial(worker.call, load, path=footage.path, way=w) for w in ways},
            )
        for (way, key), least in targets.items():
            what = f"{footage.label}: {key[:-2]} of baseline / {way}"
            session.ratio(what, runs["baseline"], runs[way], key, at_least=least)
        what = f"{footage.label}: cpu of default / floor"
        session.ratio(what, runs["default"], runs["floor"], "cpu_s", at_most=FLOOR_AT_MOST)


def run_memory(session: Session) -> None:
    footage = session.video(60, 1080)

    ways = ("default", "baseline")
    runs = session.rounds(
        footage.label, {w: partial(session.alone, load, path=footage.path, way=w) for w in ways}
    )
    what = f"{footage.label}, loader: peak of default / baseline"
    session.ratio(what, runs["default"], runs["baseline"], "peak_mb", at_most=MEMORY_SHARE_AT_MOST)
    for kind, most in MEMORY_VIDEOS:
        runs = _answers(session, kind)
        for label, several in runs.items():
            peaks = [run["peak_mb"] for run in several]
            session.figure(f"{label}: peak above the model", peaks, "MB", at_most=most)
    runs = _answers(session, (600, 240), (7200, 240))
    (short, few), (long, many) = runs.items()
    session.ratio(f"peak of {long} / {short}", many, few, "peak_mb", at_most=GROWTH_AT_MOST)


def _answers(session: Session, *kinds: tuple[Any, ...]) -> Runs:
    """One answer of nano about each video, each in a process of its own."""
    found = {footage.label: footage.path for footage in (session.video(*kind) for kind in kinds)}
    return session.rounds(
        "nano", {label: partial(session.alone, first_answer, path=p) for label, p in found.items()}
    )


# ---- in the worker ---------------------------------------------------------------------------


def load(path: str, way: str) -> Run:
    """Both towers' pixels of the whole video; nothing keeps them but the baseline itself."""
    from apollo.bench import baseline  # imports torch
    from apollo.video.clips import plan_clips
    from apollo.video.reader import probe
    from apollo.vision.transforms import InternVideo2Transform, SiglipTransform

    transforms = [InternVideo2Transform(INTERNVIDEO2_PX), SiglipTransform(SIGLIP_PX)]
    clips = plan_clips(probe(path), clip_duration_s=CLIP_S, max_clips=MAX_CLIPS)
    if way == "floor":
        return cost_of(lambda: decode_only(path))
    if way == "baseline":
        return cost_of(lambda: baseline.pixels(path, clips, transforms))
    return cost_of(lambda: streamed(path, clips, transforms, exact=way == "exact"))


def streamed(path: str, clips: Any, transforms: Any, exact: bool) -> Any:
    """Apollo's way: the pixels of some clips at a time."""
    from apollo.video.reader import Video
    from apollo.vision.clip_pixels import clip_pixels

    with Video(path) as video:
        yield from clip_pixels(video, clips, transforms, clips_at_once=1, exact=exact)


def decode_only(path: str) -> None:
    """The least that must be done: all pictures decoded that others refer to."""
    if ffmpeg := shutil.which("ffmpeg"):
        quiet = [ffmpeg, "-v", "error", "-threads", str(THREADS), "-skip_frame", "noref"]
        subprocess.run([*quiet, "-i", path, "-f", "null", "-"], check=True)
        return
    import av

    with av.open(path) as file:
        context = file.streams.video[0].codec_context
        context.thread_count, context.thread_type, context.skip_frame = THREADS, "AUTO", "NONREF"
        for _ in file.decode(video=0):
            pass


def first_answer(path: str) -> Run:
    """A first question to nano, whose answer is one token; a small video was asked about before,
    because the first question of a process imports what is left to import."""
    from apollo.bench import models

    apollo = models.fresh("nano")
    models.ask(apollo, str(SMALL), "What happens?", 1)
    return cost_of(lambda: models.ask(apollo, path, "What happens?", 1))
