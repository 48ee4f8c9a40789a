"""Read and write the released folder layout; named tensors, no model knowledge.

    config.json            the root configuration
    llm/                   config.json, tokenizer, weights
    mm_connector/          config.json, weights
    vision_tower/          config.json
    vision_tower/<name>/   config.json, weights, preprocessor_config.json (SigLIP)

Weights are safetensors only, one file or shards with an index; a pickle is never opened.
Reading holds one group of tensors at a time, so the peak stays near the size of the weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from apollo.errors import CheckpointError, SettingError
from apollo.model.finite import is_finite, type_name

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MAPPED_BYTES = 16 * 2**20  # mapped file pages count as memory; the file is reopened after so many
MAX_SHARD_BYTES = 4 * 10**9


def parts_of(configs: Mapping[str, Any]) -> list[str]:
    """The sub-folders that hold weights, by what `read_configs` gave."""
    towers = [f"vision_tower/{name}" for name in configs["vision_tower_cfg"]["configs"]]
    return ["llm", "mm_connector", *towers]


def first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} holds no {path.name}, so it is not an Apollo checkpoint, or its "
            "download is not complete."
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged ({first_line(error)}); download or write it again."
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} should hold one JSON object.")
    return values


def read_configs(folder: Path) -> dict[str, Any]:
    """The root configuration with the parts' own files laid over it: those decide."""
    root = read_json(folder / "config.json")
    for key, part in (("llm_cfg", "llm"), ("mm_connector_cfg", "mm_connector")):
        root[key] = {**(root.get(key) or {}), **read_json(folder / part / "config.json")}
    towers = {
        **(root.get("vision_tower_cfg") or {}),
        **read_json(folder / "vision_tower/config.json"),
    }
    configs: dict[str, Any] = {}
    for name in towers.get("vision_towers") or []:
        tower = folder / "vision_tower" / name
        configs[name] = read_json(tower / "config.json")
        if (tower / "preprocessor_config.json").exists():
            configs[name]["preprocessor"] = read_json(tower / "preprocessor_config.json")
    root["vision_tower_cfg"] = {**towers, "configs": configs}
    return root


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one part, in order.

    Raises:
        CheckpointError: there are none, a shard is missing, or only pickles are there.
    """
    if (folder / WEIGHTS_INDEX).exists():
        weight_map = read_json(folder / WEIGHTS_INDEX).get("weight_map")
        names = weight_map.values() if isinstance(weight_map, dict) else ()
        files = [folder / name for name in sorted(set(map(str, names)))]
    else:
        files = [folder / WEIGHTS]
    missing = [file.name for file in files if not file.is_file()]
    if not missing and files:
        return files
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{folder} holds its weights as a pickle ({pickles[0]}), which can run code when "
            "opened; convert it to safetensors first."
        )
    raise CheckpointError(
        f"{folder} lacks {', '.join(missing) or 'its weights'}; "
        "the download is probably not complete."
    )


def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every (name, tensor) of one part. A tensor is only good until the next one is asked for."""
    for file in weight_files(folder):
        try:
            yield from _read_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is damaged or not a safetensors file ({first_line(error)}); "
                "download it again."
            ) from error


