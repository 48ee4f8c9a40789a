"""The released layout: written as it was read, and refused in one sentence when it is not whole."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from conftest import TINY
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from apollo import checkpoint
from apollo.chat import load
from apollo.errors import ApolloError, CheckpointError, SettingError
from apollo.model import ApolloForCausalLM
from apollo.models import MODELS, card_of
from apollo.placement import pick_dtype

PARTS = {
    "llm": "the language model",
    "mm_connector": "the connector",
    "vision_tower/internvideo2": "the video tower",
    "vision_tower/siglip-so400m-patch14-384": "the image tower",
}
SIGLIP = "vision_tower/siglip-so400m-patch14-384"


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        assert not found.keys() & tensors.keys()
        found.update(tensors)
    return found


def assert_same_tensors(folder: Path, dtype: torch.dtype | None = None) -> None:
    for part in PARTS:
        written, original = tensors_of(folder / part), tensors_of(TINY / part)
        assert written.keys() == original.keys()
        for name, tensor in original.items():
            wanted = tensor.to(dtype) if dtype else tensor
            assert written[name].dtype == wanted.dtype and torch.equal(written[name], wanted), name


def json_of(file: Path) -> Any:
    return json.loads(file.read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that a test may damage."""
    return Path(shutil.copytree(TINY, tmp_path / "copy"))


def sentence(error: pytest.ExceptionInfo[ApolloError]) -> str:
    """The message, which must be one plain sentence."""
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and ". " not in text, text
    return text


def refused(folder: Path | str, *words: str, **keywords: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        ApolloForCausalLM.from_pretrained(folder, **keywords)
    text = sentence(error)
    for word in words:
        assert word in text, text
    return text


def rewrite(file: Path, change: Any) -> None:
    """Applies `change` to the dict of tensors of one file."""
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def edit(file: Path, **values: Any) -> None:
    """Sets keys of a JSON file; a key set to None is removed."""
    merged = {**json_of(file), **values}
    file.write_text(json.dumps({k: v for k, v in merged.items() if v is not None}))


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
    tiny_model.save_pretrained(tmp_path, max_shard_bytes=200_000)
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
    tiny_model.save_pretrained(tmp_path, max_shard_bytes=200_000)
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


# ---- folders that are not whole ----------------------------------------------------------------


def test_damaged_files(folder: Path) -> None:
    file = folder / "llm/model.safetensors"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"\xff" * 5000, b"not a tensor"):
        file.write_bytes(content)
        refused(folder, "llm/model.safetensors", "damaged", "download it again")


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "x.ckpt"])
def test_a_pickle_is_named_and_not_opened(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "mm_connector/model.safetensors").unlink()
    mark = tmp_path / "unpickled"
    (folder / "mm_connector" / name).write_bytes(pickle.dumps(Bomb(mark)))
    refused(folder, "mm_connector", f"pickle ({name})", "convert it to safetensors")
    assert not mark.exists()
    pickle.loads((folder / "mm_connector" / name).read_bytes())
    assert mark.exists()  # so the check above can fail


@pytest.mark.parametrize(
    "name",
    ["config.json", "llm/config.json", "mm_connector/config.json", "vision_tower/config.json"]
    + [f"{SIGLIP}/config.json", "vision_tower/internvideo2/config.json"],
)
def test_a_config_that_is_missing_or_broken(folder: Path, name: str) -> None:
    (folder / name).write_text('{"model_type": "apo')
    refused(folder, str(folder / name), "damaged")
    (folder / name).write_text("[1, 2]")
    refused(folder, str(folder / name), "one JSON object")
    (folder / name).unlink()
    refused(folder, str((folder / name).parent), "holds no config.json")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("llm/config.json", {"model_type": "martian"}, ["llm/config.json", "martian"]),
        ("llm/config.json", {"hidden_size": "wide"}, ["llm/config.json", "hidden_size"]),
        (f"{SIGLIP}/config.json", {"hidden_size": "wide"}, [SIGLIP, "hidden_size"]),
        (f"{SIGLIP}/config.json", {"model_type": "dino"}, ["neither SigLIP nor", "'dino'"]),
        ("vision_tower/internvideo2/config.json", {"num_heads": None}, ["'num_heads'"]),
        ("vision_tower/config.json", {"vision_towers": []}, ["names no vision towers"]),
    ],
)
def test_a_config_that_makes_no_model(
    folder: Path, name: str, values: dict[str, Any], words: list[str]
) -> None:
    edit(folder / name, **values)
    refused(folder, *words)


def test_a_connector_config_without_a_number(folder: Path) -> None:
    edit(folder / "mm_connector/config.json", num_output_tokens=None)
    root = json_of(folder / "config.json")
    del root["mm_connector_cfg"]["num_output_tokens"]
    (folder / "config.json").write_text(json.dumps(root))
    refused(folder, "mm_connector/config.json", "'num_output_tokens'")


