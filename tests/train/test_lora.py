"""`apollo lora`: an adapter from a few clips, by the trainer of everything, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import GREEDY, SHORT
from folders import edit, rewrite, sentence
from paths import TINY
from safetensors.torch import load_file
from train_process import run_together

import apollo
from apollo import cli
from apollo.adapters import lora as adapters
from apollo.adapters.files import AdapterConfig
from apollo.cartoon import rehearsal
from apollo.errors import AdapterError, ApolloError, DataError, SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.train import features, lora
from apollo.train.lora_command import merge_adapter
from apollo.train.records import read_records

QUESTION = "What is there, please?"
ANSWERS = ["A windmill turns.", "It is brown.", "Nothing else.", "It stays still."]
ADAPTER_FILES = {"adapter_model.safetensors", "adapter_config.json", "apollo_adapter.json"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.cpu.amp:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four conversations about one video, of 4 s and of its first 2 s."""
    shutil.copy(SHORT, tmp_path / "clip.mp4")
    records: list[dict[str, Any]] = [
        {
            "video": "clip.mp4",
            **({"end_s": 2} if number % 2 else {}),
            "messages": [
                {"role": "user", "content": QUESTION if number == 0 else f"And {number}?"},
                {"role": "assistant", "content": answer},
            ],
        }
        for number, answer in enumerate(ANSWERS)
    ]
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def settings(data: Path, output: str = "lora", **values: Any) -> lora.LoraSettings:
    targets = values.pop("targets", ("llm", "connector"))
    dropout = values.pop("dropout", 0.0)
    chosen: dict[str, Any] = {"base": str(TINY), "steps": 6, "batch": 4, "lr": 1e-2} | values
    adapter = AdapterConfig(rank=4, alpha=8, dropout=dropout, targets=targets)
    return lora.LoraSettings(data, data.parent / output, adapter, **chosen)


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def losses(folder: Path) -> list[float]:
    lines = (folder / "training" / "journal.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def logits(model: ApolloForCausalLM) -> torch.Tensor:
    with torch.no_grad():
        ids = torch.tensor([[5, 6, 7, 8, 9]])
        return model(input_ids=ids).logits


# ---- training ----------------------------------------------------------------------------


@pytest.mark.slow
def test_it_learns_and_only_the_adapter_is_kept(data: Path) -> None:
    wanted = settings(data, steps=30)
    assert lora.train_adapter(wanted)
    curve = losses(wanted.output)
    assert curve[-1] < curve[0] - 1.0
    assert {file.name for file in wanted.output.iterdir() if file.is_file()} == {
        *ADAPTER_FILES,
        "training.json",
    }
    kept = stored(wanted.output)
    assert kept and all(".lora_" in name for name in kept)
    assert all(bool(tensor.any()) for name, tensor in kept.items() if ".lora_B." in name)
    whole = sum(p.numel() for p in ApolloForCausalLM.from_pretrained(TINY).parameters())
    assert sum(tensor.numel() for tensor in kept.values()) < whole / 4

    plain = apollo.load(TINY).answer(SHORT, QUESTION, generation=GREEDY)
    taught = apollo.load(TINY, adapter=wanted.output)
    assert taught.answer(SHORT, QUESTION, generation=GREEDY) != plain
    taught.use_adapter(None)
    assert taught.answer(SHORT, QUESTION, generation=GREEDY) == plain


@pytest.mark.slow
def test_the_base_in_memory_stays_as_it_is(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[ApolloForCausalLM] = []
    read = lora.LoraTask.base_model

    def kept(self: lora.LoraTask, *args: Any) -> ApolloForCausalLM:
        trained.append(read(self, *args))
        return trained[-1]

    monkeypatch.setattr(lora.LoraTask, "base_model", kept)
    lora.train_adapter(settings(data, steps=3))
    (model,) = trained
    after = {
        name.replace(".base_layer", ""): tensor
        for name, tensor in model.state_dict().items()
        if ".lora_" not in name
    }
    before = ApolloForCausalLM.from_pretrained(TINY).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.slow
def test_a_stopped_training_goes_on_and_ends_the_same(data: Path) -> None:
    whole, cut = settings(data, "whole", dropout=0.2), settings(data, "cut", dropout=0.2)
    assert lora.train_adapter(whole)  # dropout draws random numbers at every step
    stops = 0
    while not lora.train_adapter(cut, minutes=1e-6):
        stops += 1
        assert not (cut.output / "adapter_model.safetensors").exists()
    assert stops >= 3
    first, second = stored(whole.output), stored(cut.output)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize(("targets", "num_clips"), [(("llm",), 3), (("llm", "towers"), 0)])
def test_clips_are_encoded_once_unless_the_towers_change(
    data: Path, monkeypatch: pytest.MonkeyPatch, targets: tuple[str, ...], num_clips: int
) -> None:
    encoded: list[int] = []
    encode = features.encode_features

    def counted(model: Any, pixels: Any) -> torch.Tensor:
        encoded.append(len(pixels[0]))
        return encode(model, pixels)

    monkeypatch.setattr(features, "encode_features", counted)
    wanted = settings(data, targets=targets, steps=2)
    lora.train_adapter(wanted)
    assert sum(encoded) == num_clips  # 4 s and 2 s of the video
    changed = {
        name.split(".")[2]
        for name, tensor in stored(wanted.output).items()
        if ".lora_B." in name and bool(tensor.any())
    }
    assert changed == {"llm"} | ({"vision_tower"} if "towers" in targets else set())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_it_learns_on_a_quantized_base(data: Path, kind: str) -> None:
    wanted = settings(data, quantization=kind, targets=("llm",), steps=12)
    lora.train_adapter(wanted)
    curve = losses(wanted.output)
    assert curve[-1] < curve[0] - 0.2
    adapters.load_adapter(ApolloForCausalLM.from_pretrained(TINY), wanted.output)


@pytest.mark.slow
def test_layers_on_a_quantized_base_are_computed_again_instead_of_kept(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QLoRA is for little memory, so it trains with gradient checkpointing."""
    runs: list[torch.nn.Module] = []
    read = lora.LoraTask.base_model

    def watched(self: lora.LoraTask, *args: Any) -> ApolloForCausalLM:
        model = read(self, *args)
        for layer in model.llm.model.layers:
            layer.mlp.register_forward_pre_hook(lambda module, _: runs.append(module))
        return model

    monkeypatch.setattr(lora.LoraTask, "base_model", watched)
    lora.train_adapter(settings(data, "plain", targets=("llm",), steps=1))
    num_runs = len(runs)
    lora.train_adapter(settings(data, quantization="4bit", targets=("llm",), steps=1))
    assert len(runs) == 3 * num_runs


def test_a_finished_training_is_not_run_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = settings(data, steps=1)
    lora.train_adapter(wanted)
    before = stored(wanted.output)
    monkeypatch.setattr(lora, "train_stage", None)
    assert before and lora.train_adapter(wanted)
    with pytest.raises(TypeError):
        lora.train_adapter(wanted, fresh=True)


def test_a_fresh_training_begins_without_the_files_of_the_old_one(data: Path) -> None:
    lora.train_adapter(settings(data, steps=3))
    wanted = settings(data, steps=2)
    assert not lora.train_adapter(wanted, fresh=True, minutes=1e-6)
    assert not (wanted.output / "adapter_model.safetensors").exists()
    assert len(losses(wanted.output)) == 1
    assert lora.train_adapter(wanted) and len(losses(wanted.output)) == 2


# ---- rehearsal ---------------------------------------------------------------------------


def test_rehearsal_is_written_once_and_goes_on_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rehearsal.write_video
    written: list[str] = []

    def stopped(video: Any, path: Path, **keywords: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        write(video, path, **keywords)
        written.append(path.name)

    monkeypatch.setattr(rehearsal, "write_video", stopped)
    with pytest.raises(KeyboardInterrupt):
        rehearsal.write_rehearsal(tmp_path, 4)
    assert not (tmp_path / "rehearsal.jsonl").exists()

    def noted(video: Any, path: Path, **keywords: Any) -> None:
        written.append(path.name)
        write(video, path, **keywords)

    monkeypatch.setattr(rehearsal, "write_video", noted)
    data = rehearsal.write_rehearsal(tmp_path, 4)
    assert len(written) == 4
    rehearsal.write_rehearsal(tmp_path, 4)
    assert len(written) == 4
    records = read_records(data)
    assert len({record.media for record in records}) == 4 and len(records) >= 11
    text = data.read_text("utf-8")
    assert any("\u4e00" <= sign <= "\u9fff" for sign in text) and "A. " in text


@pytest.mark.slow
def test_nano_rehearses_half_of_the_time(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[bool]] = []
    order = lora.LoraTask.order

    def noted(self: lora.LoraTask, num_samples: int) -> list[int]:
        numbers = order(self, num_samples)
        orders.append([self.records[n].file == data for n in numbers])
        return numbers

    write = rehearsal.write_rehearsal
    monkeypatch.setattr(lora.LoraTask, "order", noted)
    monkeypatch.setattr(lora, "write_rehearsal", lambda folder: write(folder, 2))
    lora.train_adapter(settings(data, base="nano", steps=4, rehearse=0.5))
    assert len(orders[-1]) == 16 and sum(orders[-1]) == 8


def test_rehearsal_comes_after_all_checks(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "write_rehearsal", None)
    with pytest.raises(SettingError) as error:
        lora.train_adapter(settings(data, base="nano", targets=("ears",), rehearse=0.5))
    assert "'ears'" in sentence(error) and not (data.parent / "lora").exists()


@pytest.mark.slow
def test_of_two_processes_one_draws_the_rehearsal(data: Path) -> None:
    said = run_together("rehearsal_process.py", str(data), str(data.parent / "lora"))
    assert said.count("drawn") == 1
    assert (data.parent / "lora" / "adapter_model.safetensors").is_file()


# ---- merge and show ----------------------------------------------------------------------


@pytest.mark.slow
def test_the_merged_model_is_the_adapter_without_one(data: Path) -> None:
    wanted, merged = settings(data, steps=10), data.parent / "merged"
    lora.train_adapter(wanted)
    merge_adapter(wanted.output, merged, str(TINY))
    model = ApolloForCausalLM.from_pretrained(TINY)
    bare = logits(model)
    adapters.load_adapter(model, wanted.output)
    assert torch.allclose(
        logits(ApolloForCausalLM.from_pretrained(merged)), logits(model), atol=1e-4
    )
    assert not torch.allclose(bare, logits(model), atol=1e-3)
    with pytest.raises(SettingError) as error:
        merge_adapter(wanted.output, merged, str(TINY))
    assert "merged" in sentence(error)


def test_merging_wants_the_very_base(data: Path, folder: Path, monkeypatch: Any) -> None:
    wanted = settings(data, steps=1)
    lora.train_adapter(wanted)
    monkeypatch.chdir(data.parent)
    with pytest.raises(AdapterError) as error:
        merge_adapter(wanted.output, data.parent / "merged")
    assert "tiny-apollo" in sentence(error) and "--base" in sentence(error)
    rewrite(folder / "mm_connector/model.safetensors", lambda t: t["proj.0.bias"].add_(1))
    with pytest.raises(AdapterError) as error:
        merge_adapter(wanted.output, data.parent / "merged", str(folder))
    assert "was made for" in sentence(error) and not (data.parent / "merged").exists()
    shutil.copytree(TINY, data.parent / "tiny-apollo")  # now it is found by its name
    merge_adapter(wanted.output, data.parent / "merged")


@pytest.mark.slow
def test_the_command_trains_shows_and_merges(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, merged = data.parent / "mine", data.parent / "merged"
    small = ["--base", str(TINY), "--rank", "2", "--steps", "8", "--lr", "0.01"]
    assert cli.main(["lora", "train", str(data), "--output", str(output), *small]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == QUESTION and said[1].startswith("  before: ") and said[1][10:] != said[2][10:]
    assert f"--adapter {output}" in said[-1]
    assert cli.main(["lora", "show", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("base:    tiny-apollo (") and lines[1] == "rank:    2"
    assert lines[4] == "targets: llm" and "numbers" in lines[5]
    flags = ["--output", str(merged), "--base", str(TINY)]
    assert cli.main(["lora", "merge", str(output), *flags]) == 0
    assert (merged / "config.json").is_file()


# ---- bad input ---------------------------------------------------------------------------


def refused(data: Path, kind: type[ApolloError], *words: str, **values: Any) -> None:
    with pytest.raises(kind) as error:
        lora.train_adapter(settings(data, **values))
    text = sentence(error)
    for word in words:
        assert word in text, text
    assert not (data.parent / "lora" / "training.json").exists()  # nothing was begun


def test_wrong_data_is_one_sentence_with_its_line(data: Path) -> None:
    good = data.read_text()
    data.write_text(good + '{"video": "clip.mp4", "messages"\n')
    refused(data, DataError, "data.jsonl, line 5")
    data.write_text(good.replace("clip.mp4", "gone.mp4"))
    refused(data, DataError, "data.jsonl, line 1", "gone.mp4")
    data.write_text(good.replace("It is brown.", "brown " * 9000))
    refused(data, DataError, "data.jsonl, line 2", "tokens")
    data.write_text(good)
    lora.train_adapter(settings(data, steps=1))  # the mended file is no other training
    shutil.rmtree(data.parent / "lora")
    data.write_text("")
    refused(data, DataError, "data.jsonl is empty")
    data.unlink()
    refused(data, DataError, "data.jsonl")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"targets": ("ears",)}, ["'ears'", "connector"]),
        ({"steps": 0}, ["--steps"]),
        ({"batch": -1}, ["--batch"]),
        ({"lr": 0.0}, ["--lr"]),
        ({"rehearse": 0.5}, ["--rehearse", "nano", str(TINY)]),
        ({"rehearse": 1.0}, ["--rehearse"]),
        ({"unreadable": "hope"}, ["--unreadable"]),
        ({"quantization": "1bit"}, ["1bit"]),
    ],
)
def test_wrong_settings_are_one_sentence(data: Path, values: Any, words: list[str]) -> None:
    refused(data, SettingError, *words, **values)


@pytest.mark.slow
def test_another_training_in_the_folder_is_not_mixed_in(data: Path) -> None:
    lora.train_adapter(settings(data, steps=1))
    values: dict[str, Any]
    for values, word in (({"steps": 2}, "steps"), ({"targets": ("llm",)}, "targets")):
        with pytest.raises(SettingError) as error:
            lora.train_adapter(settings(data, **({"steps": 1} | values)))
        assert word in sentence(error) and "--fresh" in sentence(error)
    data.write_text(data.read_text().replace("brown", "green"))
    with pytest.raises(SettingError) as error:
        lora.train_adapter(settings(data, steps=1))
    assert "another data" in sentence(error)
    assert lora.train_adapter(settings(data, steps=1), fresh=True)


def test_an_adapter_for_another_base_is_refused_by_name(data: Path, folder: Path) -> None:
    lora.train_adapter(settings(data, steps=1))
    edit(folder / "llm/config.json", rope_theta=5.0)
    with pytest.raises(AdapterError) as error:
        apollo.load(folder, adapter=data.parent / "lora")
    assert "tiny-apollo" in sentence(error)


def test_the_command_says_what_is_wrong_in_one_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data.parent / "clip.mp4").unlink()
    flags = ["--output", str(data.parent / "mine"), "--base", str(TINY)]
    assert cli.main(["lora", "train", str(data), *flags]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("apollo: ") and "data.jsonl, line 1" in said.err
    assert cli.main(["lora", "show", str(data.parent)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
