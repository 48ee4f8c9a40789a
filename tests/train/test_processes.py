"""One process among several, GPUs that this machine may not have, and what they exchange."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from folders import sentence
from paths import TINY

from apollo.adapters.files import AdapterConfig
from apollo.errors import RecipeError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.train import lora, processes, trainer
from apollo.train.processes import check_machine, start_accelerator, training_device
from apollo.train.stage import Stage
from apollo.train.task import Start

STAGE = Stage("s", {"llm": 1.0}, num_steps=1, global_batch=8)


@pytest.fixture
def fake_gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two GPUs without bfloat16, as the rest of the program is told; nothing can run on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    PartialState._reset_state()
    yield
    PartialState._reset_state()
    AcceleratorState._reset_state()


def test_with_two_simulated_gpus_and_no_launcher_one_process_uses_one_and_says_so(
    fake_gpus: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "apollo"):
        accelerator = start_accelerator(STAGE)
    assert (accelerator.num_processes, accelerator.device.type) == (1, "cuda")
    assert training_device() == torch.device("cuda:0")
    assert "One of 2 GPUs is used; to use all, start with: accelerate launch" in caplog.text
    assert processes.micro_batch_of(STAGE, accelerator.num_processes, "here") == 8


def test_a_process_of_several_takes_its_own_simulated_gpu(
    fake_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert training_device() == torch.device("cuda:1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert training_device() == torch.device("cpu")


def refused(stage: Stage, *words: str) -> None:
    with pytest.raises(RecipeError) as error:
        check_machine(stage, "recipe.yaml")
    for word in ("recipe.yaml", *words):
        assert word in sentence(error), sentence(error)


def test_a_number_type_that_a_simulated_gpu_only_emulates_is_refused(fake_gpus: None) -> None:
    refused(Stage("s", {}, precision="bfloat16"), "bfloat16", "float16")
    check_machine(Stage("s", {}, precision="float16"), "recipe.yaml")


def test_what_cannot_run_here_is_refused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    refused(Stage("s", {}, precision="float16"), "needs a GPU")
    check_machine(Stage("s", {}, precision="bfloat16"), "recipe.yaml")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    refused(Stage("s", {}, optimizer="muon"), "muon", "adamw")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    refused(Stage("s", {}), "DeepSpeed", "FSDP")


def test_what_processes_exchange_lies_on_their_simulated_device() -> None:
    """NCCL refuses tensors of the CPU: losses, counts, and whether the time is up."""
    exchanged: list[torch.Tensor] = []

    def reduce(tensor: torch.Tensor, reduction: str) -> float:
        exchanged.append(tensor)
        return 3.0

    fake = SimpleNamespace(device=torch.device("meta"), reduce=reduce)
    running = SimpleNamespace(accelerator=fake)
    for value in (True, 5, 0.5, torch.zeros((), device="meta")):
        assert trainer.Trainer._sum(running, value) == 3.0  # type: ignore[arg-type]
    assert {tensor.device.type for tensor in exchanged} == {"meta"}


def test_a_base_is_packed_on_the_simulated_gpu_in_a_type_that_it_has(
    fake_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    read = ApolloForCausalLM.from_pretrained

    def reading(folder: Path, **keywords: Any) -> ApolloForCausalLM:
        given.append(keywords)
        return read(folder)

    monkeypatch.setattr(ApolloForCausalLM, "from_pretrained", reading)
    monkeypatch.setattr(lora, "check_quantization", lambda kind: kind)
    settings = lora.LoraSettings(
        tmp_path / "data.jsonl",
        tmp_path,
        AdapterConfig(),
        base=str(TINY),
        quantization="4bit",
    )
    stage = settings.stage()
    assert stage.precision == "float16" and stage.gradient_checkpointing
    task = lora.LoraTask.__new__(lora.LoraTask)
    task.settings = settings
    task.base_model(Start(settings.data, settings.base, 0, {}, tmp_path), "here")
    assert given == [
        {
            "dtype": torch.float16,
            "device_map": torch.device("cuda:0"),
            "quantization": "4bit",
        }
    ]
