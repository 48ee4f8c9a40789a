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
from transformers import PreTrainedTokenizerBase
from transformers.modeling_outputs import CausalLMOutputWithPast

from apollo.constants import IGNORE_INDEX
from apollo.errors import PromptError, SettingError
from apollo.model.config import ApolloConfig
from apollo.model.finite import FiniteScores
from apollo.model.keywords import check_generate_keywords
from apollo.model.loading import build_llm, check_attention
from apollo.model.merge import (
    check_ids,
    fill_slots,
    find_slots,
    mask_of,
    one_prompt,
    pad_again,
    pad_left,
    warn_of_padding,
)
from apollo.model.pretrained import PretrainedApollo
from apollo.model.sampling import Processors
from apollo.vision.connector import Connector, ConnectorConfig
from apollo.vision.towers import HybridTower, build_tower

Pixels = list[Tensor]  # one tensor per tower, in tower order, the same N in each


class ApolloForCausalLM(PretrainedApollo):
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
        # which adapters computed visual tokens, and keys and values; None: nothing is kept of them
        self.vision_key: str | None = ""
        self.adapter_key: str | None = ""
        self.merged_key = ""  # adapters that are part of the weights now
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The parts initialise themselves; the LLM and SigLIP by transformers' own rules."""

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
        vocabulary = self.llm.config.vocab_size
        check_ids(input_ids, attention_mask, vocabulary)
        slots = find_slots(input_ids, attention_mask, visual_tokens, self.config.tokens_per_clip)
        embeddings = self.llm.get_input_embeddings()(
            input_ids.clamp(0, vocabulary - 1)
        )  # (B, S, D)
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
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        vision_input: Sequence[Pixels | None] | None = None,
        data_types: Sequence[str] | None = None,
        visual_tokens: Sequence[Tensor | None] | None = None,
        inputs_embeds: Tensor | None = None,
        **llm_kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, S', vocabulary), and the loss when `labels` (B, S) are given.

        `visual_tokens` are rows encoded before; with them `vision_input` is not looked at.
        `inputs_embeds` (B, S, D) are prompts that are merged already, in place of all of these.
        """
        embeddings, mask = inputs_embeds, attention_mask
        input_ids = one_prompt(input_ids, inputs_embeds, (vision_input, visual_tokens))
        if input_ids is not None:
            if mask is None:
                warn_of_padding(input_ids, self._pad_id())
            rows = self._visual_rows(len(input_ids), vision_input, data_types, visual_tokens)
            embeddings, mask, labels = self.merge(input_ids, rows, attention_mask, labels)
        return self.llm(inputs_embeds=embeddings, attention_mask=mask, labels=labels, **llm_kwargs)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        vision_input: Sequence[Pixels | None] | None = None,
        data_types: Sequence[str] | None = None,
        visual_tokens: Sequence[Tensor | None] | None = None,
        *,
        inputs: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **generate_kwargs: Any,
    ) -> Any:
        """New token ids only (B, S_new).

        The keywords of transformers' `generate` work, but for the few in NOT_GENERATED; `inputs`
        is another name of `input_ids`. Without a mask, padding at the ends of a row is not read.

        Raises:
            PromptError: the prompts are missing, given twice, or do not fit their videos.
            SettingError: a keyword is unknown or cannot work with visual tokens.
            ModelError: the model's scores are not finite.
        """
        check_generate_keywords(self.llm, generate_kwargs)
        if getattr(self.prepare_inputs_for_generation, "__self__", self) is not self:
            raise SettingError("peft's prompt tuning cannot answer here; train a LoRA adapter.")
        if inputs is not None and input_ids is not None:
            raise PromptError("generate got both inputs and input_ids; give one of them.")
        input_ids = inputs if input_ids is None else input_ids
        embeddings, mask = inputs_embeds, attention_mask
        input_ids = one_prompt(input_ids, inputs_embeds, (vision_input, visual_tokens))
        if input_ids is not None:
            rows = self._visual_rows(len(input_ids), vision_input, data_types, visual_tokens)
            if mask is None:
                mask = mask_of(input_ids, self._pad_id())
            embeddings, mask, _ = self.merge(input_ids, rows, mask)
            assert mask is not None  # a mask went in
            if self.config.padding_side != "left" and not bool(mask.all()):
                embeddings, mask = pad_left(embeddings, mask)  # generation appends at the right
        finite = FiniteScores(self.dtype, self.device)
        processors = [finite, *(generate_kwargs.pop("logits_processor", None) or ())]
        written = self.llm.generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            logits_processor=Processors(processors),
            **generate_kwargs,
        )
        finite.check_last()
        return written

    def _pad_id(self) -> int | None:
        known = self.generation_config.pad_token_id
        return known if known is not None else getattr(self.tokenizer, "pad_token_id", None)
