"""What a question brings back, in order: `Reading`..., `Text`..., `Done`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """`done` of `total` clips are decoded and encoded."""

    done: int
    total: int


@dataclass(frozen=True)
class Text:
    """The next piece of the answer; "" is a sign of life while the prompt is read."""

    piece: str


@dataclass(frozen=True)
class Stats:
    """What the answer is based on and how fast it came."""

    clips: int
    covered_s: float
    reused_visual_tokens: bool
    prompt_tokens: int
    answer_tokens: int
    first_token_s: float
    tokens_per_s: float
    note: str | None = None  # a sentence for the person, when clips were thinned out


@dataclass(frozen=True)
class Done:
    """The answer is complete."""

    stats: Stats


Event = Reading | Text | Done
