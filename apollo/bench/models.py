"""The models that are measured, in the process that measures.

In:  "nano", or the name of a random language model.  Out: an `Apollo` whose answers do not end
before their longest length, so that all runs write as many tokens.
Odd: a random language model has nano's towers and tokenizer; what it writes means nothing, and
costs what a trained one of its size costs.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch

from apollo.catalog import ModelCard
from apollo.chat import Apollo, load
from apollo.events import Done, Stats, Text
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.settings import Generation

CONTEXT = 32768  # tokens, and 32 of them a clip, as in the released models
TOKENS_PER_CLIP = 32
SHAPES: dict[str, dict[str, int]] = {
    "0.5B": {  # Qwen2.5-0.5B's
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "small": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 4096,
    },
}
WARM_UP = "Hello."


@functools.cache
def named(name: str) -> Apollo:
    """The model, loaded once and warm: what is imported or made at a first answer is there."""
    apollo = load() if name == "nano" else _random(name)
    apollo.model.llm.generation_config.eos_token_id = None
    ask(apollo, None, WARM_UP, 2)
    return apollo


def _random(name: str) -> Apollo:
    nano = load().model
    config: Any = copy.deepcopy(nano.config)
    config.llm_cfg |= SHAPES[name] | {
        "max_position_embeddings": CONTEXT,
        "model_max_length": CONTEXT,
    }
    config.model_max_length = CONTEXT
    config.mm_connector_cfg |= {
        "text_hidden_size": SHAPES[name]["hidden_size"],
        "num_output_tokens": TOKENS_PER_CLIP,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ApolloForCausalLM(config).eval()
    model.vision_tower, model.tokenizer = nano.vision_tower, nano.tokenizer
    card = ModelCard(name, f"random {name}", "", "", 0.0, "Random weights.")
    return Apollo(model, card)


def fresh(name: str) -> Apollo:
    """The same weights with empty caches."""
    kept = named(name)
    return Apollo(kept.model, kept.card)


def ask(
    apollo: Apollo, video: str | None, question: Any, max_new_tokens: int, **settings: Any
) -> tuple[str, Stats]:
    """The greedy answer and its statistics."""
    generation = Generation(temperature=0, max_new_tokens=max_new_tokens)
    text = ""
    for event in apollo.events(video, question, generation=generation, **settings):
        if isinstance(event, Text):
            text += event.piece
        elif isinstance(event, Done):
            return text, event.stats
    raise AssertionError("an answer ends with Done")


def counted(stats: Stats) -> dict[str, float]:
    """What the answer opened, decoded, encoded and reused."""
    names = ("files_opened", "frames_decoded", "clips_encoded", "reused_prompt_tokens")
    return {name: getattr(stats, name) for name in names}
