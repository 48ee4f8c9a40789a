"""from_pretrained and save_pretrained take what transformers' own take, or say why not."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import sentence
from paths import GOLDEN, TINY
from transformers import AutoConfig, AutoModelForCausalLM

from apollo.chat import load
from apollo.errors import CheckpointError, SettingError
from apollo.model import hub
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.checkpoint import size_of

IDS = torch.tensor([[5, 6, 7, 8]])
AUTO = AutoModelForCausalLM.from_pretrained


def equal(one: Any, other: Any) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in theirs)


@pytest.fixture
def halved(tiny_model: Any) -> dict[str, torch.Tensor]:
    """A state dict of the tiny model with other weights."""
    return {name: tensor / 2 for name, tensor in tiny_model.state_dict().items()}


# ---- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [AUTO, ApolloForCausalLM.from_pretrained])
def test_row_55_a_keyword_of_the_config_counts(read: Any) -> None:
    model = read(TINY, clip_duration=4, encode_batch_size=3)
    assert (model.config.clip_duration, model.config.encode_batch_size) == (4, 3)
    config = AutoConfig.from_pretrained(TINY)
    config.clip_duration, config.output_hidden_states = 8, True
    model = read(TINY, config=config, encode_batch_size=5)
    assert (model.config.clip_duration, model.config.encode_batch_size) == (8, 5)
    assert model.config.output_hidden_states and config.encode_batch_size != 5
    assert len(model(IDS).hidden_states) > 1
    with pytest.raises(SettingError, match="'clip_durration' here; did you mean clip_duration?"):
        read(TINY, clip_durration=4)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "2", True, [2]])
@pytest.mark.parametrize("name", ["clip_duration", "encode_batch_size"])
def test_row_55_a_keyword_that_cannot_be(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"{name} is .* in the config; give a number above 0"):
        ApolloForCausalLM.from_pretrained(TINY, **{name: value})


def test_row_55_a_config_may_be_a_file_or_a_folder_but_not_a_dict(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "clip_duration": 6}))
    for given in (folder, str(folder / "config.json")):
        model = ApolloForCausalLM.from_pretrained(TINY, config=given)
        assert model.config.clip_duration == 6
    with pytest.raises(SettingError, match="config is a dict; give an ApolloConfig, or a file"):
        ApolloForCausalLM.from_pretrained(TINY, config=values)


@pytest.mark.parametrize("read", [AUTO, ApolloForCausalLM.from_pretrained])
def test_row_55_a_subfolder(tiny_model: Any, read: Any) -> None:
    assert equal(read(GOLDEN, subfolder="tiny-apollo"), tiny_model)
    with pytest.raises(CheckpointError, match="golden has no folder huge; check the subfolder."):
        ApolloForCausalLM.from_pretrained(GOLDEN, subfolder="huge")


def test_row_55_a_subfolder_of_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(TINY, tmp_path / "inner")
    monkeypatch.setattr(hub, "snapshot_download", lambda repo_id, **_: str(tmp_path))
    model = ApolloForCausalLM.from_pretrained("owner/name", subfolder="inner")
    assert model.source_folder == tmp_path / "inner"


def test_row_55_more_positions_and_pickles_are_refused() -> None:
    with pytest.raises(SettingError, match="takes one positional argument"):
        ApolloForCausalLM.from_pretrained(TINY, 5)
    with pytest.raises(SettingError, match="only read as safetensors"):
        ApolloForCausalLM.from_pretrained(TINY, use_safetensors=False)


def test_row_55_a_state_dict_takes_the_place_of_the_files(halved: Any, tmp_path: Path) -> None:
    model = AUTO(TINY, state_dict=halved)
    assert all(torch.equal(tensor, halved[k]) for k, tensor in model.state_dict().items())
    assert model.llm.lm_head.weight is model.get_input_embeddings().weight
    assert model.source_folder is None  # an adapter could not name it
    del halved["llm.lm_head.weight"]  # tied
    assert equal(AUTO(TINY, state_dict=halved), model)


def test_row_55_a_state_dict_of_another_model(halved: Any) -> None:
    with pytest.raises(CheckpointError) as error:
        AUTO(TINY, state_dict={f"module.{name}": tensor for name, tensor in halved.items()})
    assert "are not the model's (module.vision_tower." in sentence(error)
    halved.pop("llm.model.norm.weight")
    with pytest.raises(CheckpointError, match="given state_dict do not fit .* 1 missing"):
        AUTO(TINY, state_dict=halved)


@pytest.mark.parametrize(
    "place",
    [{"": "cpu"}, {"": torch.device("cpu")}, {"llm": "cpu", "mm_connector": "cpu"}, "cpu", None],
)
def test_row_57_a_device_map_of_one_device(place: Any) -> None:
    assert AUTO(TINY, device_map=place).device == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="they would find the card")
@pytest.mark.parametrize("place", ["auto", "balanced", "balanced_low_0", "sequential"])
def test_row_57_a_device_map_that_leaves_the_choice(place: Any) -> None:
    assert AUTO(TINY, device_map=place).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"": -1}, "The device 'cuda:-1' is unknown"),
        ({}, "device_map names no device"),
        ({"llm": "cpu", "": "disk"}, "device_map names cpu, disk, but the whole model runs on one"),
        ("disk", "The device 'disk' is unknown"),
    ],
)
def test_row_57_a_device_map_that_cannot_be(place: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words) as error:
        AUTO(TINY, device_map=place)
    sentence(error)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_row_57_the_first_card_of_none() -> None:
    for place in (0, {"": 0}):
        with pytest.raises(SettingError, match="no cuda device; leave it out or use cpu"):
            AUTO(TINY, device_map=place)


def test_row_57_loading_info_is_empty_because_loading_is_strict(tiny_model: Any) -> None:
    model, info = AUTO(TINY, output_loading_info=True)
    assert equal(model, tiny_model)
    assert {*info} == {"missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"}
    assert not any(info.values())


def test_row_57_a_model_that_was_loaded_can_be_pickled() -> None:
    model = load(TINY, device="cpu").model
    again = pickle.loads(pickle.dumps(model))
    assert equal(again, model)
    options = {"do_sample": False, "max_new_tokens": 4}
    assert again.generate(IDS, **options).tolist() == model.generate(IDS, **options).tolist()


# ---- writing -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_row_54_a_state_dict_is_what_is_written(
    tiny_model: Any, halved: Any, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path / "a", state_dict=halved)
    again = ApolloForCausalLM.from_pretrained(tmp_path / "a").state_dict()
    assert all(torch.equal(tensor, halved[name]) for name, tensor in again.items())
    separate = {name: tensor.clone() for name, tensor in halved.items()}  # ties are not told
    tiny_model.save_pretrained(tmp_path / "b", state_dict=separate, max_shard_size="100KB")
    assert equal(*map(ApolloForCausalLM.from_pretrained, (tmp_path / "a", tmp_path / "b")))


@pytest.mark.parametrize("change", ["missing", "unknown", "misshapen"])
def test_row_54_a_state_dict_of_another_model_is_not_written(
    tiny_model: Any, halved: Any, tmp_path: Path, change: str
) -> None:
    name = "llm.model.norm.weight"
    tensor = halved.pop(name)
    if change == "unknown":
        halved |= {f"module.{name}": tensor}
    if change == "misshapen":
        halved |= {name: tensor[:3]}
    with pytest.raises(CheckpointError, match="state_dict") as error:
        tiny_model.save_pretrained(tmp_path / "out", state_dict=halved)
    assert name in sentence(error) and not (tmp_path / "out").exists()


def test_row_54_only_the_main_process_writes(tiny_model: Any, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path / "out", is_main_process=False)
    assert not (tmp_path / "out").exists()


def test_row_53_sizes_as_people_write_them(tiny_model: Any, tmp_path: Path) -> None:
    sizes = {"1MB": 10**6, "1.5 gb": 15 * 10**8, "2GiB": 2**31, 7: 7, "900": 900, "3B": 3}
    assert {text: size_of(text) for text in sizes} == sizes
    for size in ("1XB", "", 0, -5, "big", None):
        with pytest.raises(SettingError, match=r'give bytes, or a text such as "2GB"') as error:
            tiny_model.save_pretrained(tmp_path / "out", max_shard_size=size)
        sentence(error)
    assert not (tmp_path / "out").exists()


def test_the_index_names_the_file_of_every_tensor(tiny_model: Any, tmp_path: Path) -> None:
    for size in ("100KB", "1GB"):
        tiny_model.save_pretrained(tmp_path, max_shard_size=size)
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == tiny_model.state_dict().keys()
        assert all((tmp_path / file).is_file() for file in index["weight_map"].values())


def test_a_file_is_no_folder_to_save_in(tiny_model: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(SettingError, match="file is a file; choose a folder"):
        tiny_model.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


# ---- words -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [840, 700])
def test_row_57_word_embeddings_can_be_resized(tiny_model: Any, tmp_path: Path, size: int) -> None:
    model = AUTO(TINY)
    assert model.resize_token_embeddings(size).num_embeddings == size
    assert model.resize_token_embeddings() is model.get_input_embeddings()
    model.save_pretrained(tmp_path)
    again = AUTO(tmp_path)
    assert again.llm.config.vocab_size == size and model.source_folder is None
    assert again.llm.lm_head.weight is again.get_input_embeddings().weight
    kept = min(size, 832)
    assert torch.equal(again(IDS).logits[..., :kept], tiny_model(IDS).logits[..., :kept])
