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
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from apollo.errors import CheckpointError

log = logging.getLogger(__name__)

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]
MAPPED_BYTES = 16 * 2**20  # mapped file pages count as memory; the file is reopened after so many
MAX_SHARD_BYTES = 4 * 10**9


def download(repo_id: str, revision: str | None = None, **hub: Any) -> Path:
    """The folder of a hub checkpoint. Downloads what is missing; works offline once cached.

    Raises:
        CheckpointError: no such checkpoint, or no network and nothing cached.
    """
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=DOWNLOADED, **hub))
    except (HFValidationError, OSError) as error:
        raise CheckpointError(_why_not_downloaded(repo_id, revision, error)) from error


def _why_not_downloaded(repo_id: str, revision: str | None, error: Exception) -> str:
    if isinstance(error, HFValidationError):
        return f"{repo_id!r} is neither a folder nor a hub id such as owner/name; check the name."
    if isinstance(error, GatedRepoError):
        return (
            f"{repo_id!r} needs its owner's permission; ask for it on its page, then log in with "
            "hf auth login."
        )
    if isinstance(error, RepositoryNotFoundError):
        return f"There is no checkpoint {repo_id!r} on the hub, or it is private; check the name."
    if isinstance(error, RevisionNotFoundError):
        return f"The checkpoint {repo_id!r} has no revision {revision!r}; leave it out."
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"{repo_id!r} is not on this machine and the hub cannot be reached; check the network, "
            "or give the path of a downloaded folder."
        )
    return (
        f"{repo_id!r} could not be downloaded ({_first_line(error)}); check the network and the "
        "space on the disk, then try again."
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def find(name_or_path: str | os.PathLike[str], revision: str | None = None, **hub: Any) -> Path:
    """A folder as it is; anything else is a hub id and is downloaded or taken from the cache."""
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    name = str(name_or_path)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        problem = "is a file" if path.exists() else "does not exist"
        raise CheckpointError(
            f"The checkpoint folder {name} {problem}; give a folder with config.json in it, "
            "a short name such as 3B, or a hub id such as owner/name."
        )
    return download(name, revision, **hub)


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
            f"{path} is damaged ({_first_line(error)}); download or write it again."
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
                f"{file} is damaged or not a safetensors file ({_first_line(error)}); "
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
) -> None:
    """Fills a module that was built on the meta device from one part's files.

    `file_prefix` is a prefix the files carry and the module does not. Tied weights may be missing.

    Raises:
        CheckpointError: names the missing, unexpected or misshapen tensors.
    """
    expected = module.state_dict(keep_vars=True)
    tied = _shared_names(expected)
    problems: dict[str, list[str]] = {"unexpected": [], "misshapen": []}
    seen: set[str] = set()
    for file_name, tensor in read_tensors(folder):
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
        for alias in tied.get(name, [name]):  # tied names share one parameter
            _assign(module, alias, tensor, expected[name], dtype, device, like=tied.get(name))
    covered = {alias for name in seen for alias in tied.get(name, [name])}
    problems["missing"] = [file_prefix + name for name in expected if name not in covered]
    _raise_for(problems, folder)


def _shared_names(tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """name -> all names of the same parameter, for parameters with more than one name."""
    by_id: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        by_id.setdefault(id(tensor), []).append(name)
    return {name: group for group in by_id.values() if len(group) > 1 for name in group}


def _is_derived(name: str) -> bool:
    """Tables that older files stored and the code now computes."""
    return name.endswith(("rotary_emb.inv_freq", "position_ids"))


def _assign(
    module: nn.Module,
    name: str,
    tensor: Tensor,
    old: Tensor,
    dtype: torch.dtype,
    device: torch.device,
    like: list[str] | None,
) -> None:
    owner_name, _, leaf = name.rpartition(".")
    owner = module.get_submodule(owner_name)
    if like and name != like[0]:  # a second name of a parameter that was filled just now
        first_owner, _, first_leaf = like[0].rpartition(".")
        owner._parameters[leaf] = module.get_submodule(first_owner)._parameters[first_leaf]
        return
    value = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None, copy=True)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(value, requires_grad=old.requires_grad)
    else:
        owner._buffers[leaf] = value


def _raise_for(problems: dict[str, list[str]], folder: Path) -> None:
    found = {kind: names for kind, names in problems.items() if names}
    if not found:
        return
    shown = "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for kind, names in found.items()
    )
    raise CheckpointError(
        f"The weights in {folder} do not fit the model its config.json describes: {shown} tensors; "
        "take the config and the weights from the same checkpoint."
    )


def write_part(
    folder: Path,
    config: dict[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    max_size: int | str = MAX_SHARD_BYTES,
) -> None:
    """One part: config.json and its weights, in shards when they pass `max_size`."""
    write_json(folder / "config.json", config)
    twins = {name for group in _shared_names(tensors).values() for name in group[1:]}
    save_torch_state_dict(
        {name: tensor for name, tensor in tensors.items() if name not in twins},
        folder,
        max_shard_size=max_size,
        metadata={"format": "pt"},
        is_main_process=True,
    )


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
