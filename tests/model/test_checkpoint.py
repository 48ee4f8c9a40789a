"""The released layout: written as it was read, and tensors that do not fit are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import PARTS, SIGLIP, assert_same_tensors, json_of, refused, rewrite, tensors_of
from paths import TINY
from safetensors import safe_open
from safetensors.torch import load_file

from apollo.errors import SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.device import pick_dtype

# ---- round trip ------------------------------------------------------------------------------


def test_saving_writes_what_was_read(tiny_model: Any, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path)
    assert_same_tensors(tmp_path)
    weights = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.safetensors")}
    assert weights == {str(file.relative_to(TINY)) for file in TINY.rglob("*.safetensors")}
    for name in ("config.json", "preprocessor_config.json"):
        for file in TINY.glob(f"*/**/{name}"):  # the parts' own files, number for number
            assert json_of(tmp_path / file.relative_to(TINY)) == json_of(file)
    root, original = json_of(tmp_path / "config.json"), json_of(TINY / "config.json")
    for key in ("architectures", "model_type", "clip_duration", "llm_cfg", "mm_connector_cfg"):
        assert root[key] == original[key]
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".bin", ".py", ".pt")]
    with safe_open(tmp_path / "llm/model.safetensors", framework="pt") as handle:
        assert "lm_head.weight" not in handle.keys()  # noqa: SIM118  (tied: stored once)
        assert handle.metadata() == {"format": "pt"}


def test_what_was_saved_loads_equal(tiny_model: Any, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path)
    again = ApolloForCausalLM.from_pretrained(tmp_path)
    ours, theirs = again.state_dict(), tiny_model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    text = "What happens between 0.5 and 2 seconds?<|im_end|>"
    assert again.tokenizer(text).input_ids == tiny_model.tokenizer(text).input_ids
    assert again.llm.lm_head.weight is again.llm.get_input_embeddings().weight
    settings = ("eos_token_id", "pad_token_id")
    for name in settings:
        ours, theirs = again.llm.generation_config, tiny_model.llm.generation_config
        assert getattr(ours, name) == getattr(theirs, name)
    assert not again.training


def test_shards(tiny_model: Any, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path, max_shard_size=200_000)
    for part in PARTS:
        shards = sorted((tmp_path / part).glob("model-0*-of-0*.safetensors"))
        index = json_of(tmp_path / part / "model.safetensors.index.json")
        assert len(shards) > 1 and not (tmp_path / part / "model.safetensors").exists()
        assert {*index["weight_map"].values()} == {shard.name for shard in shards}
    assert_same_tensors(tmp_path)
    again = ApolloForCausalLM.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in tiny_model.state_dict().items())
    tiny_model.save_pretrained(tmp_path)  # over the shards, which must not stay
    assert len([*tmp_path.rglob("*.safetensors")]) == len(PARTS)
    ApolloForCausalLM.from_pretrained(tmp_path)
    tiny_model.save_pretrained(tmp_path, max_shard_size=200_000)
    lost = sorted((tmp_path / "llm").glob("model-0*"))[1]
    lost.unlink()
    refused(tmp_path, lost.name, "llm", "not complete")


def test_a_number_type_can_be_chosen_and_is_saved(tmp_path: Path) -> None:
    model = ApolloForCausalLM.from_pretrained(TINY, dtype="bfloat16")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    model.save_pretrained(tmp_path)
    assert_same_tensors(tmp_path, torch.bfloat16)
    again = ApolloForCausalLM.from_pretrained(tmp_path)  # the type of the files
    assert again.dtype == torch.bfloat16
    wide = ApolloForCausalLM.from_pretrained(tmp_path, torch_dtype=torch.float32)
    assert {tensor.dtype for tensor in wide.state_dict().values()} == {torch.float32}
    with torch.no_grad():
        logits = again(torch.tensor([[5, 6, 7]])).logits
    assert logits.dtype == torch.bfloat16 and logits.isfinite().all()


@pytest.mark.parametrize("name", ["float17", "nn", "int8", "float64"])
def test_a_number_type_that_cannot_be(tiny_model: Any, name: str) -> None:
    with pytest.raises(SettingError, match=f"dtype '{name}' cannot be used; choose float32"):
        pick_dtype(name, tiny_model.config)


# ---- tensors that do not fit -----------------------------------------------------------------

NAMES = {
    "llm": "model.layers.1.mlp.up_proj.weight",
    "mm_connector": "resampler.layers.0.post_attention_layernorm.wheight",
    "vision_tower/internvideo2": "blocks.2.attn.qkv.weight",
    SIGLIP: "vision_model.encoder.layers.1.mlp.fc1.bias",
}


@pytest.mark.parametrize("part", PARTS)
def test_tensors_that_do_not_fit_are_named(folder: Path, part: str) -> None:
    file, name = folder / part / "model.safetensors", NAMES[part]
    rewrite(file, lambda tensors: tensors.pop(name))
    assert "unexpected" not in refused(folder, part, f"1 missing ({name})")
    shutil.copy(TINY / part / "model.safetensors", file)
    rewrite(file, lambda tensors: tensors.update({"extra.weight": torch.zeros(2)}))
    assert "missing" not in refused(folder, part, "1 unexpected (extra.weight)")
    shutil.copy(TINY / part / "model.safetensors", file)
    shape = list(load_file(file)[name].shape)
    rewrite(file, lambda tensors: tensors.update({name: torch.zeros(3, 5)}))
    assert "missing" not in refused(folder, f"1 misshapen ({name} [3, 5] instead of {shape})")


def test_many_missing_tensors_are_counted_and_some_named(folder: Path) -> None:
    rewrite(folder / "mm_connector/model.safetensors", lambda tensors: tensors.clear())
    text = refused(folder, f"{len(tensors_of(TINY / 'mm_connector'))} missing (", ", ...)")
    assert len(text) < 700


def test_a_table_that_older_files_store_is_passed_over(folder: Path) -> None:
    table = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}
    rewrite(folder / "llm/model.safetensors", lambda tensors: tensors.update(table))
    ApolloForCausalLM.from_pretrained(folder)


def test_an_output_layer_of_its_own_is_not_shared(folder: Path) -> None:
    for name in ("llm/config.json", "config.json"):
        values = json_of(folder / name)
        values.get("llm_cfg", values)["tie_word_embeddings"] = False
        (folder / name).write_text(json.dumps(values))
    refused(folder, "missing (lm_head.weight)")
    file = folder / "llm/model.safetensors"
    head = torch.randn_like(load_file(file)["model.embed_tokens.weight"])
    rewrite(file, lambda tensors: tensors.update({"lm_head.weight": head}))
    assert torch.equal(ApolloForCausalLM.from_pretrained(folder).llm.lm_head.weight, head)
