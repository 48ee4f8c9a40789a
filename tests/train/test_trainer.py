"""`apollo train` on people's own conversations: real videos, a tiny model, one process and more."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import PICTURE, SHORT
from folders import sentence
from paths import ROOT, TINY
from safetensors.torch import load_file
from train_process import command, environment, train, train_together

from apollo.errors import ApolloError, DataError, RecipeError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.train.command import run_stages
from apollo.train.recipe import read_recipe

SAID = ["A ball rolls to the left.", "Nothing.", "Two dogs run.", "It is red.", "No.", "Far away."]

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.cpu.amp:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(SHORT, tmp_path / "clip.mp4")
    shutil.copy(PICTURE, tmp_path / "still.png")
    records: list[dict[str, Any]] = []
    for number, said in enumerate(SAID):
        seen = [{"video": "clip.mp4", "end_s": 2 + number % 2}, {"image": "still.png"}, {}]
        messages = [
            {"role": "user", "content": f"What is there, please, in part {number}?"},
            {"role": "assistant", "content": said},
        ]
        records.append({**seen[number % 3], "messages": messages})
    lines = [json.dumps(record) + "\n" for record in records]
    (tmp_path / "data.jsonl").write_text("".join(lines))
    (tmp_path / "checked.jsonl").write_text("".join(lines[:2]))
    return tmp_path


def recipe(folder: Path, train: str = "{connector: 1.0, llm: 0.5}", **values: Any) -> Path:
    settings = {"num_steps": 6, "global_batch": 4, "lr": 1e-2, "log_every": 1, "save_every": 2}
    stage = "".join(f"    {key}: {value}\n" for key, value in (settings | values).items())
    file = folder / "recipe.yaml"
    file.write_text(
        f"model: {TINY}\noutput: out\nseed: 5\nthreads: 1\nstages:\n  - name: sft\n"
        f"    train: {train}\n    data: data.jsonl\n{stage}"
    )
    return file


def run(file: Path, output: str = "out", **keywords: Any) -> Path:
    read = read_recipe(file)
    run_stages(read, file.parent / output, ["sft"], **keywords)
    return file.parent / output / "sft"


def losses(stage: Path) -> list[float]:
    rows = [json.loads(line) for line in (stage / "journal.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.rglob("*.safetensors")):
        part = file.parent.relative_to(folder)
        found |= {f"{part}/{name}": tensor for name, tensor in load_file(file).items()}
    return found


def test_the_trained_parts_change_the_frozen_ones_do_not_and_the_loss_falls(folder: Path) -> None:
    stage = run(recipe(folder, num_steps=12))
    curve = losses(stage)
    assert len(curve) == 12 and curve[-1] < curve[0] - 0.5
    before, after = weights(TINY), weights(stage / "result")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        same = torch.equal(tensor, after[name])
        if name.startswith("vision_tower"):
            assert same, name
        if name.endswith(("q_proj.weight", "mlp.up_proj.weight")) and "tower" not in name:
            assert not same, name
    ApolloForCausalLM.from_pretrained(stage / "result")
    assert (stage / "loss.png").stat().st_size > 5000
    assert list((stage / "tensorboard").glob("events.*"))


@pytest.mark.slow
def test_a_video_is_read_once_when_the_towers_are_frozen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apollo.train import features

    encoded: list[int] = []
    encode = features.encode_features

    def counted(model: Any, pixels: Any) -> torch.Tensor:
        encoded.append(len(pixels[0]))
        return encode(model, pixels)

    monkeypatch.setattr(features, "encode_features", counted)
    cached = run(recipe(folder, num_steps=6))
    assert sum(encoded) == 1 + 2 + 1  # 2 s and 3 s of the video, and the picture
    again = run(recipe(folder, num_steps=6, feature_cache="false"), "other")
    assert sum(encoded) == 4
    assert losses(cached) == pytest.approx(losses(again), abs=1e-5)


def test_towers_can_be_trained(folder: Path) -> None:
    stage = run(recipe(folder, "{towers: 1.0}", num_steps=3, max_grad_norm=0.5))
    before, after = weights(TINY), weights(stage / "result")
    changed = {name.split("/")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"vision_tower"}


@pytest.mark.slow
def test_micro_batches_change_nothing(folder: Path) -> None:
    whole = losses(run(recipe(folder), "whole"))
    cut = losses(run(recipe(folder, micro_batch=1), "cut"))
    assert cut == pytest.approx(whole, rel=1e-5)


def test_the_best_weights_on_validation_data_are_the_result(folder: Path) -> None:
    record = json.loads((folder / "checked.jsonl").read_text().splitlines()[1])
    record["messages"][1]["content"] = "1 2 3 4 5 6 7 8 9"  # what training makes ever less likely
    (folder / "checked.jsonl").write_text(json.dumps(record))
    stage = run(recipe(folder, validation="checked.jsonl", eval_every=1, num_steps=5))
    rows = [json.loads(line) for line in (stage / "journal.jsonl").read_text().splitlines()]
    checked = {row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}
    best = min(checked, key=lambda step: checked[step])
    assert len(checked) == 5 and best < 5
    assert (stage / "best.txt").read_text() == f"{checked[best]!r} at step {best}\n"
    kept = load_file(stage / "best.safetensors")
    result = weights(stage / "result")
    name = "llm/model.layers.0.mlp.up_proj.weight"
    assert torch.equal(kept[f"model.{name.replace('/', '.')}"], result[name])


@pytest.mark.slow
def test_a_finished_stage_is_not_run_again_and_a_stopped_one_goes_on(folder: Path) -> None:
    file = recipe(folder)
    stage = run(file, minutes=1e-6)
    assert not (stage / "result").exists() and len(losses(stage)) == 1
    run(file)
    assert losses(stage) == losses(run(file, "whole"))
    before = (stage / "journal.jsonl").stat().st_mtime_ns
    run(file)
    assert (stage / "journal.jsonl").stat().st_mtime_ns == before


@pytest.mark.slow
def test_killed_at_random_steps_it_ends_with_the_same_bits(folder: Path) -> None:
    """`kill -9` five times, then to the end: every loss and weight as if nothing had happened."""
    file = recipe(folder, num_steps=30, save_every=3)
    whole = run(file, "whole")
    steps = random.Random(4)
    stage = folder / "killed" / "sft"
    for _ in range(5):
        target = (stage_steps(stage) or 0) + steps.randint(2, 6)
        process = subprocess.Popen(
            command(file, "--output", str(folder / "killed")),
            env=environment(),
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + 120
        while (stage_steps(stage) or 0) < target and process.poll() is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    finished = train(file, "--output", str(folder / "killed"))
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert losses(stage) == losses(whole)
    first, second = weights(whole / "result"), weights(stage / "result")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def stage_steps(stage: Path) -> int | None:
    """The last step in the journal, which a killed process may have left half written."""
    file = stage / "journal.jsonl"
    if not file.exists():
        return None
    lines = [line for line in file.read_text().splitlines() if line.endswith("}")]
    return json.loads(lines[-1])["step"] if lines else None


@pytest.mark.slow
def test_half_a_checkpoint_is_left_alone(folder: Path) -> None:
    file = recipe(folder)
    whole = run(file, "whole")
    stage = run(file, minutes=1e-6)
    torn = stage / "checkpoint-2.writing"
    torn.mkdir()
    (torn / "trained.safetensors").write_bytes(b"half")
    run(file)
    assert losses(stage) == losses(whole) and not torn.exists()


@pytest.mark.slow
def test_two_processes_have_the_loss_of_one(folder: Path) -> None:
    file = recipe(folder, num_steps=4)
    alone = losses(run(file, "alone"))
    train_together(file, "--output", str(folder / "both"))
    assert losses(folder / "both" / "sft") == pytest.approx(alone, rel=2e-5)
    first = weights(folder / "alone" / "sft" / "result")
    second = weights(folder / "both" / "sft" / "result")
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], atol=2e-4), name


@pytest.mark.slow
def test_fsdp_starts_on_processors(folder: Path) -> None:
    config = ROOT / "apollo/train/recipes/fsdp_cpu.config"
    file = recipe(folder, "{connector: 1.0, llm: 1.0}", num_steps=2)
    alone = losses(run(file, "alone"))
    said = train_together(
        file, "--output", str(folder / "sharded"), accelerate=("--config_file", str(config))
    )
    assert "2 processes share the weights." in said
    assert losses(folder / "sharded" / "sft") == pytest.approx(alone, rel=1e-3)
    result = weights(folder / "sharded" / "sft" / "result")
    before = weights(TINY)
    assert result.keys() == before.keys()
    assert not torch.equal(
        before["llm/model.layers.0.mlp.up_proj.weight"],
        result["llm/model.layers.0.mlp.up_proj.weight"],
    )


# ---- refusals ----------------------------------------------------------------------------


def refused(error_class: type[ApolloError], file: Path, *words: str) -> None:
    with pytest.raises(error_class) as error:
        run(file)
    text = sentence(error)
    for word in words:
        assert word in text, text


def test_wrong_recipes_and_data_are_refused_before_the_first_step(folder: Path) -> None:
    refused(RecipeError, recipe(folder, "{eyes: 1.0}"), '"eyes"', "connector", '"sft"')
    refused(RecipeError, recipe(folder, task="cartoons"), "cartoons", "remove")
    refused(DataError, recipe(folder, max_length=30), "data.jsonl, line 1", "30")
    (folder / "clip.mp4").unlink()
    refused(DataError, recipe(folder), "data.jsonl, line 1", "clip.mp4")
    assert not (folder / "out" / "sft" / "journal.jsonl").exists()


def test_missing_videos_are_skipped_only_when_the_recipe_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "clip.mp4").unlink()
    run(recipe(folder, unreadable="skip", num_steps=1))
    assert "2 of 6 records are left out" in caplog.text


@pytest.mark.slow
def test_the_command_says_what_is_wrong_in_one_line(folder: Path) -> None:
    file = recipe(folder)
    file.write_text(file.read_text().replace("lr:", "rl:"))
    said = train(file)
    assert said.returncode == 2 and said.stderr.count("\n") == 1
    assert 'unknown key "rl"' in said.stderr and "Traceback" not in said.stderr
    plan = train(recipe(folder), "--check")
    assert plan.returncode == 0 and "sft: conversations, 6 steps of 4" in plan.stdout


def test_what_a_task_holds_fixed_stays_fixed(folder: Path) -> None:
    """A parameter that asks for no gradient is not trained because its part is."""
    from apollo.train.optimizer import trained_groups
    from apollo.train.stage import Stage

    part = torch.nn.Linear(3, 3)
    part.bias.requires_grad_(False)

    class Task:
        def parts(self) -> dict[str, list[torch.nn.Module]]:
            return {"part": [part]}

    groups = trained_groups(Stage("s", {"part": 1.0}), Task(), "s")  # type: ignore[arg-type]
    assert [p is part.weight for group in groups for p in group["params"]] == [True]
    assert not part.bias.requires_grad
