"""Keywords of from_pretrained and save_pretrained are honoured or refused, never dropped."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import TINY
from transformers import AutoConfig, AutoModelForCausalLM

from apollo.errors import SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.keywords import MEANINGLESS


@pytest.mark.parametrize(
    ("keyword", "says"),
    [
        ("quantisation", "did you mean quantization?"),
        ("dtypes", "did you mean dtype?"),
        ("max_memory", "it takes "),
    ],
)
def test_an_unknown_keyword_is_an_error(keyword: str, says: str) -> None:
    with pytest.raises(SettingError, match=f"no keyword '{keyword}' here; {says}"):
        ApolloForCausalLM.from_pretrained(TINY, **{keyword: "4bit"})


def test_what_the_auto_class_passes_on_is_allowed() -> None:
    model = AutoModelForCausalLM.from_pretrained(
        TINY, trust_remote_code=True, low_cpu_mem_usage=True, use_safetensors=True
    )
    assert isinstance(model, ApolloForCausalLM)
    known = inspect.signature(ApolloForCausalLM.from_pretrained).parameters
    assert not MEANINGLESS & known.keys()


def test_a_changed_config_counts_and_an_unchanged_one_changes_nothing() -> None:
    plain = ApolloForCausalLM.from_pretrained(TINY).config.to_dict()
    config = AutoConfig.from_pretrained(TINY)
    assert ApolloForCausalLM.from_pretrained(TINY, config=config).config.to_dict() == plain
    config.encode_batch_size = 3
    config.llm_cfg["rope_theta"] = 5000.0
    changed = AutoModelForCausalLM.from_pretrained(TINY, config=config)
    assert changed.config.encode_batch_size == 3
    assert changed.config.llm_cfg["rope_theta"] == 5000.0
    kept = {k: v for k, v in changed.config.llm_cfg.items() if k != "rope_theta"}
    assert kept == {k: v for k, v in plain["llm_cfg"].items() if k != "rope_theta"}
    ids = torch.tensor([[5, 6, 7, 8]])
    before = ApolloForCausalLM.from_pretrained(TINY)(ids).logits
    assert not torch.allclose(changed(ids).logits, before)


def test_shards_are_as_large_as_asked_for(tiny_model: Any, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path / "many", max_shard_size="200KB")
    files = list((tmp_path / "many" / "llm").glob("*.safetensors"))
    assert len(files) > 2
    again = ApolloForCausalLM.from_pretrained(tmp_path / "many")
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("keyword", "says"),
    [({"max_shard_sizes": 5}, "max_shard_size?"), ({"safe_serialization": False}, "safetensors")],
)
def test_saving_drops_no_keyword(
    tiny_model: Any, tmp_path: Path, keyword: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        tiny_model.save_pretrained(tmp_path / "out", **keyword)
    assert not (tmp_path / "out").exists()
