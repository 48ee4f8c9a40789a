"""Names of models: short ones, hub ids, and what is downloaded for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from folders import refused, sentence
from paths import TINY

from apollo.catalog import MODELS, card_of
from apollo.chat import load
from apollo.errors import CheckpointError
from apollo.model import hub
from apollo.model.causal_lm import ApolloForCausalLM

# ---- the hub ---------------------------------------------------------------------------------


def test_only_data_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def snapshot_download(repo_id: str, **keywords: Any) -> str:
        calls.append({"repo_id": repo_id, **keywords})
        return str(TINY)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    ApolloForCausalLM.from_pretrained("owner/name", revision="v2", token="secret")
    (call,) = calls
    assert (call["repo_id"], call["revision"], call["token"]) == ("owner/name", "v2", "secret")
    files = ["config.json", "llm/tokenizer.json", "llm/merges.txt", "llm/model.safetensors"]
    code = ["modeling_apollo.py", "llm/pytorch_model.bin", "training_args.pt", "demo.mp4"]
    kept = huggingface_hub.utils.filter_repo_objects(
        files + code, allow_patterns=call["allow_patterns"]
    )
    assert [*kept] == files


def test_a_cached_checkpoint_loads_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "a" * 40
    repo = tmp_path / "models--owner--name"
    shutil.copytree(TINY, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = ApolloForCausalLM.from_pretrained("owner/name", cache_dir=tmp_path)
    assert model.config.tokens_per_clip == 8
    refused("owner/other", "'owner/other' is not on this machine", cache_dir=tmp_path)
    refused("owner/name", "not on this machine", cache_dir=tmp_path, revision="b" * 40)


def test_what_was_downloaded_stays_until_it_is_asked_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of a copy may change it any day; nobody's model changes because of that."""
    asked: list[bool] = []

    def snapshot_download(repo_id: str, *, local_files_only: bool = False, **_: Any) -> str:
        asked.append(not local_files_only)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    assert hub.find("owner/name") == tmp_path and asked == [False]
    hub.find("owner/name", refresh=True)
    assert asked == [False, True]
    next((tmp_path / "llm").glob("*.safetensors")).unlink()  # a download that was broken off
    hub.find("owner/name")
    assert asked == [False, True, False, True]


def hub_error(kind: str) -> Exception:
    import httpx

    response = httpx.Response(404, request=httpx.Request("GET", "https://hub.invalid"))
    return getattr(huggingface_hub.errors, kind)("One line.\nAnother line.", response=response)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("GatedRepoError", "permission"),
        ("RepositoryNotFoundError", "There is no checkpoint 'owner/name' on the hub"),
        ("RevisionNotFoundError", "has no revision 'v9'"),
        ("HfHubHTTPError", "could not be downloaded (One line)"),
        ("disk", "could not be downloaded ([Errno 28] No space left on device)"),
    ],
)
def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch, error: str, words: str) -> None:
    disk = OSError(28, "No space left on device")
    raised = disk if error == "disk" else hub_error(error)

    def snapshot_download(*_: Any, **__: Any) -> str:
        raise raised

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    refused("owner/name", words, revision="v9")


def test_names_that_cannot_be_a_hub_id() -> None:
    refused("owner/na me", "'owner/na me' is neither a folder nor a hub id")
    refused("a/b/c", "a/b/c does not exist")


# ---- short names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("nano", "nano"),
        ("3B", "3B"),
        ("3b", "3B"),
        ("apollo-7b", "7B"),
        ("Apollo-1.5B", "1.5B"),
    ],
)
def test_short_names(name: str, card: str) -> None:
    assert card_of(name) is MODELS[card]


def test_the_table_says_what_a_person_must_know() -> None:
    assert [*MODELS] == ["nano", "1.5B", "3B", "7B"]
    assert all(card.name == name and card.size_gb > 0 for name, card in MODELS.items())
    licences = {name: card.licence for name, card in MODELS.items()}
    assert "non-commercial" in licences.pop("3B")
    assert {*licences.values()} == {"Apache-2.0"}
    assert all("GoodiesHere/" in MODELS[name].source for name in ("1.5B", "3B", "7B"))


def test_other_names(tmp_path: Path) -> None:
    card = card_of("owner/My-Model")
    assert (card.title, card.source, card.size_gb) == ("My-Model", "owner/My-Model", 0.0)
    assert card_of(str(tmp_path)).source == str(tmp_path)
    for wrong, words in (("4B", "no model '4B'; choose one of nano, 1.5B"), (" ", "is empty")):
        with pytest.raises(CheckpointError, match=words) as error:
            load(wrong)
        sentence(error)
