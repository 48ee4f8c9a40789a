"""The cartoon world: pixels, labels and text of a video must say the same thing."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from apollo.errors import SettingError
from apollo.train.cartoon import facts, make_sprites
from apollo.train.cartoon.encode import iter_frames, num_frames, write_video
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
from apollo.train.cartoon.sprites import picture
from apollo.train.cartoon.world import (
    CLIP_DURATION_S,
    FRAMES_PER_CLIP,
    Scene,
    Video,
    can_stand_out,
    has_held_out_pair,
    held_out_pair,
    is_held_out,
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


def edits(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


# --- the vocabulary


def test_plurals_and_articles_are_right() -> None:
    plurals = {thing.singular: thing.plural for thing in facts.OBJECTS}
    irregular = {
        "mouse": "mice", "sheep": "sheep", "fish": "fish", "snowman": "snowmen", "fox": "foxes",
        "octopus": "octopuses", "butterfly": "butterflies", "strawberry": "strawberries",
        "cactus": "cactuses", "bus": "buses",
    }  # fmt: skip
    assert {s: p for s, p in plurals.items() if p != s + "s"} == irregular
    with_an = {thing.singular for thing in facts.OBJECTS if thing.article == "an"}
    assert with_an == {thing.singular for thing in facts.OBJECTS if thing.singular[0] in "aeiou"}


def test_names_are_unique_and_of_the_promised_number() -> None:
    names = [n for t in facts.OBJECTS for n in {t.singular, t.plural}]
    assert len(names) == len(set(names))
    numbers = (len(facts.SPRITES), len(facts.SHAPES), len(facts.BACKGROUNDS), len(facts.MOTIONS))
    assert numbers == (64, 6, 12, 9)
    assert set(facts.SLOT_SIZES) == set(facts_of_clip(video_from_seed(0), 0))


def test_words_differ_by_two_letters_at_least() -> None:
    assert len(set(facts.WORDS)) == 40
    assert all(4 <= len(word) <= 7 and word.isupper() for word in facts.WORDS)
    assert min(edits(a, b) for a, b in itertools.combinations(facts.WORDS, 2)) >= 2


def test_every_object_has_its_own_picture() -> None:
    small = {}
    for thing in facts.OBJECTS:
        rgba = picture(thing.singular, "red" if thing.is_shape else None, True, False)
        assert 0.1 < (rgba[..., 3] > 127).mean() < 0.95, thing
        small[thing.singular] = rgba[::8, ::8][:16, :16].astype(float) if thing.glyph else None
    sprites = {name: pixels for name, pixels in small.items() if pixels is not None}
    distances = [np.abs(a - b).mean() for a, b in itertools.combinations(sprites.values(), 2)]
    assert min(distances) > 15  # of 255: nothing comes twice


# --- sampling and the held-out rule


def test_a_seed_decides_everything() -> None:
    first, second = video_from_seed(7), video_from_seed(7)
    assert first == second and first != video_from_seed(8)
    np.testing.assert_array_equal(render_clip(first, 0, 96), render_clip(second, 0, 96))


def test_a_seed_gives_the_same_video_in_another_process() -> None:
    code = "from apollo.train.cartoon.world import video_from_seed as v; import sys; "
    code += "sys.stdout.write(repr([v(s, split='held-out') for s in range(20)]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == repr([video_from_seed(s, split="held-out") for s in range(20)])


def test_training_never_shows_what_is_held_out() -> None:
    scenes = [scene for seed in range(1500) for scene in video_from_seed(seed).scenes]
    assert len(scenes) > 3000
    assert not any(is_held_out(scene) or has_held_out_pair(scene) for scene in scenes)


def test_held_out_scenes_always_have_a_held_out_pair_and_cover_every_object() -> None:
    rng = np.random.default_rng(0)
    videos = [sample_video(rng, split="held-out") for _ in range(1000)]
    scenes = [scene for video in videos for scene in video.scenes]
    assert all(has_held_out_pair(scene) and is_held_out(scene) for scene in scenes)
    assert {scene.object for scene in scenes} == {thing.singular for thing in facts.OBJECTS}


def test_a_few_per_cent_of_the_pairs_are_held_out() -> None:
    pairs = [held_out_pair(thing.singular) for thing in facts.SPRITES]
    for kind, number in (("background", 12), ("motion", 9)):
        share = sum(k == kind for k, _ in pairs) / (len(pairs) * number)
        assert 0.02 < share < 0.08


def test_scenes_of_a_video_can_be_told_apart() -> None:
    for seed in range(300):
        video = video_from_seed(seed, num_scenes=4)
        names = [n for s in video.scenes for n in (s.object, s.second_object) if n]
        words = [s.word for s in video.scenes if s.word]
        backgrounds = [s.background for s in video.scenes]
        assert len(names) == len(set(names)) and len(words) == len(set(words))
        assert all(a != b for a, b in itertools.pairwise(backgrounds))
        assert all(can_stand_out(s.colour, s.background) for s in video.scenes)
        assert video.num_clips == sum(s.duration_s for s in video.scenes) / CLIP_DURATION_S


# --- pixels and labels agree


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
        assert np.abs(small - shrunk).mean() < 6


def test_a_wide_frame_has_the_square_scene_in_its_middle() -> None:
    video = Video((scene_of(motion="left", background="white"),))
    square, wide = render_frame(video, 0.5, 180), render_frame(video, 0.5, 180, wide=True)
    assert square.shape == (180, 180, 3) and wide.shape == (180, 320, 3)
    middle = wide[:, 70:250].astype(int)
    assert np.abs(middle - square).mean() < 6
    assert (np.abs(wide[:, :60].astype(int) - wide[:, :60].mean()) < 25).all()


# --- files


@pytest.mark.parametrize(("wide", "fps"), [(False, 8), (True, 5)])
def test_a_written_video_decodes_to_what_was_drawn(tmp_path: Path, wide: bool, fps: int) -> None:
    video = video_from_seed(3, num_scenes=2)
    path = tmp_path / "video.mp4"
    write_video(video, path, size_px=192, fps=fps, wide=wide)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == fps
        assert float((stream.duration or 0) * stream.time_base) == pytest.approx(video.duration_s)
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    drawn = list(iter_frames(video, size_px=192, fps=fps, wide=wide))
    assert len(decoded) == len(drawn) == num_frames(video, fps) == video.duration_s * fps
    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(decoded, drawn, strict=True)]
    assert max(errors) < 5
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # plays before it is fully loaded


def test_the_frames_of_a_clip_are_frames_of_the_file() -> None:
    video = video_from_seed(5, num_scenes=2)
    frames = list(iter_frames(video, size_px=96, fps=8))
    for clip in range(video.num_clips):
        first = round(clip * CLIP_DURATION_S * 8)
        wanted = np.stack(frames[first : first + 16 : 4])  # (T, H, W, 3)
        assert len(wanted) == FRAMES_PER_CLIP
        np.testing.assert_array_equal(render_clip(video, clip, 96), wanted)


@pytest.mark.parametrize("setting", [{"size_px": 97}, {"size_px": 16}, {"fps": 0}])
def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path, setting: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="choose"):
        write_video(video_from_seed(0), tmp_path / "x.mp4", **setting)


def test_a_file_that_is_no_font_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(SettingError, match="not a usable font"):
        make_sprites.make_sheet(path)


def test_the_sprite_sheet_holds_the_vocabulary() -> None:
    index = json.loads((Path(make_sprites.__file__).parent / "sprites.json").read_text())
    assert index["names"] == [thing.singular for thing in facts.SPRITES]
    assert index["cell_px"] == make_sprites.CELL_PX
