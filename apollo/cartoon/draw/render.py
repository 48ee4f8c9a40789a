"""Draws a video: one frame, the frames of a clip, and a frame without its objects.

In:  a Cartoon and a time.  Out: uint8 RGB (H, W, 3); T frames of a clip as (T, H, W, 3).
Odd: drawn at the asked-for size, never enlarged afterwards. A frame that is no square (`aspect`:
     width / height) shows the same square scene in the middle of a longer background.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from apollo.cartoon.draw.backdrops import NUM_VARIANTS, backdrop
from apollo.cartoon.draw.layout import MARGIN, Placement, layout_of
from apollo.cartoon.draw.lettering import word_picture
from apollo.cartoon.draw.placement import place_objects, place_second
from apollo.cartoon.draw.sprites import scaled
from apollo.cartoon.world.facts import BACKGROUNDS
from apollo.cartoon.world.scenes import (
    CLIP_DURATION_S,
    FRAME_STEP_S,
    FRAMES_PER_CLIP,
    Cartoon,
    Scene,
)

OWN_OUTLINE = {"white": False, "black": True}  # such shapes need the other one everywhere


def frame_shape_px(size_px: int, aspect: float) -> tuple[int, int]:
    """(height, width) of a frame with this shorter side; the longer one is even, as files need."""
    longer = size_px if aspect == 1 else 2 * round(size_px * max(aspect, 1 / aspect) / 2)
    return (size_px, longer) if aspect >= 1 else (longer, size_px)


def _blend(frame: np.ndarray, rgba: np.ndarray, left: int, top: int) -> None:
    """Lays premultiplied `rgba` over `frame` in place; parts outside are cut off."""
    height, width = rgba.shape[:2]
    y0, y1 = max(0, top), min(frame.shape[0], top + height)
    x0, x1 = max(0, left), min(frame.shape[1], left + width)
    if y0 >= y1 or x0 >= x1:
        return
    over = rgba[y0 - top : y1 - top, x0 - left : x1 - left]
    under = frame[y0:y1, x0:x1]
    keep = 256 - over[..., 3:4].astype(np.uint16)  # (h, w, 1)
    under[:] = np.minimum(over[..., :3] + ((under * keep) >> 8), 255)


def _turned(rgba: np.ndarray, angle_deg: float) -> np.ndarray:
    """Turned clockwise around its centre, on a square large enough for the corners."""
    side = rgba.shape[0]
    new_side = int(np.ceil(side * 1.42))
    matrix = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), -angle_deg, 1.0)
    matrix[:, 2] += (new_side - side) / 2
    return cv2.warpAffine(rgba, matrix, (new_side, new_side), flags=cv2.INTER_LINEAR)


def _draw_object(
    frame: np.ndarray, scene: Scene, name: str, colour: str | None, place: Placement
) -> None:
    height, width = frame.shape[:2]
    light = BACKGROUNDS[scene.background].light_outline
    light = OWN_OUTLINE.get(colour or "", light)
    unit_px = min(height, width)
    size_px = max(2, round(place.size * unit_px))
    rgba = scaled(name, colour, light, layout_of(scene).mirrored, size_px)
    if place.angle_deg:
        rgba = _turned(rgba, place.angle_deg)
    x_px = place.x * unit_px + (width - unit_px) / 2
    y_px = place.y * unit_px + (height - unit_px) / 2
    half = rgba.shape[0] / 2
    _blend(frame, rgba, round(x_px - half), round(y_px - half))


def word_box(scene: Scene) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the word's picture, in units of the frame's shorter side."""
    assert scene.word is not None
    text = layout_of(scene).text
    image = word_picture(scene.word, text.font, text.colour)
    cap = min(text.cap_height, (1 - MARGIN) / image.caps_wide)
    width, height = cap * image.caps_wide, cap * image.caps_high
    left = text.x * (1 - width)
    return left, text.y - height / 2, left + width, text.y + height / 2


@lru_cache(maxsize=64)
def _scaled_word(word: str, font: int, ink: int, width_px: int, height_px: int) -> np.ndarray:
    source = word_picture(word, font, ink).rgba
    how = cv2.INTER_AREA if width_px < source.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(source, (width_px, height_px), interpolation=how)


def _draw_word(frame: np.ndarray, scene: Scene) -> None:
    assert scene.word is not None
    height, width = frame.shape[:2]
    text = layout_of(scene).text
    left, top, right, bottom = word_box(scene)
    unit_px = min(height, width)
    width_px, height_px = round((right - left) * unit_px), round((bottom - top) * unit_px)
    rgba = _scaled_word(scene.word, text.font, text.colour, width_px, height_px)
    left_px, top_px = left * unit_px + (width - unit_px) / 2, top * unit_px + (height - unit_px) / 2
    _blend(frame, rgba, round(left_px), round(top_px))


def render_backdrop(scene: Scene, size_px: int, *, aspect: float = 1.0) -> np.ndarray:
    """The scene's background and nothing else, (H, W, 3)."""
    variant = layout_of(scene).shade % NUM_VARIANTS
    return backdrop(scene.background, variant, *frame_shape_px(size_px, aspect)).copy()


def render_frame(video: Cartoon, t_s: float, size_px: int, *, aspect: float = 1.0) -> np.ndarray:
    """The frame at `t_s`, (H, W, 3); `size_px` is the shorter side, `aspect` W / H."""
    scene_t_s, scene = video.at(t_s)
    frame = render_backdrop(scene, size_px, aspect=aspect)
    second = place_second(scene, scene_t_s, aspect=aspect)
    if scene.second_object is not None and second is not None:
        _draw_object(frame, scene, scene.second_object, None, second)
    for place in place_objects(scene, scene_t_s, aspect=aspect):
        _draw_object(frame, scene, scene.object, scene.colour, place)
    if scene.word is not None:
        _draw_word(frame, scene)
    return frame


def clip_times_s(clip_index: int) -> list[float]:
    """When the frames of a clip are taken, in seconds from the start of the video."""
    start_s = clip_index * CLIP_DURATION_S
    return [start_s + i * FRAME_STEP_S for i in range(FRAMES_PER_CLIP)]


def render_clip(
    video: Cartoon, clip_index: int, size_px: int, *, aspect: float = 1.0
) -> np.ndarray:
    """The frames the model sees of a clip, (T, H, W, 3)."""
    times_s = clip_times_s(clip_index)
    return np.stack([render_frame(video, t_s, size_px, aspect=aspect) for t_s in times_s])
