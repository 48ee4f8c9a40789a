"""Training on a real CUDA card: what the tests with simulated ones cannot show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import SHORT
from paths import TINY
from train_process import train

from apollo.adapters.files import AdapterConfig
from apollo.train import lora

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Conversations about a video and without one; the last two are for validation too."""
    shutil.copy(SHORT, tmp_path / "clip.mp4")
    lines = []
    for number, said in enumerate(["A ball.", "Two dogs run far away.", "Red.", "It rolls."]):
        seen = {} if number == 2 else {"video": "clip.mp4", "end_s": 2 + number % 2}
        messages = [
            {"role": "user", "content": f"What is there in part {number}?"},
            {"role": "assistant", "content": said},
        ]
        lines.append(json.dumps({**seen, "messages": messages}) + "\n")
    (tmp_path / "data.jsonl").write_text("".join(lines))
    (tmp_path / "checked.jsonl").write_text("".join(lines[2:]))
    return tmp_path


def recipe(folder: Path, **values: Any) -> Path:
    settings = {
        "train": "{connector: 1.0, llm: 1.0}",
        "data": "data.jsonl",
        "validation": "checked.jsonl",
        **{"num_steps": 6, "global_batch": 4, "micro_batch": 2, "lr": 1e-2},
        **{"log_every": 1, "save_every": 2, "eval_every": 2},
    }
    stage = "".join(f"    {key}: {value}\n" for key, value in (settings | values).items())
    file = folder / "recipe.yaml"
    file.write_text(f"model: {TINY}\noutput: out\nstages:\n  - name: sft\n{stage}")
    return file


def numbers(folder: Path, key: str) -> list[float]:
    rows = (folder / "sft" / "journal.jsonl").read_text().splitlines()
    return [row[key] for row in map(json.loads, rows) if key in row]


@pytest.mark.parametrize(
    ("precision", "trained"),
    [
        ("float32", "{connector: 1.0, llm: 1.0}"),
        ("bfloat16", "{connector: 1.0, llm: 1.0}"),
        ("float16", "{connector: 1.0, llm: 1.0}"),
        ("bfloat16", "{towers: 1.0, connector: 1.0}"),
    ],
)
def test_a_stage_with_validation_is_stopped_and_goes_on(
    folder: Path, precision: str, trained: str
) -> None:
    file = recipe(folder, precision=precision, train=trained)
    whole = train(file, "--output", str(folder / "whole"))
    assert whole.returncode == 0, whole.stderr[-3000:]
    curve = numbers(folder / "whole", "loss")
    assert len(curve) == 6 and curve[-1] < curve[0]
    assert len(numbers(folder / "whole", "validation_loss")) == 3
    for flags in (("--minutes", "0.00001"), ()):
        cut = train(file, "--output", str(folder / "cut"), *flags)
        assert cut.returncode == 0, cut.stderr[-3000:]
    assert numbers(folder / "cut", "loss") == pytest.approx(curve, rel=0.05)
    assert (folder / "cut" / "sft" / "result" / "config.json").is_file()


@pytest.mark.parametrize("quantization", [None, "4bit", "8bit"])
def test_an_adapter_learns(folder: Path, quantization: str | None) -> None:
    if quantization:
        pytest.importorskip("bitsandbytes")
    settings = lora.LoraSettings(
        folder / "data.jsonl",
        folder / "lora",
        AdapterConfig(rank=4, alpha=8, targets=("llm",)),
        base=str(TINY),
        steps=40,
        batch=4,
        lr=1e-2,
        quantization=quantization,
    )
    assert lora.train_adapter(settings)
    rows = (folder / "lora" / "training" / "journal.jsonl").read_text().splitlines()
    curve = [json.loads(row)["loss"] for row in rows]
    assert curve[-1] < curve[0]
    question, before, after = lora.before_and_after(settings)
    assert question and isinstance(before, str) and isinstance(after, str)
