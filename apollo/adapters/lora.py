"""LoRA adapters on a loaded model: add, save, load, switch, merge; through peft.

In:  an `ApolloForCausalLM` read from files. `add_adapter` puts a fresh adapter on it,
     `load_adapter` a saved one; `switch` chooses which one answers, None is the bare model.
Out: the same model, changed in place, or a folder (see apollo.adapters.files).
Odd: nothing is copied; the base's weights stay where they are until `merge` changes them. Its
parameters stop asking for gradients as soon as an adapter is put on.
"""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apollo.adapters.files import (
    AGAIN,
    WEIGHTS,
    AdapterConfig,
    AdapterFiles,
    read_adapter,
    write_adapter,
)
from apollo.adapters.identity import Identity, identify
from apollo.adapters.targets import target_layers
from apollo.errors import AdapterError, SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.terminal import check_extra

__all__ = [
    "AdapterConfig",
    "active_adapter",
    "adapter_config",
    "adapter_names",
    "add_adapter",
    "load_adapter",
    "merge",
    "read_adapter",
    "save_adapter",
    "switch",
    "target_layers",
]

# peft imports bitsandbytes where it is installed, which reports kernels that are not needed
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@dataclass
class _Attached:
    key: str  # peft's name for it; a person's name may hold dots, peft's may not
    config: AdapterConfig
    base: Identity
    is_trainable: bool
    digest: str = ""  # of the weights' file, when it came from one


@dataclass
class _Attachments:
    by_name: dict[str, _Attached] = field(default_factory=dict)
    active: str | None = None


def adapter_names(model: ApolloForCausalLM) -> list[str]:
    """The adapters on the model, in the order they were added."""
    return list(_attachments(model).by_name)


def active_adapter(model: ApolloForCausalLM) -> str | None:
    """The name of the adapter that is in use; None for the bare model."""
    return _attachments(model).active


def adapter_config(model: ApolloForCausalLM, name: str) -> AdapterConfig:
    """How the adapter `name` was made."""
    return _attached(model, name).config


# ---- add, save, load, switch, merge ------------------------------------------------------


def add_adapter(model: ApolloForCausalLM, config: AdapterConfig, name: str = "default") -> None:
    """Puts a fresh adapter on the model and uses it. Its effect is zero until it is trained.

    Afterwards only the adapter's parameters ask for gradients; they are float32.

    Raises:
        SettingError: the model has no such part.
        AdapterError: the name is taken, or the model did not come from files.
    """
    _attach(model, config, name, _base_of(model), is_trainable=True)


def save_adapter(model: ApolloForCausalLM, folder: str | Path, name: str | None = None) -> None:
    """Writes one adapter, by default the one in use, without any weight of the base.

    Raises:
        AdapterError: there is no such adapter.
    """
    from peft.utils import get_peft_model_state_dict

    attached = _attached(model, name or active_adapter(model))
    tensors = get_peft_model_state_dict(
        model, adapter_name=attached.key, save_embedding_layers=False
    )
    peft_config = _peft_config(model, attached.config, is_trainable=False)
    write_adapter(AdapterFiles(Path(folder), attached.config, attached.base), tensors, peft_config)


def read_adapter_for(folder: str | Path, base: Identity) -> AdapterFiles:
    """Reads an adapter's settings, if it was made for this base.

    Raises:
        AdapterError: no adapter there, or made for another base.
    """
    files = read_adapter(folder)
    if files.base.digest != base.digest:
        raise AdapterError(
            f"The adapter {folder} was made for {files.base}, but the model is {base}; load the "
            "model it was made for."
        )
    return files


def load_adapter(model: ApolloForCausalLM, folder: str | Path, name: str | None = None) -> str:
    """Puts a saved adapter on the model, uses it, and returns its name (the folder's by default).

    Everything is checked first: when it fails, the model is as it was.

    Raises:
        AdapterError: no adapter there, made for another base, or its tensors do not fit.
    """
    check_extra("A LoRA adapter", "adapters", "peft")
    from peft.utils import set_peft_model_state_dict

    own = _base_of(model)
    files = read_adapter_for(folder, own)
    tensors, digest = files.tensors()
    try:
        layers = target_layers(model, files.config.targets)
    except SettingError as error:
        raise AdapterError(f"The adapter {folder} does not fit: {error}") from error
    _check_tensors(layers, files.config.rank, tensors, files.folder / WEIGHTS)
    name = name or files.folder.resolve().name
    attached = _attach(model, files.config, name, own, is_trainable=False)
    attached.digest = digest
    _update_keys(model)
    set_peft_model_state_dict(model, tensors, adapter_name=attached.key)
    return name


def switch(model: ApolloForCausalLM, name: str | None) -> None:
    """Uses another adapter that is on the model; None is the bare model, bit for bit.

    Not while an answer is being written: its later tokens would come from the other adapter.

    Raises:
        AdapterError: no adapter has that name.
    """
    attached = _attached(model, name) if name is not None else None
    for _, layer in _adapted_layers(model):
        layer.enable_adapters(attached is not None)
        if attached is not None:
            layer.set_adapter([attached.key], inference_mode=not attached.is_trainable)
    _attachments(model).active = name
    _update_keys(model)


