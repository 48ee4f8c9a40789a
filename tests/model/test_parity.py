"""The model's numbers against the original's, recorded with the same tiny weights (golden data)."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from paths import GOLDEN, TINY
from torch.testing import assert_close
from transformers import StoppingCriteriaList

from apollo.mm_utils import KeywordsStoppingCriteria
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.checkpoint import load_tensors, read_json
from apollo.vision.connector import Connector, ConnectorConfig

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
LOGITS = {"atol": 2e-4, "rtol": 1e-4}
FORWARD_CASES = [
    "b1_two_clips",
    "b2_right_pad",
    "b2_right_pad_bool_mask_nolabels",
    "b2_left_pad_config",
    "b2_truncated",
    "b2_video_plus_text",
    "text_only",
    "image",
]


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request: Any) -> ApolloForCausalLM:
    return ApolloForCausalLM.from_pretrained(TINY, attn_implementation=request.param)


@pytest.fixture(scope="module")
def towers(model: ApolloForCausalLM) -> Any:
    internvideo2 = model.vision_tower.tower("internvideo2")
    siglip = model.vision_tower.tower("siglip-so400m-patch14-384")
    return internvideo2, siglip, model.vision_tower


@torch.no_grad()
def test_internvideo2(towers: Any, golden: Any) -> None:
    internvideo2, data = towers[0], golden("towers")
    for case in ("iv", "iv.one_frame", "iv.eight_frames"):
        assert_close(internvideo2(data[f"{case}.in"]), data[f"{case}.out"], **CLOSE)
    tokens = internvideo2.model.embed(data["iv.in"])
    for block in internvideo2.model.blocks[:-1]:
        tokens = block(tokens)
    assert_close(tokens[:1], data["iv.tokens_with_cls"], **CLOSE)
    assert_close(internvideo2.model.blocks[-1](tokens)[:1], data["iv.tokens_last_block"], **CLOSE)


@torch.no_grad()
def test_siglip(towers: Any, golden: Any) -> None:
    siglip, data = towers[1], golden("towers")
    for case in ("sg", "sg.eight_frames", "sg.six_frames"):
        assert_close(siglip(data[f"{case}.in"]), data[f"{case}.out"], **CLOSE)
    assert_close(siglip(data["sg.in"][:1], num_frames=1), data["sg.out_T1"], **CLOSE)
    assert_close(siglip.encode_frames(data["sg.image4d.in"]), data["sg.image4d.out"], **CLOSE)


@torch.no_grad()
def test_fusion(towers: Any, golden: Any) -> None:
    hybrid, data = towers[2], golden("towers")
    assert_close(hybrid([data["iv.in"], data["sg.in"]]), data["hybrid.out"], **CLOSE)
    eight = hybrid([data["iv.eight_frames.in"], data["sg.eight_frames.in"]])
    assert_close(eight, data["hybrid.eight_frames.out"], **CLOSE)
    mixed = hybrid([data["iv.in"][:1], data["sg.six_frames.in"]])
    assert_close(mixed, data["hybrid.iv4_sg6.out"], **CLOSE)


@torch.no_grad()
def test_connector(model: ApolloForCausalLM, golden: Any) -> None:
    data, connector = golden("connector"), model.mm_connector
    projected = connector.proj(data["conn.in"])
    assert_close(projected, data["conn.proj_out"], **CLOSE)
    latents = connector.resampler.latents.expand(2, -1, -1)
    for i, layer in enumerate(connector.resampler.layers):
        latents = layer(latents, projected)
        assert_close(latents, data[f"conn.layer{i}_out"], **CLOSE)
    assert_close(connector(data["conn.in"]), data["conn.out"], **CLOSE)
    assert_close(connector(data["conn.rand.in"]), data["conn.rand.out"], **CLOSE)


@torch.no_grad()
def test_second_connector_is_one_linear_layer(golden: Any) -> None:
    data, folder = golden("connector"), GOLDEN / "tiny-connector-2"
    with torch.device("meta"):
        connector = Connector(ConnectorConfig.from_dict(read_json(folder / "config.json")))
    load_tensors(connector, folder, dtype=torch.float32, device=torch.device("cpu"))
    assert_close(connector.proj(data["conn2.in"]), data["conn2.proj_out"], **CLOSE)
    assert_close(connector(data["conn2.in"]), data["conn2.out"], **CLOSE)


def vision_rows(data: dict[str, torch.Tensor], note: dict[str, Any]) -> list[Any] | None:
    """The pixels of every row, as the notes name them ("A[:2]": the first two clips of pool A)."""
    if note["vision_input"] is None:
        return None
    rows: list[Any] = []
    for name, kind in zip(note["vision_input"], note["data_types"], strict=True):
        pool, stop = re.fullmatch(r"(?:pool\.)?(\w+)(?:\[:(\d)\])?.*", name).groups()
        pixels = [data[f"pool.{pool}.{i}"][: int(stop) if stop else None] for i in range(2)]
        rows.append(None if kind == "text" else pixels)
    return rows


def forward_case(
    model: ApolloForCausalLM, data: dict[str, torch.Tensor], note: dict[str, Any], case: str
) -> tuple[ApolloForCausalLM, dict[str, Any]]:
    """The model with the case's padding settings, and the case's inputs."""
    model = copy.copy(model)  # shares the weights
    model.config = copy.deepcopy(model.config)
    model.config.llm_cfg["tokenizer_padding_side"] = note.get("tokenizer_padding_side") or "right"
    model.config.llm_cfg["tokenizer_model_max_length"] = note.get("tokenizer_model_max_length")
    inputs = {
        name: data.get(f"{case}.{name}") for name in ("input_ids", "attention_mask", "labels")
    }
    return model, {**inputs, "vision_input": vision_rows(data, note)}


@torch.no_grad()
@pytest.mark.parametrize("case", FORWARD_CASES)
def test_merge_logits_and_loss(
    model: ApolloForCausalLM, golden: Any, notes: Any, case: str
) -> None:
    data, note = golden("forward"), notes["forward"][case]
    model, inputs = forward_case(model, data, note, case)
    rows = model._visual_rows(len(inputs["input_ids"]), inputs["vision_input"], None, None)
    embeddings, mask, labels = model.merge(
        inputs["input_ids"], rows, inputs["attention_mask"], inputs["labels"]
    )
    if f"{case}.inputs_embeds" in data:
        assert_close(embeddings, data[f"{case}.inputs_embeds"], **CLOSE)
    if f"{case}.prepared_labels" in data:
        assert torch.equal(labels, data[f"{case}.prepared_labels"])
    if f"{case}.prepared_attention_mask" in data:
        assert torch.equal(mask, data[f"{case}.prepared_attention_mask"])
        assert mask.dtype == data[f"{case}.prepared_attention_mask"].dtype

    out = model(**inputs)
    real = mask.bool() if mask is not None else torch.ones(out.logits.shape[:2], dtype=torch.bool)
    if f"{case}.logits" in data:
        assert_close(out.logits[real], data[f"{case}.logits"][real], **LOGITS)
    else:
        at = data[f"{case}.logit_positions"]
        got, kept = out.logits[:, at], real[:, at]
        assert_close(got[kept], data[f"{case}.logits_at_positions"][kept], **LOGITS)
        assert torch.equal(out.logits.argmax(-1)[real], data[f"{case}.argmax"][real])
    if f"{case}.loss" in data:
        assert_close(out.loss.reshape(1), data[f"{case}.loss"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_encoded_clips_do_not_depend_on_the_chunk_size(
    model: ApolloForCausalLM, golden: Any
) -> None:
    data = golden("forward")
    for pool in ("A", "B", "image"):
        pixels = [data[f"pool.{pool}.{i}"] for i in range(2)]
        for chunk in (1, 2, 25):
            model.config.encode_batch_size = chunk
            tokens = model.encode_clips(pixels).flatten(0, 1)  # (N, K, D) -> (N*K, D)
            assert_close(tokens, data[f"encode.{pool}"], **CLOSE)


@pytest.mark.parametrize(
    "case", ["video_v01", "video_v03", "image_a", "text_only", "video_stop_single_token"]
)
def test_greedy_tokens(model: ApolloForCausalLM, golden: Any, notes: Any, case: str) -> None:
    data, note = golden("generate"), notes["generate"][case]
    ids = data[f"{case}.input_ids"]
    vision: Any = None
    if note["data_types"]:
        source = {"stored": case, "video_v01": "video_v01"}.get(note["vision"])
        pool = golden("forward")
        vision = [
            [data[f"{source}.vision.{i}"] for i in range(2)]
            if source
            else [pool[f"pool.image.{i}"] for i in range(2)]
        ]
    stops = note["stop_keywords"] if case == "video_stop_single_token" else None
    criteria = [KeywordsStoppingCriteria(stops, model.tokenizer, ids)] if stops else []
    out = model.generate(
        ids,
        vision_input=vision,
        data_types=note["data_types"],
        do_sample=False,
        max_new_tokens=24,
        stopping_criteria=StoppingCriteriaList(criteria),
    )
    assert out.tolist() == data[f"{case}.output_ids"].tolist()
