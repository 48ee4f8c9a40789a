"""The language model's weights in 8 or 4 bits: on a CPU by torch itself, else with bitsandbytes.

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
from apollo.model.cpu_linears import small_linear

KINDS = ("8bit", "4bit")
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
    return kind


def check_package(kind: str | None, device: torch.device) -> None:
    """Raises `SettingError` if the kind needs a package on this device that is not installed."""
    if kind is None or device.type == "cpu" or importlib.util.find_spec("bitsandbytes"):
        return
    raise SettingError(
        f"quantization {kind!r} needs the bitsandbytes package on {device.type}; install it with "
        "pip install 'apollo-video[quantize]', or leave quantization out."
    )


def quantize_linears(decoder: nn.Module, kind: str, device: torch.device) -> None:
    """Replaces every linear layer inside `decoder` in place and moves it to `device`."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # reports kernels not needed
    make = small_linear if device.type == "cpu" else _with_bitsandbytes
    for name, layer in list(decoder.named_modules()):
        if isinstance(layer, nn.Linear):
            owner = decoder.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], make(layer, kind).to(device))


def _with_bitsandbytes(layer: nn.Linear, kind: str) -> nn.Module:
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
    small.bias = layer.bias
    return small
