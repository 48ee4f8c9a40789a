"""The numbers of one part of the model, from the part's own config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from apollo.errors import CheckpointError


class PartConfig:
    """Base of the parts' frozen dataclasses; `attn_implementation` is one of their fields."""

    source: ClassVar[str]  # what an error calls the file
    attn_implementation: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The fields that are known here.

        Raises:
            CheckpointError: one that cannot be guessed is missing; names it.
        """
        known = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}  # type: ignore[attr-defined]
        try:
            return cls(**known)
        except TypeError as error:  # Python names the missing fields
            raise CheckpointError(
                f"{cls.source} does not describe the model ({str(error).split('() ')[-1]}); "
                "take it from the checkpoint again."
            ) from error

    @property
    def _attn_implementation(self) -> str:
        """The name under which transformers' attention functions read it."""
        return self.attn_implementation
