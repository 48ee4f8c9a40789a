"""The models a short name stands for: where they are, how large, and under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apollo.errors import CheckpointError

NANO_FOLDER = Path(__file__).parent / "nano" / "weights"


@dataclass(frozen=True)
class ModelCard:
    """What a person should know before choosing a model. `source` is a hub id or a folder."""

    name: str
    title: str
    source: str
    licence: str
    size_gb: float
    note: str


def _released(size: str, size_gb: float, licence: str = "Apache-2.0") -> ModelCard:
    source = f"GoodiesHere/Apollo-LMMs-Apollo-{size.replace('.', '_')}-t32"
    note = "Community copy of the released weights."
    return ModelCard(size, f"Apollo-{size}", source, licence, size_gb, note)


MODELS: dict[str, ModelCard] = {
    "nano": ModelCard(
        name="nano",
        title="apollo-nano",
        source=str(NANO_FOLDER),
        licence="Apache-2.0",
        size_gb=0.01,
        note="Comes with this program. It has only ever seen cartoon clips and knows nothing else.",
    ),
    "1.5B": _released("1.5B", 6.2),
    "3B": _released("3B", 9.9, "Qwen research licence, non-commercial"),
    "7B": _released("7B", 18.5),
}


def card_of(name: str) -> ModelCard:
    """The card of a short name (upper or lower case), a hub id or a folder.

    Raises:
        CheckpointError: a name that is none of these.
    """
    for short, card in MODELS.items():
        if name.lower() in (short.lower(), card.title.lower()):
            return card
    if not name.strip():
        raise CheckpointError(f"The model name is empty; choose one of {', '.join(MODELS)}.")
    if "/" not in name and not Path(name).expanduser().exists():
        raise CheckpointError(
            f"There is no model {name!r}; choose one of {', '.join(MODELS)}, a hub id such as "
            "owner/name, or a folder."
        )
    title = Path(name).name or name
    return ModelCard(name, title, name, "see its model card", 0.0, "A checkpoint of your choice.")
