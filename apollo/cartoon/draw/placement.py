"""Where everything of a scene is at a moment; nothing is drawn.

In:  a Scene and the time within it.  Out: a Placement per picture (centre, size, angle), in units
     of the frame's shorter side; 0..1 is the square in the frame's centre.
Odd: every clip of CLIP_DURATION_S shows the whole motion on its own. During the first TRAVEL_S
     of a clip, which holds all frames the model samples, the motion is steady; in the rest the
     objects move on faster, out of the frame and in again from the other side (or shrink back,
     ...). What enters or leaves does so once.
"""

from __future__ import annotations

from apollo.cartoon.draw.layout import LAST_SAMPLED_S, SPACING, Layout, Placement, Point, layout_of
from apollo.cartoon.world.facts import ENTER_MOTIONS, MOTIONS, PASSING_MOTIONS
from apollo.cartoon.world.scenes import CLIP_DURATION_S, Scene

TRAVEL_S = 1.7  # steady part of a clip; the last sampled frame is at 1.5 s
PASSAGE_S = 1.75  # from just outside the frame to the place inside, or back


def frame_extent(aspect: float) -> Point:
    """Width and height of a frame of this width / height, in units of its shorter side."""
    return max(aspect, 1.0), max(1 / aspect, 1.0)


def _dash(layout: Layout, scene: Scene, u_s: float, aspect: float) -> Point:
    """Displacement of a moving group `u_s` into a clip: steady, then out and in again."""
    dx, dy = MOTIONS[scene.motion]
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
    dx = MOTIONS[scene.motion][0]  # 1: in on the left, or out on the right
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
    if scene.motion in PASSING_MOTIONS:
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
