"""transformers' `generate` and peft's wrapper around a model that reads merged prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import sentence
from paths import TINY
from torch import Tensor
from transformers import GenerationConfig

from apollo.constants import X_TOKEN_INDEX
from apollo.errors import PromptError, SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.merge import mask_of

IDS = torch.tensor([[5, 6, 7, 8, 9]])
GREEDY = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None}
PAD = 700


@pytest.fixture(scope="module")
def written(tiny_model: Any) -> list[list[int]]:
    return tiny_model.generate(IDS, **GREEDY).tolist()


# ---- prompts -------------------------------------------------------------------------------------


def test_row_51_prompts_under_their_other_names(tiny_model: Any, written: Any) -> None:
    embeddings = tiny_model.get_input_embeddings()(IDS)
    for prompt in ({"inputs": IDS}, {"inputs_embeds": embeddings}, {"input_ids": IDS.int()}):
        assert tiny_model.generate(**prompt, **GREEDY).tolist() == written
    with torch.no_grad():
        logits = tiny_model(inputs_embeds=embeddings, labels=IDS)
        assert torch.equal(logits.logits, tiny_model(IDS).logits)
    assert torch.equal(logits.loss, tiny_model(IDS, labels=IDS).loss)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ({}, "got no prompt"),
        ({"input_ids": IDS, "inputs": IDS}, "both inputs and input_ids"),
        (
            {"input_ids": IDS, "inputs_embeds": torch.zeros(1, 5, 64)},
            "both input_ids and inputs_em",
        ),
        (
            {"inputs_embeds": torch.zeros(1, 5, 64), "visual_tokens": [torch.zeros(8, 64)]},
            "give a video with input_ids",
        ),
        ({"input_ids": IDS[0]}, r"input_ids are torch.int64 \[5\]; give a tensor of whole numbers"),
        ({"input_ids": IDS.tolist()}, "input_ids are list; give a tensor of whole numbers"),
        ({"input_ids": IDS.float()}, "input_ids are torch.float32"),
        ({"input_ids": IDS[:, :0]}, r"input_ids are torch.int64 \[1, 0\]"),
        ({"input_ids": IDS + 830}, "input_ids hold 835, but the vocabulary has the ids 0 to 831"),
        ({"input_ids": IDS - 7}, "input_ids hold -2, but the vocabulary"),
    ],
)
def test_row_51_prompts_that_cannot_be(tiny_model: Any, prompt: Any, words: str) -> None:
    with pytest.raises(PromptError, match=words) as error:
        tiny_model.generate(**prompt, **GREEDY)
    sentence(error)
    if "inputs" not in prompt:
        with pytest.raises(PromptError, match=words):
            tiny_model(**prompt)


def test_ids_of_the_padding_may_be_anything(tiny_model: Any, written: Any) -> None:
    ids = torch.cat([IDS, torch.tensor([[-100, 9000]])], dim=1)
    mask = (torch.arange(7) < 5).long()[None]
    assert tiny_model.generate(ids, attention_mask=mask, **GREEDY).tolist() == written


# ---- keywords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keyword",
    [
        {"assistant_model": torch.nn.Identity()},
        {"custom_generate": "owner/name"},
        {"guidance_scale": 1.5},
        {"negative_prompt_ids": IDS},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "high"},
        {"encoder_repetition_penalty": 1.2},
        {"generation_config": GenerationConfig(guidance_scale=2.0)},
    ],
)
def test_row_51_what_cannot_work_is_refused(tiny_model: Any, keyword: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="generate cannot use ") as error:
        tiny_model.generate(IDS, **GREEDY, **keyword)
    sentence(error)


def test_row_51_what_asks_for_nothing_or_works_is_taken(tiny_model: Any, written: Any) -> None:
    for keyword in (
        {"guidance_scale": 1.0, "assistant_model": None},
        {"prompt_lookup_num_tokens": 3},
        {"use_cache": False, "logits_to_keep": 1, "num_return_sequences": 1},
        {"stop_strings": ["never"], "tokenizer": tiny_model.tokenizer},
    ):
        assert tiny_model.generate(IDS, **GREEDY, **keyword).tolist() == written


@pytest.mark.parametrize(
    ("keyword", "says"),
    [("max_new_token", "did you mean max_new_tokens?"), ("trust_remote_code", "")],
)
def test_row_51_an_unknown_keyword_is_refused(tiny_model: Any, keyword: str, says: str) -> None:
    with pytest.raises(SettingError, match=f"generate has no keyword '{keyword}' here; {says}"):
        tiny_model.generate(IDS, **{keyword: 5})


def test_row_51_the_generation_config_of_the_model_counts(tmp_path: Path) -> None:
    model = ApolloForCausalLM.from_pretrained(TINY)
    assert model.can_generate()
    model.generation_config.eos_token_id = None
    model.generation_config.max_new_tokens = 3
    assert model.generate(IDS).shape == (1, 3)
    model.generation_config = GenerationConfig(max_new_tokens=2)
    assert model.generate(IDS).shape == (1, 2)
    model.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "llm/generation_config.json").read_text())
    assert stored["max_new_tokens"] == 2


# ---- padding without a mask ----------------------------------------------------------------------


def padded(rows: list[list[int]], side: str, pad: int = PAD) -> Tensor:
    longest = max(map(len, rows))
    pads = [[pad] * (longest - len(row)) for row in rows]
    pairs = zip(rows, pads, strict=True)
    return torch.tensor([row + p if side == "right" else p + row for row, p in pairs])


@pytest.mark.parametrize("side", ["left", "right"])
def test_row_52_padding_is_seen_without_a_mask(tiny_model: Any, side: str) -> None:
    tokens = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    rows = [[5, *[X_TOKEN_INDEX] * 8, 6, 7], [9, 10, 11], [PAD, 12, PAD, 13][1:]]
    visual = [tokens, None, None]
    options = {**GREEDY, "max_new_tokens": 4}
    together = tiny_model.generate(padded(rows, side), visual_tokens=visual, **options)
    for row, seen, ids in zip(rows, visual, together, strict=True):
        alone = tiny_model.generate(torch.tensor([row]), visual_tokens=[seen], **options)
        assert alone[0].tolist() == ids.tolist()


def test_row_52_only_pads_at_the_ends_are_padding() -> None:
    ids = torch.tensor([[0, 0, 5, 0, 6], [5, 6, 0, 7, 0], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
    assert mask_of(ids, 0).tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 0], [1] * 5, [1] * 5]
    assert mask_of(ids, None).tolist() == [[1] * 5] * 4


def test_row_52_a_mask_that_is_given_decides(tiny_model: Any, written: Any) -> None:
    ids = torch.cat([IDS, torch.tensor([[PAD]])], dim=1)
    assert tiny_model.generate(ids, **GREEDY).tolist() == written
    read = tiny_model.generate(ids, attention_mask=torch.ones_like(ids), **GREEDY)
    assert read.tolist() != written


def test_row_52_forward_says_that_it_reads_padding(tiny_model: Any) -> None:
    ids = padded([[5, 6, 7], [8]], "left")
    with torch.no_grad(), pytest.warns(UserWarning, match="begin with padding .* give the mask"):
        tiny_model(ids)
    with torch.no_grad():
        tiny_model(ids, attention_mask=(ids != PAD).long())
        tiny_model(ids[1:])  # one row may begin so
