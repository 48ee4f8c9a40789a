"""The folder an adapter is kept in, and how the adapter was made.

In:  a folder.   Out: `AdapterFiles`: the settings, the base it was made for, and its tensors.
Odd: adapter_model.safetensors and adapter_config.json are as peft writes them, so peft reads the
folder too; apollo_adapter.json adds what peft has no place for: the targets and the base.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from apollo.adapters.identity import Identity
from apollo.errors import AdapterError, SettingError
from apollo.model.checkpoint import write_json
from apollo.model.finite import is_finite
from apollo.settings import check_kind, shown

WEIGHTS, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
OWN_CONFIG = "apollo_adapter.json"
PEFT_PREFIX = "base_model.model."  # what peft puts before the names in its files
OTHER_KINDS = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save")
MAX_RANK, MAX_ALPHA = 4096, 1e6
AGAIN = "copy it again or train it again"


@dataclass(frozen=True)
class AdapterConfig:
    """`targets`: "llm", "connector", "towers" (all of them) or the name of one tower.

    Raises:
        SettingError: a number is out of range, or there is no target.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("llm",)

    def __post_init__(self) -> None:
        is_list = isinstance(self.targets, Collection) and not isinstance(self.targets, str)
        if not is_list or not all(isinstance(target, str) for target in self.targets):
            raise SettingError(f"targets are {self.targets!r}; give a list of names.")
        for key in ("rank", "alpha", "dropout"):
            check_kind(key, getattr(self, key), whole=key == "rank")
        if not 1 <= self.rank <= MAX_RANK:
            raise SettingError(f"rank is {shown(self.rank)}; choose 1 to {MAX_RANK}.")
        if not 0 < self.alpha <= MAX_ALPHA:
            raise SettingError(
                f"alpha is {shown(self.alpha)}; choose more than 0, at most {MAX_ALPHA:g}."
            )
        if not 0 <= self.dropout < 1:
            raise SettingError(
                f"dropout is {shown(self.dropout)}; choose 0 or more and less than 1."
            )
        if not self.targets:
            raise SettingError("An adapter without targets changes nothing; name one, say llm.")
        for key, kind in (("targets", tuple), ("alpha", float), ("dropout", float)):
            object.__setattr__(self, key, kind(getattr(self, key)))  # equal however it was written


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter folder's metadata; read without a model."""

    folder: Path
    config: AdapterConfig
    base: Identity

    def tensors(self) -> tuple[dict[str, Tensor], str]:
        """The tensors by name, without peft's prefix, and a digest of them.

        Raises:
            AdapterError: the file is damaged, or holds numbers that are not finite.
        """
        file = self.folder / WEIGHTS
        try:
            content = file.read_bytes()
            stored = load(content)
        except (SafetensorError, OSError) as error:
            raise AdapterError(f"{file} cannot be read ({error}); {AGAIN}.") from error
        _check_finite(stored, f"{file} holds")
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        return {k.removeprefix(PEFT_PREFIX): v for k, v in stored.items()}, digest


def read_adapter(folder: str | Path) -> AdapterFiles:
    """Reads the two JSON files of an adapter.

    Raises:
        AdapterError: the folder holds no adapter, or one that this program did not write.
    """
    folder = Path(folder).expanduser()
    missing = [name for name in (PEFT_CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise AdapterError(
            f"{folder} holds no adapter, {' and '.join(missing)} must be there; give the folder "
            "that `apollo lora train` wrote."
        )
    if not (folder / OWN_CONFIG).is_file():
        raise AdapterError(
            f"{folder} has no {OWN_CONFIG}, so the model it was made for is not known; give the "
            "folder that `apollo lora train` wrote."
        )
    own, values = _read_json(folder / OWN_CONFIG), _read_json(folder / PEFT_CONFIG)
    others = [key for key in OTHER_KINDS if values.get(key)]
    if values.get("peft_type") != "LORA" or others:
        kind = ", ".join(others) or f"peft_type {values.get('peft_type')!r}"
        raise AdapterError(
            f"{folder / PEFT_CONFIG} describes another kind of adapter ({kind}); only plain LoRA "
            "is known here."
        )
    try:
        config = AdapterConfig(
            values["r"], values["lora_alpha"], values["lora_dropout"], own["targets"]
        )
        base = Identity(str(own["base"]["name"]), str(own["base"]["digest"]))
    except KeyError as error:
        raise AdapterError(f"The adapter {folder} does not say its {error}; {AGAIN}.") from error
    except (TypeError, ValueError, OverflowError, SettingError) as error:
        raise AdapterError(
            f"The adapter {folder} has a setting that is not usable "
            f"({str(error).rstrip('.').replace('; ', ', ')}); {AGAIN}."
        ) from error
    return AdapterFiles(folder, config, base)


def write_adapter(files: AdapterFiles, tensors: dict[str, Tensor], peft_config: Any) -> None:
    """Writes the three files; `peft_config` is peft's own LoraConfig.

    Raises:
        AdapterError: a number is not finite; nothing is written.
    """
    _check_finite(tensors, "The adapter holds")
    files.folder.mkdir(parents=True, exist_ok=True)
    stored = {PEFT_PREFIX + k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    save_file(stored, files.folder / WEIGHTS, metadata={"format": "pt"})
    peft_config.base_model_name_or_path = files.base.name
    peft_config.target_modules = sorted(peft_config.target_modules)  # a set has no fixed order
    peft_config.save_pretrained(str(files.folder))
    write_json(
        files.folder / OWN_CONFIG,
        {"base": asdict(files.base), "targets": list(files.config.targets)},
    )


def _check_finite(tensors: dict[str, Tensor], begin: str) -> None:
    bad = next((name for name, tensor in tensors.items() if not is_finite(tensor)), None)
    if bad is not None:
        raise AdapterError(f"{begin} numbers that are not finite (in {bad}); train it again.")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is not JSON ({error}); {AGAIN}.") from error
    if not isinstance(values, dict):
        raise AdapterError(f"{path} should hold one JSON object; {AGAIN}.")
    return values
