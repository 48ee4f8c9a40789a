"""What a frame or clip shows, as numbers: the labels that supervise the towers.

In:  a Cartoon and a time or clip.  Out: ids of `facts`, 0 for none; per patch or per clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apollo.cartoon.draw.layout import Placement, layout_of
from apollo.cartoon.draw.lettering import CAP_PX, PAD_PX, word_picture
from apollo.cartoon.draw.placement import frame_extent, place_objects, place_second
from apollo.cartoon.draw.render import word_box
from apollo.cartoon.draw.sprites import picture
from apollo.cartoon.world.facts import LETTER_ID, SLOT_IDS
from apollo.cartoon.world.scenes import Cartoon, Scene

POINTS_PER_PATCH = 3  # along each side of a patch, where the picture is looked up
COVERED_SHARE = 0.3  # of a patch's points: then the patch shows the object


def facts_of_scene(scene: Scene) -> dict[str, int]:
    """One id per slot of `facts.SLOT_IDS`, in that order."""
    values = {**scene.__dict__, "place": scene.relation or scene.position}
    return {
        slot: 0 if values[slot] is None else ids[values[slot]] for slot, ids in SLOT_IDS.items()
    }


def facts_of_clip(video: Cartoon, clip_index: int) -> dict[str, int]:
    """The facts of the scene that has most of the clip; without objects where none is there."""
    t_s, scene = video.within(clip_index)
    facts = facts_of_scene(scene)
    first_s, last_s = scene.seen_s
    if first_s <= t_s < last_s:
        return facts
    return {slot: facts[slot] if slot in ("background", "word") else 0 for slot in SLOT_IDS}


def _covered(
    scene: Scene, name: str, colour: str | None, place: Placement, points: np.ndarray
) -> np.ndarray:
    """Whether the object's picture is opaque at each point; points (2, n, n), x first."""
    x, y = points[0] - place.x, points[1] - place.y
    turn = np.deg2rad(place.angle_deg)  # clockwise on screen, so look up counter-clockwise
    across = (x * np.cos(turn) + y * np.sin(turn)) / place.size + 0.5
    down = (y * np.cos(turn) - x * np.sin(turn)) / place.size + 0.5
    alpha = picture(name, colour, False, layout_of(scene).mirrored)[..., 3]
    side = alpha.shape[0]
    column, row = (across * side).astype(int), (down * side).astype(int)
    inside = (across >= 0) & (down >= 0) & (column < side) & (row < side)
    return inside & (alpha[row.clip(0, side - 1), column.clip(0, side - 1)] > 127)


def _patch_share(hits: np.ndarray, grid: int) -> np.ndarray:
    """Share of each patch's points that were hit, (grid * P, grid * P) -> (grid, grid)."""
    return hits.reshape(grid, POINTS_PER_PATCH, grid, POINTS_PER_PATCH).mean(axis=(1, 3))


def _letters(scene: Scene, centres: np.ndarray) -> np.ndarray:
    """The letter at each patch's centre, (G, G); centres (G,) along either axis."""
    assert scene.word is not None
    labels = np.zeros((len(centres), len(centres)), np.int64)
    left, top, right, bottom = word_box(scene)
    text = layout_of(scene).text
    edges = np.array(word_picture(scene.word, text.font, text.colour).edges)
    letter = np.searchsorted(edges, (centres - left) / (right - left)) - 1  # (grid,)
    ids = np.array([LETTER_ID[c] for c in scene.word])
    in_word = (letter >= 0) & (letter < len(ids))
    row = np.where(in_word, ids[letter.clip(0, len(ids) - 1)], 0)
    pad = (bottom - top) * PAD_PX / (CAP_PX + 2 * PAD_PX)  # of the picture, above and below
    labels[(centres > top + pad) & (centres < bottom - pad)] = row
    return labels


def _axis(number: int, span: float) -> np.ndarray:
    """Middles of `number` equal parts of a square with side `span` around the scene, (number,)."""
    return ((np.arange(number) + 0.5) / number - 0.5) * span + 0.5


def _centres(
    places: Sequence[Placement], grid: int, span: float, width: float, height: float
) -> np.ndarray:
    """Where things have their middles, (grid, grid): 1 for each, shared by the nearest patches.

    So the sum over all patches is how many there are; a middle outside of the frame is not seen.
    """
    out = np.zeros((grid + 2, grid + 2), np.float32)  # with a border, cut off again
    for place in places:
        if abs(place.x - 0.5) >= width / 2 or abs(place.y - 0.5) >= height / 2:
            continue
        column, row = (((at - 0.5) / span + 0.5) * grid + 0.5 for at in (place.x, place.y))
        left, top = int(column), int(row)
        right_share, low_share = column - left, row - top
        out[top, left] += (1 - low_share) * (1 - right_share)
        out[top, left + 1] += (1 - low_share) * right_share
        out[top + 1, left] += low_share * (1 - right_share)
        out[top + 1, left + 1] += low_share * right_share
    return out[1:-1, 1:-1].clip(max=1)


def dense_labels(
    video: Cartoon, t_s: float, grid: int, *, aspect: float = 1.0
) -> dict[str, np.ndarray]:
    """Per patch, (grid, grid): "object", "colour", "letter", "motion" ids, "centre", "inside".

    The grid lies on the frame after it was padded to a square. A patch shows an object when at
    least COVERED_SHARE of it is covered; of overlapping objects the one in front counts. Colour is
    that of a shape, 0 for sprites. Motion is that of the object there. Centres are those of the
    scene's main objects. Padding is not `inside`.
    """
    scene_t_s, scene = video.at(t_s)
    facts = facts_of_scene(scene)
    width, height = frame_extent(aspect)
    span = max(width, height)
    n = grid * POINTS_PER_PATCH
    axis = _axis(n, span)
    points = np.stack(np.meshgrid(axis, axis))  # (2, n, n): x, y
    in_frame = (np.abs(points[0] - 0.5) < width / 2) & (np.abs(points[1] - 0.5) < height / 2)
    objects = np.zeros((grid, grid), np.int64)
    motions = np.zeros((grid, grid), np.int64)
    second = place_second(scene, scene_t_s, aspect=aspect)
    if scene.second_object is not None and second is not None:
        hits = _covered(scene, scene.second_object, None, second, points) & in_frame
        shown = _patch_share(hits, grid) >= COVERED_SHARE
        objects[shown] = facts["second_object"]
        still = SLOT_IDS["motion"]["still"]
        motions[shown] = facts["motion"] if scene.relation == "follows" else still
    hits = np.zeros((n, n), bool)
    places = place_objects(scene, scene_t_s, aspect=aspect)
    for place in places:
        hits |= _covered(scene, scene.object, scene.colour, place, points)
    shown = _patch_share(hits & in_frame, grid) >= COVERED_SHARE
    objects[shown] = facts["object"]
    motions[shown] = facts["motion"]
    colours = np.where(shown, facts["colour"], 0)
    centres = _axis(grid, span)
    letters = _letters(scene, centres) if scene.word else np.zeros((grid, grid), np.int64)
    inside = _patch_share(in_frame, grid) > 0.5
    return {
        "object": objects, "colour": colours, "letter": letters, "motion": motions,
        "centre": _centres(places, grid, span, width, height), "inside": inside,
    }  # fmt: skip
