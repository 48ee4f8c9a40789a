"""How questions are asked in one run: what the model is shown and how long it may answer.

Torch-free: the command line reads the choices from here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from apollo.errors import SettingError

FULL = "full"
ABLATIONS = {
    "text-only": "the question without the video",
    "centre-frame": "only the frame in the middle",
    "grey": "a grey video of the same length",
}
LETTER_TOKENS = 16  # the protocol's limit; an answer is a letter, or a few words


@dataclass(frozen=True)
class EvalProtocol:
    """`ablation` is "full" or a key of `ABLATIONS`; decoding is always greedy."""

    ablation: str = FULL
    max_new_tokens: int = LETTER_TOKENS
    max_clips: int | None = None

    def __post_init__(self) -> None:
        if self.ablation not in (FULL, *ABLATIONS):
            raise SettingError(
                f'Unknown ablation "{self.ablation}"; choose from {", ".join(ABLATIONS)}.'
            )
        for name in ("max_new_tokens", "max_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; choose 1 or more.")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
