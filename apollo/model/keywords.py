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

# what would need the merged prompt as ids, or runs code from a download
NOT_GENERATED = {
    "assistant_model": "a second model cannot see the video; prompt_lookup_num_tokens needs none",
    "constraints": "its code would have to be downloaded; use bad_words_ids or a logits_processor",
    "custom_generate": "no code of a download is run here; give a logits_processor",
    "dola_layers": "its code would have to be downloaded; leave it out",
    "encoder_repetition_penalty": "the prompt holds visual tokens; use repetition_penalty",
    "force_words_ids": "its code would have to be downloaded; use a logits_processor",
    "guidance_scale": "there is no prompt without the video to compare with; leave it out",
    "negative_prompt_attention_mask": "there is no guidance here; leave it out",
    "negative_prompt_ids": "there is no guidance here; leave it out",
    "num_beam_groups": "its code would have to be downloaded; use num_beams",
    "penalty_alpha": "its code would have to be downloaded; use repetition_penalty",
}
TOKENIZERS = ("tokenizer", "assistant_tokenizer")  # which transformers does not name


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
        if _asks(given.get(name)) or _asks(getattr(config, name, None)):
            raise SettingError(f"generate cannot use {name} here: {why}.")
    also = [*vars(config), *inspect.signature(llm.forward).parameters, *TOKENIZERS]
    check_keywords("generate", llm.generate, given, also=also)


def _asks(value: Any) -> bool:
    """Whether a value of `generate` asks for something; a factor of 1 does not."""
    return value is not None and not (isinstance(value, (int, float)) and value == 1)
