"""The released sizes on the meta device: every tensor's name and shape, without a byte of weights.

The towers are exact; connector and language model are as exact as the configs recorded beside the
shapes (golden data, `assumptions`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import GOLDEN, TINY
from torch import Tensor

from apollo.errors import CheckpointError
from apollo.model import checkpoint, pretrained
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.config import ApolloConfig
from apollo.model.loading import load_tokenizer

SHAPES = json.loads((GOLDEN / "fullsize_shapes.json").read_text())
SIZES = ("1.5B", "3B", "7B")
INTERNVIDEO2, SIGLIP = "internvideo2", "siglip-so400m-patch14-384"
Shapes = dict[str, tuple[int, ...]]


def tower_configs() -> dict[str, dict[str, Any]]:
    """The bundled configs, as far as they shape the towers."""
    shapes = SHAPES["vision_tower"][INTERNVIDEO2]["params"]
    internvideo2 = {
        "model_type": "internvideo2",
        "d_model": 1408,
        "num_heads": 16,
        "img_size": 224,
        "patch_size": 14,
        "num_frames": 4,
        "tubelet_size": 1,
        "clip_embed_dim": shapes["clip_projector.cross_attn.proj.weight"][0],
        "clip_teacher_embed_dim": shapes["clip_decoder.0.head.weight"][0],
        "clip_teacher_final_dim": shapes["final_clip_decoder.head.weight"][0],
        "clip_return_layer": sum(name.endswith("head.weight") for name in shapes) - 1,
    }  # no depth: the released file does not say it
    siglip = {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
        "hidden_act": "gelu_pytorch_tanh",
    }
    return {INTERNVIDEO2: internvideo2, SIGLIP: siglip}


def config_values(size: str) -> dict[str, Any]:
    """What `read_configs` gives for a released folder."""
    llm = SHAPES["llm"][size]["config"]
    connector = {
        **SHAPES["assumptions"]["assumed_not_verified"]["connector"],
        "vision_hidden_size": SHAPES["vision_tower"]["hidden_size"],
        "text_hidden_size": llm["hidden_size"],
    }
    towers = {"vision_towers": [INTERNVIDEO2, SIGLIP], "configs": tower_configs()}
    return {
        "llm_cfg": {"model_type": "qwen2", **llm},
        "mm_connector_cfg": connector,
        "vision_tower_cfg": towers,
    }


def recorded_shapes(size: str) -> dict[str, Shapes]:
    """part -> name in the file -> shape."""
    llm = SHAPES["llm"][size]
    names = {k: v for k, v in llm["other"].items() if k != "lm_head.weight" or not tied(size)}
    for layer in range(llm["config"]["num_hidden_layers"]):
        names |= {k.replace(".0.", f".{layer}.", 1): v for k, v in llm["layer_0"].items()}
    parts = {
        f"vision_tower/{INTERNVIDEO2}": SHAPES["vision_tower"][INTERNVIDEO2]["params"],
        f"vision_tower/{SIGLIP}": SHAPES["vision_tower"][SIGLIP]["params"],
        "mm_connector": SHAPES["mm_connector"][size]["params"],
        "llm": names,
    }
    return {part: {k: tuple(v) for k, v in shapes.items()} for part, shapes in parts.items()}


def tied(size: str) -> bool:
    return bool(SHAPES["llm"][size]["lm_head_tied"])


@pytest.fixture(scope="module", params=SIZES)
def sized(request: Any) -> tuple[str, ApolloForCausalLM]:
    with torch.device("meta"):
        return request.param, ApolloForCausalLM(ApolloConfig(**config_values(request.param)))


def test_every_tensor_has_the_recorded_name_and_shape(sized: Any) -> None:
    size, built = sized
    recorded = recorded_shapes(size)
    for part, _, module, prefix in built._parts():
        shapes = {prefix + k: tuple(v.shape) for k, v in module.state_dict().items()}
        if part == "llm" and tied(size):
            del shapes["lm_head.weight"]
        assert shapes == recorded[part], part
    assert all(name.startswith("vision_model.") for name in recorded[f"vision_tower/{SIGLIP}"])


def test_parameter_counts(sized: Any) -> None:
    size, built = sized
    recorded = {
        f"vision_tower/{INTERNVIDEO2}": SHAPES["vision_tower"][INTERNVIDEO2]["n_params"],
        f"vision_tower/{SIGLIP}": SHAPES["vision_tower"][SIGLIP]["n_params"],
        "mm_connector": SHAPES["mm_connector"][size]["n_params"],
        "llm": SHAPES["llm"][size]["n_params"],
    }
    for part, _, module, _ in built._parts():
        assert sum(p.numel() for p in module.parameters()) == recorded[part], part


def test_the_layers_that_are_not_recorded_as_unused_all_run(sized: Any) -> None:
    _, built = sized
    tower = built.vision_tower.tower(INTERNVIDEO2)
    unused = SHAPES["vision_tower"][INTERNVIDEO2]["unused_prefixes_at_inference"]
    assert f"blocks.{tower.model.num_blocks_run}." in unused
    assert f"blocks.{tower.model.num_blocks_run - 1}." not in unused
    used = sum(
        p.numel() for name, p in tower.model.named_parameters() if not name.startswith((*unused,))
    )
    assert (
        used == SHAPES["vision_tower"][INTERNVIDEO2]["n_params_used_at_inference_select_layer_-2"]
    )
    siglip = built.vision_tower.tower(SIGLIP)
    unused = SHAPES["vision_tower"][SIGLIP]["unused_prefixes_at_inference"]
    assert f"vision_model.encoder.layers.{siglip.num_layers_run}." in unused


@pytest.mark.slow
def test_features_have_the_recorded_shape_and_width(sized: Any) -> None:
    size, built = sized
    pixels = [
        torch.empty(2, 3, 4, 224, 224, device="meta"),
        torch.empty(2, 4, 3, 384, 384, device="meta"),
    ]
    steps, grid, _ = SHAPES["vision_tower"]["token_output_shape"]
    features = built.vision_tower(pixels)  # (N, T*G*G, Dv)
    assert features.shape == (2, steps * grid * grid, SHAPES["vision_tower"]["hidden_size"])
    width = SHAPES["llm"][size]["config"]["hidden_size"]
    assert built.mm_connector(features).shape == (2, 32, width)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Any:
    """released(size, rename={...}) makes `from_pretrained(TINY)` read a folder of that size."""

    def pretend(size: str, rename: dict[str, str] | None = None) -> None:
        recorded = recorded_shapes(size)

        def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
            for name, shape in recorded[str(folder.relative_to(TINY))].items():
                yield (rename or {}).get(name, name), torch.empty(shape, device="meta")

        monkeypatch.setattr(checkpoint, "read_tensors", read_tensors)
        monkeypatch.setattr(checkpoint, "read_configs", lambda folder: config_values(size))
        monkeypatch.setattr(pretrained, "place_of", lambda wanted: torch.device("meta"))
        monkeypatch.setattr(
            pretrained, "load_tokenizer", lambda folder: load_tokenizer(TINY / "llm")
        )

    return pretend


@pytest.mark.parametrize("size", SIZES)
def test_a_released_folder_loads(released: Any, size: str) -> None:
    released(size)
    loaded = ApolloForCausalLM.from_pretrained(TINY, dtype="bfloat16")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert (loaded.llm.lm_head.weight is loaded.llm.model.embed_tokens.weight) == tied(size)


RENAMED = [
    "blocks.39.attn.q_norm.weight",  # never runs, but is there
    "vision_model.head.probe",
    "resampler.layers.2.mlp.down_proj.weight",
    "model.layers.27.self_attn.k_proj.bias",
]


@pytest.mark.parametrize("name", RENAMED)
def test_one_renamed_tensor_is_named(released: Any, name: str) -> None:
    released("1.5B", rename={name: f"{name}.old"})
    with pytest.raises(CheckpointError) as error:
        ApolloForCausalLM.from_pretrained(TINY, dtype="bfloat16")
    assert f"1 unexpected ({name}.old)" in str(error.value)
    assert f"1 missing ({name})" in str(error.value)
