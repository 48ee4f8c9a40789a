"""Apollo: chat with a video.

    import apollo
    model = apollo.load()
    for text in model.stream("video.mp4", "What happens?"):
        print(text, end="")

Importing this costs next to nothing: the names below are loaded when they are first touched, and
the model registers with transformers' Auto classes as soon as those are imported.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import wrapt

from apollo.errors import (
    AdapterError,
    ApolloError,
    CheckpointError,
    DataError,
    ModelError,
    PromptError,
    RecipeError,
    SettingError,
    VideoError,
)
from apollo.settings import Generation, Sampling
from apollo.startup import collector_paused, keep_to_quota, let_threads_sleep

if TYPE_CHECKING:
    from apollo.catalog import MODELS
    from apollo.chat import Apollo, load
    from apollo.events import Done, Event, Reading, Stats, Text
    from apollo.model.causal_lm import ApolloForCausalLM
    from apollo.model.config import ApolloConfig
    from apollo.video.clips import Clip

__version__ = "0.1.0"

_LAZY = {
    "MODELS": "apollo.catalog",
    "Apollo": "apollo.chat",
    "Clip": "apollo.video.clips",
    "Done": "apollo.events",
    "Event": "apollo.events",
    "Reading": "apollo.events",
    "Stats": "apollo.events",
    "Text": "apollo.events",
    "load": "apollo.chat",
    "ApolloConfig": "apollo.model.config",
    "ApolloForCausalLM": "apollo.model.causal_lm",
}

__all__ = [
    "MODELS",
    "AdapterError",
    "Apollo",
    "ApolloConfig",
    "ApolloError",
    "ApolloForCausalLM",
    "CheckpointError",
    "Clip",
    "DataError",
    "Done",
    "Event",
    "Generation",
    "ModelError",
    "PromptError",
    "Reading",
    "RecipeError",
    "Sampling",
    "SettingError",
    "Stats",
    "Text",
    "VideoError",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'apollo' has no attribute {name!r}")
    with collector_paused():
        return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])


def _import(name: str) -> None:
    if name not in sys.modules:  # else it is being imported right now
        importlib.import_module(name)


let_threads_sleep()
wrapt.register_post_import_hook(keep_to_quota, "torch")

# A class registered with transformers' Auto classes wins over a checkpoint's own code, even with
# `trust_remote_code=True`, so no downloaded code ever runs. Each module ends with its registration.
wrapt.register_post_import_hook(
    lambda _: _import("apollo.model.config"), "transformers.models.auto.configuration_auto"
)
wrapt.register_post_import_hook(
    lambda _: _import("apollo.model.auto"), "transformers.models.auto.modeling_auto"
)
