"""The model under transformers' `AutoModelForCausalLM`, before it is imported itself.

Odd: transformers may be half imported when this runs, and the model needs parts of it. So what is
registered here only stands for the model, which is imported when it is asked for.
"""

from __future__ import annotations

from typing import Any

from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from apollo.model.config import ApolloConfig


class LaterApollo:
    """The class methods that the Auto classes call, handed on to `ApolloForCausalLM`."""

    config_class = ApolloConfig

    @classmethod
    def from_pretrained(cls, *args: Any, **keywords: Any) -> Any:
        return _model_class().from_pretrained(*args, **keywords)

    @classmethod
    def _from_config(cls, *args: Any, **keywords: Any) -> Any:
        return _model_class()._from_config(*args, **keywords)


def _model_class() -> Any:
    from apollo.model.causal_lm import ApolloForCausalLM

    return ApolloForCausalLM


AutoModelForCausalLM.register(ApolloConfig, LaterApollo, exist_ok=True)
