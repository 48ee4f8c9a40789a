"""The cartoon world: the labels of a video say what its pixels show, and where."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from apollo.cartoon.draw.labels import dense_labels, facts_of_clip
from apollo.cartoon.draw.lettering import TYPEFACES, word_picture
from apollo.cartoon.draw.placement import place_objects, place_second
from apollo.cartoon.draw.render import (
    clip_times_s,
    render_backdrop,
    render_clip,
    render_frame,
    word_box,
)
from apollo.cartoon.world import facts
from apollo.cartoon.world.scenes import Cartoon, Scene, sample_video, video_from_seed

PASSING = facts.PASSING_MOTIONS
STEADY = [motion for motion in facts.MOTIONS if motion not in PASSING]


def scene_of(**changes: object) -> Scene:
    plain: dict[str, object] = {
        "object": "cat", "colour": None, "count": 1, "motion": "still", "background": "blue",
        "position": None, "word": None, "second_object": None, "duration_s": 2.0, "look_seed": 1,
    }  # fmt: skip
    return Scene(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("motion", STEADY)
@pytest.mark.parametrize("duration_s", [2.0, 4.0, 6.0])
def test_every_clip_shows_the_motion(motion: str, duration_s: float) -> None:
    """Measured in the labels: direction, jumps, size and turn, in every clip of the scene."""
    counts_and_seeds = itertools.product((1, 3, 5), range(4))
    for count, seed in counts_and_seeds:
        scene = scene_of(motion=motion, count=count, look_seed=seed, duration_s=duration_s)
        video = Cartoon((scene,))
        for clip in range(video.num_clips):
            seen = [dense_labels(video, t_s, 48)["object"] > 0 for t_s in clip_times_s(clip)]
            assert measured_motion(seen, video, clip) == motion, (count, seed, clip)


def measured_motion(seen: list[np.ndarray], video: Cartoon, clip: int) -> str:
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
    for name, thing in facts.SHAPES.items():
        if thing.spin_step_deg is None:
            continue
        for seed in range(8):
            scene = scene_of(object=name, colour="red", motion="spin", look_seed=seed)
            frames = render_clip(Cartoon((scene,)), 0, 96).astype(int)
            for a, b in itertools.pairwise(frames):
                assert (np.abs(a - b).max(axis=-1) > 60).sum() > 30, (name, seed)


@pytest.mark.parametrize("seed", range(12))
def test_object_labels_cover_the_changed_pixels(seed: int) -> None:
    grid, size_px = 24, 240
    rng = np.random.default_rng(seed)
    video = sample_video(rng, num_scenes=1)
    scene = Scene(**{**video.scenes[0].__dict__, "word": None})
    if seed >= 8:  # a turned picture must have turned labels
        scene = scene_of(object="carrot", motion="spin", look_seed=seed)
    video = Cartoon((scene,))
    for t_s in clip_times_s(0):
        frame = render_frame(video, t_s, size_px).astype(int)
        changed = np.abs(frame - render_backdrop(scene, size_px)).max(axis=-1) > 24
        share = changed.reshape(grid, 10, grid, 10).mean(axis=(1, 3))  # (G, G)
        labelled = dense_labels(video, t_s, grid)["object"] > 0
        assert share[~labelled].mean() < 0.03
        if labelled.any():  # it may be outside when it enters or leaves
            assert share[labelled].mean() > 0.75
            assert labelled[share > 0.9].mean() > 0.95


def test_labels_name_object_colour_and_second_object() -> None:
    scene = scene_of(object="star", colour="pink", second_object="owl", relation="left of")
    labels = dense_labels(Cartoon((scene,)), 0.0, 16)
    star, owl = (facts.SLOT_IDS["object"][name] for name in ("star", "owl"))
    assert set(np.unique(labels["object"])) == {0, star, owl}
    assert set(np.unique(labels["colour"][labels["object"] == star])) == {
        facts.SLOT_IDS["colour"]["pink"]
    }
    assert set(np.unique(labels["colour"][labels["object"] != star])) == {0}
    assert not labels["letter"].any()


@pytest.mark.parametrize("seed", range(len(TYPEFACES) * 3))
def test_letters_are_where_the_labels_say(seed: int) -> None:
    scene = scene_of(word=facts.WORDS[seed], look_seed=seed)
    video = Cartoon((scene,))
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


@pytest.mark.slow
def test_words_are_large_and_inside_the_frame() -> None:
    for word, seed in itertools.product(facts.WORDS, range(10)):
        scene = scene_of(word=word, look_seed=seed)
        left, top, right, bottom = word_box(scene)
        assert 0 <= left < right <= 1 and -0.02 < top < bottom < 1.02
        image = word_picture(word, seed, 0)
        assert (bottom - top) / image.caps_high >= 0.09


@pytest.mark.slow
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
                single = 0.2 if scene.second_object else 0.26
                assert place.size >= (single if scene.count == 1 else least)
                if scene.motion in PASSING:
                    continue
                assert 0.08 < place.x < 0.92 and 0.08 < place.y < 0.92
        assert max(p.size for t in clip_times_s(0) for p in place_objects(scene, t)) >= 0.2


def test_a_position_is_where_the_object_is() -> None:
    for (name, (column, row)), seed in itertools.product(facts.POSITIONS.items(), range(5)):
        word = facts.WORDS[seed] if seed % 2 else None
        scene = scene_of(position=name, word=word, look_seed=seed)
        mask = dense_labels(Cartoon((scene,)), 0.0, 48)["object"] > 0
        y, x = np.argwhere(mask).mean(axis=0) / 48
        assert (int(x * 3), int(y * 3)) == (column, row), (name, seed)


def test_slots_are_none_where_nothing_is_shown() -> None:
    slots = facts_of_clip(Cartoon((scene_of(),)), 0)
    assert [k for k, v in slots.items() if v == 0] == [
        "colour", "word", "place", "second_object",
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
    video = Cartoon((scene_of(motion="left", background="white"),))
    square, wide = render_frame(video, 0.5, 180), render_frame(video, 0.5, 180, aspect=16 / 9)
    assert square.shape == (180, 180, 3) and wide.shape == (180, 320, 3)
    middle = wide[:, 70:250].astype(int)
    assert np.abs(middle - square).mean() < 6
    assert (np.abs(wide[:, :60].astype(int) - wide[:, :60].mean()) < 25).all()


def test_a_tall_frame_has_the_square_scene_in_its_middle() -> None:
    video = Cartoon((scene_of(motion="down", background="white"),))
    square, tall = render_frame(video, 0.5, 180), render_frame(video, 0.5, 180, aspect=3 / 4)
    assert tall.shape == (240, 180, 3)
    assert np.abs(tall[30:210].astype(int) - square).mean() < 6


@pytest.mark.parametrize("aspect", [1.0, 4 / 3, 16 / 9, 3 / 4])
def test_labels_lie_on_the_frame_padded_to_a_square(aspect: float) -> None:
    grid = 24
    for seed in range(4):
        video = Cartoon((scene_of(background="white", look_seed=seed),))
        frame = render_frame(video, 0.0, 180, aspect=aspect).astype(int)
        height, width = frame.shape[:2]
        side = max(height, width)
        padded = np.zeros((side, side), bool)
        top, left = (side - height) // 2, (side - width) // 2
        backdrop = render_backdrop(video.scenes[0], 180, aspect=aspect)
        changed = np.abs(frame - backdrop).max(axis=-1) > 24
        padded[top : top + height, left : left + width] = changed
        labels = dense_labels(video, 0.0, grid, aspect=aspect)
        edges = np.arange(grid + 1) * side // grid
        share = np.add.reduceat(np.add.reduceat(padded, edges[:-1], 0), edges[:-1], 1)
        share = share / (side / grid) ** 2  # (G, G)
        assert share[labels["object"] > 0].mean() > 0.7
        assert share[labels["object"] == 0].mean() < 0.03
        wanted = (height / side) * (width / side)
        assert abs(labels["inside"].mean() - wanted) < 0.09


def shown_x(video: Cartoon, t_s: float, aspect: float = 1.0) -> float | None:
    """Where the object's patches are in the middle, None where none is."""
    mask = dense_labels(video, t_s, 32, aspect=aspect)["object"] > 0
    return float(np.argwhere(mask)[:, 1].mean()) if mask.any() else None


