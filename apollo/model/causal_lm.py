"""ApolloForCausalLM: clips -> visual tokens, merged into the prompt, read by the LLM.

In:  input ids (B, S) with one slot (-200) per visual token, and per row the pixels of its clips.
Out: logits, loss, or new token ids.
Odd: the slots of a row must equal its visual tokens, or a `PromptError` says both numbers; the
original dropped the video without a word. Text rows and images take the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import CausalLMOutputWithPast

from apollo.constants import IGNORE_INDEX
from apollo.errors import PromptError, SettingError
from apollo.model import checkpoint, hub
from apollo.model.config import ApolloConfig
from apollo.model.device import pick_device, pick_dtype
from apollo.model.keywords import MEANINGLESS, check_keywords
from apollo.model.loading import (
    build_llm,
    check_attention,
    load_generation_config,
    load_tokenizer,
    rebuild_computed_buffers,
)
from apollo.model.merge import fill_slots, find_slots, pad_again, pad_left
from apollo.model.quantize import check_quantization, quantize_linears
from apollo.vision.connector import Connector, ConnectorConfig
from apollo.vision.towers import HybridTower, build_tower

Pixels = list[Tensor]  # one tensor per tower, in tower order, the same N in each


class ApolloForCausalLM(PreTrainedModel):
    """The whole model. Parts: `vision_tower`, `mm_connector`, `llm`, and the `tokenizer`."""

    config_class = ApolloConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True
    _no_split_modules = ["Qwen2DecoderLayer", "SiglipEncoderLayer", "Block"]

    def __init__(self, config: ApolloConfig) -> None:
        super().__init__(config)
        attn = check_attention(config._attn_implementation or "sdpa")
        select_layer = config.mm_vision_select_layer
        self.vision_tower = HybridTower(
            {
                name: build_tower(name, config.tower_config(name), select_layer, attn)
                for name in config.tower_names
            }
        )
        self.mm_connector = Connector(
            ConnectorConfig.from_dict({**config.mm_connector_cfg, "attn_implementation": attn})
        )
        self.llm = build_llm(config, attn)
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.quantization: str | None = None
        self.source_folder: Path | None = None  # folder of the weights; None once they changed
        self.adapters: Any = None  # apollo.adapters keeps here what it put on the model
        self.vision_key = ""  # cache key: adapter weights that affect visual tokens
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The parts initialise themselves; the LLM and SigLIP by transformers' own rules."""

    # ---- reading and writing ---------------------------------------------------------------

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *unused: Any,
        config: ApolloConfig | None = None,
        attn_implementation: str | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: str | torch.device | None = None,
        quantization: str | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        **others: Any,
    ) -> ApolloForCausalLM:
        """Reads the released layout from a folder or a hub id.

        Memory peaks near the size of the weights in `dtype`, whatever `low_cpu_mem_usage` says.
        `dtype` defaults to what the files' config names, else float32; `quantization` is "8bit" or
        "4bit" for the language model. What a `config` says other than the files' root config
        counts. Of the Auto classes' other keywords those in MEANINGLESS are allowed.

        Raises:
            CheckpointError: not found, incomplete, pickled, or the tensors do not fit.
            SettingError: the attention implementation is not available, a keyword is unknown.
        """
        quantization = check_quantization(quantization, keywords=others)
        check_keywords("from_pretrained", cls.from_pretrained, others, MEANINGLESS)
        options = {"cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        folder = hub.find(pretrained_model_name_or_path, revision, **options)
        given_attn = attn_implementation or getattr(config, "_attn_implementation", None)
        values = checkpoint.read_configs(folder)
        if config is not None:
            values = config.changes_laid_over(values, checkpoint.read_json(folder / "config.json"))
        config = ApolloConfig(**values)
        config._attn_implementation = check_attention(given_attn or "sdpa")
        config.name_or_path = str(pretrained_model_name_or_path)
        chosen = pick_dtype(dtype or torch_dtype, config)
        device = pick_device(None if device_map == "auto" else device_map or "cpu")
        with torch.device("meta"):
            model = cls(config)
        model._fill(folder, chosen, torch.device("cpu") if quantization else device)
        if quantization:
            quantize_linears(model.llm.get_decoder(), quantization, device)
            nn.Module.to(model, device)
        model.quantization, model.source_folder = quantization, folder
        model.config.dtype = chosen
        return model.eval()

    def _fill(self, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        for part, module, file_prefix in self._parts():
            checkpoint.load_tensors(
                module, folder / part, dtype=dtype, device=device, file_prefix=file_prefix
            )
        rebuild_computed_buffers(self, device)
        self.tokenizer = load_tokenizer(folder / "llm")
        generation_config = load_generation_config(folder / "llm")
        if generation_config is not None:
            self.llm.generation_config = generation_config

    def _parts(self) -> list[tuple[str, nn.Module, str]]:
        """(sub-folder, module, prefix of its names in the file) of every part."""
        parts: list[tuple[str, nn.Module, str]] = []
        for name in self.vision_tower.names:
            core = self.vision_tower.tower(name).model
            is_siglip = self.config.tower_config(name).get("model_type", "").startswith("siglip")
            # transformers nests or flattens SigLIP by version; the released file is nested
            prefix = "vision_model." if is_siglip and not hasattr(core, "vision_model") else ""
            parts.append((f"vision_tower/{name}", core, prefix))
        parts.append(("mm_connector", self.mm_connector, ""))
        parts.append(("llm", self.llm, ""))
        return parts

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        *,
        max_shard_size: int | str = checkpoint.MAX_SHARD_BYTES,
        safe_serialization: bool = True,
        **others: Any,
    ) -> None:
        """Writes the released layout, readable by `from_pretrained`.

        `max_shard_size` is in bytes, or a text such as "2GB"; a larger part becomes several files.

        Raises:
            SettingError: the model is quantized or has adapters, for which the layout has no
                place; a keyword is unknown; or pickles are asked for.
        """
        check_keywords("save_pretrained", self.save_pretrained, others)
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
        for part, module, prefix in self._parts():
            tensors = {prefix + k: v for k, v in module.state_dict(keep_vars=True).items()}
            checkpoint.write_part(
                folder / part, self._part_config(part), tensors, max_size=max_shard_size
            )
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

    def _part_config(self, part: str) -> dict[str, Any]:
        if part == "llm":
            return self.config.llm_cfg
        if part == "mm_connector":
            return self.config.mm_connector_cfg
        config = self.config.tower_config(part.removeprefix("vision_tower/"))
        return {k: v for k, v in config.items() if k != "preprocessor"}

    # ---- clips -> visual tokens -> merged prompt -----------------------------------------

    def encode_clips(self, pixels: Pixels) -> Tensor:
        """Pixels of N clips, one tensor per tower -> visual tokens (N, K, D).

        uint8 pixels are what `resize` of a tower's transform gives; others are normalised already.
        Works in chunks of `encode_batch_size` clips, so memory does not grow with the video.
        """
        chunks = zip(*(x.split(self.config.encode_batch_size) for x in pixels), strict=True)
        towers = self.vision_tower
        features = (towers(towers.normalised(chunk, self.dtype)) for chunk in chunks)
        return torch.cat([self.mm_connector(f) for f in features])  # (N, K, D)

    def encode_rows(
        self, vision_input: Sequence[Pixels | None], data_types: Sequence[str] | None
    ) -> list[Tensor | None]:
        """Visual tokens (N_i * K, D) of every row; None for a text row. One pass for all rows."""
        kinds = data_types or ["video" if row is not None else "text" for row in vision_input]
        if len(kinds) != len(vision_input):
            raise PromptError(
                f"data_types names {len(kinds)} rows but vision_input has {len(vision_input)}; "
                "give one entry per row, 'text' for a row without a video."
            )
        rows = [None if k == "text" else row for k, row in zip(kinds, vision_input, strict=True)]
        present = [row for row in rows if row is not None]
        if not present:
            return [None] * len(rows)
        stacked = [torch.cat(list(per_tower)) for per_tower in zip(*present, strict=True)]
        tokens = iter(self.encode_clips(stacked).split([len(row[0]) for row in present]))
        return [None if row is None else next(tokens).flatten(0, 1) for row in rows]

    def merge(
        self,
        input_ids: Tensor,
        visual_tokens: Sequence[Tensor | None],
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Puts every row's visual tokens into its slots (docs/original.md#11 to #14).

        input_ids (B, S) -> embeddings (B, S', D), mask (B, S'), labels (B, S'). Rows are padded
        again with zero vectors on the side the checkpoint names.

        Raises:
            PromptError: a row's slots and visual tokens differ in number.
        """
        slots = find_slots(input_ids, attention_mask, visual_tokens, self.config.tokens_per_clip)
        embeddings = self.llm.get_input_embeddings()(input_ids.clamp(min=0))  # (B, S, D)
        embeddings = fill_slots(embeddings, slots, visual_tokens)
        if labels is not None:
            labels = labels.masked_fill(slots, IGNORE_INDEX)
        if attention_mask is None:
            return embeddings, None, labels
        return pad_again(
            embeddings,
            attention_mask,
            labels,
            on_left=self.config.padding_side == "left",
            max_length=self.config.train_length_limit,
        )

    def _visual_rows(
        self,
        num_rows: int,
        vision_input: Sequence[Pixels | None] | None,
        data_types: Sequence[str] | None,
        visual_tokens: Sequence[Tensor | None] | None,
    ) -> Sequence[Tensor | None]:
        if visual_tokens is not None:
            return visual_tokens
        if vision_input is None:
            return [None] * num_rows
        return self.encode_rows(vision_input, data_types)

    # ---- the LLM -------------------------------------------------------------------------

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        vision_input: Sequence[Pixels | None] | None = None,
        data_types: Sequence[str] | None = None,
        visual_tokens: Sequence[Tensor | None] | None = None,
        **llm_kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, S', vocabulary), and the loss when `labels` (B, S) are given.

        `visual_tokens` are rows encoded before; with them `vision_input` is not looked at.
        """
        rows = self._visual_rows(len(input_ids), vision_input, data_types, visual_tokens)
        embeddings, mask, labels = self.merge(input_ids, rows, attention_mask, labels)
        return self.llm(inputs_embeds=embeddings, attention_mask=mask, labels=labels, **llm_kwargs)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        vision_input: Sequence[Pixels | None] | None = None,
        data_types: Sequence[str] | None = None,
        visual_tokens: Sequence[Tensor | None] | None = None,
        **generate_kwargs: Any,
    ) -> Tensor:
        """New token ids only (B, S_new). Every keyword of transformers' `generate` works."""
        rows = self._visual_rows(len(input_ids), vision_input, data_types, visual_tokens)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        embeddings, mask, _ = self.merge(input_ids, rows, attention_mask)
        assert mask is not None  # a mask went in
        if self.config.padding_side != "left" and not bool(mask.all()):
            embeddings, mask = pad_left(embeddings, mask)  # generation appends at the right
        return self.llm.generate(inputs_embeds=embeddings, attention_mask=mask, **generate_kwargs)

    def get_input_embeddings(self) -> nn.Module:
        return self.llm.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return self.llm.get_output_embeddings()
