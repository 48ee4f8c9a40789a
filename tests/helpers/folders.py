"""Shared by the tests of reading and writing checkpoints: how to change and look at a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import TINY
from safetensors.torch import load_file, save_file

from apollo.errors import ApolloError, CheckpointError
from apollo.model.causal_lm import ApolloForCausalLM

PARTS = {
    "llm": "the language model",
    "mm_connector": "the connector",
    "vision_tower/internvideo2": "the video tower",
    "vision_tower/siglip-so400m-patch14-384": "the image tower",
}
SIGLIP = "vision_tower/siglip-so400m-patch14-384"


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        assert not found.keys() & tensors.keys()
        found.update(tensors)
    return found


def assert_same_tensors(folder: Path, dtype: torch.dtype | None = None) -> None:
    for part in PARTS:
        written, original = tensors_of(folder / part), tensors_of(TINY / part)
        assert written.keys() == original.keys()
        for name, tensor in original.items():
            wanted = tensor.to(dtype) if dtype else tensor
            assert written[name].dtype == wanted.dtype and torch.equal(written[name], wanted), name


def json_of(file: Path) -> Any:
    return json.loads(file.read_text())


def sentence(error: pytest.ExceptionInfo[ApolloError]) -> str:
    """The message, which must be one plain sentence."""
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and ". " not in text, text
    return text


def refused(folder: Path | str, *words: str, **keywords: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        ApolloForCausalLM.from_pretrained(folder, **keywords)
    text = sentence(error)
    for word in words:
        assert word in text, text
    return text


def rewrite(file: Path, change: Any) -> None:
    """Applies `change` to the dict of tensors of one file."""
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def edit(file: Path, **values: Any) -> None:
    """Sets keys of a JSON file; a key set to None is removed."""
    merged = {**json_of(file), **values}
    file.write_text(json.dumps({k: v for k, v in merged.items() if v is not None}))
