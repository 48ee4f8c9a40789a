"""Folders that are not whole are refused in one sentence, and nothing in them runs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from folders import SIGLIP, edit, json_of, refused

from apollo.model.causal_lm import ApolloForCausalLM


def test_damaged_files(folder: Path) -> None:
    file = folder / "llm/model.safetensors"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"\xff" * 5000, b"not a tensor"):
        file.write_bytes(content)
        refused(folder, "llm/model.safetensors", "damaged", "download it again")


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "x.ckpt"])
def test_a_pickle_is_named_and_not_opened(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "mm_connector/model.safetensors").unlink()
    mark = tmp_path / "unpickled"
    (folder / "mm_connector" / name).write_bytes(pickle.dumps(Bomb(mark)))
    refused(folder, "mm_connector", f"pickle ({name})", "convert it to safetensors")
    assert not mark.exists()
    pickle.loads((folder / "mm_connector" / name).read_bytes())
    assert mark.exists()  # so the check above can fail


@pytest.mark.parametrize(
    "name",
    ["config.json", "llm/config.json", "mm_connector/config.json", "vision_tower/config.json"]
    + [f"{SIGLIP}/config.json", "vision_tower/internvideo2/config.json"],
)
def test_a_config_that_is_missing_or_broken(folder: Path, name: str) -> None:
    (folder / name).write_text('{"model_type": "apo')
    refused(folder, str(folder / name), "damaged")
    (folder / name).write_text("[1, 2]")
    refused(folder, str(folder / name), "one JSON object")
    (folder / name).unlink()
    refused(folder, str((folder / name).parent), "holds no config.json")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("llm/config.json", {"model_type": "martian"}, ["llm/config.json", "martian"]),
        ("llm/config.json", {"hidden_size": "wide"}, ["llm/config.json", "hidden_size"]),
        (f"{SIGLIP}/config.json", {"hidden_size": "wide"}, [SIGLIP, "hidden_size"]),
        (f"{SIGLIP}/config.json", {"model_type": "dino"}, ["neither SigLIP nor", "'dino'"]),
        ("vision_tower/internvideo2/config.json", {"num_heads": None}, ["'num_heads'"]),
        ("vision_tower/config.json", {"vision_towers": []}, ["names no vision towers"]),
    ],
)
def test_a_config_that_makes_no_model(
    folder: Path, name: str, values: dict[str, Any], words: list[str]
) -> None:
    edit(folder / name, **values)
    refused(folder, *words)


def test_a_connector_config_without_a_number(folder: Path) -> None:
    edit(folder / "mm_connector/config.json", num_output_tokens=None)
    root = json_of(folder / "config.json")
    del root["mm_connector_cfg"]["num_output_tokens"]
    (folder / "config.json").write_text(json.dumps(root))
    refused(folder, "mm_connector/config.json", "'num_output_tokens'")


def test_a_missing_or_damaged_tokenizer(folder: Path) -> None:
    (folder / "llm/tokenizer.json").write_text("{")
    refused(folder, str(folder / "llm"), "tokenizer")
    for name in ("tokenizer.json", "merges.txt"):  # vocab.json alone is not enough
        (folder / "llm" / name).unlink()
    refused(folder, str(folder / "llm"), "lacks tokenizer.json")


def test_a_tokenizer_in_the_older_files_is_the_same(tiny_model: Any, folder: Path) -> None:
    (folder / "llm/tokenizer.json").unlink()
    text = "What happens, and when?<|im_end|>\n"
    ids = ApolloForCausalLM.from_pretrained(folder).tokenizer(text).input_ids
    assert ids == tiny_model.tokenizer(text).input_ids


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_that_says_nothing(folder: Path, index: str) -> None:
    (folder / "llm/model.safetensors.index.json").write_text(index)
    refused(folder, "llm", "lacks its weights")


def test_a_place_that_is_no_folder(folder: Path) -> None:
    refused(folder / "nowhere", "nowhere does not exist", "hub id")
    refused(folder / "config.json", "config.json is a file", "hub id")
    empty = folder / "empty"
    empty.mkdir()
    refused(empty, "holds no config.json")
