"""Keywords of the Auto classes' methods: honoured, known to change nothing here, or an error."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from apollo.errors import SettingError

# no code of a checkpoint ever runs, loading is always lean, and weights are always safetensors
MEANINGLESS = frozenset(
    {"trust_remote_code", "low_cpu_mem_usage", "use_safetensors", "_from_auto", "adapter_kwargs"}
)

# the language model gets the merged prompt, which these would need as ids, or run a download's code
NOT_GENERATED = {
    "assistant_model": "a second model cannot see the video; prompt_lookup_num_tokens needs none",
    "custom_generate": "no code of a download is run here; give a logits_processor",
    "encoder_repetition_penalty": "the prompt holds visual tokens; use repetition_penalty",
    "guidance_scale": "there is no prompt without the video to compare with; leave it out",
    "negative_prompt_ids": "there is no guidance here; leave it out",
    "negative_prompt_attention_mask": "there is no guidance here; leave it out",
}
TOKENIZERS = ("tokenizer", "assistant_tokenizer")  # which transformers does not name
NEUTRAL = (None, 1, 1.0)  # values that ask for nothing


def check_keywords(
    method: str,
    function: Callable[..., Any],
    given: Mapping[str, Any],
    meaningless: Collection[str] = (),
    also: Collection[str] = (),
) -> None:
    """Nothing is dropped in silence.

    Raises:
        SettingError: a keyword that `function` does not name, nor `also`, and that is not
            meaningless.
    """
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    known = [p.name for p in parameters if p.kind not in kinds] + [*also]
    for name in given:
        if name not in meaningless and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}."
            raise SettingError(f"{method} has no keyword {name!r} here; {hint}")


def check_generate_keywords(llm: Any, given: Mapping[str, Any]) -> None:
    """Every keyword of transformers' `generate` works, but for NOT_GENERATED.

    Raises:
        SettingError: a keyword that is unknown or cannot work with visual tokens.
    """
    config = given.get("generation_config") or llm.generation_config
    for name, why in NOT_GENERATED.items():
        if any(v not in NEUTRAL for v in (given.get(name), getattr(config, name, None))):
            raise SettingError(f"generate cannot use {name} here: {why}.")
    also = [*vars(config), *inspect.signature(llm.forward).parameters, *TOKENIZERS]
    check_keywords("generate", llm.generate, given, also=also)
