"""Which linear layers an adapter goes on, by the names people use for the parts.

In:  a model and targets: "llm", "connector", "towers" or the name of one tower.
Out: full name -> layer, the same names whether or not other adapters are on the model.
Odd: layers behind a tower's selected one and pooling heads never run, so they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from apollo.errors import SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.vision.towers import SiglipTower


def target_layers(model: ApolloForCausalLM, targets: Sequence[str]) -> dict[str, Any]:
    """The linear layers of these parts by their full names, only those that run.

    Raises:
        SettingError: the model has no part of that name.
    """
    towers = {name: list(_running_blocks(model, name)) for name in model.vision_tower.names}
    parts = {
        **towers,
        "llm": ["llm.model.layers"],
        "connector": ["mm_connector"],
        "towers": [path for paths in towers.values() for path in paths],
    }
    found: dict[str, Any] = {}
    for target in targets:
        if target not in parts:
            raise SettingError(
                f"An adapter has no target {target!r} on this model; choose from "
                f"{', '.join(['llm', 'connector', 'towers', *towers])}."
            )
        for path in parts[target]:
            for inner, layer in model.get_submodule(path).named_modules(prefix=path):
                is_part = ".base_layer" in inner or ".lora_" in inner  # of another adapter
                if hasattr(layer, "in_features") and not is_part:
                    found[inner] = layer
    return found


def _running_blocks(model: ApolloForCausalLM, name: str) -> Iterator[str]:
    """An adapter behind the selected layer, or on a pooling head, would learn nothing."""
    tower, path = model.vision_tower.tower(name), f"vision_tower.towers.{name.replace('.', '_')}"
    if isinstance(tower, SiglipTower):
        nested = "vision_model." if hasattr(tower.model, "vision_model") else ""
        for index in range(tower.num_layers_run):
            yield f"{path}.model.{nested}encoder.layers.{index}"
    else:
        for index in range(tower.model.num_blocks_run):
            yield f"{path}.model.blocks.{index}"
