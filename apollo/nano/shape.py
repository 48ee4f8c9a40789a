"""apollo-nano's shape: a small Apollo in the released layout, built from the same classes.

Every number is here; the checkpoint's config files are written from it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.config import ApolloConfig
from apollo.vision.towers import InternVideo2Tower, SiglipTower, build_tower

IMAGE_SIZE = 128  # pixels; the cartoon's objects are 26 to 70 of them wide
PATCH = 16
GRID = IMAGE_SIZE // PATCH  # 8
NUM_STEPS = 2  # time steps of both towers: SigLIP sees frames 0 and 2, InternVideo2 pairs of frames
TOWER_WIDTH = 128
TOKENS_PER_CLIP = 8  # one per slot of the cartoon world's facts
LLM_WIDTH = 192
MAX_LENGTH = 2048
COPY_GAIN = 0.5  # of fresh attention
EMBEDDING_STD = 1.0  # of fresh word embeddings: as large as what the layers add to them
HEAD_GAIN = 0.07  # of the last norm, so that fresh logits are small all the same

SIGLIP, INTERNVIDEO2 = "siglip-nano-patch16-128", "internvideo2-nano-patch16-128"

SIGLIP_CONFIG: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": TOWER_WIDTH,
    "intermediate_size": 4 * TOWER_WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH,
    "num_frames": NUM_STEPS,
    "vision_use_head": False,
}
INTERNVIDEO2_CONFIG: dict[str, Any] = {
    "model_type": "internvideo2",
    "d_model": TOWER_WIDTH,
    "depth": 4,
    "num_heads": 4,
    "mlp_ratio": 4.0,
    "img_size": IMAGE_SIZE,
    "patch_size": PATCH,
    "num_frames": 4,
    "tubelet_size": 4 // NUM_STEPS,
}
PREPROCESSOR = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
SELECT_LAYER = -1  # the last: of towers trained for this model, no block is left unused


def nano_config(vocab_size: int, token_ids: dict[str, int]) -> ApolloConfig:
    """The configuration for a tokenizer with this many ids; `token_ids` has "eos" and "pad"."""
    llm: dict[str, Any] = {
        "model_type": "qwen2",
        "hidden_size": LLM_WIDTH,
        "intermediate_size": 3 * LLM_WIDTH,
        "num_hidden_layers": 5,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "vocab_size": vocab_size,
        "max_position_embeddings": MAX_LENGTH,
        "model_max_length": MAX_LENGTH,
        "rope_theta": 1_000_000.0,  # most pairs barely turn: content is found at any distance
        "tie_word_embeddings": True,
        "eos_token_id": token_ids["eos"],
        "pad_token_id": token_ids["pad"],
        "bos_token_id": None,
    }
    connector = {
        "model_type": "mm_connector",
        "projector_type": "linear",
        "vision_hidden_size": 2 * TOWER_WIDTH,
        "text_hidden_size": LLM_WIDTH,
        "num_output_tokens": TOKENS_PER_CLIP,
        "resampler_depth": 2,
        "resampler_n_heads": 4,
        "resampler_head_dim": 48,
        "num_key_value_heads": 2,
        "ff_multi": 3,
    }
    towers = {
        "model_type": "hybrid_vision_tower",
        "vision_towers": [INTERNVIDEO2, SIGLIP],
        "configs": {
            INTERNVIDEO2: INTERNVIDEO2_CONFIG,
            SIGLIP: {**SIGLIP_CONFIG, "preprocessor": PREPROCESSOR},
        },
    }
    return ApolloConfig(
        llm_cfg=llm,
        vision_tower_cfg=towers,
        mm_connector_cfg=connector,
        clip_duration=2,
        mm_vision_select_layer=SELECT_LAYER,
        model_max_length=MAX_LENGTH,
    )


def build_siglip() -> SiglipTower:
    return build_tower(SIGLIP, SIGLIP_CONFIG, SELECT_LAYER, "sdpa")


def build_internvideo2() -> InternVideo2Tower:
    """With fresh position embeddings and layer scales; a released tower has its own."""
    tower = build_tower(INTERNVIDEO2, INTERNVIDEO2_CONFIG, SELECT_LAYER, "sdpa")
    nn.init.normal_(tower.model.pos_embed, std=0.02)
    nn.init.normal_(tower.model.cls_token, std=0.02)
    for block in tower.model.blocks:
        nn.init.constant_(block.ls1.gamma, 0.5)
        nn.init.constant_(block.ls2.gamma, 0.5)
    return tower


def init_for_look_up(llm: Any) -> None:
    """Fresh attention that copies what it attends to; its first head attends to similar tokens.

    Answers about a video are mostly look-ups, and are learned far sooner from here: at 450 steps a
    third of the errors on two and more scenes are gone that a random start still makes. Word
    embeddings are large: at the usual standard deviation of 0.02 the first layer's output outweighs
    them, and later layers cannot tell the word at their own position.
    """
    nn.init.normal_(llm.get_input_embeddings().weight, std=EMBEDDING_STD)
    nn.init.constant_(llm.model.norm.weight, HEAD_GAIN)
    for layer in llm.model.layers:
        heads = layer.self_attn
        nn.init.orthogonal_(heads.v_proj.weight)
        like = nn.init.orthogonal_(torch.empty(heads.head_dim, LLM_WIDTH))
        with torch.no_grad():
            heads.o_proj.weight.copy_(COPY_GAIN * heads.v_proj.weight.T)
            heads.q_proj.weight[: heads.head_dim] = like
            heads.k_proj.weight[: heads.head_dim] = like


def build_nano(tokenizer: Any) -> ApolloForCausalLM:
    """A whole model with fresh weights."""
    token_ids = {"eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    model = ApolloForCausalLM(nano_config(len(tokenizer), token_ids))
    init_for_look_up(model.llm)
    model.vision_tower.towers[INTERNVIDEO2] = build_internvideo2()
    model.tokenizer = tokenizer
    return model
