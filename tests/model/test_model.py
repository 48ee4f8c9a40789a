"""Merging, batching, streaming and options of ApolloForCausalLM, on the tiny checkpoint."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import pytest
import torch
from paths import TINY
from torch import Tensor
from torch.testing import assert_close
from transformers import TextIteratorStreamer

from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.errors import PromptError, SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.prompt import build_prompt, image_block, tokenize
from apollo.model.quantize import check_package

CLOSE = {"atol": 2e-4, "rtol": 1e-4}
K = 8  # visual tokens per clip of the tiny checkpoint
NEW_TOKENS = 12


def pixels(num_clips: int, seed: int) -> list[Tensor]:
    """Noise for both towers: (N, 3, T, H, W) and (N, T, 3, H, W)."""
    noise = torch.Generator().manual_seed(seed)
    return [
        torch.randn(num_clips, 3, 4, 56, 56, generator=noise),
        torch.randn(num_clips, 4, 3, 72, 72, generator=noise),
    ]


def ids_of(model: Any, question: str, num_clips: int) -> list[int]:
    block = image_block(K * num_clips) if num_clips else None
    prompt = build_prompt([{"role": "user", "content": question}], block)
    return tokenize(prompt, model.tokenizer)


@pytest.fixture(scope="module")
def rows(tiny_model: Any) -> list[tuple[list[int], list[Tensor] | None, str]]:
    """(ids, pixels, kind) of a video, a text and an image question, all of different lengths."""
    return [
        (ids_of(tiny_model, "What happens in the second clip, and why?", 2), pixels(2, 0), "video"),
        (ids_of(tiny_model, "Who are you?", 0), None, "text"),
        (ids_of(tiny_model, "What is this?", 1), pixels(1, 1), "image"),
    ]


def batch(rows: Any, side: str = "right") -> dict[str, Any]:
    """The rows as one padded batch: ids and mask (B, S)."""
    longest = max(len(ids) for ids, _, _ in rows)
    input_ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, (ids, _, _) in enumerate(rows):
        at = slice(0, len(ids)) if side == "right" else slice(longest - len(ids), None)
        input_ids[i, at], mask[i, at] = torch.tensor(ids), 1
    return {
        "input_ids": input_ids,
        "attention_mask": mask,
        "vision_input": [row[1] for row in rows],
        "data_types": [row[2] for row in rows],
    }


def alone(row: Any) -> dict[str, Any]:
    inputs = batch([row])
    return inputs if row[1] is not None else {"input_ids": inputs["input_ids"]}


# ---- slots and visual tokens -----------------------------------------------------------------


@pytest.mark.parametrize("num_slots", [0, 1, 2 * K - 1, 2 * K + 1, 3 * K])
@pytest.mark.parametrize("method", ["forward", "generate"])
def test_a_wrong_number_of_slots_says_both_numbers(
    tiny_model: Any, num_slots: int, method: str
) -> None:
    """With no slot at all the original answered as if there were no video."""
    input_ids = torch.tensor([[5, *[X_TOKEN_INDEX] * num_slots, 6, 7]])
    with pytest.raises(PromptError) as error:
        getattr(tiny_model, method)(input_ids, vision_input=[pixels(2, 0)])
    assert f"has {num_slots} visual slots" in str(error.value)
    assert f"gave {2 * K} visual tokens (8 per clip)" in str(error.value)


def test_slots_without_a_video(tiny_model: Any) -> None:
    input_ids = torch.tensor([[5, *[X_TOKEN_INDEX] * K, 6]])
    with pytest.raises(PromptError, match=f"has {K} visual slots but .* gave 0"):
        tiny_model(input_ids)


def test_two_rows_that_swap_their_slots_are_not_mixed_up(tiny_model: Any) -> None:
    """The total is right, the rows are not."""
    ids = [[5, *[X_TOKEN_INDEX] * K, *[5] * K], [5, *[X_TOKEN_INDEX] * 2 * K]]
    with pytest.raises(PromptError, match="Prompt 0 has 8 .* gave 16"):
        tiny_model(torch.tensor(ids), vision_input=[pixels(2, 0), pixels(1, 0)])


def test_slots_in_the_padding_do_not_count(tiny_model: Any) -> None:
    ids = torch.tensor([[5, 6, X_TOKEN_INDEX], [5, 6, 7]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    logits = tiny_model(ids, attention_mask=mask).logits
    assert_close(logits[:1, :2], tiny_model(ids[:1, :2]).logits, **CLOSE)


def test_rows_and_inputs_must_pair(tiny_model: Any) -> None:
    ids = torch.tensor([[5, 6], [5, 7]])
    with pytest.raises(PromptError, match="2 prompts but 1 visual inputs"):
        tiny_model(ids, vision_input=[None])
    with pytest.raises(PromptError, match="data_types names 1 rows but vision_input has 2"):
        tiny_model(ids, vision_input=[None, None], data_types=["text"])


def test_visual_tokens_take_the_place_of_pixels(tiny_model: Any, rows: Any) -> None:
    inputs = alone(rows[0])
    tokens = tiny_model.encode_clips(rows[0][1]).flatten(0, 1)  # (N, K, D) -> (N*K, D)
    with torch.no_grad():
        direct = tiny_model(**inputs).logits
        encoded = tiny_model(inputs["input_ids"], visual_tokens=[tokens]).logits
    assert_close(direct, encoded, **CLOSE)


# ---- batches ---------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mixed_batch_has_the_logits_of_its_rows(tiny_model: Any, rows: Any, side: str) -> None:
    inputs = batch(rows, side)
    logits = tiny_model(**inputs).logits  # padded on the checkpoint's side, the right
    for row, given in enumerate(rows):
        expected = tiny_model(**alone(given)).logits[0]
        assert_close(logits[row, : len(given[0])], expected, **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mixed_batch_generates_what_its_rows_do(tiny_model: Any, rows: Any, side: str) -> None:
    options = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "eos_token_id": None}
    together = tiny_model.generate(**batch(rows, side), **options)
    single = [tiny_model.generate(**alone(row), **options)[0] for row in rows]
    assert together.tolist() == [ids.tolist() for ids in single]
    assert len({tuple(ids.tolist()) for ids in single}) == len(rows)  # they differ


def test_generating_on_the_side_of_a_left_padding_checkpoint(
    tiny_model: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"do_sample": False, "max_new_tokens": NEW_TOKENS}
    right = tiny_model.generate(**batch(rows), **options)
    llm_cfg = {**tiny_model.config.llm_cfg, "tokenizer_padding_side": "left"}
    monkeypatch.setattr(tiny_model.config, "llm_cfg", llm_cfg)
    assert tiny_model.generate(**batch(rows), **options).tolist() == right.tolist()


@torch.no_grad()
def test_the_size_of_a_tower_pass_changes_nothing(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, sizes = pixels(5, 3), []
    tower = tiny_model.vision_tower.forward
    monkeypatch.setattr(
        tiny_model.vision_tower, "forward", lambda x: (sizes.append(len(x[0])), tower(x))[1]
    )
    results = []
    for size in (1, 2, 5, 25):
        monkeypatch.setattr(tiny_model.config, "encode_batch_size", size)
        results.append(tiny_model.encode_clips(clips))  # (N, K, D)
    assert sizes == [1] * 5 + [2, 2, 1] + [5] + [5]
    for result in results[1:]:
        assert_close(result, results[0], **CLOSE)


@torch.no_grad()
def test_text_alone_is_the_language_model_alone(tiny_model: Any, rows: Any) -> None:
    input_ids = torch.tensor([rows[1][0]])
    assert torch.equal(tiny_model(input_ids).logits, tiny_model.llm(input_ids).logits)


# ---- training --------------------------------------------------------------------------------


def test_gradients_reach_every_part(rows: Any) -> None:
    model = ApolloForCausalLM.from_pretrained(TINY)
    inputs = alone(rows[0])
    labels = inputs["input_ids"].clone()
    loss = model(**inputs, labels=labels).loss
    loss.backward()
    for part in (
        model.vision_tower.tower("internvideo2").model.patch_embed,
        model.vision_tower.tower("internvideo2").model.blocks[0],
        model.vision_tower.tower("siglip-so400m-patch14-384"),
        model.mm_connector.proj,
        model.mm_connector.resampler.layers[0],
        model.llm.get_decoder().layers[0],
    ):
        largest = max(p.grad.abs().max() for p in part.parameters() if p.grad is not None)
        assert largest > 0


def test_labels_at_slots_are_not_learned(tiny_model: Any, rows: Any) -> None:
    inputs = alone(rows[0])
    tokens = [tiny_model.encode_clips(rows[0][1]).flatten(0, 1)]
    labels = torch.full_like(inputs["input_ids"], 7)
    _, _, merged = tiny_model.merge(inputs["input_ids"], tokens, None, labels)
    slots = inputs["input_ids"] == X_TOKEN_INDEX
    assert (merged[slots] == IGNORE_INDEX).all() and (merged[~slots] == 7).all()


def test_rows_longer_than_the_checkpoint_learned_from_are_cut_aloud(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    llm_cfg = {**tiny_model.config.llm_cfg, "tokenizer_model_max_length": 4}
    monkeypatch.setattr(tiny_model.config, "llm_cfg", llm_cfg)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    embeddings, mask, _ = tiny_model.merge(ids, [None], torch.ones_like(ids))
    assert embeddings.shape[1] == mask.shape[1] == 4
    assert "Rows of 6 tokens are cut to the checkpoint's 4." in caplog.text
    assert tiny_model.config.max_context_tokens == 4  # so that a chat stays below it


# ---- transformers' generate --------------------------------------------------------------------


def test_a_streamer_gets_the_answer(tiny_model: Any, rows: Any) -> None:
    inputs = alone(rows[0])
    options = {"do_sample": False, "max_new_tokens": NEW_TOKENS}
    streamer = TextIteratorStreamer(tiny_model.tokenizer, timeout=60)
    thread = threading.Thread(
        target=tiny_model.generate, kwargs={**inputs, **options, "streamer": streamer}
    )
    thread.start()
    text = "".join(streamer)
    thread.join()
    ids = tiny_model.generate(**inputs, **options)[0]
    assert text == tiny_model.tokenizer.decode(ids) and text


# ---- options ---------------------------------------------------------------------------------


@torch.no_grad()
def test_eager_and_sdpa_agree(tiny_model: Any, rows: Any) -> None:
    eager = ApolloForCausalLM.from_pretrained(TINY, attn_implementation="eager")
    inputs = batch(rows)
    mask = inputs["attention_mask"].bool()
    assert_close(eager(**inputs).logits[mask], tiny_model(**inputs).logits[mask], **CLOSE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="it may be available here")
def test_flash_attention_needs_a_gpu() -> None:
    with pytest.raises(SettingError, match="needs an NVIDIA GPU and the flash-attn package; use"):
        ApolloForCausalLM.from_pretrained(TINY, attn_implementation="flash_attention_2")


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"attn_implementation": "flashy"}, "'flashy' is unknown; choose one of sdpa, eager"),
        ({"quantization": "2bit"}, "quantization '2bit' is unknown; choose 8bit, 4bit"),
        ({"load_in_8bit": True}, 'load_in_8bit is not used here; say quantization="8bit"'),
        ({"quantization_config": object()}, "quantization_config is not used here"),
        ({"dtype": "float17"}, "dtype 'float17' cannot be used"),
        ({"device_map": "toaster"}, "The device 'toaster' is unknown"),
        (
            {"device_map": {"llm": "cpu", "": 0}},
            "device_map names cpu, 0, but the whole model runs",
        ),
    ],
)
def test_options_that_cannot_be(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        ApolloForCausalLM.from_pretrained(TINY, **keywords)


def test_quantization_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="needs the bitsandbytes package on cuda; install it"):
        check_package("4bit", torch.device("cuda"))
    check_package(None, torch.device("cuda"))
    assert ApolloForCausalLM.from_pretrained(TINY, quantization="4bit").quantization == "4bit"


def decoder_bytes(model: Any) -> int:
    return sum(parameter.nbytes for parameter in model.llm.get_decoder().layers.parameters())


@pytest.mark.parametrize(("kind", "share"), [("8bit", 0.3), ("4bit", 0.2)])
def test_a_quantized_model_is_smaller_and_answers(
    tiny_model: Any, rows: Any, kind: str, share: float, tmp_path: Any
) -> None:
    model = ApolloForCausalLM.from_pretrained(TINY, quantization=kind)
    assert decoder_bytes(model) < share * decoder_bytes(tiny_model)
    inputs = batch(rows)
    with torch.no_grad():
        rough, exact = model(**inputs).logits, tiny_model(**inputs).logits
    mask = inputs["attention_mask"].bool()
    similar = torch.cosine_similarity(rough[mask].float(), exact[mask], dim=-1)
    assert similar.mean() > 0.9 and not torch.equal(rough, exact)
    ids = model.generate(**alone(rows[0]), do_sample=False, max_new_tokens=4, eos_token_id=None)
    assert ids.shape == (1, 4)
    with pytest.raises(SettingError, match=f"loaded in {kind} cannot be saved"):
        model.save_pretrained(tmp_path)
