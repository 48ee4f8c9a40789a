"""The language model's weights in 8 or 4 bits, with bitsandbytes.

Only the linear layers inside the decoder are replaced: they hold nearly all weights. Towers,
connector, embeddings and the output layer keep their number type.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from apollo.errors import SettingError

KINDS = ("8bit", "4bit")
CPU_BLOCK = 64  # bitsandbytes' fast path for CPUs packs whole blocks: 32 rows, 64 columns
OTHER_KEYWORDS = ("quantization_config", "load_in_8bit", "load_in_4bit")


def check_quantization(kind: str | None, keywords: Mapping[str, Any] | None = None) -> str | None:
    """Returns the kind if it can be used here; else raises `SettingError`.

    `keywords` is whatever else was asked for; transformers' own ways to quantize are refused.
    """
    for name in OTHER_KEYWORDS:
        if keywords and keywords.get(name):
            raise SettingError(f'{name} is not used here; say quantization="8bit" or "4bit".')
    if kind is None:
        return None
    if kind not in KINDS:
        raise SettingError(f"quantization {kind!r} is unknown; choose 8bit, 4bit or leave it out.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SettingError(
            f"quantization {kind!r} needs the bitsandbytes package; install it with "
            "pip install 'apollo-video[quantize]', or leave quantization out."
        )
    return kind


def quantize_linears(decoder: nn.Module, kind: str, device: torch.device) -> None:
    """Replaces every linear layer inside `decoder` in place and moves it to `device`."""
    # on a CPU it reports, once per layer and token, that float32 inputs are cast
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for name, layer in list(decoder.named_modules()):
        if isinstance(layer, nn.Linear):
            owner = decoder.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], _quantized(layer, kind).to(device))


def _quantized(layer: nn.Linear, kind: str) -> nn.Module:
    import bitsandbytes

    shape, has_bias = (layer.in_features, layer.out_features), layer.bias is not None
    small: Any
    if kind == "8bit":
        small = bitsandbytes.nn.Linear8bitLt(*shape, bias=has_bias, has_fp16_weights=False)
        small.weight = bitsandbytes.nn.Int8Params(
            layer.weight.data, requires_grad=False, has_fp16_weights=False
        )
    else:
        small = bitsandbytes.nn.Linear4bit(
            *shape, bias=has_bias, compute_dtype=layer.weight.dtype, quant_type="nf4"
        )
        small.weight = bitsandbytes.nn.Params4bit(
            layer.weight.data, requires_grad=False, quant_type="nf4"
        )
        if any(side % CPU_BLOCK for side in shape):  # this layer takes the plain path on every CPU
            small.support_avx512bf16_for_cpu = False
    small.bias = layer.bias
    return small


def unpack_linears(decoder: nn.Module) -> None:
    """Undoes the layout that bitsandbytes gives 4-bit weights on some CPUs while it answers.

    No gradient passes through that layout, so a base that is to be trained through is kept plain.
    """
    layer: Any
    for layer in decoder.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.state_dict()  # unpacks the weight in place
            layer.support_avx512bf16_for_cpu = False
