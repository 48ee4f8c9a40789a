"""Where everything of a scene is at a moment, in units of its shorter side; nothing is drawn.

In:  a Scene and the time within it.  Out: Placement per picture (centre, size, angle), in units
     of the frame's shorter side; 0..1 is the square in the frame's centre.
Odd: every clip of CLIP_DURATION_S shows the whole motion on its own. During the first TRAVEL_S
     of a clip, which holds all frames the model samples, the motion is steady; in the rest the
     objects dash on, out of the frame and in again from the other side (or shrink back, ...).
     What enters or leaves does so once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from apollo.cartoon.world.facts import (
    ENTER_MOTIONS,
    LEAVE_MOTIONS,
    MOTION_BY_NAME,
    OBJECT_BY_NAME,
    POSITIONS,
)
from apollo.cartoon.world.scenes import CLIP_DURATION_S, FRAME_STEP_S, Scene

TRAVEL_S = 1.7  # steady part of a clip; the last sampled frame is at 1.5 s
LAST_SAMPLED_S = 1.5
PASSAGE_S = 1.75  # from just outside the frame to the place inside, or back
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


def _axis_travel(motion: str) -> Point:
    """The least distance a motion needs along x and along y."""
    direction = MOTION_BY_NAME[motion].direction
    if motion in ENTER_MOTIONS + LEAVE_MOTIONS:
        return 0.0, 0.0
    if motion == "bounce":
        return 0.0, MIN_TRAVEL
    return abs(direction[0]) * MIN_TRAVEL, abs(direction[1]) * MIN_TRAVEL


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
        low, high = OBJECT_BY_NAME[scene.object].spin_step_deg or (0.0, 0.0)
        step = rng.uniform(low, high) * (1 if rng.random() < 0.5 else -1)
        return float(step * LAST_SAMPLED_S / FRAME_STEP_S)
    if scene.motion == "still" or scene.motion in ENTER_MOTIONS + LEAVE_MOTIONS:
        return 0.0
    along = slack[0] if MOTION_BY_NAME[scene.motion].direction[0] else slack[1]
    return float(rng.uniform(MIN_TRAVEL, min(max(along, MIN_TRAVEL), MAX_TRAVEL)))


@lru_cache(maxsize=4096)
def layout_of(scene: Scene) -> Layout:
    """Everything the look_seed decides, so that the whole steady motion stays in the frame."""
    rng = np.random.default_rng(scene.look_seed)
    text = _text_place(rng, scene)
    mirrored, shade = bool(rng.random() < 0.5), int(rng.integers(2**16))
    top, bottom = MARGIN, 1 - MARGIN
    if scene.word is not None:
        top, bottom = (BAND, bottom) if text.y < 0.5 else (top, 1 - BAND)
    free, second = (MARGIN, top, 1 - MARGIN, bottom), None
    if scene.relation == "follows":
        return _follow(rng, scene, free, text, mirrored, shade)
    if scene.second_object is not None:
        second_size, lane, free = _split_lane(rng, scene, free)
    left, top, right, bottom = free
    if scene.position is not None:
        column, row, _ = POSITIONS[scene.position]
        size, group = float(rng.uniform(*PLACED_SIZE_RANGE)), FORMATIONS[1][0]
        jitter = rng.uniform(-JITTER, JITTER, size=2)
        centre = np.array([CELL_CENTRES[column], CELL_CENTRES[row]]) + jitter
        x, y = np.clip(centre, size / 2, 1 - size / 2)
        start = (float(x), float(y))
        travel = _travel(rng, scene, (0, 0))
    else:
        need = _axis_travel(scene.motion)
        group, size = _choose_group(rng, scene, (right - left - need[0], bottom - top - need[1]))
        width, height = (side * size for side in _extent(group))  # at its largest
        slack = (right - left - width, bottom - top - height)
        travel = _travel(rng, scene, slack)
        start = _start(rng, scene, free, (width, height), travel)
        size = size / travel if scene.motion == "bigger" else size  # `size` was the largest
    if scene.second_object is not None:
        second = _beside(rng, second_size, lane, _halfway(scene, start, travel))
    width, height = _extent(group)
    extent = (width * size, height * size)
    return Layout(group, start, size, travel, start, extent, second, text, mirrored, shade)


def _halfway(scene: Scene, start: Point, travel: float) -> Point:
    """Where the main object is in the middle of its steady motion."""
    dx, dy = MOTION_BY_NAME[scene.motion].direction
    if scene.motion == "bounce":
        dy = -1
    half = travel / 2 if dx or dy else 0.0
    return start[0] + dx * half, start[1] + dy * half


def _follow(
    rng: np.random.Generator, scene: Scene, free: Box, text: TextPlace, mirrored: bool, shade: int
) -> Layout:
    """The main object behind the second one, both moving the same way, as one group."""
    left, top, right, bottom = free
    ahead = MOTION_BY_NAME[scene.motion].direction[0]  # 1 or -1
    size = float(rng.uniform(*FOLLOWER_SIZE_RANGE))
    second_size = float(rng.uniform(*SECOND_SIZE_RANGE))
    gap = (size + second_size) / 2 * SPACING
    width, height = (size + second_size) / 2 + gap, max(size, second_size)
    travel = _travel(rng, scene, (right - left - width, 0.0))
    x, y = _start(rng, scene, free, (width, height), travel)
    start = (x - ahead * (width - size) / 2, y)
    second = Placement(start[0] + ahead * gap, y, second_size)
    group = FORMATIONS[1][0]
    return Layout(
        group, start, size, travel, (x, y), (width, height), second, text, mirrored, shade
    )


def _start(
    rng: np.random.Generator, scene: Scene, free: Box, extent: Point, travel: float
) -> Point:
    """Where the group's centre starts, so that the steady motion stays inside `free`."""
    left, top, right, bottom = free
    dx, dy = MOTION_BY_NAME[scene.motion].direction
    if scene.motion == "bounce":
        dy = -1  # jumps start from the ground
    path_x, path_y = dx * travel, dy * travel
    low_x, high_x = left + extent[0] / 2 - min(0, path_x), right - extent[0] / 2 - max(0, path_x)
    low_y, high_y = top + extent[1] / 2 - min(0, path_y), bottom - extent[1] / 2 - max(0, path_y)
    middle_x, middle_y = (low_x + high_x) / 2, (low_y + high_y) / 2
    x = rng.uniform(low_x, high_x) if low_x < high_x else middle_x
    y = rng.uniform(low_y, high_y) if low_y < high_y else middle_y
    return float(x), float(y)


