"""Visual tokens on disk: another process reads nothing again, and damage is made good."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import GREEDY, LONG, QUESTION, Calls, text_of
from paths import TINY

from apollo.chat import Apollo, load
from apollo.model.clip_store import ClipStore, default_folder
from apollo.model.visual_tokens import encoder_digest
from apollo.settings import Sampling

PART = Sampling(start_s=10, end_s=20)  # 5 clips


def fresh(apollo: Apollo, folder: Path) -> Apollo:
    """Like another process: nothing in memory."""
    other = Apollo(apollo.model, apollo.card)
    other.cache.store = ClipStore(folder, encoder_digest(apollo.model))
    return other


def ask(apollo: Apollo) -> tuple[str, Any]:
    events = list(apollo.events(LONG, QUESTION, sampling=PART, generation=GREEDY))
    return text_of(events), events[-1].stats


def test_another_process_encodes_nothing_again(
    apollo: Apollo, calls: Calls, tmp_path: Path
) -> None:
    expected, stats = ask(fresh(apollo, tmp_path / "clips"))
    assert (stats.clips_encoded, calls.encoded) == (5, 5)
    text, stats = ask(fresh(apollo, tmp_path / "clips"))
    assert (text, stats.clips_encoded, stats.files_opened) == (expected, 0, 0)
    assert stats.reused_visual_tokens and calls.encoded == 5
    assert len([*(tmp_path / "clips").rglob("*.safetensors")]) == 5
    assert stat.S_IMODE((tmp_path / "clips").stat().st_mode) == 0o700


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "text"])
def test_a_damaged_entry_is_made_again(
    apollo: Apollo, calls: Calls, tmp_path: Path, harm: str
) -> None:
    expected, _ = ask(fresh(apollo, tmp_path))
    file = sorted(tmp_path.rglob("*.safetensors"))[2]
    content = bytearray(file.read_bytes())
    content[-3] ^= 64
    wrong = {"cut": content[:-9], "flipped": content, "empty": b"", "text": b"x" * 99}[harm]
    file.write_bytes(wrong)
    text, stats = ask(fresh(apollo, tmp_path))
    assert (text, stats.clips_encoded) == (expected, 1)
    assert ask(fresh(apollo, tmp_path))[1].clips_encoded == 0  # it is whole again


def test_other_weights_use_nothing_of_it(apollo: Apollo, tmp_path: Path) -> None:
    ask(fresh(apollo, tmp_path))
    weight = apollo.model.mm_connector.resampler.latents
    before, old = encoder_digest(apollo.model), weight.detach().clone()
    weight.data += 0.5
    try:
        assert encoder_digest(apollo.model) != before
        assert ask(fresh(apollo, tmp_path))[1].clips_encoded == 5
    finally:
        weight.data.copy_(old)


def test_another_version_uses_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may decode or resize otherwise."""
    monkeypatch.setenv("APOLLO_CACHE", str(tmp_path))
    assert [ask(load(TINY))[1].clips_encoded for _ in range(2)] == [5, 0]
    monkeypatch.setattr("apollo.chat.__version__", "0.0.0")
    assert ask(load(TINY))[1].clips_encoded == 5


def test_what_was_not_used_for_longest_leaves(tmp_path: Path) -> None:
    store = ClipStore(tmp_path, "model")
    tokens = torch.arange(2500.0).reshape(10, 250)  # 10,000 bytes and a header
    for number in range(6):
        store.put(str(number), tokens, number)
        os.utime(store._file(str(number)), (number, number))
    assert store.get("0") is not None  # from now on the newest
    small = ClipStore(tmp_path, "model", max_bytes=50_000)
    small.put("6", tokens, 6)
    left = [number for number in range(7) if (store._file(str(number))).exists()]
    assert left == [0, 5, 6]  # four fifths of the bytes
    found = small.get("5")
    assert found is not None and torch.equal(found[0], tokens) and found[1] == 5
    assert ClipStore(tmp_path, "other").get("5") is None


def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ClipStore(tmp_path / "file" / "clips", "model")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.put("a", torch.zeros(2, 2), 0)
    assert len(caplog.records) == 1 and "APOLLO_CACHE" in caplog.text
    assert store.get("a") is None


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_folder() is None  # of these tests
    monkeypatch.setenv("APOLLO_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "clips"
    store = load().cache.store
    assert store is not None and store.folder == tmp_path / "clips"
    monkeypatch.delenv("APOLLO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert default_folder() == tmp_path / "caches" / "apollo" / "clips"
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert default_folder() is None
    assert load().cache.store is None


def test_a_folder_for_reading_only_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ClipStore(tmp_path, "model")
    store.put("a", torch.ones(2, 2), 3)

    def refuse(*_: Any) -> None:
        raise PermissionError("the file system is mounted for reading only")

    monkeypatch.setattr(os, "utime", refuse)
    found = store.get("a")
    assert found is not None and torch.equal(found[0], torch.ones(2, 2)) and found[1] == 3
    assert store._file("a").exists()


def test_no_file_stays_mapped(tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux says what is mapped")
    store = ClipStore(tmp_path, "model")
    store.put("a", torch.ones(2, 2), 0)
    found = store.get("a")
    assert found is not None and str(tmp_path) not in maps.read_text()
