"""The model as a folder and back, with the keywords that transformers gives these methods.

In:  a folder in the released layout or a hub id, or a state dict.   Out: a model, or a folder.
Odd: an index at the top of the folder names every tensor's file, so that transformers' `Trainer`
finds its checkpoint; it hands the parts' files to `load_state_dict` one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from apollo.errors import CheckpointError, SettingError
from apollo.model import checkpoint, hub
from apollo.model.config import CONFIG_NAMES, ApolloConfig
from apollo.model.conventions import CausalConventions
from apollo.model.device import pick_dtype, place_of
from apollo.model.keywords import MEANINGLESS, check_keywords
from apollo.model.loading import (
    check_attention,
    load_generation_config,
    load_tokenizer,
    rebuild_computed_buffers,
)
from apollo.model.parts import Part, check_names
from apollo.model.quantize import check_package, check_quantization, quantize_linears
from apollo.vision.connector import Connector
from apollo.vision.towers import HybridTower


class PretrainedApollo(CausalConventions):
    """Reading and writing of `ApolloForCausalLM`."""

    vision_tower: HybridTower
    mm_connector: Connector
    tokenizer: PreTrainedTokenizerBase | None
    quantization: str | None
    adapters: Any

    # ---- reading -----------------------------------------------------------------------------

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *unused: Any,
        config: ApolloConfig | str | Path | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        attn_implementation: str | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: str | int | torch.device | Mapping[str, Any] | None = None,
        quantization: str | None = None,
        output_loading_info: bool = False,
        subfolder: str | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        **others: Any,
    ) -> Any:
        """Reads the released layout from a folder or a hub id.

        Memory peaks near the size of the weights in `dtype`, whatever `low_cpu_mem_usage` says.
        `dtype` defaults to what the files' config names, else float32; `quantization` is "8bit" or
        "4bit" for the language model. What a `config` says other than the files' root config
        counts, and so do keywords named like its fields. `state_dict` takes the place of the
        files' weights. `device_map` may have any form, but names one device. Of the Auto classes'
        other keywords those in MEANINGLESS are allowed.

        Raises:
            CheckpointError: not found, incomplete, pickled, or the tensors do not fit.
            SettingError: the attention implementation is not available, a keyword is unknown.
        """
        quantization = check_quantization(quantization, keywords=others)
        changes = {name: others.pop(name) for name in CONFIG_NAMES if name in others}
        check_keywords("from_pretrained", cls.from_pretrained, others, MEANINGLESS, CONFIG_NAMES)
        if unused:
            raise SettingError("from_pretrained takes one positional argument; name the others.")
        if others.get("use_safetensors") is False:
            raise SettingError("Weights are only read as safetensors; leave use_safetensors out.")
        options = {"cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        folder = hub.find(
            pretrained_model_name_or_path, revision, subfolder=subfolder or "", **options
        )
        given_attn = attn_implementation or getattr(config, "_attn_implementation", None)
        config = _config_of(folder, config, changes)
        config._attn_implementation = check_attention(given_attn or "sdpa")
        config.name_or_path = str(pretrained_model_name_or_path)
        chosen, device = pick_dtype(dtype or torch_dtype, config), place_of(device_map)
        check_package(quantization, device)
        with torch.device("meta"):
            model: Any = cls(config)
        model._fill(folder, chosen, torch.device("cpu") if quantization else device, state_dict)
        if quantization:
            quantize_linears(model.llm.get_decoder(), quantization, device)
            nn.Module.to(model, device)
        model.quantization = quantization
        model.source_folder = folder if state_dict is None else None
        model.config.dtype = chosen
        model.eval()
        if not output_loading_info:
            return model
        nothing: dict[str, Any] = {
            f"{k}_keys": set() for k in ("missing", "unexpected", "mismatched")
        }
        return model, {**nothing, "error_msgs": []}  # else an error was raised

    def _fill(
        self,
        folder: Path,
        dtype: torch.dtype,
        device: torch.device,
        state_dict: Mapping[str, Tensor] | None,
    ) -> None:
        parts = self._parts()
        if state_dict is not None:
            check_names(state_dict, parts)
        for part in parts:
            given = None
            if state_dict is not None:
                names = part.names()
                given = [(names[name], state_dict[name]) for name in names if name in state_dict]
            checkpoint.load_tensors(
                part.module,
                folder / part.folder,
                dtype=dtype,
                device=device,
                file_prefix=part.file_prefix,
                given=given,
            )
        rebuild_computed_buffers(self, device)
        self.tokenizer = load_tokenizer(folder / "llm")
        generation_config = load_generation_config(folder / "llm")
        if generation_config is not None:
            self.llm.generation_config = generation_config

    def _parts(self) -> list[Part]:
        parts: list[tuple[str, nn.Module, str]] = []
        for name in self.vision_tower.names:
            core = self.vision_tower.tower(name).model
            is_siglip = self.config.tower_config(name).get("model_type", "").startswith("siglip")
            # transformers nests or flattens SigLIP by version; the released file is nested
            prefix = "vision_model." if is_siglip and not hasattr(core, "vision_model") else ""
            parts.append((f"vision_tower/{name}", core, prefix))
        parts += [("mm_connector", self.mm_connector, ""), ("llm", self.llm, "")]
        paths = {module: path for path, module in self.named_modules()}
        return [Part(folder, paths[module], module, prefix) for folder, module, prefix in parts]

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Also takes the tensors of one part's file, as the `Trainer` hands them over.

        Raises:
            CheckpointError: the file's names fit two parts.
        """
        parts = [part.names() for part in self._parts()]
        if state_dict and not any(state_dict.keys() & names.keys() for names in parts):
            fits = [names for names in parts if state_dict.keys() <= {*names.values()}]
            if len(fits) > 1:
                raise CheckpointError(
                    "The names of these weights fit two parts of the model; read their folder with "
                    "from_pretrained."
                )
            for names in fits:
                state_dict = {k: state_dict[v] for k, v in names.items() if v in state_dict}
                strict = False  # the other parts come in other calls
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    # ---- writing -----------------------------------------------------------------------------

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        *,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        max_shard_size: int | str = checkpoint.MAX_SHARD_BYTES,
        safe_serialization: bool = True,
        **others: Any,
    ) -> None:
        """Writes the released layout, readable by `from_pretrained`.

        `max_shard_size` is in bytes, or a text such as "2GB"; a larger part becomes several files.
        `state_dict` is written in place of the model's own weights. Only the main process writes.

        Raises:
            SettingError: the model is quantized or has adapters, for which the layout has no
                place; a keyword is unknown or has no meaning; or pickles are asked for.
            CheckpointError: weights are not finite, or the state_dict is of another model.
        """
        check_keywords("save_pretrained", self.save_pretrained, others)
        max_bytes = checkpoint.size_of(max_shard_size)
        if not safe_serialization:
            raise SettingError("Weights are only written as safetensors; leave it at that.")
        if self.quantization:
            raise SettingError(
                f"A model loaded in {self.quantization} cannot be saved; load it without "
                "quantization first."
            )
        if self.adapters is not None:
            raise SettingError("A model with adapters cannot be saved; merge one into it first.")
        folder, config = Path(save_directory), self.config
        if folder.is_file():
            raise SettingError(f"{folder} is a file; choose a folder to save the model in.")
        if not is_main_process:
            return
        files: dict[str, str] = {}
        for part, tensors in self._to_write(state_dict):
            part_config = self._part_config(part.folder)
            own = checkpoint.write_part(folder / part.folder, part_config, tensors, max_bytes)
            files |= {k: f"{part.folder}/{own[v]}" for k, v in part.names().items()}
        index = {"metadata": {}, "weight_map": files}
        checkpoint.write_json(folder / checkpoint.WEIGHTS_INDEX, index)
        for name in config.tower_names:
            preprocess = config.tower_config(name).get("preprocessor")
            if preprocess:
                path = folder / "vision_tower" / name / "preprocessor_config.json"
                checkpoint.write_json(path, preprocess)
        towers = {k: v for k, v in config.vision_tower_cfg.items() if k != "configs"}
        checkpoint.write_json(folder / "vision_tower" / "config.json", {**towers, "configs": {}})
        root = config.to_diff_dict()
        root["vision_tower_cfg"] = {**towers, "configs": {}}
        root["architectures"] = [type(self).__name__]
        checkpoint.write_json(folder / "config.json", root)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder / "llm")
        self.llm.generation_config.save_pretrained(folder / "llm")

    def _to_write(
        self, state_dict: Mapping[str, Tensor] | None
    ) -> list[tuple[Part, dict[str, Tensor]]]:
        """Every part and its tensors by their names in the file, checked before any is written."""
        if state_dict is None:
            return [(part, part.tensors()) for part in self._parts()]
        with torch.device("meta"):  # this model's own may be spread over processes
            parts = type(self)(self.config)._parts()
        check_names(state_dict, parts)
        return [(part, part.tensors_from(state_dict)) for part in parts]

    def _part_config(self, part: str) -> dict[str, Any]:
        if part == "llm":
            return self.config.llm_cfg
        if part == "mm_connector":
            return self.config.mm_connector_cfg
        config = self.config.tower_config(part.removeprefix("vision_tower/"))
        return {k: v for k, v in config.items() if k != "preprocessor"}


def _config_of(
    folder: Path, given: ApolloConfig | str | Path | None, changes: dict[str, Any]
) -> ApolloConfig:
    """What the files say, with what `given` says differently and the changes on top."""
    values, stored = checkpoint.read_configs(folder), checkpoint.read_json(folder / "config.json")
    if isinstance(given, (str, Path)):
        file = Path(given) / "config.json" if Path(given).is_dir() else Path(given)
        given = ApolloConfig(**checkpoint.read_json(file))
    if given is not None and not isinstance(given, ApolloConfig):
        raise SettingError(
            f"config is a {type(given).__name__}; give an ApolloConfig, or a file or folder of one."
        )
    changed = ApolloConfig(**stored) if given is None else copy.deepcopy(given)
    for name, value in changes.items():
        setattr(changed, name, value)
    for name in ("clip_duration", "encode_batch_size"):
        value = getattr(changed, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
            raise SettingError(f"{name} is {value!r} in the config; give a number above 0.")
    laid = changed.changes_laid_over(values, stored)
    # older transformers write None for what is not set, and refuse to read it
    return ApolloConfig(**{name: value for name, value in laid.items() if value is not None})
