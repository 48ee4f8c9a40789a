"""LoRA adapters: no effect at first, the same after saving and merging, never on another base."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import GREEDY, QUESTION, SHORT, counted
from folders import edit, rewrite, sentence
from paths import TINY
from torch import Tensor

import apollo
from apollo.adapters import lora as adapters
from apollo.adapters.identity import identify
from apollo.adapters.lora import AdapterConfig
from apollo.errors import AdapterError, ApolloError, SettingError
from apollo.model.causal_lm import ApolloForCausalLM

EVERYWHERE = ("llm", "connector", "towers")
TOWERS = ("internvideo2", "siglip-so400m-patch14-384")


def fresh(**keywords: Any) -> ApolloForCausalLM:
    return ApolloForCausalLM.from_pretrained(TINY, **keywords)


def inputs(model: ApolloForCausalLM) -> dict[str, Any]:
    """A prompt with one clip of noise in it, the same every time."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(4, 112, 112, 3)] * 2
    pixels = []
    for transform, shape in zip(model.vision_tower.vision_processor, shapes, strict=True):
        frames = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        pixels.append(transform(frames.numpy())[None])
    slots = [-200] * model.config.tokens_per_clip
    ids = torch.tensor([[5, 6, *slots, 7, 8, 9]])
    return {"input_ids": ids, "vision_input": [pixels], "labels": ids.clamp(min=1)}


@torch.no_grad()
def logits(model: ApolloForCausalLM) -> Tensor:
    return model(**inputs(model)).logits


