"""Tries which clips show what happens in a long video: `python -m examples.nano.choice_trial DIR`.

In:  a folder.   Out: in it, films of some minutes in which little happens but a few short events,
     and films in which everything changes; on stdout, for each kind of film and number of clips,
     the share of events that a clip shows, and of nano's answers that are right, with
     `choose="uniform"` and with `choose="varied"`.
Odd: nano was taught with ten clips at most; with many more most of its answers are wrong, whichever
     clips they are, so it is asked about the shorter films only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from apollo.cartoon.draw.backdrops import NUM_VARIANTS
from apollo.cartoon.draw.layout import layout_of
from apollo.cartoon.draw.render import render_backdrop, render_frame
from apollo.cartoon.talk.asking import Asking
from apollo.cartoon.talk.phrases import ENGLISH
from apollo.cartoon.talk.questions import conversation
from apollo.cartoon.world.scenes import Cartoon, Scene, video_from_seed
from apollo.chat import load
from apollo.data.whole_file import whole_file
from apollo.settings import Generation, Sampling
from apollo.video.clips import Clip
from apollo.video.info import VideoInfo
from apollo.video.reader import probe
from examples.nano.judge import is_right

KINDS = ("still", "fading", "noisy", "passing", "camera", "everything")
SHORT_S, LONG_S = 200, 900
SIZE_PX, FPS = 192, 25
EVENT_EVERY_S = 50
NOISE_LEVELS = 4.0
QUESTION_KINDS = ("motion", "count", "colour", "word")
GREEDY = Generation(temperature=0, max_new_tokens=40)
MODES = ("uniform", "varied")


@dataclass(frozen=True)
class Event:
    """What is shown from when to when."""

    start_s: float
    end_s: float
    scene: Scene


@dataclass(frozen=True)
class Film:
    """A long video of a seed. `passing`: events are before the same background as the rest."""

    kind: str
    seed: int
    duration_s: int
    cuts_are_keyframes: bool  # else there is one every 250 frames

    @property
    def file(self) -> str:
        keys = "cuts" if self.cuts_are_keyframes else "250"
        return f"{self.kind}-{self.seed}-{self.duration_s}s-{keys}.mp4"

    @property
    def host(self) -> Scene:
        """Its background is there while nothing happens."""
        return video_from_seed(self.seed, num_scenes=1).scenes[0]

    def events(self) -> list[Event]:
        rng = np.random.default_rng(self.seed)
        scenes = _scenes(rng)
        if self.kind == "everything":
            return list(_one_after_another(rng, scenes, self.duration_s))
        number = self.duration_s // EVENT_EVERY_S
        starts_s = np.arange(number) * EVENT_EVERY_S + rng.uniform(5, EVENT_EVERY_S - 10, number)
        events, seen = [], {self.host.object}
        for start_s in starts_s.tolist():
            scene = next(s for s in scenes if not {s.object, s.second_object} & seen)
            seen |= {scene.object, scene.second_object} - {None}
            shown = _before(scene, self.host) if self.kind == "passing" else scene
            events.append(Event(start_s, start_s + scene.duration_s, shown))
        return events

    def frames(self) -> Iterator[np.ndarray]:
        """(H, W, 3) each."""
        events = self.events()
        rng = np.random.default_rng(self.seed)
        wide = render_backdrop(self.host, SIZE_PX, aspect=3.0)
        texture = rng.integers(-30, 30, (wide.shape[0] // 8, wide.shape[1] // 8, 3))
        wide = np.clip(wide + texture.repeat(8, 0).repeat(8, 1), 0, 255)
        noise = rng.normal(0, NOISE_LEVELS, (4 * SIZE_PX, 4 * SIZE_PX, 3))
        for time_s in np.arange(self.duration_s * FPS) / FPS:
            event = next((e for e in events if e.start_s <= time_s < e.end_s), None)
            if event is not None:
                frame = render_frame(Cartoon((event.scene,)), time_s - event.start_s, SIZE_PX)
            elif self.kind == "passing":
                frame = render_backdrop(self.host, SIZE_PX)
            else:
                left = int(abs(20 * time_s % 384 - 192)) if self.kind == "camera" else 0
                frame = wide[:, left : left + SIZE_PX]
            if self.kind == "fading":
                frame = frame * (0.75 + 0.25 * np.cos(time_s / 60))
            if self.kind in ("noisy", "passing", "camera"):
                top, left = rng.integers(0, 3 * SIZE_PX, 2)
                frame = frame + noise[top : top + SIZE_PX, left : left + SIZE_PX]
            yield np.clip(frame, 0, 255).astype(np.uint8)

    def write(self, path: Path) -> None:
        scenecut = "40" if self.cuts_are_keyframes else "0"
        options = {"preset": "veryfast", "g": "250", "sc_threshold": scenecut}
        with whole_file(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as file:
            stream: Any = file.add_stream("libx264", rate=FPS, options=options)
            stream.width = stream.height = SIZE_PX
            stream.pix_fmt = "yuv420p"
            for pixels in self.frames():
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                file.mux(stream.encode(frame))
            file.mux(stream.encode())


def _scenes(rng: np.random.Generator) -> Iterator[Scene]:
    while True:
        scene = video_from_seed(int(rng.integers(2**31)), num_scenes=1).scenes[0]
        if not scene.empty_s:
            yield scene


def _one_after_another(
    rng: np.random.Generator, scenes: Iterator[Scene], duration_s: float
) -> Iterator[Event]:
    start_s = 0.0
    for scene in scenes:
        end_s = min(duration_s, start_s + scene.duration_s * rng.uniform(0.75, 1.25))
        yield Event(start_s, end_s, scene)
        start_s = end_s
        if start_s >= duration_s:
            return


def _before(scene: Scene, host: Scene) -> Scene:
    """The scene before the background of another, in the same shade."""
    scene = replace(scene, background=host.background, word=None)
    shade = layout_of(host).shade % NUM_VARIANTS
    looks = (replace(scene, look_seed=seed) for seed in range(10_000))
    return next(look for look in looks if layout_of(look).shade % NUM_VARIANTS == shade)


def share_shown(events: Sequence[Event], clips: Sequence[Clip], info: VideoInfo) -> float:
    """The share of the events that are in at least two frames of a clip."""
    times_s = [[info.time_of(frame_id) for frame_id in clip.frame_ids] for clip in clips]
    shown = [
        any(sum(event.start_s <= time_s < event.end_s for time_s in clip) >= 2 for clip in times_s)
        for event in events
    ]
    return sum(shown) / len(shown)


def questions_about(film: Film) -> list[tuple[str, str, str]]:
    """(kind, question, right answer) about the events, and about things that never come."""
    scenes = [event.scene for event in film.events()]
    names = [scene.object for scene in scenes]
    once = [s for s in scenes if names.count(s.object) == 1 and not s.second_object][:10]
    cartoon, rng = Cartoon(tuple(once)), np.random.default_rng(film.seed)
    turns = conversation(rng, cartoon, turns=10, kinds=QUESTION_KINDS)
    asked = [(turn.kind, turn.question, turn.answer) for turn in turns]
    a = Asking(rng, cartoon, ENGLISH)
    for scene in once:
        there = a.say.names(scene.object, scene.colour)
        name = a.choice(a.absent_names())
        absent = a.say.names(name, a.colour_of(name))
        asked.append(("there", a.fill("yes object", **there), a.say.answer("is_there")))
        asked.append(("absent", a.fill("yes object", **absent), a.say.answer("is_not_there")))
    return asked


def try_film(apollo: Any, film: Film, path: Path, count: int) -> list[str]:
    """For each mode the share of events shown and, of a short film, of right answers."""
    cells = []
    for mode in MODES:
        sampling = Sampling(max_clips=count, choose=mode)
        shown = share_shown(film.events(), apollo.clips(path, sampling), probe(path))
        cells.append(f"{shown:.2f}")
        if film.duration_s == SHORT_S:
            how = {"sampling": sampling, "generation": GREEDY}
            right = [
                is_right(kind, wanted, apollo.answer(path, question, **how))
                for kind, question, wanted in questions_about(film)
            ]
            cells.append(f"{sum(right)}/{len(right)}")
    return cells


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    apollo = load("nano")
    sys.stdout.write("film | clips | uniform: events shown, right | varied: events shown, right\n")
    for kind in KINDS:
        for seed, duration_s, counts in ((1, SHORT_S, (10,)), (2, LONG_S, (20, 40, 80))):
            for cuts_are_keyframes in (False, True):
                film = Film(kind, seed, duration_s, cuts_are_keyframes)
                path = folder / film.file
                if not path.exists():
                    film.write(path)
                for count in counts:
                    cells = try_film(apollo, film, path, count)
                    sys.stdout.write(" | ".join([film.file, str(count), *cells]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
