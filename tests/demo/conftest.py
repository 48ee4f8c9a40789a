"""The page's own modules with a fake model behind them."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_apollo import FakeApollo
from paths import GOLDEN

with warnings.catch_warnings():  # Gradio leaves event loops behind when a page is built
    warnings.simplefilter("ignore", ResourceWarning)
    from apollo.demo import (
        page,  # noqa: F401
        worker,
    )

    asyncio.get_event_loop().close()
    asyncio.set_event_loop(None)
    gc.collect()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> worker.Host:
    """A host whose model is not loaded yet."""
    host = worker.Host("nano")
    monkeypatch.setattr(worker, "host", host)
    return host


@pytest.fixture
def model(host: worker.Host) -> Iterator[FakeApollo]:
    host.model = FakeApollo()
    host.ready.set()
    yield host.model


@pytest.fixture
def video() -> str:
    return str(GOLDEN / "videos" / "v02_15fps_0p6s.mp4")


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for nano that changes what it says."""
    from apollo.adapters import lora
    from apollo.catalog import NANO_FOLDER
    from apollo.model.causal_lm import ApolloForCausalLM

    folder = tmp_path_factory.mktemp("adapter") / "mine"
    model = ApolloForCausalLM.from_pretrained(NANO_FOLDER)
    lora.add_adapter(model, lora.AdapterConfig(targets=("llm",)), "mine")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3, generator=generator)
    lora.save_adapter(model, folder)
    return folder
