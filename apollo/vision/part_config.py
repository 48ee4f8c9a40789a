"""The numbers of one part of the model, from the part's own config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from apollo.errors import CheckpointError

Config = TypeVar("Config")


def build_config(kind: type[Config], values: Mapping[str, object], source: str) -> Config:
    """A part's config; what the file does not say and cannot be guessed is an error naming it."""
    try:
        return kind(**values)
    except TypeError as error:  # Python names the missing fields
        raise CheckpointError(
            f"{source} does not describe the model ({str(error).split('() ')[-1]}); "
            "take it from the checkpoint again."
        ) from error
