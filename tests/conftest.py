"""Shared fixtures: the recorded data of the original and the tiny checkpoint behind it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import GOLDEN, TINY
from safetensors.torch import load_file

os.environ["APOLLO_CACHE"] = ""  # what one test reads is not there for another


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # two test processes must not fight over two cores


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_works() -> None:
    """A shell starts its background jobs deaf to Ctrl-C, and processes that tests start inherit it;
    those would hang until their time is up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def notes() -> dict[str, Any]:
    """cases.json: per tensor file, the notes of every case."""
    files = json.loads((GOLDEN / "cases.json").read_text())["files"]
    return {Path(name).stem: entry["notes"] for name, entry in files.items()}


@pytest.fixture(scope="session")
def golden() -> Any:
    """golden("towers") -> the tensors of cases/towers.safetensors, inputs cast to float32."""

    def read(name: str) -> dict[str, torch.Tensor]:
        tensors = load_file(GOLDEN / "cases" / f"{name}.safetensors")
        low = (torch.bfloat16, torch.float16)
        return {k: v.float() if v.dtype in low else v for k, v in tensors.items()}

    return read


@pytest.fixture(scope="session")
def tiny_model() -> Any:
    from apollo.model.causal_lm import ApolloForCausalLM

    return ApolloForCausalLM.from_pretrained(TINY)


@pytest.fixture
def apollo(tiny_model: Any) -> Any:
    """The tiny model to talk to, with an empty cache."""
    from apollo.catalog import card_of
    from apollo.chat import Apollo

    return Apollo(tiny_model, card_of(str(TINY)))


@pytest.fixture
def calls(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Counts what is really decoded, encoded and computed."""
    from asking import counted

    with counted(tiny_model, monkeypatch) as seen:
        yield seen


@pytest.fixture
def endless(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token ends an answer."""
    monkeypatch.setattr(tiny_model.llm.generation_config, "eos_token_id", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that a test may damage."""
    return Path(shutil.copytree(TINY, tmp_path / "copy"))
