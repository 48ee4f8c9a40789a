"""Features on disk: made once, found again only for what they were made of, never half a file."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import PICTURE, SHORT, VIDEOS
from folders import sentence
from make_videos import write_video
from safetensors.torch import save_file

from apollo.errors import SettingError, VideoError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.clip_cache import ClipCache
from apollo.model.prompt import video_block
from apollo.model.visual_tokens import Viewer
from apollo.settings import Sampling
from apollo.train import features as features_module
from apollo.train.features import FeatureCache, Seen, encode_features
from apollo.train.records import Record
from apollo.video.clips import Clip, plan_clips
from apollo.video.reader import Video, probe, read_clips

Shot = tuple[Record, list[Clip]]  # a record, and the clips that are read of it

CHAT = ({"role": "user", "content": "What?"}, {"role": "assistant", "content": "A ball."})


def shot(media: Path, *, is_image: bool = False, **sampling: Any) -> Shot:
    info = None if is_image else probe(media)
    clips = plan_clips(info, **{"clip_duration_s": 2.0} | sampling) if info else []
    return Record(Path("data.jsonl"), 1, "one", media, is_image, CHAT, info=info), clips


CLIP = shot(SHORT)


@pytest.fixture
def cache(tmp_path: Path, tiny_model: Any) -> FeatureCache:
    return FeatureCache(tmp_path / "features", tiny_model)


@contextlib.contextmanager
def tower_runs(model: Any) -> Iterator[list[int]]:
    """The clips of every run of the towers while it is open."""
    runs: list[int] = []
    hook = model.vision_tower.register_forward_hook(
        lambda module, inputs, output: runs.append(len(output))
    )
    try:
        yield runs
    finally:
        hook.remove()


@contextlib.contextmanager
def changed(module: torch.nn.Module) -> Iterator[None]:
    """One number of one weight is another while it is open."""
    weight = next(module.parameters()).data.view(-1)
    before = weight[0].clone()
    weight[0] += 0.5
    try:
        yield
    finally:
        weight[0] = before


def same(one: Seen, other: Seen) -> bool:
    assert one.features.dtype == other.features.dtype
    return torch.equal(one.features, other.features) and one.clips == other.clips


def kept_files(cache: FeatureCache) -> list[Path]:
    return [file for file in cache.folder.rglob("*") if file.is_file()]


def test_a_second_epoch_neither_decodes_nor_encodes(
    cache: FeatureCache, tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [CLIP, shot(SHORT, start_s=1, end_s=3), shot(PICTURE, is_image=True)]
    with tower_runs(tiny_model) as runs:
        first = [cache.see(*sample) for sample in samples]
        assert runs == [2, 1, 1]  # clips of 2 seconds, all of a video at once
        monkeypatch.delattr(features_module, "read_pixels")
        again = [cache.see(*sample) for sample in samples]
        later = FeatureCache(cache.folder, tiny_model)
        again += [later.see(*sample) for sample in samples]
        assert runs == [2, 1, 1]
    assert all(same(one, other) for one, other in zip(first * 2, again, strict=True))
    assert len(kept_files(cache)) == 3


def test_kept_features_are_the_fresh_ones_to_the_bit(cache: FeatureCache, tiny_model: Any) -> None:
    frames = list(read_clips(SHORT, CLIP[1]))
    transforms = tiny_model.vision_tower.vision_processor
    pixels = [
        torch.stack([t.normalise(t.resize(clip, exact=True)) for clip in frames])
        for t in transforms
    ]
    fresh = encode_features(tiny_model, pixels)
    cache.see(*CLIP)
    kept = cache.get(cache.key(*CLIP))
    assert kept is not None and torch.equal(kept.features, fresh)
    assert fresh.dtype == torch.float32 and not fresh.requires_grad
    assert fresh.shape == (2, fresh.shape[1], tiny_model.vision_tower.width)
    with torch.no_grad():
        tokens = tiny_model.mm_connector(kept.features)
        assert torch.equal(tokens, tiny_model.encode_clips(pixels))


def test_long_videos_are_encoded_in_groups(
    cache: FeatureCache, tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model.config, "encode_batch_size", 2)
    with tower_runs(tiny_model) as runs:
        seen = cache.see(*shot(VIDEOS / "v04_29p97fps_10s.mp4"))
    assert runs == [2, 2, 2] and len(seen.features) == len(seen.clips) == 6


def test_the_prompt_can_be_written_from_what_was_kept(cache: FeatureCache, tiny_model: Any) -> None:
    file = VIDEOS / "v05_30fps_7p3s_square.mp4"
    ranged = shot(file, start_s=1.3)
    cache.see(*ranged)
    seen = cache.get(cache.key(*ranged))
    assert seen is not None
    block = video_block(
        [Clip((), start_s, end_s) for start_s, end_s in seen.clips],
        duration_s=seen.duration_s,
        clip_duration_s=tiny_model.config.clip_duration_s,
        tokens_per_clip=tiny_model.config.tokens_per_clip,
    )
    viewer = Viewer(tiny_model, ClipCache())
    with Video(file) as video:
        sampling = Sampling(start_s=1.3)
        assert block == viewer.selection(video, viewer.planned(video, sampling), sampling).block


def test_a_picture_has_one_clip_without_times(cache: FeatureCache, tiny_model: Any) -> None:
    seen = cache.see(*shot(PICTURE, is_image=True))
    assert (len(seen.features), seen.clips, seen.duration_s) == (1, (), 0.0)
    viewer = Viewer(tiny_model, ClipCache())
    tokens = viewer.encode(viewer.picture(PICTURE)[1])
    with torch.inference_mode():
        assert torch.equal(tiny_model.mm_connector(seen.features), tokens)


# ---- what a key depends on ---------------------------------------------------------------


def test_other_clips_are_another_key(cache: FeatureCache) -> None:
    ways: list[dict[str, Any]] = [
        {"clip_duration_s": 2.0},
        {"clip_duration_s": 1.0},
        {"frames_per_clip": 2},
        {"max_clips": 1},
        {"start_s": 1},
        {"end_s": 3},
        {"is_image": True},
    ]
    keys = [cache.key(*shot(SHORT, **way)) for way in ways]
    assert len(set(keys)) == len(keys)
    cache.see(*CLIP)
    assert [cache.get(key) is not None for key in keys] == [True] + [False] * (len(keys) - 1)


def test_the_content_of_the_file_decides_not_its_name(cache: FeatureCache, tmp_path: Path) -> None:
    one = Path(shutil.copy(SHORT, tmp_path / "one.mp4"))
    key = cache.key(*shot(one))
    assert key == cache.key(*CLIP)
    cache.see(*shot(one))
    shutil.copy(VIDEOS / "v02_15fps_0p6s.mp4", one)
    assert cache.key(*shot(one)) != key and cache.get(cache.key(*shot(one))) is None
    assert len(cache.see(*shot(one)).clips) == 1


def test_a_file_is_read_for_its_digest_once(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(shutil.copy(SHORT, tmp_path / "one.mp4"))
    shots = [shot(file, start_s=start_s) for start_s in (0, 1, 2)]
    opened: list[Path] = []
    opening = Path.open

    def counted(path: Path, *args: Any, **keywords: Any) -> Any:
        opened.append(path)
        return opening(path, *args, **keywords)

    monkeypatch.setattr(Path, "open", counted)
    for one in (*shots, shots[0]):
        cache.key(*one)
    assert opened == [file.resolve()]


def test_every_tower_counts_and_nothing_else(cache: FeatureCache, tiny_model: Any) -> None:
    def key() -> str:
        return FeatureCache(cache.folder, tiny_model).key(*CLIP)

    before = key()
    for name in tiny_model.vision_tower.names:
        with changed(tiny_model.vision_tower.tower(name)):
            assert key() != before
    for part in (tiny_model.mm_connector, tiny_model.llm):
        with changed(part):
            assert key() == before
    assert key() == before


def test_changed_towers_do_not_find_what_others_saw(cache: FeatureCache, tiny_model: Any) -> None:
    seen = cache.see(*CLIP)
    with changed(tiny_model.vision_tower.tower(tiny_model.vision_tower.names[0])):
        other = FeatureCache(cache.folder, tiny_model).see(*CLIP)
    assert not same(seen, other) and len(kept_files(cache)) == 2


def test_a_later_stage_finds_what_an_earlier_one_kept(
    cache: FeatureCache, tiny_model: Any, tmp_path: Path
) -> None:
    seen = cache.see(*CLIP)
    with changed(tiny_model.mm_connector):
        tiny_model.save_pretrained(tmp_path / "stage")
    later = ApolloForCausalLM.from_pretrained(tmp_path / "stage")
    kept = FeatureCache(cache.folder, later).get(FeatureCache(cache.folder, later).key(*CLIP))
    assert kept is not None and same(kept, seen)


def test_another_precision_is_another_key(folder: Path, cache: FeatureCache) -> None:
    low = ApolloForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    cache_of_low = FeatureCache(cache.folder, low)
    assert cache_of_low.key(*CLIP) != cache.key(*CLIP)
    seen = cache_of_low.see(*CLIP)
    kept = cache_of_low.get(cache_of_low.key(*CLIP))
    assert kept is not None and kept.features.dtype == torch.bfloat16 and same(kept, seen)


def test_moving_pictures_and_pictures_are_kept_apart(cache: FeatureCache, tmp_path: Path) -> None:
    gif = write_video(tmp_path / "a.gif", codec="gif", frames=30, fps=10, pix_fmt="rgb8")
    moving, still = cache.see(*shot(gif)), cache.see(*shot(gif, is_image=True))
    assert (len(moving.clips), still.clips) == (2, ())
    assert same(cache.see(*shot(gif)), moving) and same(cache.see(*shot(gif, is_image=True)), still)


# ---- encoding ----------------------------------------------------------------------------


def pixels_of(model: Any, num_clips: int) -> list[torch.Tensor]:
    frames = np.random.default_rng(0).integers(0, 256, (num_clips, 4, 32, 40, 3), np.uint8)
    transforms = model.vision_tower.vision_processor
    return [torch.stack([transform(clip) for clip in frames]) for transform in transforms]


def test_features_do_not_depend_on_autocast_or_training_mode(tiny_model: Any) -> None:
    pixels = pixels_of(tiny_model, 2)
    wanted = encode_features(tiny_model, pixels)
    modes: list[bool] = []
    hook = tiny_model.vision_tower.register_forward_hook(
        lambda module, inputs, output: modes.append(module.training)
    )
    tiny_model.train()
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = encode_features(tiny_model, pixels)
        assert tiny_model.vision_tower.training and modes == [False]
    finally:
        hook.remove()
        tiny_model.eval()
    assert found.dtype == torch.float32 and torch.equal(found, wanted)
    assert not found.requires_grad
    encode_features(tiny_model, pixels)
    assert not tiny_model.vision_tower.training


def test_features_are_encoded_in_chunks(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = pixels_of(tiny_model, 5)
    wanted = encode_features(tiny_model, pixels)
    monkeypatch.setattr(tiny_model.config, "encode_batch_size", 2)
    with tower_runs(tiny_model) as runs:
        found = encode_features(tiny_model, pixels)
    assert runs == [2, 2, 1]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


# ---- files -------------------------------------------------------------------------------


def test_a_torn_file_is_missing_and_made_again(cache: FeatureCache, tiny_model: Any) -> None:
    seen = cache.see(*CLIP)
    key = cache.key(*CLIP)
    (file,) = kept_files(cache)
    whole = file.read_bytes()
    pieces = [whole[:size] for size in (0, 5, 8, 100, len(whole) // 2, len(whole) - 1)]
    for content in (*pieces, b"\0" * len(whole), b"\xff" * 64, whole + b"x"):
        file.write_bytes(content)
        assert cache.get(key) is None
        with tower_runs(tiny_model) as runs:
            assert same(cache.see(*CLIP), seen)
        assert runs == [2]
        assert file.read_bytes() == whole and cache.get(key) is not None


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("features", None),
        ("features", {"times": "{"}),
        ("features", {"times": "[]"}),
        ("features", {"times": '{"clips": [[1]], "duration_s": 2}'}),
        ("features", {"times": '{"clips": null, "duration_s": 2}'}),
        ("features", {"times": '{"clips": []}'}),
        ("other", {"times": '{"clips": [], "duration_s": 2}'}),
    ],
)
def test_a_file_of_another_kind_is_missing(
    cache: FeatureCache, name: str, metadata: dict[str, str] | None
) -> None:
    key = "ab" * 32
    cache.put(key, Seen(torch.ones(1, 2, 3), (), 0.0))
    (file,) = kept_files(cache)
    save_file({name: torch.ones(1, 2, 3)}, file, metadata=metadata)
    assert cache.get(key) is None


def test_many_writers_of_one_key_never_show_half_a_file(cache: FeatureCache) -> None:
    key = "cd" * 32
    seen = Seen(torch.arange(60_000.0).reshape(2, 100, 300), ((0.0, 0.1), (1 / 3, 2.5)), 10 / 3)
    cache.put(key, seen)
    faults: list[str] = []

    def write() -> None:
        for _ in range(20):
            cache.put(key, seen)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        found = cache.get(key)
        reads += 1
        if found is None or not same(found, seen) or found.duration_s != seen.duration_s:
            faults.append(str(found))
    for writer in writers:
        writer.join()
    assert reads and not faults
    assert [file.name for file in kept_files(cache)] == [f"{key}.safetensors"]


def test_the_old_file_stands_until_the_new_one_is_whole(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, old = "ef" * 32, Seen(torch.ones(1, 2, 3), (), 0.0)
    cache.put(key, old)
    found: list[Seen | None] = []

    def saving(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half")
        found.append(cache.get(key))
        save_file(tensors, file, metadata=metadata)
        found.append(cache.get(key))

    monkeypatch.setattr(features_module, "save_file", saving)
    new = Seen(torch.zeros(1, 2, 3), (), 0.0)
    cache.put(key, new)
    found.append(cache.get(key))
    assert [seen and seen.features[0, 0, 0].item() for seen in found] == [1.0, 1.0, 0.0]


def test_a_slice_is_kept_without_the_rest(cache: FeatureCache) -> None:
    many = torch.arange(24.0).reshape(4, 2, 3)
    for key, part in (("aa" * 32, many[1:2]), ("bb" * 32, many[:, :, 1:])):
        cache.put(key, Seen(part, (), 0.0))
        found = cache.get(key)
        assert found is not None and torch.equal(found.features, part)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, tiny_model: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file", tiny_model)
    assert cache.get("ab" * 32) is None
    with pytest.raises(SettingError) as error:
        cache.put("ab" * 32, Seen(torch.ones(1, 2, 3), (), 0.0))
    text = sentence(error)
    assert str(tmp_path / "file") in text and "or train with feature_cache: false" in text


def test_a_full_disk_leaves_nothing_behind(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features_module, "save_file", full)
    with pytest.raises(SettingError) as error:
        cache.see(*CLIP)
    assert "(No space left on device); make room" in sentence(error)
    assert kept_files(cache) == []


def test_a_video_that_is_gone_is_told(cache: FeatureCache, tmp_path: Path) -> None:
    gone = Path(shutil.copy(SHORT, tmp_path / "gone.mp4"))
    one = shot(gone)
    gone.unlink()
    with pytest.raises(VideoError) as error:
        cache.see(*one)
    assert "gone.mp4 cannot be read (No such file or directory)" in sentence(error)


def test_features_that_may_not_be_read_are_told_and_not_made_again_at_every_step(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: Any, **keywords: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(features_module, "safe_open", forbidden)
    with pytest.raises(SettingError) as error:
        cache.see(*CLIP)
    assert str(cache.folder) in sentence(error) and "Permission denied" in sentence(error)