def frame_extent(aspect: float) -> Point:
    """Width and height of a frame of this width / height, in units of its shorter side."""
    return max(aspect, 1.0), max(1 / aspect, 1.0)


def _dash(layout: Layout, scene: Scene, u_s: float, aspect: float) -> Point:
    """Displacement of a moving group `u_s` into a clip: steady, then out and in again."""
    dx, dy = MOTION_BY_NAME[scene.motion].direction
    steady = layout.travel * TRAVEL_S / LAST_SAMPLED_S
    if u_s <= TRAVEL_S:
        distance = layout.travel * u_s / LAST_SAMPLED_S
        return dx * distance, dy * distance
    axis = 0 if dx else 1
    share = (u_s - TRAVEL_S) / (CLIP_DURATION_S - TRAVEL_S)
    frame = frame_extent(aspect)[axis]
    around = frame + layout.extent[axis]  # one full turn around the frame
    distance = steady + share * (around - steady)
    centre = layout.middle[axis] + (frame - 1) / 2
    half = layout.extent[axis] / 2
    along = centre + (dx + dy) * distance  # in the frame's own coordinates
    along = (along + half) % around - half  # leaves on one side, enters on the other
    moved = along - centre
    return (moved, 0.0) if dx else (0.0, moved)


def _pass_border(layout: Layout, scene: Scene, t_s: float, aspect: float) -> Point:
    """Displacement of a group that comes in or goes out, `t_s` into the scene."""
    dx = MOTION_BY_NAME[scene.motion].direction[0]  # 1: in on the left, or out on the right
    width = frame_extent(aspect)[0]
    half = layout.extent[0] / 2
    to_left, to_right = layout.middle[0] + (width - 1) / 2, (width + 1) / 2 - layout.middle[0]
    if scene.motion in ENTER_MOTIONS:
        away = half + (to_left if dx > 0 else to_right)
        left_s = scene.empty_s + LAST_SAMPLED_S - t_s  # until it is in its place
        return -dx * away * min(1.0, max(0.0, left_s / PASSAGE_S)), 0.0
    away = half + (to_right if dx > 0 else to_left)
    return dx * away * min(1.0, max(0.0, t_s / PASSAGE_S)), 0.0


def _factor(layout: Layout, scene: Scene, u_s: float) -> float:
    """Scale `u_s` into a clip: grows or shrinks steadily, then returns to where it began."""
    if scene.motion not in ("bigger", "smaller"):
        return 1.0
    ratio = layout.travel if scene.motion == "bigger" else 1 / layout.travel
    if u_s <= TRAVEL_S:
        return 1 + (ratio - 1) * min(1.0, u_s / LAST_SAMPLED_S)
    share = (u_s - TRAVEL_S) / (CLIP_DURATION_S - TRAVEL_S)
    return ratio + (1 - ratio) * share


def _moved(layout: Layout, scene: Scene, t_s: float, aspect: float) -> Point:
    """Displacement of all that moves, since the beginning of a clip."""
    u_s = t_s % CLIP_DURATION_S
    if scene.motion in ("left", "right", "up", "down"):
        return _dash(layout, scene, u_s, aspect)
    if scene.motion in ENTER_MOTIONS + LEAVE_MOTIONS:
        return _pass_border(layout, scene, t_s, aspect)
    if scene.motion == "bounce":  # on the ground at 0 s and 1 s, highest at 0.5 s and 1.5 s
        phase = u_s % 1.0
        return 0.0, -layout.travel * 4 * phase * (1 - phase)
    return 0.0, 0.0


def place_objects(scene: Scene, t_s: float, *, aspect: float = 1.0) -> list[Placement]:
    """The main objects `t_s` into the scene, in a frame of this width / height."""
    layout = layout_of(scene)
    dx, dy = _moved(layout, scene, t_s, aspect)
    angle_deg = layout.travel * t_s / LAST_SAMPLED_S if scene.motion == "spin" else 0.0
    factor = _factor(layout, scene, t_s % CLIP_DURATION_S)
    step = layout.size * SPACING * factor
    x, y = layout.start[0] + dx, layout.start[1] + dy
    return [
        Placement(x + gx * step, y + gy * step, layout.size * factor, angle_deg)
        for gx, gy in layout.group
    ]


def place_second(scene: Scene, t_s: float, *, aspect: float = 1.0) -> Placement | None:
    """The second object, if there is one; it moves only when the main one follows it."""
    layout = layout_of(scene)
    if layout.second is None or scene.relation != "follows":
        return layout.second
    dx, dy = _moved(layout, scene, t_s, aspect)
    return Placement(layout.second.x + dx, layout.second.y + dy, layout.second.size)
