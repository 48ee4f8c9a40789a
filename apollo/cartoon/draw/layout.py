"""What stays the same during a scene: sizes, formation, where a motion starts and how far it goes.

In:  a Scene.  Out: its Layout, in units of the frame's shorter side; 0..1 is the square in the
     frame's centre. `placement` says where everything is at a moment.
Odd: all of it follows from the scene's `look_seed`, and is drawn so that the whole steady motion
     stays in the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from apollo.cartoon.world.facts import (
    MOTIONS,
    PASSING_MOTIONS,
    POSITIONS,
    THINGS,
)
from apollo.cartoon.world.scenes import FRAME_STEP_S, Scene

LAST_SAMPLED_S = 1.5  # of a clip's frames
MIN_TRAVEL = 0.24  # between the first and the last sampled frame
MAX_TRAVEL = 0.45
SCALE_STEP = (1.6, 1.9)  # how much bigger the last sampled frame shows it
MARGIN = 0.02
BAND = 0.18  # height of the strip kept free for a word
CAP_HEIGHT = (0.10, 0.135)
SPACING = 1.06  # between neighbours, in sizes
SIZE_RANGE = {1: (0.34, 0.55), 2: (0.27, 0.42), 3: (0.23, 0.34), 4: (0.22, 0.32), 5: (0.20, 0.28)}
GROWN_SIZE_RANGE = {1: (0.5, 0.7), 2: (0.4, 0.46), 3: (0.34, 0.4), 4: (0.33, 0.4), 5: (0.28, 0.31)}
SECOND_SIZE_RANGE = (0.22, 0.27)
FOLLOWER_SIZE_RANGE = (0.26, 0.34)
ALIGNED = 0.05  # of the second object with the first, across the lane
PLACED_SIZE_RANGE = (0.34, 0.42)
CELL_CENTRES = (0.23, 0.5, 0.77)  # of the 3 x 3 positions, along either axis
JITTER = 0.03

Box = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]

# Where the objects of a group are, in spacings around the group's centre.
FORMATIONS: dict[int, tuple[tuple[Point, ...], ...]] = {
    1: (((0, 0),),),
    2: (((-0.5, 0), (0.5, 0)), ((0, -0.5), (0, 0.5)), ((-0.5, -0.35), (0.5, 0.35))),
    3: (
        ((-1, 0), (0, 0), (1, 0)),
        ((-0.5, -0.5), (0.5, -0.5), (0, 0.5)),
        ((0, -0.5), (-0.5, 0.5), (0.5, 0.5)),
        ((0, -1), (0, 0), (0, 1)),
    ),
    4: (
        ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)),
        ((0, -0.8), (-0.8, 0), (0.8, 0), (0, 0.8)),
    ),
    5: (
        ((-0.75, -0.75), (0.75, -0.75), (0, 0), (-0.75, 0.75), (0.75, 0.75)),
        ((-1, -0.5), (0, -0.5), (1, -0.5), (-0.5, 0.5), (0.5, 0.5)),
        ((-0.5, -0.5), (0.5, -0.5), (-1, 0.5), (0, 0.5), (1, 0.5)),
    ),
}


@dataclass(frozen=True)
class Placement:
    """One picture at one moment. `size` is the side of its square cell."""

    x: float
    y: float
    size: float
    angle_deg: float = 0.0


@dataclass(frozen=True)
class TextPlace:
    x: float  # share of the free width left of the word
    y: float
    cap_height: float
    font: int  # reduced modulo the number of fonts there are
    colour: int  # the same


Look = tuple[TextPlace, bool, int]  # the last three of a Layout


@dataclass(frozen=True)
class Layout:
    """All that stays the same during a scene; `group` is around the group's centre."""

    group: tuple[Point, ...]
    start: Point
    size: float  # at the beginning of a clip
    travel: float  # distance, factor or angle between the first and last sampled frame
    middle: Point  # of all that moves, at `start`
    extent: Point  # width and height of all that moves
    second: Placement | None  # at the beginning of a clip
    text: TextPlace
    mirrored: bool
    shade: int  # which variant of the background


