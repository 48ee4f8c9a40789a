"""Numbers that are none end a training; what cannot be trained with is refused before."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from apollo.adapters.files import WEIGHTS, AdapterConfig, AdapterFiles, read_adapter, write_adapter
from apollo.adapters.identity import Identity
from apollo.cli import main
from apollo.errors import AdapterError, DataError, RecipeError, SettingError
from apollo.train.lora import LoraSettings
from apollo.train.recipe import read_recipe
from apollo.train.records import read_records
from apollo.train.resume import checkpoints, saving
from apollo.train.stage import MAX_SEED, Stage
from apollo.train.trainer import train_stage

STAGE = Stage(
    "s", {"all": 1.0}, task="line", num_steps=8, global_batch=2, save_every=2, schedule="constant"
)


class Line:
    """A number times x; at one sample the loss, or its slope alone, is not finite."""

    def __init__(self, bad: int | None, kind: str) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        self.bad, self.kind = bad, kind
        self.module.forward = self._loss  # type: ignore[method-assign, assignment]

    def _loss(self, x: torch.Tensor) -> dict[str, Any]:
        loss = (self.module.weight * x).square().mean()
        if self.bad in x.flatten().tolist():
            weight = self.module.weight.sum()
            loss = loss * math.nan if self.kind == "loss" else (weight - weight).abs().sqrt() + loss
            if self.kind == "infinite":
                loss = loss.detach() * 0 + weight * 1e38 * 1e38
        return {"loss": loss, "metrics": {}}

    def parts(self) -> dict[str, list[nn.Module]]:
        return {"all": [self.module]}

    def num_samples(self) -> None:
        return None

    def prepare(self, rank: int, world: int) -> None:
        pass

    def order(self, count: int) -> list[int]:
        return list(range(count))

    def sample(self, number: int) -> torch.Tensor:
        return torch.tensor([float(number)])

    def collate(self, samples: list[torch.Tensor]) -> dict[str, Any]:
        return {"x": torch.stack(samples)}

    def count(self, batch: dict[str, Any]) -> int:
        return len(batch["x"])

    def validation(self) -> list[int]:
        return []

    def save(self, folder: Path) -> None:
        save_file(dict(self.module.state_dict()), folder / "w.safetensors")


@pytest.mark.parametrize("kind", ["loss", "slope", "infinite"])
@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])
def test_training_stops_and_keeps_the_last_good_checkpoint(
    kind: str, max_grad_norm: float, tmp_path: Path
) -> None:
    """Row 75: samples 10 and 11 are those of step 6; checkpoints are written every 2 steps."""
    stage = dataclasses.replace(STAGE, max_grad_norm=max_grad_norm)
    with pytest.raises(RecipeError, match=r"here: in step 6 the gradient is (nan|inf), so") as told:
        train_stage(
            stage, lambda: Line(11, kind), tmp_path, where="here", seed=0,
            settings=(tmp_path, {}),
        )  # fmt: skip
    kept = checkpoints(tmp_path)
    assert [path.name for path in kept] == ["checkpoint-2", "checkpoint-4"]
    assert f"{kept[-1]} is the last good checkpoint" in str(told.value)
    trained = load_file(kept[-1] / "trained.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())
    assert not (tmp_path / "result").exists()


def test_an_infinite_loss_with_a_finite_gradient_stops_too(tmp_path: Path) -> None:
    """Row 75: the scores of a wrong answer may be so far apart that only the loss overflows."""
    task = Line(None, "")
    loss_of = task.module.forward

    def infinite(x: torch.Tensor) -> dict[str, Any]:
        loss = loss_of(x)["loss"]
        return {"loss": loss + (math.inf if 11.0 in x else 0.0), "metrics": {}}

    task.module.forward = infinite  # type: ignore[method-assign]
    with pytest.raises(RecipeError, match=r"here: in step 6 the loss is inf, so .*checkpoint-4 is"):
        train_stage(STAGE, lambda: task, tmp_path, where="here", seed=0, settings=(tmp_path, {}))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-4"]


def test_torch_tells_of_a_full_disk_as_others_do(tmp_path: Path) -> None:
    """The command line knows an OSError; torch raises a RuntimeError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(OSError, match="No space left on device"), saving():
            torch.save(torch.zeros(100_000), tmp_path / "state.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(RuntimeError, match="another"), saving():
        raise RuntimeError("another")


def test_weights_that_overflow_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 75: a step may end in numbers too large although its gradient was not."""
    task, stage = Line(None, ""), dataclasses.replace(STAGE, save_every=1)

    def overflow(*args: Any) -> None:
        with torch.no_grad():
            task.module.weight.fill_(math.inf)

    monkeypatch.setattr(torch.optim.AdamW, "step", overflow)
    with pytest.raises(RecipeError, match=r"the weights are not all finite.*no checkpoint yet"):
        train_stage(stage, lambda: task, tmp_path, where="here", seed=0, settings=(tmp_path, {}))
    assert checkpoints(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lr": 1e8}, "--lr is 1e+08; it must be above 0, and at most 10."),
        ({"lr": math.inf}, "--lr is inf; it must be above 0"),
        ({"lr": math.nan}, "--lr is nan; it must be above 0"),
        ({"steps": 10**30}, "--steps is 1e+30; it must be above 0, and at most 1e+09."),
        ({"seed": 2**70}, f"--seed is {2**70}; choose 0 to {MAX_SEED}."),
        ({"rehearse": math.nan}, "--rehearse is nan"),
        ({"steps": 10**400}, "--steps is beyond all numbers; it must be above 0"),
        ({"steps": 2.5}, "--steps is 2.5, which is not a whole number."),
        ({"steps": "5"}, "--steps is '5', which is not a whole number."),
        ({"seed": None}, "--seed is None, which is not a whole number."),
        ({"lr": "fast"}, "--lr is 'fast', which is not a number."),
        ({"batch": 10**8}, "--steps 400 of --batch 100000000 are more than 1e+08 samples"),
    ],
)
def test_settings_of_an_adapter_that_cannot_be(changes: dict[str, Any], sentence: str) -> None:
    """Rows 75 and 76."""
    with pytest.raises(SettingError) as told:
        LoraSettings(Path("d"), Path("o"), AdapterConfig(), **changes)
    assert str(told.value).startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"alpha": math.nan}, "alpha is nan; choose more than 0"),
        ({"alpha": math.inf}, "alpha is inf; choose more than 0"),
        ({"rank": 10**9}, "rank is 1000000000; choose 1 to 4096."),
        ({"dropout": math.nan}, "dropout is nan"),
        ({"rank": "8"}, "rank is '8', which is not a whole number."),
        ({"rank": 2.5}, "rank is 2.5, which is not a whole number."),
        ({"rank": 10**5000}, "rank is beyond all numbers; choose 1 to 4096."),
        ({"alpha": None}, "alpha is None, which is not a number."),
        ({"alpha": 10**400}, "alpha is beyond all numbers"),
        ({"targets": "llm"}, "targets are 'llm'; give a list"),
        ({"targets": 5}, "targets are 5; give a list"),
    ],
)
def test_adapters_that_cannot_be(changes: dict[str, Any], sentence: str) -> None:
    """Row 75."""
    with pytest.raises(SettingError) as told:
        AdapterConfig(**changes)
    assert str(told.value).startswith(sentence)


RECIPE = """
seed: 1
stages:
  - name: a
    train: {connector: 1.0}
    data: d.jsonl
    num_steps: 5
"""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("a.lr=1e8", r'stage "a": lr is 1e\+08; choose at most 10'),
        ("a.lr=.inf", r'stage "a": lr is inf; choose at most 10'),
        ("a.lr=.nan", r'stage "a": lr is nan; it must be above 0'),
        ("a.train.connector=.inf", r"train.connector is inf of the rate"),
        ("a.weight_decay=.nan", r"weight_decay is nan; choose 0 to 1e\+09"),
        ("a.max_grad_norm=.inf", r"max_grad_norm is inf; choose 0 to 1e\+09"),
        ("a.num_steps=" + "9" * 5000, r"holds no value that can be read"),
        ("a.num_steps=" + "9" * 50, r"num_steps is 1e\+50; choose at most 1e\+09"),
        ("seed=0x" + "f" * 5000, r"seed is beyond all numbers"),
        ("a.num_steps=0x" + "f" * 5000, r"num_steps is beyond all numbers"),
        ("a.lr=" + "9" * 400, r"lr is beyond all numbers"),
        ("a.num_steps=1000000000", r"more than 1e\+08 samples; choose fewer"),
        ("threads=-1", r"threads is -1; choose 0 to 1024"),
        ('output="a\\0b"', r"output is .* a sign that is no text; remove it"),
        ('a.data="a\\ud800b"', r"data, file is .* a sign that is no text; remove it"),
        (f"seed={2**70}", r"seed is \d+; choose 0 to 4294967295"),
        ("a.name=" + "[" * 5000, r"holds no value that can be read"),
    ],
)
def test_recipes_that_cannot_be(change: str, sentence: str, tmp_path: Path) -> None:
    """Rows 75 and 76, and numbers of thousands of digits."""
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    read_recipe(file)
    with pytest.raises(RecipeError, match=sentence):
        read_recipe(file, [change])


def test_recipe_with_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE.replace("num_steps: 5", "num_steps: " + "9" * 5000))
    with pytest.raises(RecipeError, match=r"r.yaml holds a value that cannot be read"):
        read_recipe(file)


@pytest.mark.parametrize("minutes", ["nan", "inf", "0", "-1"])
@pytest.mark.parametrize(
    "command", [["train", "nano-short"], ["lora", "train", "d", "--output", "o"]]
)
def test_minutes_that_cannot_be(
    command: list[str], minutes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--minutes", minutes]) == 2
    assert f"--minutes is {minutes}; it must be above 0" in capsys.readouterr().err


def adapter(folder: Path, value: float, alpha: str = "16") -> AdapterFiles:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(
        f'{{"peft_type": "LORA", "r": 8, "lora_alpha": {alpha}, "lora_dropout": 0}}'
    )
    own = {"targets": ["llm"], "base": {"name": "nano", "digest": "d"}}
    (folder / "apollo_adapter.json").write_text(json.dumps(own))
    save_file({"base_model.model.q.lora_A.weight": torch.tensor([1.0, value])}, folder / WEIGHTS)
    return read_adapter(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_adapter_of_numbers_that_are_none_is_refused(value: float, tmp_path: Path) -> None:
    """Row 75: when it is read and when it is written."""
    files = adapter(tmp_path / "a", value)
    with pytest.raises(AdapterError, match=r"holds numbers that are not finite \(in .*lora_A"):
        files.tensors()
    new = AdapterFiles(tmp_path / "b", AdapterConfig(), Identity("nano", "d"))
    with pytest.raises(AdapterError, match="numbers that are not finite"):
        write_adapter(new, {"q": torch.tensor([value])}, None)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("alpha", ["NaN", "Infinity", "1e400"])
def test_an_adapter_whose_scale_is_no_number_is_refused(alpha: str, tmp_path: Path) -> None:
    """Row 75."""
    with pytest.raises(AdapterError, match="has a setting that is not usable"):
        adapter(tmp_path / "a", 1.0, alpha)


def test_a_path_that_cannot_be_is_a_sentence() -> None:
    for name in ("a\0b", "a\ud800b"):
        with pytest.raises(DataError, match="cannot be read"):
            read_records(Path(name))


def test_threads_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "nano-short", "--threads", "-1"]) == 2
    assert "--threads is -1; choose 0 to 1024." in capsys.readouterr().err
