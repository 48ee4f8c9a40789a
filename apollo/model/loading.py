"""Loads the LLM and the tokenizer, and rebuilds the buffers that no file stores.

In:  the config and the folder of a checkpoint.   Out: objects of transformers.
Odd: nothing here runs code that a checkpoint brings along, whatever its files ask for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import is_flash_attn_2_available

from apollo.errors import CheckpointError, SettingError
from apollo.model.config import ApolloConfig

# any of these sets is a whole tokenizer; without one, transformers would create an empty tokenizer
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("tokenizer.model",))
ATTENTION = ("sdpa", "eager", "flash_attention_2")


def check_attention(implementation: str) -> str:
    """Returns the name if it can be used here; else raises `SettingError`."""
    if implementation not in ATTENTION:
        raise SettingError(
            f"attn_implementation {implementation!r} is unknown; "
            f"choose one of {', '.join(ATTENTION)}."
        )
    if implementation == "flash_attention_2" and not (
        torch.cuda.is_available() and is_flash_attn_2_available()
    ):
        raise SettingError(
            "flash_attention_2 needs an NVIDIA GPU and the flash-attn package; use sdpa, which is "
            "built in, or install the flash extra on a CUDA machine."
        )
    return implementation


def build_llm(config: ApolloConfig, attn: str) -> Any:
    """The language model of `llm/config.json` (Qwen2 in every released checkpoint)."""
    values = dict(config.llm_cfg)
    kind = values.pop("model_type", None)
    if kind not in CONFIG_MAPPING:
        raise CheckpointError(
            f"llm/config.json names the language model {kind!r}, which the installed transformers "
            "does not know; update it or take llm/config.json from the checkpoint again."
        )
    try:
        llm_config = AutoConfig.for_model(kind, **values)
    except (KeyError, TypeError, ValueError, StrictDataclassError) as error:
        raise CheckpointError(
            f"llm/config.json does not describe a {kind} language model "
            f"({' '.join(str(error).split())}); take it from the checkpoint again."
        ) from error
    if config.output_hidden_states:  # the only one that computes any
        llm_config.output_hidden_states = True
    return AutoModelForCausalLM.from_config(
        llm_config, attn_implementation=attn, trust_remote_code=False
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of `llm/`."""
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES):
        raise CheckpointError(
            f"{folder} lacks tokenizer.json; the download is probably not complete."
        )
    try:
        return AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder} holds no tokenizer that can be read ({str(error).splitlines()[0]})."
        ) from error


def load_generation_config(folder: Path) -> GenerationConfig | None:
    """The checkpoint's generation config, None if it has none."""
    if not (folder / "generation_config.json").exists():
        return None
    try:
        return GenerationConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'generation_config.json'} cannot be read ({str(error).splitlines()[0]})."
        ) from error


def rebuild_computed_buffers(model: nn.Module, device: torch.device) -> None:
    """Makes the tables that no file stores (rotary frequencies, position ids) on `device`."""
    for module in model.modules():
        on_meta = [
            name
            for name, buffer in module._buffers.items()
            if buffer is not None and buffer.is_meta
        ]
        if not on_meta:
            continue
        make: Any = type(module)
        fresh = make(module.config)
        for name in on_meta:
            table = fresh._buffers[name].to(device)
            module.register_buffer(name, table, persistent=False)
            if hasattr(module, f"original_{name}"):
                setattr(module, f"original_{name}", table)