@pytest.mark.parametrize("motion", PASSING)
@pytest.mark.parametrize("empty_s", [0.0, 2.0])
@pytest.mark.parametrize("aspect", [1.0, 16 / 9])
def test_what_enters_or_leaves_does_so_once(motion: str, empty_s: float, aspect: float) -> None:
    enters = motion in facts.ENTER_MOTIONS
    for count, seed in itertools.product((1, 4), range(4)):
        scene = scene_of(
            motion=motion, count=count, duration_s=2 + empty_s, empty_s=empty_s, look_seed=seed
        )
        video = Cartoon((scene,))
        for clip in range(video.num_clips):
            xs = [shown_x(video, t_s, aspect) for t_s in clip_times_s(clip)]
            facts_here = facts_of_clip(video, clip)
            moving = clip == (video.num_clips - 1 if enters else 0)
            assert bool(facts_here["object"]) == moving
            if not moving:
                assert xs == [None] * 4 and facts_here["motion"] == facts_here["count"] == 0
                continue
            full = xs[-1] if enters else xs[0]
            path = [x for x in xs if x is not None]
            assert full is not None and len(path) >= 2
            steps = np.diff(path)
            assert (steps > 0).all() == (motion in ("enter left", "leave right"))
            assert (steps < 0).all() == (motion in ("enter right", "leave left"))
        first, last = shown_x(video, 0.0, aspect), shown_x(video, video.duration_s - 0.01, aspect)
        assert (last is not None) if enters else (first is not None)
        if empty_s or not enters:
            assert (first is None) if enters else (last is None)


