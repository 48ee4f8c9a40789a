"""The parts of a model: which tensors are in which folder, under which names.

In:  a module, its place in the model and its folder.   Out: its tensors by their names in the file.
Odd: a tied tensor has two names and is stored once, under the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from apollo.errors import CheckpointError
from apollo.model.checkpoint import shared_names
from apollo.model.finite import is_finite


class Part(NamedTuple):
    """One sub-folder with weights, and the module they belong to."""

    folder: str
    path: str  # of the module in the model
    module: nn.Module
    file_prefix: str  # before the module's names in the file

    def names(self) -> dict[str, str]:
        """The name in the model -> the name in the file, of every tensor."""
        names = self.module.state_dict(keep_vars=True)
        return {f"{self.path}.{name}": self.file_prefix + name for name in names}

    def tensors(self) -> dict[str, Tensor]:
        """Its own, by their names in the file.

        Raises:
            CheckpointError: one is not finite.
        """
        return self._checked(self.module.state_dict(keep_vars=True))

    def tensors_from(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of a state dict of the whole model, by their names in the file.

        Raises:
            CheckpointError: one is missing, of another shape, or not finite.
        """
        found: dict[str, Tensor] = {}
        own = self.module.state_dict(keep_vars=True)
        shared = shared_names(own)
        for name, like in own.items():
            twins = [f"{self.path}.{twin}" for twin in shared.get(name, [name])]
            given = next((state_dict[twin] for twin in twins if twin in state_dict), None)
            if given is None or given.shape != like.shape:
                problem = "lacks it" if given is None else f"has it as {list(given.shape)}"
                raise CheckpointError(
                    f"The model has {self.path}.{name} in the shape {list(like.shape)}, but the "
                    f"given state_dict {problem}; give the whole one of this model."
                )
            found[name] = given
        return self._checked(found)

    def _checked(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for name, tensor in tensors.items():
            if not is_finite(tensor):
                raise CheckpointError(
                    f"{self.path}.{name} holds numbers that are not finite, so nothing was saved; "
                    "go back to weights from before its training went wrong."
                )
        return {self.file_prefix + name: tensor for name, tensor in tensors.items()}


def check_names(state_dict: Mapping[str, Tensor], parts: Sequence[Part]) -> None:
    known = {name for part in parts for name in part.names()}
    unknown = [name for name in state_dict if name not in known]
    if unknown:
        raise CheckpointError(
            f"The given state_dict has {len(unknown)} tensors that are not the model's "
            f"({', '.join(unknown[:3])}); give the one of this model, without a wrapper's prefix."
        )
