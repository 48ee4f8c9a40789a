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

from apollo.errors import ApolloError, DataError, RecipeError, SettingError
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


def test_with_features_on_disk_a_video_is_scanned_once_at_most_and_never_for_a_sample(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More videos than indices are kept for, and fresh memories, as in a new process."""
    from apollo.train import conversations, records, resume
    from apollo.video import container, index, reader

    lines = []
    for number in range(reader._indices.max_entries + 4):
        shutil.copy(SHORT, folder / f"{number}.mp4")
        record = json.loads((folder / "data.jsonl").read_text().splitlines()[0])
        lines.append(json.dumps(record | {"video": f"{number}.mp4"}) + "\n")
    (folder / "data.jsonl").write_text("".join(lines))
    file = recipe(folder, num_steps=3)
    run(file)
    reader._indices.clear()
    records._info_of.cache_clear()
    resume._digest.cache_clear()
    shutil.rmtree(folder / "out" / "sft")

    counts: list[str] = []

    def count(module: Any, name: str, label: str) -> None:
        work = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: counts.append(label) or work(*a, **k))

    count(reader, "open_file", "open")
    count(container.av, "open", "demux")
    count(index, "scan_packets", "scan")
    count(resume.hashlib, "file_digest", "digest")
    sampled: list[list[str]] = []
    sample = conversations.ConversationTask.sample

    def sampling(self: Any, number: int) -> Any:
        before = len(counts)
        found = sample(self, number)
        sampled.append(counts[before:])
        return found

    monkeypatch.setattr(conversations.ConversationTask, "sample", sampling)
    run(file)
    assert sampled == [[]] * 12
    assert [counts.count(label) for label in ("open", "scan")] == [len(lines)] * 2
    assert counts.count("digest") == len(lines) + 1  # and of the data file


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


def test_a_batch_of_text_runs_no_tower_and_gives_gradients_of_zero(folder: Path) -> None:
    from apollo.train.checks import start_of
    from apollo.train.task import build_task

    read = read_recipe(recipe(folder, "{connector: 1.0, towers: 1.0}"))
    task: Any = build_task(read.stages[0], start_of(read, read.stages[0], folder / "out"))
    number = next(n for n, record in enumerate(task.records) if record.media is None)
    model, runs = task.model, []
    for part in (model.vision_tower, model.mm_connector):
        part.register_forward_hook(lambda *_: runs.append(1))
    task.module(**task.collate([task.sample(number)]))["loss"].backward()
    assert not runs
    for part in (model.vision_tower, model.mm_connector):
        assert all(p.grad is not None and not p.grad.any() for p in part.parameters())


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


def test_every_answer_token_of_the_validation_data_counts_alike(folder: Path) -> None:
    """Batches hold unlike numbers of them, so a mean over batches would be another number."""
    record = json.loads((folder / "checked.jsonl").read_text().splitlines()[0])
    told = ["No.", "A ball rolls to the left and two dogs run far away from it, it is red."]
    lines = []
    for said in told:
        record["messages"][1]["content"] = said
        lines.append(json.dumps(record))

    def validated(name: str, *lines: str) -> float:
        (folder / "checked.jsonl").write_text("\n".join(lines))
        file = recipe(folder, num_steps=1, micro_batch=1, validation="checked.jsonl")
        rows = (run(file, name) / "journal.jsonl").read_text().splitlines()
        (loss,) = [row["validation_loss"] for row in map(json.loads, rows) if len(row) == 2]
        return loss

    short, long = validated("short", lines[0]), validated("long", lines[1])
    both = validated("both", *lines)
    assert abs(both - long) < abs(both - short) / 3
    assert abs(both - (short + long) / 2) > 0.01


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


@pytest.mark.parametrize("is_stopped", [True, False])
def test_another_recipe_in_the_same_folder_is_refused(folder: Path, is_stopped: bool) -> None:
    stage = run(recipe(folder), **({"minutes": 1e-6} if is_stopped else {}))
    for change in ({"lr": 2e-2}, {"num_steps": 7}, {"precision": "bfloat16"}):
        with pytest.raises(SettingError) as error:
            run(recipe(folder, **change))
        text = sentence(error)
        assert f"{stage} holds a training with another {next(iter(change))}" in text
        assert "--fresh" in text
    run(recipe(folder, micro_batch=2, log_every=2, save_every=1, keep=1))  # changes no result
    data = folder / "data.jsonl"
    data.write_text(data.read_text().replace("Two dogs", "Six dogs"))
    with pytest.raises(SettingError, match="another data; choose another --output, or add --fresh"):
        run(recipe(folder))
    assert len(losses(run(recipe(folder, num_steps=2), fresh=True))) == 2


@pytest.mark.slow
def test_a_folder_with_results_of_something_else_is_refused(folder: Path) -> None:
    (folder / "out" / "sft" / "result").mkdir(parents=True)
    with pytest.raises(SettingError, match="holds files of something else; choose another"):
        run(recipe(folder))
    said = train(recipe(folder), "--check")
    assert said.returncode == 2 and "holds files of something else" in said.stderr


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
def test_processes_that_share_the_weights_stop_and_go_on_on_processors(folder: Path) -> None:
    config = ROOT / "apollo/train/recipes/fsdp_cpu.config"
    file = recipe(folder, "{connector: 1.0, llm: 1.0}", num_steps=4)
    alone = losses(run(file, "alone"))
    for flags in (("--minutes", "0.00001"), ()):  # stopped after a step, then to the end
        said = train_together(
            file,
            *("--output", str(folder / "sharded"), *flags),
            accelerate=("--config_file", str(config)),
        )
        assert "2 processes share the weights." in said
        assert (folder / "sharded" / "sft" / "result").exists() == (not flags)
    assert losses(folder / "sharded" / "sft") == pytest.approx(alone, rel=1e-4)
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