@pytest.mark.parametrize(
    ("motion", "relation"),
    [(m, r) for m, relations in facts.RELATIONS_OF_MOTION.items() for r in relations],
)
def test_a_relation_holds_in_every_sampled_frame(motion: str, relation: str) -> None:
    for seed, aspect in itertools.product(range(6), (1.0, 16 / 9, 3 / 4)):
        scene = scene_of(
            motion=motion, relation=relation, second_object="dog", look_seed=seed,
            word="HELLO" if seed % 2 else None,
        )  # fmt: skip
        offsets = []
        for t_s in clip_times_s(0):
            second = place_second(scene, t_s, aspect=aspect)
            (main,) = place_objects(scene, t_s, aspect=aspect)
            assert second is not None
            x, y = main.x - second.x, main.y - second.y
            touch = (main.size + second.size) / 2
            assert max(abs(x), abs(y)) > 0.95 * touch  # the two do not cover each other
            for place in (main, second):
                assert all(place.size / 2 - 0.01 <= at <= 1.01 - place.size / 2
                           for at in (place.x, place.y))  # fmt: skip
            offsets.append((x, y))
        x, y = np.mean(offsets, axis=0)
        ahead = 1 if motion == "right" else -1
        seen = {
            "left of": x < 0 and abs(y) < abs(x),
            "right of": x > 0 and abs(y) < abs(x),
            "above": y < 0 and abs(x) < abs(y),
            "below": y > 0 and abs(x) < abs(y),
        }
        if relation == "follows":
            assert x * ahead < 0 and abs(y) < 0.01, (seed, offsets)
        else:
            assert [name for name, holds in seen.items() if holds] == [relation], (seed, offsets)


def test_a_shifted_cut_moves_the_switch_and_nothing_else() -> None:
    first, then = scene_of(duration_s=4.0), scene_of(object="dog", motion="left", background="red")
    plain, late = Cartoon((first, then)), Cartoon((first, then), (0.7,))
    early = Cartoon((first, then), (-0.6,))
    assert (plain.at(3.9)[1], plain.at(4.0)) == (first, (0.0, then))
    assert late.at(4.6)[1] == first and late.at(4.75) == (0.75, then)
    assert early.at(3.3)[1] == first and early.at(3.5) == (-0.5, then)
    for video in (plain, late, early):
        assert [facts_of_clip(video, clip) for clip in range(3)] == [
            facts_of_clip(plain, clip) for clip in range(3)
        ]
        np.testing.assert_array_equal(render_frame(video, 5.0, 96), render_frame(plain, 5.0, 96))
    assert list(late.shown_spans()) == [(0.0, 4.7, first), (4.7, 6.0, then)]
