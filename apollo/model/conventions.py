"""What transformers and peft expect of any language model, handed to the one inside.

Odd: tables that are computed keep their number type whatever the weights become: with a rotary
frequency in bfloat16 a position of 1000 is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel


class CausalConventions(PreTrainedModel):
    """Number types, word embeddings and generation of a model around an `llm`."""

    llm: Any
    source_folder: Path | None

    # ---- number types ------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Every move and cast of a module comes here."""
        tables = [
            (module, name, module._buffers[name])
            for module in self.modules()
            for name in module._non_persistent_buffers_set
        ]
        super()._apply(fn, recurse)
        for module, name, table in tables:
            cast = module._buffers[name]
            if table is not None and cast is not None and cast.dtype != table.dtype:
                module._buffers[name] = table.to(cast.device)
        return self

    # ---- words -------------------------------------------------------------------------------

    def resize_token_embeddings(self, *args: Any, **keywords: Any) -> nn.Embedding:
        """As in transformers: room for tokens that were added, or another multiple."""
        embeddings = self.llm.resize_token_embeddings(*args, **keywords)
        if embeddings.num_embeddings != self.config.llm_cfg.get("vocab_size"):
            self.config.llm_cfg["vocab_size"] = embeddings.num_embeddings
            self.source_folder = None
        return embeddings

    def get_input_embeddings(self) -> nn.Module:
        return self.llm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.llm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.llm.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.llm.set_output_embeddings(new_embeddings)

    @classmethod
    def can_generate(cls) -> bool:
        return True

    @property
    def generation_config(self) -> Any:
        """How `generate` writes where nothing else is said; the language model's."""
        return self.llm.generation_config if "llm" in self._modules else None

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        if "llm" in self._modules:  # not yet while transformers sets up the empty model
            self.llm.generation_config = value

    def prepare_inputs_for_generation(self, *args: Any, **keywords: Any) -> Any:
        """peft asks for it; `generate` hands merged prompts to the language model's own."""
        return self.llm.prepare_inputs_for_generation(*args, **keywords)
