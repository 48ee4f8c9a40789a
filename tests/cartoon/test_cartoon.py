"""The cartoon world: its vocabulary, the held-out rule, and the files it is written to."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from apollo.cartoon.draw.labels import facts_of_clip
from apollo.cartoon.draw.render import render_clip
from apollo.cartoon.draw.sprites import FOLDER, picture
from apollo.cartoon.draw.video_file import iter_frames, num_frames, write_video
from apollo.cartoon.talk.phrases import ENGLISH, PHRASES
from apollo.cartoon.world import facts
from apollo.cartoon.world.scenes import (
    CLIP_DURATION_S,
    FRAMES_PER_CLIP,
    can_stand_out,
    has_held_out_pair,
    held_out_pair,
    is_held_out,
    sample_video,
    video_from_seed,
)
from apollo.errors import SettingError
from examples.nano import make_sprites

CALLED = ENGLISH.called


def edits(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


# --- the vocabulary


@pytest.mark.parametrize("language", PHRASES)
def test_everything_has_a_name_of_its_own_in_every_language(language: str) -> None:
    called = PHRASES[language].called
    assert len(facts.OBJECTS) == 100
    names = [form for name in facts.OBJECTS for form in set(called["object"][name])]
    assert len(names) == len(set(names))
    for kind, values in (
        ("object", facts.THINGS), ("colour", facts.COLOURS), ("background", facts.BACKGROUNDS),
        ("where", facts.BACKGROUNDS), ("verb", facts.MOTIONS), ("position", facts.POSITIONS),
        ("relation", facts.RELATIONS), ("number", map(str, facts.COUNTS)),
    ):  # fmt: skip
        assert list(called[kind]) == list(values), kind
    assert set(PHRASES[language].names("cat")) >= {"a", "the", "it", "measure"}


def test_plurals_and_articles_are_right() -> None:
    plurals = {name: CALLED["object"][name][1] for name in facts.OBJECTS}
    irregular = {
        "mouse": "mice", "sheep": "sheep", "fish": "fish", "snowman": "snowmen", "fox": "foxes",
        "octopus": "octopuses", "butterfly": "butterflies", "strawberry": "strawberries",
        "cactus": "cactuses", "bus": "buses", "trophy": "trophies",
    }  # fmt: skip
    assert {s: p for s, p in plurals.items() if p != s + "s"} == irregular
    assert ENGLISH.a_noun("owl") == "an owl" and ENGLISH.a_noun("cat") == "a cat"
    assert ENGLISH.a_noun("star", "orange") == "an orange star"
    assert ENGLISH.a_noun("mouse", count=3) == "three mice"


def test_chinese_nouns_have_their_measure_words() -> None:
    zh = PHRASES["zh"]
    assert all(re.fullmatch("[\u4e00-\u9fff]", zh.measure(name)) for name in facts.OBJECTS)
    assert zh.a_noun("cat") == "一只猫" and zh.a_noun("apple", count=2) == "两个苹果"
    assert zh.a_noun("circle", "red", 3) == "三个红色圆形"


def test_the_world_is_as_large_as_the_model_card_says() -> None:
    numbers = (len(facts.SPRITES), len(facts.SHAPES), len(facts.BACKGROUNDS), len(facts.MOTIONS))
    assert numbers == (94, 6, 12, 13)
    assert set(facts.SLOT_SIZES) == set(facts_of_clip(video_from_seed(0), 0))


def test_words_differ_by_two_letters_at_least() -> None:
    assert len(set(facts.WORDS)) == 40
    assert all(4 <= len(word) <= 7 and word.isupper() for word in facts.WORDS)
    assert min(edits(a, b) for a, b in itertools.combinations(facts.WORDS, 2)) >= 2


def test_every_object_has_its_own_picture() -> None:
    small = {}
    for name, thing in facts.OBJECTS.items():
        rgba = picture(name, "red" if thing.is_shape else None, True, False)
        assert 0.1 < (rgba[..., 3] > 127).mean() < 0.95, name
        small[name] = rgba[::8, ::8][:16, :16].astype(float) if thing.emoji else None
    sprites = {name: pixels for name, pixels in small.items() if pixels is not None}
    distances = [np.abs(a - b).mean() for a, b in itertools.combinations(sprites.values(), 2)]
    assert min(distances) > 15  # of 255: nothing comes twice


# --- sampling and the held-out rule


def test_a_seed_decides_everything() -> None:
    first, second = video_from_seed(7), video_from_seed(7)
    assert first == second and first != video_from_seed(8)
    np.testing.assert_array_equal(render_clip(first, 0, 96), render_clip(second, 0, 96))


def test_a_seed_gives_the_same_video_in_another_process() -> None:
    code = "from apollo.cartoon.world.scenes import video_from_seed as v; import sys; "
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
    assert {scene.object for scene in scenes} == set(facts.OBJECTS)


def test_a_few_per_cent_of_the_pairs_are_held_out() -> None:
    pairs = [held_out_pair(name) for name in facts.SPRITES]
    for kind, number in (("background", 12), ("motion", 13)):
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


def test_two_objects_always_have_a_relation_and_only_then() -> None:
    scenes = [scene for seed in range(800) for scene in video_from_seed(seed).scenes]
    assert all((s.relation is None) == (s.second_object is None) for s in scenes)
    assert all(s.relation is None or s.position is None for s in scenes)
    assert {s.relation for s in scenes} == {None, *facts.RELATIONS}


def test_cuts_come_early_late_and_on_the_border() -> None:
    videos = [video_from_seed(seed) for seed in range(600)]
    shifts_s = [shift_s for video in videos for shift_s in video.cut_shifts_s]
    assert min(shifts_s) == -0.9 and max(shifts_s) == 0.9
    on_border = [v for v in videos if len(v.scenes) > 1 and not v.cut_shifts_s]
    assert 100 < len(on_border) < 300
    shown_s = [end_s - start_s for v in videos for start_s, end_s, _ in v.shown_spans()]
    assert min(shown_s) > 1.19 and max(video.duration_s for video in videos) <= 20
    for video in videos:
        borders_s = [end_s for _, end_s, _ in video.spans()][:-1]
        for border_s, cut_s in zip(borders_s, video.cuts_s(), strict=True):
            assert abs(cut_s - border_s) < 0.91


# --- files


@pytest.mark.parametrize(("aspect", "fps"), [(1.0, 8), (16 / 9, 5), (3 / 4, 8)])
def test_a_written_video_decodes_to_what_was_drawn(tmp_path: Path, aspect: float, fps: int) -> None:
    video = video_from_seed(3, num_scenes=2)
    path = tmp_path / "video.mp4"
    write_video(video, path, size_px=192, fps=fps, aspect=aspect)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == fps
        assert float((stream.duration or 0) * stream.time_base) == pytest.approx(video.duration_s)
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    drawn = list(iter_frames(video, size_px=192, fps=fps, aspect=aspect))
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


@pytest.mark.parametrize("setting", [{"size_px": 97}, {"size_px": 16}, {"fps": 0}, {"aspect": 9.0}])
def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="choose"):
        write_video(video_from_seed(0), tmp_path / "x.mp4", **setting)


def test_a_file_that_is_no_font_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(SettingError, match="not a usable font"):
        make_sprites.make_sheet(path)


def test_the_sprite_sheet_holds_the_vocabulary() -> None:
    index = json.loads((FOLDER / "sprites.json").read_text())
    assert index["names"] == list(facts.SPRITES)
    assert index["cell_px"] == make_sprites.CELL_PX