def _read_file(file: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(file, framework="pt") as handle:
        names = list(handle.keys())
    while names:
        mapped_bytes = 0
        with safe_open(file, framework="pt") as handle:
            while names and mapped_bytes < MAPPED_BYTES:
                name = names.pop(0)
                tensor = handle.get_tensor(name)
                mapped_bytes += tensor.nbytes
                yield name, tensor
                del tensor


def load_tensors(
    module: nn.Module,
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    file_prefix: str = "",
    given: Iterable[tuple[str, Tensor]] | None = None,
) -> None:
    """Fills a module that was built on the meta device from one part's files, or from `given`.

    `file_prefix` is a prefix the files carry and the module does not. Tied weights may be missing.

    Raises:
        CheckpointError: names the missing, unexpected or misshapen tensors, or one that is not
            finite.
        SettingError: a number is too large for `dtype`.
    """
    source = folder if given is None else "the given state_dict"
    expected = module.state_dict(keep_vars=True)
    tied = shared_names(expected)
    problems: dict[str, list[str]] = {"unexpected": [], "misshapen": []}
    seen: set[str] = set()
    for file_name, tensor in read_tensors(folder) if given is None else given:
        name = file_name.removeprefix(file_prefix)
        if name not in expected:
            if not _is_derived(name):
                problems["unexpected"].append(file_name)
            continue
        seen.add(name)
        if tensor.shape != expected[name].shape:
            problems["misshapen"].append(
                f"{file_name} {list(tensor.shape)} instead of {list(expected[name].shape)}"
            )
            continue
        kind = dtype if tensor.is_floating_point() else None
        value = tensor.to(device=device, dtype=kind, copy=True)
        if not is_finite(value):
            _raise_not_finite(file_name, tensor, source, dtype)
        if isinstance(expected[name], nn.Parameter):
            value = nn.Parameter(value, requires_grad=expected[name].requires_grad)
        for alias in tied.get(name, [name]):  # tied names share one parameter
            _put(module, alias, value)
    covered = {alias for name in seen for alias in tied.get(name, [name])}
    problems["missing"] = [file_prefix + name for name in expected if name not in covered]
    _raise_for(problems, source)


def shared_names(tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """name -> all names of the same parameter, for parameters with more than one name."""
    by_id: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        by_id.setdefault(id(tensor), []).append(name)
    return {name: group for group in by_id.values() if len(group) > 1 for name in group}


def _is_derived(name: str) -> bool:
    """Tables that older files stored and the code now computes."""
    return name.endswith(("rotary_emb.inv_freq", "position_ids"))


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    owner_name, _, leaf = name.rpartition(".")
    owner = module.get_submodule(owner_name)
    tensors: Any = owner._parameters if leaf in owner._parameters else owner._buffers
    tensors[leaf] = value


def _raise_for(problems: dict[str, list[str]], source: Path | str) -> None:
    found = {kind: names for kind, names in problems.items() if names}
    if not found:
        return
    shown = "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for kind, names in found.items()
    )
    raise CheckpointError(
        f"The weights in {source} do not fit the model its config.json describes: {shown} tensors; "
        "take the config and the weights from the same checkpoint."
    )


def _raise_not_finite(name: str, tensor: Tensor, source: Path | str, dtype: torch.dtype) -> None:
    if is_finite(tensor):
        raise SettingError(
            f"The tensor {name} in {source} holds numbers that are too large for "
            f"{type_name(dtype)}; load it as bfloat16 or float32."
        )
    raise CheckpointError(
        f"The tensor {name} in {source} holds numbers that are not finite, so its training or its "
        "copy went wrong; take another copy."
    )


def size_of(max_shard_size: int | str) -> int:
    """Bytes, from a number or a text such as "2GB" or "500 MiB".

    Raises:
        SettingError: it is neither, or less than a byte.
    """
    text = str(max_shard_size).strip().upper()
    match = re.fullmatch(r"(\d+\.?\d*)\s*([KMGT]?)(I?)B?", text)
    if match:
        number, unit, is_binary = match.groups()
        size = int(float(number) * (1024 if is_binary else 1000) ** " KMGT".index(unit or " "))
        if size >= 1:
            return size
    raise SettingError(
        f'max_shard_size is {max_shard_size!r}; give bytes, or a text such as "2GB" or "500MB".'
    )


def write_part(
    folder: Path,
    config: dict[str, Any],
    tensors: Mapping[str, Tensor],
    max_size: int,
) -> dict[str, str]:
    """One part: config.json and its weights, in shards when they pass `max_size`.

    Returns the file of every tensor, also of one that is stored under another name.
    """
    write_json(folder / "config.json", config)
    shared = shared_names(tensors)
    twins = {name for group in shared.values() for name in group[1:]}
    save_torch_state_dict(
        {name: tensor for name, tensor in tensors.items() if name not in twins},
        folder,
        max_shard_size=max_size,
        metadata={"format": "pt"},
        is_main_process=True,
    )
    index = folder / WEIGHTS_INDEX
    files = read_json(index)["weight_map"] if index.exists() else {}
    return {name: files.get(shared.get(name, [name])[0], WEIGHTS) for name in tensors}


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