def merge(model: ApolloForCausalLM, name: str | None = None) -> None:
    """Adds one adapter, by default the one in use, to the weights for good; removes all adapters.

    The model is then a plain one and can be saved. Its adapters no longer fit it.

    Raises:
        AdapterError: no such adapter, the base is quantized, or the adapter is not finite.
    """
    attached = _attached(model, name or active_adapter(model))
    if model.quantization:
        raise AdapterError(
            f"An adapter cannot be merged into a model loaded in {model.quantization}; load the "
            "model without quantization first."
        )
    layers = list(_adapted_layers(model))
    for path, layer in layers:  # all of them before the first is changed
        delta = layer.get_delta_weight(attached.key) if attached.key in layer.lora_A else None
        if delta is not None and not bool(torch.isfinite(delta).all()):
            raise AdapterError(
                f"The adapter holds numbers at {path} that are not finite; train it again with a "
                "lower learning rate."
            )
    for path, layer in layers:
        layer.merge(adapter_names=[attached.key])
        owner, _, child = path.rpartition(".")
        setattr(model.get_submodule(owner), child, layer.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)
    model.adapters = model.source_folder = None
    model.merged_key += f" merged {attached.key} {attached.digest or uuid.uuid4().hex}"
    _update_keys(model)


# ---- putting it on -----------------------------------------------------------------------


def _adapted_layers(model: ApolloForCausalLM) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return ((k, v) for k, v in list(model.named_modules()) if isinstance(v, LoraLayer))


def _attach(
    model: ApolloForCausalLM,
    config: AdapterConfig,
    name: str,
    base: Identity,
    *,
    is_trainable: bool,
) -> _Attached:
    check_extra("A LoRA adapter", "adapters", "peft")
    from peft import inject_adapter_in_model
    from peft.tuners.tuners_utils import cast_adapter_dtype

    known = _attachments(model)
    if name in known.by_name:
        raise AdapterError(f"The model already has an adapter {name!r}; choose another name.")
    attached = _Attached(f"adapter{len(known.by_name)}", config, base, is_trainable)
    peft_config = _peft_config(model, config, is_trainable=is_trainable)
    with warnings.catch_warnings():  # several adapters on one model are what this is for
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
        inject_adapter_in_model(peft_config, model, attached.key)
    cast_adapter_dtype(model, adapter_name=attached.key)  # small steps are lost in bfloat16
    for _, layer in _adapted_layers(model):
        layer.train(model.training)  # else its dropout is on while the model answers
    known.by_name[name] = attached
    model.adapters = known
    switch(model, name)
    return attached


def _peft_config(model: ApolloForCausalLM, config: AdapterConfig, *, is_trainable: bool) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft only divides it
        lora_dropout=config.dropout,
        target_modules=list(target_layers(model, config.targets)),
        inference_mode=not is_trainable,
    )


def _check_tensors(
    layers: dict[str, Any], rank: int, tensors: dict[str, Tensor], file: Path
) -> None:
    wanted: dict[str, tuple[int, int]] = {}
    for path, layer in layers.items():
        wanted[f"{path}.lora_A.weight"] = (rank, layer.in_features)
        wanted[f"{path}.lora_B.weight"] = (layer.out_features, rank)
    for key in sorted(wanted.keys() ^ tensors.keys()):
        problem = "lacks the" if key in wanted else "has an unknown"
        raise AdapterError(f"{file} {problem} tensor {key}; {AGAIN}.")
    for key, shape in wanted.items():
        if tuple(tensors[key].shape) != shape:
            raise AdapterError(
                f"{file} has {key} in the shape {tuple(tensors[key].shape)} where {shape} fits; "
                f"{AGAIN}."
            )


def _update_keys(model: ApolloForCausalLM) -> None:
    """What is kept of earlier answers was computed by one adapter: says by which.

    The weights of an adapter that did not come from a file may still change: nothing is kept then.
    """
    name = active_adapter(model)
    used = None if name is None else _attached(model, name)
    if used is None:
        model.adapter_key = model.vision_key = model.merged_key
        return
    key = f"{model.merged_key} {used.key} {used.digest}" if used.digest else None
    model.adapter_key = key
    changes_vision = set(used.config.targets) != {"llm"}
    model.vision_key = key if changes_vision else model.merged_key


def _attachments(model: ApolloForCausalLM) -> _Attachments:
    return model.adapters if model.adapters is not None else _Attachments()


def _attached(model: ApolloForCausalLM, name: str | None) -> _Attached:
    known = _attachments(model).by_name
    if name is None:
        raise AdapterError("No adapter is in use on this model; load one first.")
    if name not in known:
        raise AdapterError(
            f"The model has no adapter {name!r}, it has {', '.join(known) or 'none'}; load it or "
            "choose another name."
        )
    return known[name]


def _base_of(model: ApolloForCausalLM) -> Identity:
    if model.source_folder is None:
        raise AdapterError(
            "This model was not read from files or was changed since, so an adapter could not name "
            "its base; save the model and load it again."
        )
    return identify(model.source_folder)