def _text_place(rng: np.random.Generator, scene: Scene) -> TextPlace:
    row = POSITIONS[scene.position][1] if scene.position else 1
    at_top = row == 2 or (row == 1 and rng.random() < 0.5)
    offset = MARGIN + 0.08 + rng.uniform(-0.005, 0.005)
    return TextPlace(
        x=float(rng.random()), y=offset if at_top else 1 - offset,
        cap_height=float(rng.uniform(*CAP_HEIGHT)),
        font=int(rng.integers(2**16)), colour=int(rng.integers(2**16)),
    )  # fmt: skip


def _split_lane(rng: np.random.Generator, scene: Scene, free: Box) -> tuple[float, Box, Box]:
    """Size of the second object, its lane on one side of `free`, and the rest of the space."""
    left, top, right, bottom = free
    size = float(rng.uniform(*SECOND_SIZE_RANGE))
    if scene.relation == "above":
        return size, (left, bottom - size, right, bottom), (left, top, right, bottom - size)
    if scene.relation == "below":
        return size, (left, top, right, top + size), (left, top + size, right, bottom)
    if scene.relation == "left of":
        return size, (right - size, top, right, bottom), (left, top, right - size, bottom)
    return size, (left, top, left + size, bottom), (left + size, top, right, bottom)


def _beside(rng: np.random.Generator, size: float, lane: Box, middle: Point) -> Placement:
    """The second object in its lane, level with the middle of where the first one moves."""
    left, top, right, bottom = lane
    x, y = np.array(middle) + rng.uniform(-ALIGNED, ALIGNED, size=2)
    x = np.clip(x, left + size / 2, right - size / 2)
    y = np.clip(y, top + size / 2, bottom - size / 2)
    return Placement(float(x), float(y), size)


def _extent(group: tuple[Point, ...]) -> Point:
    """Width and height of a group, in sizes of one object."""
    xs, ys = zip(*group, strict=True)
    return (max(xs) - min(xs)) * SPACING + 1, (max(ys) - min(ys)) * SPACING + 1


def _direction(motion: str) -> tuple[int, int]:
    """Of the steady motion: jumps start from the ground; what enters or leaves has none."""
    if motion == "bounce":
        return 0, -1
    return (0, 0) if motion in PASSING_MOTIONS else MOTIONS[motion]


def _choose_group(
    rng: np.random.Generator, scene: Scene, room: Point
) -> tuple[tuple[Point, ...], float]:
    """A formation and a size that fit into the room that the motion leaves."""
    grows = scene.motion in ("bigger", "smaller")
    low, high = (GROWN_SIZE_RANGE if grows else SIZE_RANGE)[scene.count]
    fits = []
    for group in FORMATIONS[scene.count]:
        width, height = _extent(group)
        fits.append((min(room[0] / width, room[1] / height, high), group))
    good = [fit for fit in fits if fit[0] >= low] or [max(fits)]
    most, group = good[int(rng.integers(len(good)))]
    return group, float(rng.uniform(min(low, most), most))


def _travel(rng: np.random.Generator, scene: Scene, slack: Point) -> float:
    """How far, how much or how many degrees until the last sampled frame; `slack` is room left."""
    if scene.motion in ("bigger", "smaller"):
        return float(rng.uniform(*SCALE_STEP))
    if scene.motion == "spin":
        low, high = THINGS[scene.object].spin_step_deg or (0.0, 0.0)
        step = rng.uniform(low, high) * (1 if rng.random() < 0.5 else -1)
        return float(step * LAST_SAMPLED_S / FRAME_STEP_S)
    direction = _direction(scene.motion)
    if direction == (0, 0):
        return 0.0
    along = slack[0] if direction[0] else slack[1]
    return float(rng.uniform(MIN_TRAVEL, min(max(along, MIN_TRAVEL), MAX_TRAVEL)))


