"""`apollo lora merge`: an adapter and its base as one whole model.

In:  an adapter's folder.   Out: a folder in the released layout, which needs no adapter.
Odd: the base is looked for by the name that the adapter gives, and must be that very model.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from apollo.adapters import lora as adapters
from apollo.adapters.files import AdapterFiles, read_adapter
from apollo.catalog import card_of
from apollo.errors import AdapterError, CheckpointError, SettingError
from apollo.model import checkpoint
from apollo.model.causal_lm import ApolloForCausalLM


def merge_adapter(adapter: Path, output: Path, base: str | None = None) -> None:
    """Writes the base with the adapter in it; `base` is for one that is not found by its name.

    Raises:
        AdapterError: no adapter there, or its base is not found or another one.
        SettingError: the output folder is not empty or cannot be written.
    """
    files = read_adapter(adapter)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise SettingError(f"{output} is there already; choose another --output.")
    model = ApolloForCausalLM.from_pretrained(_base_folder(files, base))
    adapters.load_adapter(model, files.folder)
    adapters.merge(model)
    growing = output.with_name(f"{output.name}.writing")
    try:
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(parents=True)
        model.save_pretrained(growing)
        if output.exists():
            output.rmdir()  # it is empty
        os.replace(growing, output)
    except OSError as error:
        raise SettingError(
            f"The folder {output} cannot be written ({error.strerror}); choose another --output."
        ) from error


def _base_folder(files: AdapterFiles, base: str | None) -> Path:
    if base is not None:
        return checkpoint.find(card_of(base).source)
    try:
        return checkpoint.find(card_of(files.base.name).source)
    except CheckpointError as error:
        raise AdapterError(
            f"The adapter {files.folder} was made for {files.base}, which is not found by that "
            "name; give the model's folder with --base."
        ) from error
