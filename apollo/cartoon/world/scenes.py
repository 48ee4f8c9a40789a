"""Cartoons: what each scene of a generated video shows; some combinations are held out.

In:  a numpy Generator and the split.  Out: a frozen Cartoon; nothing is drawn here.
Odd: in half of the videos with cuts, these do not fall on the clip borders (`cut_shifts_s`): only
     the switch comes early or late, motions keep their times.
     Every object has exactly one background or motion that training never shows it with, chosen by
     a hash of its name (about 4 % of all pairs). So every object can be tested in a combination the
     model has not seen, and adding to the vocabulary changes few of these pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np

from apollo.cartoon.world.facts import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    ENTER_MOTIONS,
    MOTIONS,
    PASSING_MOTIONS,
    PLACED_MOTIONS,
    POSITIONS,
    RELATIONS_OF_MOTION,
    SHAPES,
    SPRITES,
    THINGS,
    WORDS,
)

CLIP_DURATION_S = 2.0  # one clip of the model; scenes change only between clips
FRAME_STEP_S = 0.5
FRAMES_PER_CLIP = 4
MAX_DURATION_S = 20.0

SHAPE_SHARE = 0.2  # of all scenes
WORD_SHARE = 0.5
SECOND_SHARE = 0.25  # of the scenes with a single object
COUNT_SHARES = (0.5, 0.14, 0.13, 0.12, 0.11)  # of 1..5
DURATION_SHARES = {2.0: 0.5, 4.0: 0.35, 6.0: 0.15}
NUM_SCENES_SHARES = (0.4, 0.25, 0.2, 0.15)  # of 1..4 scenes
EMPTY_SHARE = 0.5  # of the scenes in which something enters or leaves
SHIFTED_SHARE = 0.5  # of the videos with cuts
MAX_SHIFT_S = 0.9
LEAST_SHOWN_S = 1.2
TRIPLE_HELD_OUT_SHARE = 0.02
MAX_TRIES = 10_000

SPLITS = ("train", "held-out")


@dataclass(frozen=True)
class Scene:
    """One shot. `look_seed` decides what no question asks for: size, offsets, font, shade."""

    object: str
    colour: str | None  # of a shape; sprites have their own colours
    count: int
    motion: str
    background: str
    position: str | None  # only of a single object that stays where it is
    word: str | None
    second_object: str | None  # a smaller one; still, unless the main one follows it
    duration_s: float  # a multiple of CLIP_DURATION_S
    look_seed: int
    relation: str | None = None  # of the main object to the second one, given when there is one
    empty_s: float = 0.0  # before something enters or after it left; whole clips

    @property
    def label(self) -> str:
        """The object as the held-out rule sees it: a red circle is not a blue circle."""
        return f"{self.colour} {self.object}" if self.colour else self.object

    @property
    def seen_s(self) -> tuple[float, float]:
        """From when to when within the scene its objects are there."""
        if self.motion in ENTER_MOTIONS:
            return self.empty_s, self.duration_s
        return 0.0, self.duration_s - self.empty_s


@dataclass(frozen=True)
class Cartoon:
    """A generated video: its scenes, and how early or late the cuts between them come."""

    scenes: tuple[Scene, ...]
    cut_shifts_s: tuple[float, ...] = ()  # one per cut; empty: all on the clip borders

    @property
    def duration_s(self) -> float:
        return sum(scene.duration_s for scene in self.scenes)

    @property
    def num_clips(self) -> int:
        return round(self.duration_s / CLIP_DURATION_S)

    def spans(self) -> Iterator[tuple[float, float, Scene]]:
        """(start_s, end_s, scene) of every scene, cuts on the clip borders."""
        start_s = 0.0
        for scene in self.scenes:
            yield start_s, start_s + scene.duration_s, scene
            start_s += scene.duration_s

    def seen_spans(self) -> Iterator[tuple[float, float, Scene]]:
        """The same without the parts in which no object is there."""
        for start_s, _, scene in self.spans():
            first_s, last_s = scene.seen_s
            yield start_s + first_s, start_s + last_s, scene

    def cuts_s(self) -> list[float]:
        """When the picture switches from one scene to the next."""
        borders_s = list(accumulate(scene.duration_s for scene in self.scenes))[:-1]
        shifts_s = self.cut_shifts_s or (0.0,) * len(borders_s)
        return [border_s + shift_s for border_s, shift_s in zip(borders_s, shifts_s, strict=True)]

    def shown_spans(self) -> Iterator[tuple[float, float, Scene]]:
        """(start_s, end_s, scene) as shown: cuts where they really are."""
        cuts_s = self.cuts_s()
        yield from zip([0.0, *cuts_s], [*cuts_s, self.duration_s], self.scenes, strict=True)

    def at(self, t_s: float) -> tuple[float, Scene]:
        """The scene shown at a moment, and the time since its clip border.

        Beside a shifted cut that time is below zero, or past the scene's duration.
        """
        which = sum(t_s >= cut_s for cut_s in self.cuts_s())
        return t_s - sum(s.duration_s for s in self.scenes[:which]), self.scenes[which]

    def within(self, clip_index: int) -> tuple[float, Scene]:
        """The scene that has most of a clip, and the time of the clip's start in it."""
        t_s = clip_index * CLIP_DURATION_S
        start_s, _, scene = next(span for span in self.spans() if t_s < span[1])
        return t_s - start_s, scene