def disturb(model: ApolloForCausalLM, seed: int, scale: float = 0.2) -> None:
    """Stands for training: the adapter in use gets other weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and ".lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


def with_adapter(
    seed: int = 1, targets: tuple[str, ...] = EVERYWHERE, **keywords: Any
) -> ApolloForCausalLM:
    model = fresh(**keywords)
    adapters.add_adapter(model, AdapterConfig(rank=4, alpha=8, targets=targets), "first")
    disturb(model, seed)
    return model


@pytest.fixture(scope="module")
def bare() -> Tensor:
    return logits(fresh())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "lora.v1"
    adapters.save_adapter(with_adapter(), folder)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "lora"))


# ---- effect ------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [("llm",), ("connector",), ("towers",), TOWERS[:1], EVERYWHERE])
def test_a_fresh_adapter_changes_nothing_and_a_trained_one_does(
    targets: tuple[str, ...], bare: Tensor
) -> None:
    model = fresh()
    adapters.add_adapter(model, AdapterConfig(targets=targets))
    assert torch.equal(logits(model), bare)
    disturb(model, seed=1)
    assert not torch.allclose(logits(model), bare, atol=1e-3)


def test_every_adapted_layer_learns_and_nothing_else_does() -> None:
    model = fresh()
    adapters.add_adapter(model, AdapterConfig(targets=EVERYWHERE))
    model(**inputs(model)).loss.backward()
    grads = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    layers = adapters.target_layers(model, EVERYWHERE)
    assert {k.split(".lora_")[0] for k in grads} == set(layers)
    assert {k.partition(".lora_")[2][0] for k in grads} == {"A", "B"}
    for key, grad in grads.items():  # at first A's gradient is 0, because B is
        assert bool(grad.any()) == (".lora_B." in key), key


def test_the_targets_are_told_apart() -> None:
    model = fresh()
    found = {name: set(adapters.target_layers(model, [name])) for name in (*EVERYWHERE, *TOWERS)}
    assert found["towers"] == found[TOWERS[0]] | found[TOWERS[1]]
    kinds = {path.rpartition(".")[2] for path in found["llm"]}
    assert kinds == {f"{k}_proj" for k in ("q", "k", "v", "o", "gate", "up", "down")}
    assert all(path.startswith("mm_connector.") for path in found["connector"])
    adapters.add_adapter(model, AdapterConfig(targets=EVERYWHERE))
    assert set(adapters.target_layers(model, ["llm"])) == found["llm"]


def test_dropout_is_off_while_the_model_answers() -> None:
    model = fresh()
    adapters.add_adapter(model, AdapterConfig(dropout=0.5))
    disturb(model, seed=1)
    assert torch.equal(logits(model), logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))


# ---- save, load, switch, merge -----------------------------------------------------------


def test_a_loaded_adapter_is_the_saved_one_and_holds_no_base(saved: Path) -> None:
    wanted, model = with_adapter(), fresh()
    assert adapters.load_adapter(model, saved) == "lora.v1"
    assert torch.equal(logits(model), logits(wanted))
    assert not any(p.requires_grad for p in model.parameters())
    assert {file.name for file in saved.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "apollo_adapter.json",
    }
    layers = adapters.target_layers(model, EVERYWHERE).values()
    num_values = sum(4 * (layer.in_features + layer.out_features) for layer in layers)
    assert (saved / "adapter_model.safetensors").stat().st_size < 4 * num_values + 40_000
    assert adapters.adapter_config(model, "lora.v1") == AdapterConfig(4, 8.0, 0.0, EVERYWHERE)


def test_saving_again_writes_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    model = fresh()
    adapters.load_adapter(model, saved)
    adapters.save_adapter(model, tmp_path / "again")
    for file in saved.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_peft_itself_reads_the_folder(saved: Path) -> None:
    from peft import PeftModel

    model = fresh()
    PeftModel.from_pretrained(model, str(saved)).eval()  # changes the model in place
    assert torch.equal(logits(model), logits(with_adapter()))


def test_switching_copies_nothing_and_leaves_the_base_as_it_was(bare: Tensor, saved: Path) -> None:
    model = fresh()
    before = {id(p): (p, p.data_ptr(), p.clone()) for p in model.parameters()}
    adapters.load_adapter(model, saved, "one")
    one = logits(model)
    adapters.add_adapter(model, AdapterConfig(rank=2, targets=("llm",)), "two")
    disturb(model, seed=2)
    two = logits(model)
    assert adapters.adapter_names(model) == ["one", "two"]
    for name, wanted in ((None, bare), ("one", one), ("two", two), (None, bare), ("two", two)):
        adapters.switch(model, name)
        assert adapters.active_adapter(model) == name
        assert torch.equal(logits(model), wanted), name
    assert not torch.equal(one, two)
    kept = {id(p): p for p in model.parameters()}
    for key, (parameter, address, values) in before.items():
        assert kept[key] is parameter and parameter.data_ptr() == address
        assert torch.equal(parameter, values)


def test_after_a_switch_back_only_the_trainable_adapter_learns(saved: Path) -> None:
    model = fresh()
    adapters.add_adapter(model, AdapterConfig(), "mine")
    adapters.load_adapter(model, saved, "theirs")
    adapters.switch(model, "mine")
    adapters.switch(model, None)
    adapters.switch(model, "mine")
    learning = [k for k, p in model.named_parameters() if p.requires_grad]
    assert learning and all(".adapter0." in key for key in learning)


def test_merging_equals_the_adapter_and_makes_a_plain_model(bare: Tensor, tmp_path: Path) -> None:
    model = with_adapter()
    wanted = logits(model)
    adapters.merge(model)
    assert torch.allclose(logits(model), wanted, atol=1e-4)
    assert not torch.allclose(wanted, bare, atol=1e-3)
    assert model.state_dict().keys() == fresh().state_dict().keys()
    assert adapters.adapter_names(model) == [] and adapters.active_adapter(model) is None
    assert all(p.requires_grad for p in model.parameters())
    model.save_pretrained(tmp_path / "merged")
    again = ApolloForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(logits(again), logits(model))
    adapters.add_adapter(again, AdapterConfig())  # a plain model takes adapters again


def test_merging_one_of_two_leaves_the_other_out() -> None:
    model = with_adapter(seed=1)
    wanted = logits(model)
    adapters.add_adapter(model, AdapterConfig(targets=("llm",)), "other")
    disturb(model, seed=2)
    adapters.merge(model, "first")
    assert torch.allclose(logits(model), wanted, atol=1e-4)


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_an_adapter_learns_on_a_quantized_base_and_fits_the_whole_one(
    kind: str, tmp_path: Path
) -> None:
    model = fresh(quantization=kind)
    before = logits(model)
    adapters.add_adapter(model, AdapterConfig(targets=("llm", "connector")))
    # CPUs with bfloat16 units answer in that type, and in float32 through a base that is trained
    assert torch.allclose(logits(model), before, atol=0.1)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-2)
    losses = []
    for _ in range(8):
        loss = model(**inputs(model)).loss
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.5
    with pytest.raises(AdapterError) as error:
        adapters.merge(model)
    assert kind in sentence(error)
    adapters.save_adapter(model, tmp_path / "small")
    whole = fresh()
    adapters.load_adapter(whole, tmp_path / "small")
    with torch.no_grad():
        assert float(whole(**inputs(whole)).loss) < losses[0] - 0.5


def test_a_bfloat16_base_keeps_its_type_and_its_adapter_float32() -> None:
    model = fresh(dtype=torch.bfloat16)
    adapters.add_adapter(model, AdapterConfig(targets=EVERYWHERE))
    types = {p.dtype for p in model.parameters() if p.requires_grad}
    assert types == {torch.float32} and logits(model).dtype == torch.bfloat16
    assert model.dtype == torch.bfloat16


# ---- talking to it -----------------------------------------------------------------------


def test_load_takes_an_adapter_and_it_can_be_switched(saved: Path) -> None:
    plain, adapted = apollo.load(TINY), apollo.load(TINY, adapter=saved)
    assert (plain.adapters, adapted.adapters) == ([], ["lora.v1"])
    without = plain.answer(SHORT, QUESTION, generation=GREEDY)
    assert adapted.answer(SHORT, QUESTION, generation=GREEDY) != without
    adapted.use_adapter(None)
    assert adapted.answer(SHORT, QUESTION, generation=GREEDY) == without
    assert plain.load_adapter(saved, "mine") == "mine" and plain.adapters == ["mine"]


def test_visual_tokens_are_shared_only_when_they_are_the_same(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters.save_adapter(with_adapter(targets=("llm",)), tmp_path / "words")
    chat = apollo.load(TINY)
    chat.load_adapter(tmp_path / "words", "words")
    chat.load_adapter(saved, "sight")
    with counted(chat.model, monkeypatch) as calls:
        for name, encoded in ((None, 2), ("words", 2), ("sight", 4), (None, 4), ("sight", 4)):
            chat.use_adapter(name)
            chat.answer(SHORT, QUESTION, generation=GREEDY)
            assert calls.encoded == encoded, name


def test_loading_says_nothing(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        adapters.load_adapter(fresh(), saved)
    assert caplog.records == []


# ---- who the base is ---------------------------------------------------------------------


def test_the_same_model_in_other_files_is_the_same_base(tmp_path: Path, saved: Path) -> None:
    moved = tmp_path / "models--owner--name" / "snapshots" / "abc"
    fresh().save_pretrained(moved, max_shard_size=100_000)
    assert len(list((moved / "llm").glob("*.safetensors"))) > 1
    assert identify(moved).digest == identify(TINY).digest
    assert (identify(moved).name, identify(TINY).name) == ("owner/name", "tiny-apollo")
    adapters.load_adapter(ApolloForCausalLM.from_pretrained(moved), saved)


def test_one_changed_number_or_setting_is_another_base(folder: Path) -> None:
    whole = identify(folder)
    rewrite(folder / "mm_connector/model.safetensors", lambda t: t["proj.0.bias"].add_(1e-3))
    changed = identify(folder)
    assert changed.digest != whole.digest
    edit(folder / "llm/config.json", rope_theta=5.0)
    assert identify(folder).digest != changed.digest


def test_a_change_inside_a_large_tensor_is_seen(folder: Path) -> None:
    def widen(tensors: dict[str, Tensor]) -> None:
        tensors["latents"] = torch.zeros(1024, 1024)  # 4 MiB: only slices of it are read

    def touch(tensors: dict[str, Tensor]) -> None:
        tensors["latents"] += 1e-4

    file = folder / "mm_connector/model.safetensors"
    rewrite(file, widen)
    before = identify(folder)
    rewrite(file, touch)
    assert identify(folder).digest != before.digest


# ---- refusals ----------------------------------------------------------------------------


def refused(folder: Path, *words: str) -> None:
    """The adapter is refused in one sentence, and the model stays as it was."""
    model = fresh()
    names = list(model.state_dict())
    with pytest.raises(AdapterError) as error:
        adapters.load_adapter(model, folder)
    text = sentence(error)
    for word in words:
        assert word in text, text
    assert list(model.state_dict()) == names and adapters.adapter_names(model) == []


def test_an_adapter_for_another_base_is_refused_by_both_names(folder: Path, saved: Path) -> None:
    rewrite(folder / "mm_connector/model.safetensors", lambda t: t["proj.0.bias"].add_(1))
    model = ApolloForCausalLM.from_pretrained(folder)
    with pytest.raises(AdapterError) as error:
        adapters.load_adapter(model, saved)
    text = sentence(error)
    assert str(identify(TINY)) in text and str(identify(folder)) in text
    assert list(model.state_dict()) == list(fresh().state_dict())


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("adapter_config.json", {"peft_type": "IA3"}, ["IA3", "plain LoRA"]),
        ("adapter_config.json", {"use_dora": True}, ["use_dora"]),
        ("adapter_config.json", {"r": None}, ["'r'"]),
        ("adapter_config.json", {"r": "eight"}, ["eight"]),
        ("adapter_config.json", {"r": 0}, ["rank is 0"]),
        ("adapter_config.json", {"r": 3}, ["shape", "lora_"]),
        ("apollo_adapter.json", {"base": None}, ["'base'"]),
        ("apollo_adapter.json", {"targets": ["hands"]}, ["hands", "connector"]),
        ("apollo_adapter.json", {"targets": ["llm"]}, ["unknown tensor mm_connector"]),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    copied: Path, file: str, values: dict[str, Any], words: list[str]
) -> None:
    edit(copied / file, **values)
    refused(copied, *words)


def test_files_that_are_not_an_adapter_are_refused(copied: Path) -> None:
    refused(copied / "nowhere", "nowhere", "adapter_config.json", "apollo lora train")
    rewrite(copied / "adapter_model.safetensors", lambda t: t.pop(sorted(t)[0]))
    refused(copied, "lacks the tensor llm.model.layers.0.mlp.down_proj.lora_A.weight")
    (copied / "adapter_model.safetensors").write_bytes(b"\0" * 20)
    refused(copied, "adapter_model.safetensors", "cannot be read")
    (copied / "adapter_config.json").write_text('{"r": ')
    refused(copied, "adapter_config.json", "not JSON")
    (copied / "adapter_config.json").write_text(json.dumps([1]))
    refused(copied, "one JSON object")
    (copied / "apollo_adapter.json").unlink()
    refused(copied, "apollo_adapter.json", "not known")


def test_a_wrong_adapter_folder_is_said_before_the_model_is_read(tmp_path: Path) -> None:
    with pytest.raises(AdapterError) as error:
        apollo.load(tmp_path / "no" / "model", adapter=tmp_path)
    assert "holds no adapter" in sentence(error)


def test_an_adapter_that_is_not_finite_is_not_merged() -> None:
    model = with_adapter()
    before = model.llm.model.layers[0].mlp.up_proj.base_layer.weight.clone()
    model.llm.model.layers[2].mlp.up_proj.lora_B["adapter0"].weight.data[0, 0] = torch.nan
    with pytest.raises(AdapterError) as error:
        adapters.merge(model)
    assert "llm.model.layers.2.mlp.up_proj" in sentence(error)
    assert torch.equal(model.llm.model.layers[0].mlp.up_proj.base_layer.weight, before)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda m: adapters.switch(m, "none"), ["'none'", "first"]),
        (lambda m: adapters.add_adapter(m, AdapterConfig(), "first"), ["already"]),
        (lambda m: adapters.add_adapter(m, AdapterConfig(targets=("ears",))), ["'ears'", *TOWERS]),
        (lambda m: m.save_pretrained("never-written"), ["merge"]),
        (lambda m: AdapterConfig(rank=0), ["rank"]),
        (lambda m: AdapterConfig(alpha=0), ["alpha"]),
        (lambda m: AdapterConfig(dropout=1), ["dropout"]),
        (lambda m: AdapterConfig(targets=()), ["targets"]),
    ],
)
def test_wrong_use_is_one_sentence(action: Any, words: list[str]) -> None:
    model = with_adapter(targets=("llm",))
    with pytest.raises((AdapterError, SettingError)) as error:
        action(model)
    assert all(word in sentence(error) for word in words), sentence(error)
    assert adapters.adapter_names(model) == ["first"]


def test_a_model_that_is_not_from_files_takes_no_adapter(tmp_path: Path) -> None:
    merged = with_adapter()
    adapters.merge(merged)
    with pytest.raises(ApolloError) as error:
        adapters.add_adapter(merged, AdapterConfig())
    assert "save the model" in sentence(error)
    with pytest.raises(AdapterError) as error:
        adapters.save_adapter(fresh(), tmp_path)
    assert "No adapter" in sentence(error)
