"""Finds a checkpoint: a folder as it is, or a download from the Hugging Face hub, kept for good.

In:  a path or a hub id.  Out: a folder in the released layout.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from apollo.errors import CheckpointError
from apollo.model.checkpoint import first_line, parts_of, read_configs, weight_files

log = logging.getLogger(__name__)

DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]


def find(
    name_or_path: str | os.PathLike[str],
    revision: str | None = None,
    *,
    subfolder: str = "",
    **hub: Any,
) -> Path:
    """A folder as it is; anything else is a hub id and is downloaded or taken from the cache.

    The checkpoint may lie in a `subfolder` of either.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        if not (path / subfolder).is_dir():
            raise CheckpointError(f"{path} has no folder {subfolder}; check the subfolder.")
        return path / subfolder
    name = str(name_or_path)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        problem = "is a file" if path.exists() else "does not exist"
        raise CheckpointError(
            f"The checkpoint folder {name} {problem}; give a folder with config.json in it, "
            "a short name such as 3B, or a hub id such as owner/name."
        )
    return download(name, revision, subfolder=subfolder, **hub)


def download(
    repo_id: str,
    revision: str | None = None,
    *,
    refresh: bool = False,
    subfolder: str = "",
    **hub: Any,
) -> Path:
    """The folder of a hub checkpoint, downloaded if it is not on this machine yet.

    What was downloaded once stays the same, whatever its owner does to it since; `refresh` asks
    for what is new. `revision` is a branch or a commit.

    Raises:
        CheckpointError: no such checkpoint, or no network and nothing cached.
    """
    hub |= {"revision": revision, "allow_patterns": DOWNLOADED}
    try:
        kept = None if refresh else _kept(repo_id, subfolder, hub)
        if kept is None:
            kept = Path(snapshot_download(repo_id, **hub))
            log.info("%s: downloaded at commit %s", repo_id, kept.name)
        return kept / subfolder
    except (HFValidationError, OSError) as error:
        raise CheckpointError(_why_not_downloaded(repo_id, revision, error)) from error


def _kept(repo_id: str, subfolder: str, hub: dict[str, Any]) -> Path | None:
    """The folder on this machine, if it is complete: a download may have been broken off."""
    try:
        folder = Path(snapshot_download(repo_id, **{**hub, "local_files_only": True}))
        for part in parts_of(read_configs(folder / subfolder)):
            weight_files(folder / subfolder / part)
        return folder
    except (LocalEntryNotFoundError, CheckpointError):
        return None


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
    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled)):
        return (
            f"{repo_id!r} is not on this machine and the hub cannot be reached; check the network, "
            "or give the path of a downloaded folder."
        )
    return (
        f"{repo_id!r} could not be downloaded ({first_line(error)}); check the network and the "
        "space on the disk, then try again."
    )