def _hash(*names: str) -> int:
    digest = hashlib.blake2b("|".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def can_stand_out(colour: str | None, background: str) -> bool:
    return colour is None or colour not in BACKGROUNDS[background].clashes


def can_move(object_name: str, motion: str) -> bool:
    return motion != "spin" or THINGS[object_name].spin_step_deg is not None


@cache
def held_out_pair(label: str) -> tuple[str, str]:
    """The one pair of this object that training never shows: ("background" | "motion", name)."""
    name = label.split(" ", 1)[1] if label.split(" ", 1)[0] in COLOURS else label
    colour = label.split(" ", 1)[0] if name != label else None
    if _hash("which", label) % 2:
        choices = [name for name in BACKGROUNDS if can_stand_out(colour, name)]
        return "background", max(choices, key=lambda choice: _hash("background", label, choice))
    choices = [motion for motion in MOTIONS if can_move(name, motion)]
    return "motion", max(choices, key=lambda choice: _hash("motion", label, choice))


def has_held_out_pair(scene: Scene) -> bool:
    kind, name = held_out_pair(scene.label)
    return name == (scene.background if kind == "background" else scene.motion)


def is_held_out(scene: Scene) -> bool:
    """Whether training may never show this scene: a held-out pair or triple is in it."""
    if has_held_out_pair(scene):
        return True
    if scene.second_object is not None:
        kind, name = held_out_pair(scene.second_object)
        if kind == "background" and name == scene.background:
            return True
    triple = _hash("triple", scene.label, scene.background, scene.motion)
    return triple < TRIPLE_HELD_OUT_SHARE * 2**64


def _pick(rng: np.random.Generator, choices: tuple[str, ...] | list[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _sample_label(rng: np.random.Generator) -> tuple[str, str | None]:
    if rng.random() < SHAPE_SHARE:
        return _pick(rng, list(SHAPES)), _pick(rng, list(COLOURS))
    return _pick(rng, list(SPRITES)), None


def _sample_scene(rng: np.random.Generator, held_out: bool) -> Scene:
    """A drawable scene; with `held_out`, one that has the held-out pair of its object."""
    name, colour = _sample_label(rng)
    label = f"{colour} {name}" if colour else name
    background = _pick(rng, [name for name in BACKGROUNDS if can_stand_out(colour, name)])
    motion = _pick(rng, [motion for motion in MOTIONS if can_move(name, motion)])
    if held_out:
        kind, held_name = held_out_pair(label)
        background = held_name if kind == "background" else background
        motion = held_name if kind == "motion" else motion
    count = int(rng.choice(len(COUNTS), p=COUNT_SHARES)) + 1
    second = relation = None
    if count == 1 and motion in RELATIONS_OF_MOTION and rng.random() < SECOND_SHARE:
        second = _pick(rng, [sprite for sprite in SPRITES if sprite != name])
        relation = _pick(rng, RELATIONS_OF_MOTION[motion])
    placed = count == 1 and second is None and motion in PLACED_MOTIONS
    position = _pick(rng, list(POSITIONS)) if placed else None
    word = _pick(rng, WORDS) if rng.random() < WORD_SHARE else None
    durations = list(DURATION_SHARES)
    duration_s = durations[int(rng.choice(len(durations), p=list(DURATION_SHARES.values())))]
    empty_s = 0.0
    if motion in PASSING_MOTIONS:  # one clip of it, before or after an empty one
        empty_s = CLIP_DURATION_S if rng.random() < EMPTY_SHARE else 0.0
        duration_s = empty_s + CLIP_DURATION_S
    return Scene(
        name, colour, count, motion, background, position, word, second, duration_s,
        look_seed=int(rng.integers(2**31)), relation=relation, empty_s=empty_s,
    )  # fmt: skip


def _fits_after(scene: Scene, scenes: list[Scene]) -> bool:
    """No object or word comes twice in a video, and the background changes at every cut."""
    seen = {name for s in scenes for name in (s.object, s.second_object) if name}
    if scene.object in seen or scene.second_object in seen:
        return False
    if sum(s.duration_s for s in (*scenes, scene)) > MAX_DURATION_S:
        return False
    if scene.word is not None and any(s.word == scene.word for s in scenes):
        return False
    return not scenes or scenes[-1].background != scene.background


def _sample_shifts(rng: np.random.Generator, scenes: list[Scene]) -> tuple[float, ...]:
    if len(scenes) == 1 or rng.random() >= SHIFTED_SHARE:
        return ()
    return cut_elsewhere(rng, scenes)


def cut_elsewhere(rng: np.random.Generator, scenes: list[Scene]) -> tuple[float, ...]:
    """How early or late each cut comes, in tenths of a second, so that every scene is seen."""
    while True:
        tenths = rng.integers(
            round(-MAX_SHIFT_S * 10), round(MAX_SHIFT_S * 10) + 1, len(scenes) - 1
        )
        video = Cartoon(tuple(scenes), tuple(int(tenth) / 10 for tenth in tenths))
        if all(end_s - start_s >= LEAST_SHOWN_S for start_s, end_s, _ in video.shown_spans()):
            return video.cut_shifts_s


def sample_video(
    rng: np.random.Generator, *, split: str = "train", num_scenes: int | None = None
) -> Cartoon:
    """A random video. "train" has no held-out combination, "held-out" has one in every scene."""
    assert split in SPLITS, split
    held_out = split == "held-out"
    if num_scenes is None:
        num_scenes = int(rng.choice(len(NUM_SCENES_SHARES), p=NUM_SCENES_SHARES)) + 1
    scenes: list[Scene] = []
    for _ in range(MAX_TRIES):
        scene = _sample_scene(rng, held_out)
        if _fits_after(scene, scenes) and (held_out or not is_held_out(scene)):
            scenes.append(scene)
        if len(scenes) == num_scenes:
            return Cartoon(tuple(scenes), _sample_shifts(rng, scenes))
    raise AssertionError(f"no {num_scenes} fitting scenes in {MAX_TRIES} tries")


def video_from_seed(seed: int, *, split: str = "train", num_scenes: int | None = None) -> Cartoon:
    """The video of a seed: the same on every machine."""
    return sample_video(np.random.default_rng(seed), split=split, num_scenes=num_scenes)