def test_a_missing_or_damaged_tokenizer(folder: Path) -> None:
    (folder / "llm/tokenizer.json").write_text("{")
    refused(folder, str(folder / "llm"), "tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / "llm" / name).unlink()
    refused(folder, str(folder / "llm"), "tokenizer")


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_that_says_nothing(folder: Path, index: str) -> None:
    (folder / "llm/model.safetensors.index.json").write_text(index)
    refused(folder, "llm", "lacks its weights")


def test_a_place_that_is_no_folder(folder: Path) -> None:
    refused(folder / "nowhere", "nowhere does not exist", "hub id")
    refused(folder / "config.json", "config.json is a file", "hub id")
    empty = folder / "empty"
    empty.mkdir()
    refused(empty, "holds no config.json")


# ---- the hub ---------------------------------------------------------------------------------


def test_only_data_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def snapshot_download(repo_id: str, **keywords: Any) -> str:
        calls.append({"repo_id": repo_id, **keywords})
        return str(TINY)

    monkeypatch.setattr(checkpoint, "snapshot_download", snapshot_download)
    ApolloForCausalLM.from_pretrained("owner/name", revision="v2", token="secret")
    (call,) = calls
    assert (call["repo_id"], call["revision"], call["token"]) == ("owner/name", "v2", "secret")
    files = ["config.json", "llm/tokenizer.json", "llm/merges.txt", "llm/model.safetensors"]
    code = ["modeling_apollo.py", "llm/pytorch_model.bin", "training_args.pt", "demo.mp4"]
    kept = huggingface_hub.utils.filter_repo_objects(
        files + code, allow_patterns=call["allow_patterns"]
    )
    assert [*kept] == files


def test_a_cached_checkpoint_loads_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "a" * 40
    repo = tmp_path / "models--owner--name"
    shutil.copytree(TINY, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = ApolloForCausalLM.from_pretrained("owner/name", cache_dir=tmp_path)
    assert model.config.tokens_per_clip == 8
    refused("owner/other", "'owner/other' is not on this machine", cache_dir=tmp_path)
    refused("owner/name", "not on this machine", cache_dir=tmp_path, revision="b" * 40)


def hub_error(kind: str) -> Exception:
    import httpx

    response = httpx.Response(404, request=httpx.Request("GET", "https://hub.invalid"))
    return getattr(huggingface_hub.errors, kind)("One line.\nAnother line.", response=response)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("GatedRepoError", "permission"),
        ("RepositoryNotFoundError", "There is no checkpoint 'owner/name' on the hub"),
        ("RevisionNotFoundError", "has no revision 'v9'"),
        ("HfHubHTTPError", "could not be downloaded (One line)"),
        ("disk", "could not be downloaded ([Errno 28] No space left on device)"),
    ],
)
def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch, error: str, words: str) -> None:
    disk = OSError(28, "No space left on device")
    raised = disk if error == "disk" else hub_error(error)

    def snapshot_download(*_: Any, **__: Any) -> str:
        raise raised

    monkeypatch.setattr(checkpoint, "snapshot_download", snapshot_download)
    refused("owner/name", words, revision="v9")


def test_names_that_cannot_be_a_hub_id() -> None:
    refused("owner/na me", "'owner/na me' is neither a folder nor a hub id")
    refused("a/b/c", "a/b/c does not exist")


# ---- short names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("nano", "nano"),
        ("3B", "3B"),
        ("3b", "3B"),
        ("apollo-7b", "7B"),
        ("Apollo-1.5B", "1.5B"),
    ],
)
def test_short_names(name: str, card: str) -> None:
    assert card_of(name) is MODELS[card]


def test_the_table_says_what_a_person_must_know() -> None:
    assert [*MODELS] == ["nano", "1.5B", "3B", "7B"]
    assert all(card.name == name and card.size_gb > 0 for name, card in MODELS.items())
    licences = {name: card.licence for name, card in MODELS.items()}
    assert "non-commercial" in licences.pop("3B")
    assert {*licences.values()} == {"Apache-2.0"}
    assert all("GoodiesHere/" in MODELS[name].source for name in ("1.5B", "3B", "7B"))


def test_other_names(tmp_path: Path) -> None:
    card = card_of("owner/My-Model")
    assert (card.title, card.source, card.size_gb) == ("My-Model", "owner/My-Model", 0.0)
    assert card_of(str(tmp_path)).source == str(tmp_path)
    for wrong, words in (("4B", "no model '4B'; choose one of nano, 1.5B"), (" ", "is empty")):
        with pytest.raises(CheckpointError, match=words) as error:
            load(wrong)
        sentence(error)


# ---- memory ----------------------------------------------------------------------------------

PEAK = """
import json, os, sys, threading, torch
from apollo.model import ApolloForCausalLM
tiny, folder, dtype = sys.argv[1:]

def memory_kb(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))

ApolloForCausalLM.from_pretrained(tiny, dtype=dtype)  # what any loading costs
before_kb = memory_kb("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forgets the highest value so far
model = ApolloForCausalLM.from_pretrained(folder, dtype=dtype)
weights = sum(t.nbytes for t in {id(t): t for t in model.parameters()}.values())
print(json.dumps([(memory_kb("VmHWM") - before_kb) * 1024, weights]))
"""


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a wider language model: about 330 MB as float32, one file."""
    from apollo.config import ApolloConfig

    values = checkpoint.read_configs(TINY)
    wide = {"num_hidden_layers": 30, "intermediate_size": 13_000, "vocab_size": 100_000}
    values["llm_cfg"] = {**values["llm_cfg"], **wide}
    torch.manual_seed(0)
    model = ApolloForCausalLM(ApolloConfig(**values))
    model.tokenizer = ApolloForCausalLM.from_pretrained(TINY).tokenizer
    folder = tmp_path_factory.mktemp("large")
    model.save_pretrained(folder)
    return folder


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured on Linux only")
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=["as stored", "widened"])
def test_memory_while_loading_is_that_of_the_weights(
    large_folder: Path, tmp_path: Path, stored: torch.dtype
) -> None:
    folder = large_folder
    if stored == torch.bfloat16:
        folder = tmp_path / "half"
        ApolloForCausalLM.from_pretrained(large_folder, dtype=stored).save_pretrained(folder)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(TINY), str(folder), "float32"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    peak_bytes, weights_bytes = json.loads(done.stdout)
    assert weights_bytes > 300e6
    assert peak_bytes > 0.95 * weights_bytes  # else it was not measured
    assert peak_bytes < 1.15 * weights_bytes