@lru_cache(maxsize=4096)
def layout_of(scene: Scene) -> Layout:
    """Everything the look_seed decides, so that the whole steady motion stays in the frame."""
    rng = np.random.default_rng(scene.look_seed)
    text = _text_place(rng, scene)
    look = text, bool(rng.random() < 0.5), int(rng.integers(2**16))
    top, bottom = MARGIN, 1 - MARGIN
    if scene.word is not None:
        top, bottom = (BAND, bottom) if text.y < 0.5 else (top, 1 - BAND)
    free, second = (MARGIN, top, 1 - MARGIN, bottom), None
    if scene.relation == "follows":
        return _follow(rng, scene, free, look)
    if scene.second_object is not None:
        second_size, lane, free = _split_lane(rng, scene, free)
    left, top, right, bottom = free
    if scene.position is not None:
        column, row = POSITIONS[scene.position]
        size, group = float(rng.uniform(*PLACED_SIZE_RANGE)), FORMATIONS[1][0]
        jitter = rng.uniform(-JITTER, JITTER, size=2)
        centre = np.array([CELL_CENTRES[column], CELL_CENTRES[row]]) + jitter
        x, y = np.clip(centre, size / 2, 1 - size / 2)
        start = (float(x), float(y))
        travel = _travel(rng, scene, (0, 0))
    else:
        need_x, need_y = (abs(step) * MIN_TRAVEL for step in _direction(scene.motion))
        group, size = _choose_group(rng, scene, (right - left - need_x, bottom - top - need_y))
        width, height = (side * size for side in _extent(group))  # at its largest
        slack = (right - left - width, bottom - top - height)
        travel = _travel(rng, scene, slack)
        start = _start(rng, scene, free, (width, height), travel)
        size = size / travel if scene.motion == "bigger" else size  # `size` was the largest
    if scene.second_object is not None:
        dx, dy = _direction(scene.motion)
        halfway = start[0] + dx * travel / 2, start[1] + dy * travel / 2
        second = _beside(rng, second_size, lane, halfway)
    width, height = _extent(group)
    return Layout(group, start, size, travel, start, (width * size, height * size), second, *look)


def _follow(rng: np.random.Generator, scene: Scene, free: Box, look: Look) -> Layout:
    """The main object behind the second one, both moving the same way, as one group."""
    left, _, right, _ = free
    ahead = _direction(scene.motion)[0]  # 1 or -1
    size = float(rng.uniform(*FOLLOWER_SIZE_RANGE))
    second_size = float(rng.uniform(*SECOND_SIZE_RANGE))
    gap = (size + second_size) / 2 * SPACING
    extent = (size + second_size) / 2 + gap, max(size, second_size)
    travel = _travel(rng, scene, (right - left - extent[0], 0.0))
    x, y = _start(rng, scene, free, extent, travel)
    start = (x - ahead * (extent[0] - size) / 2, y)
    second = Placement(start[0] + ahead * gap, y, second_size)
    return Layout(FORMATIONS[1][0], start, size, travel, (x, y), extent, second, *look)


def _start(
    rng: np.random.Generator, scene: Scene, free: Box, extent: Point, travel: float
) -> Point:
    """Where the group's centre starts, so that the steady motion stays inside `free`."""
    x, y = (
        _start_along(rng, free[axis], free[axis + 2], extent[axis], step * travel)
        for axis, step in enumerate(_direction(scene.motion))
    )
    return x, y


def _start_along(
    rng: np.random.Generator, low: float, high: float, extent: float, path: float
) -> float:
    low, high = low + extent / 2 - min(0, path), high - extent / 2 - max(0, path)
    return float(rng.uniform(low, high) if low < high else (low + high) / 2)
