"""Where a model runs and in which number type, from what a person asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from apollo.errors import SettingError
from apollo.model.config import ApolloConfig

PLACED_FREELY = ("auto", "balanced", "balanced_low_0", "sequential")
DTYPES = ("float32", "bfloat16", "float16")


def pick_device(wanted: str | torch.device | None) -> torch.device:
    """The asked-for device, else CUDA, else MPS, else the CPU.

    Raises:
        SettingError: the device does not exist on this machine.
    """
    if wanted is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except (RuntimeError, TypeError) as error:
        raise SettingError(f"The device {wanted!r} is unknown; use cpu, cuda or mps.") from error
    available: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if device.type not in (*available, "cpu"):
        raise SettingError(f"The device {wanted!r} is not supported; use cpu, cuda or mps.")
    if device.type in available and not available[device.type]():
        raise SettingError(f"This machine has no {device.type} device; leave it out or use cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"This machine has no device {device}; choose cuda:0 to "
            f"cuda:{torch.cuda.device_count() - 1}."
        )
    return device


def place_of(device_map: Any) -> torch.device:
    """The one device that any form of transformers' `device_map` names; None is the CPU.

    Raises:
        SettingError: it names several devices, or one that does not exist here.
    """
    if isinstance(device_map, Mapping):
        places = {str(place): place for place in device_map.values()}
        if len(places) != 1:
            raise SettingError(
                f"device_map names {', '.join(places) or 'no device'}, but the whole model runs on "
                'one; name it, such as "cuda:0", or say "auto".'
            )
        return place_of(next(iter(places.values())))
    if device_map in PLACED_FREELY:
        return pick_device(None)
    if isinstance(device_map, int):
        device_map = f"cuda:{device_map}"
    return pick_device(device_map or "cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """The number type a model is loaded in when nobody asks for one: what the device computes fast.

    bfloat16; float16 on a CUDA card that would emulate bfloat16; float32 on a CPU.
    """
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16


def pick_dtype(wanted: torch.dtype | str | None, config: ApolloConfig) -> torch.dtype:
    """The asked-for dtype, else the checkpoint's, else float32.

    Raises:
        SettingError: it is none of the types a model can have.
    """
    value = wanted if wanted not in (None, "auto") else None
    value = value or config.dtype or config.llm_cfg.get("dtype")
    value = value or config.llm_cfg.get("torch_dtype") or torch.float32
    name = str(value).removeprefix("torch.")
    if name not in DTYPES:
        raise SettingError(f"dtype {name!r} cannot be used; choose {' or '.join(DTYPES)}.")
    return getattr(torch, name)
