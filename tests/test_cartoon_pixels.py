"""The cartoon world: the labels of a video say what its pixels show, and where."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from apollo.train.cartoon import facts
from apollo.train.cartoon.labels import dense_labels, facts_of_clip
from apollo.train.cartoon.layout import place_objects
from apollo.train.cartoon.lettering import TYPEFACES, word_picture
from apollo.train.cartoon.render import (
    clip_times_s,
    render_backdrop,
    render_clip,
    render_frame,
    word_box,
)
from apollo.train.cartoon.world import (
    Scene,
    Video,
    sample_video,
    video_from_seed,
)

MOTION_NAMES = [motion.name for motion in facts.MOTIONS]


def scene_of(**changes: object) -> Scene:
    plain: dict[str, object] = {
        "object": "cat", "colour": None, "count": 1, "motion": "still", "background": "blue",
        "position": None, "word": None, "second_object": None, "duration_s": 2.0, "look_seed": 1,
    }  # fmt: skip
    return Scene(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("motion", MOTION_NAMES)
@pytest.mark.parametrize("duration_s", [2.0, 4.0, 6.0])
def test_every_clip_shows_the_motion(motion: str, duration_s: float) -> None:
    """Measured in the labels: direction, jumps, size and turn, in every clip of the scene."""
    counts_and_seeds = itertools.product((1, 3, 5), range(4))
    for count, seed in counts_and_seeds:
        scene = scene_of(motion=motion, count=count, look_seed=seed, duration_s=duration_s)
        video = Video((scene,))
        for clip in range(video.num_clips):
            seen = [dense_labels(video, t_s, 48)["object"] > 0 for t_s in clip_times_s(clip)]
            assert measured_motion(seen, video, clip) == motion, (count, seed, clip)


def measured_motion(seen: list[np.ndarray], video: Video, clip: int) -> str:
    """Names the motion from object masks (G, G) of the frames of a clip."""
    centres = np.array([np.argwhere(mask).mean(axis=0) / mask.shape[0] for mask in seen])  # y, x
    steps = np.diff(centres, axis=0)
    growth = np.sqrt(seen[-1].sum() / seen[0].sum())
    if growth > 1.4 or growth < 1 / 1.4:
        return "bigger" if growth > 1 else "smaller"
    if np.all(np.abs(steps[:, 0]) > 0.12) and steps[0, 0] < 0 < steps[1, 0]:
        return "bounce"
    moved_y, moved_x = centres[-1] - centres[0]
    if max(abs(moved_x), abs(moved_y)) >= 0.2:
        assert min(abs(moved_x), abs(moved_y)) < 0.03
        if abs(moved_x) > abs(moved_y):
            return "right" if moved_x > 0 else "left"
        return "down" if moved_y > 0 else "up"
    frames = render_clip(video, clip, 96).astype(int)
    changed = [np.abs(a - b).mean() for a, b in itertools.pairwise(frames)]
    return "spin" if min(changed) > 0.5 else "still"


def test_shapes_turn_by_an_angle_that_shows() -> None:
    for thing in facts.SHAPES:
        if thing.spin_step_deg is None:
            continue
        for seed in range(8):
            scene = scene_of(object=thing.singular, colour="red", motion="spin", look_seed=seed)
            frames = render_clip(Video((scene,)), 0, 96).astype(int)
            for a, b in itertools.pairwise(frames):
                assert (np.abs(a - b).max(axis=-1) > 60).sum() > 30, (thing.singular, seed)


@pytest.mark.parametrize("seed", range(12))
def test_object_labels_cover_the_changed_pixels(seed: int) -> None:
    grid, size_px = 24, 240
    rng = np.random.default_rng(seed)
    video = sample_video(rng, num_scenes=1)
    scene = Scene(**{**video.scenes[0].__dict__, "word": None})
    if seed >= 8:  # a turned picture must have turned labels
        scene = scene_of(object="carrot", motion="spin", look_seed=seed)
    video = Video((scene,))
    for t_s in clip_times_s(0):
        frame = render_frame(video, t_s, size_px).astype(int)
        changed = np.abs(frame - render_backdrop(scene, size_px)).max(axis=-1) > 24
        share = changed.reshape(grid, 10, grid, 10).mean(axis=(1, 3))  # (G, G)
        labelled = dense_labels(video, t_s, grid)["object"] > 0
        assert share[labelled].mean() > 0.75
        assert share[~labelled].mean() < 0.03
        assert labelled[share > 0.9].mean() > 0.95


def test_labels_name_object_colour_and_second_object() -> None:
    scene = scene_of(object="star", colour="pink", second_object="owl", count=1)
    labels = dense_labels(Video((scene,)), 0.0, 16)
    star, owl = facts.OBJECT_ID["star"], facts.OBJECT_ID["owl"]
    assert set(np.unique(labels["object"])) == {0, star, owl}
    assert set(np.unique(labels["colour"][labels["object"] == star])) == {facts.COLOUR_ID["pink"]}
    assert set(np.unique(labels["colour"][labels["object"] != star])) == {0}
    assert not labels["letter"].any()


@pytest.mark.parametrize("seed", range(len(TYPEFACES) * 3))
def test_letters_are_where_the_labels_say(seed: int) -> None:
    scene = scene_of(word=facts.WORDS[seed], look_seed=seed)
    video = Video((scene,))
    letters = dense_labels(video, 0.0, 48)["letter"]
    row = letters[np.argmax((letters > 0).sum(axis=1))]
    read = "".join(facts.LETTERS[i - 1] for i, _ in itertools.groupby(row) if i)
    assert read == "".join(letter for letter, _ in itertools.groupby(scene.word or ""))
    frame = render_frame(video, 0.0, 240).astype(int)
    changed = np.abs(frame - render_backdrop(scene, 240)).max(axis=-1) > 60
    inside = np.kron(letters > 0, np.ones((5, 5), bool))
    assert changed[inside].mean() > 0.25


@pytest.mark.parametrize("font", range(len(TYPEFACES)))
def test_letter_edges_lie_between_the_letters(font: int) -> None:
    for word in facts.WORDS:
        image = word_picture(word, font, 0)  # white letters, nearly black around them
        ink = (image.rgba[..., 0] > 127).sum(axis=0)  # (W,) white pixels in each column
        edges = [round(share * len(ink)) for share in image.edges]
        assert len(edges) == len(word) + 1
        for left, right in itertools.pairwise(edges):
            assert ink[left:right].sum() > 200
        if TYPEFACES[font] != "slanted":  # slanted letters reach over their edges
            assert all(ink[max(0, edge - 1) : edge + 1].sum() == 0 for edge in edges)


def test_words_are_large_and_inside_the_frame() -> None:
    for word, seed in itertools.product(facts.WORDS, range(10)):
        scene = scene_of(word=word, look_seed=seed)
        left, top, right, bottom = word_box(scene)
        assert 0 <= left < right <= 1 and -0.02 < top < bottom < 1.02
        image = word_picture(word, seed, 0)
        assert (bottom - top) / image.caps_high >= 0.09


def test_no_object_covers_the_word() -> None:
    for seed in range(400):
        video = video_from_seed(seed, num_scenes=1)
        if video.scenes[0].word is None:
            continue
        for t_s in clip_times_s(0):
            labels = dense_labels(video, t_s, 24)
            assert not ((labels["object"] > 0) & (labels["letter"] > 0)).any(), seed


def test_objects_are_large_and_stay_in_the_frame_when_sampled() -> None:
    for seed in range(400):
        video = video_from_seed(seed, num_scenes=1)
        scene = video.scenes[0]
        for t_s in clip_times_s(0):
            for place in place_objects(scene, t_s):
                least = 0.14 if scene.motion in ("bigger", "smaller") else 0.2
                assert place.size >= (0.26 if scene.count == 1 else least)
                assert 0.08 < place.x < 0.92 and 0.08 < place.y < 0.92
        assert max(p.size for t in clip_times_s(0) for p in place_objects(scene, t)) >= 0.2


def test_a_position_is_where_the_object_is() -> None:
    for (name, (column, row, _)), seed in itertools.product(facts.POSITIONS.items(), range(5)):
        word = facts.WORDS[seed] if seed % 2 else None
        scene = scene_of(position=name, word=word, look_seed=seed)
        mask = dense_labels(Video((scene,)), 0.0, 48)["object"] > 0
        y, x = np.argwhere(mask).mean(axis=0) / 48
        assert (int(x * 3), int(y * 3)) == (column, row), (name, seed)


def test_slots_are_none_where_nothing_is_shown() -> None:
    slots = facts_of_clip(Video((scene_of(),)), 0)
    assert [k for k, v in slots.items() if v == 0] == [
        "colour", "word", "position", "second_object",
    ]  # fmt: skip
    for seed in range(200):
        video = video_from_seed(seed)
        for clip in range(video.num_clips):
            for slot, value in facts_of_clip(video, clip).items():
                assert 0 <= value < facts.SLOT_SIZES[slot]


def test_every_size_shows_the_same_scene() -> None:
    for seed in range(6):
        video = video_from_seed(seed)
        small = render_frame(video, 0.5, 96).astype(float)
        big = render_frame(video, 0.5, 480).astype(float)
        shrunk = big.reshape(96, 5, 96, 5, 3).mean(axis=(1, 3))
        other = render_frame(video_from_seed(seed + 6), 0.5, 96).astype(float)
        assert np.abs(small - shrunk).mean() < 12  # lines fall on other pixels, no more
        assert np.abs(other - shrunk).mean() > 30


def test_a_wide_frame_has_the_square_scene_in_its_middle() -> None:
    video = Video((scene_of(motion="left", background="white"),))
    square, wide = render_frame(video, 0.5, 180), render_frame(video, 0.5, 180, wide=True)
    assert square.shape == (180, 180, 3) and wide.shape == (180, 320, 3)
    middle = wide[:, 70:250].astype(int)
    assert np.abs(middle - square).mean() < 6
    assert (np.abs(wide[:, :60].astype(int) - wide[:, :60].mean()) < 25).all()
