"""One training stage as data: what is trained, on what, how fast, for how long.

In:  the values of a recipe.  Out: a `Stage`, every value of it checked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apollo.errors import RecipeError, SettingError
from apollo.settings import shown

SCHEDULES = ("cosine", "linear", "constant")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("float32", "bfloat16", "float16")
POLICIES = ("fail", "skip")
CONVERSATIONS = "conversations"
LARGEST_RATE = 10.0  # no optimiser learns with more
LARGEST = {"lr": LARGEST_RATE, "num_steps": 10**9, "epochs": 1e6, "global_batch": 10**6}
MAX_SEED = 2**32 - 1  # what NumPy takes
MOST_SAMPLES = 10**8  # of one stage: their order is made in memory
MAX_THREADS = 1024
ABOVE_0 = (
    *("num_steps", "epochs", "global_batch", "micro_batch", "lr", "save_every"),
    *("clips_per_video", "tokens_per_clip", "max_length", "log_every", "keep"),
)


def check_minutes(minutes: float | None) -> None:
    """Raises `SettingError` unless a training could stop after so long."""
    if minutes is not None and not 0 < minutes < math.inf:
        raise SettingError(f"--minutes is {shown(minutes)}; it must be above 0, and finite.")


@dataclass(frozen=True)
class Source:
    """A data file and its share of the samples."""

    file: Path
    share: float = 1.0


@dataclass(frozen=True)
class Stage:
    """Everything about one stage. The defaults are the paper's where it gives them."""

    name: str
    train: dict[str, float]  # part -> factor on the rate: connector, llm, towers, a tower's name
    task: str = CONVERSATIONS
    options: dict[str, Any] = field(default_factory=dict)  # of the task
    takes: tuple[str, ...] | None = None  # the stages it goes on from; None: the one before

    # data, for conversations
    data: tuple[Source, ...] = ()
    validation: Path | None = None
    clips_per_video: int | None = None  # None: as many as the context takes
    tokens_per_clip: int | None = None  # None: as the model has
    max_length: int | None = None  # tokens; None: the model's context
    unreadable: str = "fail"  # what happens to a record whose video is missing or unreadable
    feature_cache: bool = True  # frozen towers read each clip once, and its features are kept
    workers: int = 0  # processes that decode

    # steps
    num_steps: int | None = None
    epochs: float | None = None
    global_batch: int = 32  # samples in a step, over all processes
    micro_batch: int | None = None  # samples in memory at once; None: the whole share of a process
    lr: float = 2e-5
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    precision: str = "float32"
    gradient_checkpointing: bool = False

    # housekeeping
    eval_every: int = 0  # steps; 0: only at the end, when there is validation data
    save_every: int = 200
    keep: int = 2  # checkpoints to go on from, besides the best one
    log_every: int = 10

    def steps(self, num_samples: int | None) -> int:
        """How many steps it takes; an epoch is `num_samples`."""
        if self.num_steps is not None:
            return self.num_steps
        assert self.epochs is not None and num_samples is not None  # other recipes are refused
        return max(1, math.ceil(self.epochs * num_samples / self.global_batch))

    def check(self, where: str) -> None:
        """Raises `RecipeError` unless the stage can be run; `where` begins the sentence."""
        self._check_training(where)
        self._check_choices(where)
        self._check_numbers(where)
        if self.task == CONVERSATIONS:
            if not self.data:
                raise RecipeError(f'{where}: "data" is missing; name at least one data file.')
            if self.options:
                raise RecipeError(f'{where}: conversations take no "options"; remove them.')
        elif self.data or self.validation:
            raise RecipeError(f'{where}: the task "{self.task}" makes its data; remove "data".')

    def _check_training(self, where: str) -> None:
        if not any(self.train.values()):
            raise RecipeError(
                f'{where}: nothing is trained; give a part a rate above 0 under "train", for '
                "example connector: 1.0."
            )
        if (self.num_steps is None) == (self.epochs is None):
            raise RecipeError(f'{where}: give either "num_steps" or "epochs".')
        if self.epochs is not None and self.task != CONVERSATIONS:
            raise RecipeError(f'{where}: the task "{self.task}" never ends; give "num_steps".')

    def _check_choices(self, where: str) -> None:
        for key, choices in (
            ("schedule", SCHEDULES),
            ("optimizer", OPTIMIZERS),
            ("precision", PRECISIONS),
            ("unreadable", POLICIES),
        ):
            value = getattr(self, key)
            if value not in choices:
                raise RecipeError(f"{where}: {key} is {value!r}; choose {' or '.join(choices)}.")

    def _check_numbers(self, where: str) -> None:
        for key in ABOVE_0:
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise RecipeError(f"{where}: {key} is {shown(value)}; it must be above 0.")
            if value is not None and value > LARGEST.get(key, 10**9):
                raise RecipeError(
                    f"{where}: {key} is {shown(value)}; choose at most {LARGEST.get(key, 10**9):g}."
                )
        for key in ("weight_decay", "warmup_steps", "max_grad_norm", "eval_every", "workers"):
            if not 0 <= getattr(self, key) <= 10**9:
                raise RecipeError(
                    f"{where}: {key} is {shown(getattr(self, key))}; choose 0 to 1e+09."
                )
        for part, rate in self.train.items():
            if not 0 <= rate * self.lr <= LARGEST_RATE:
                raise RecipeError(
                    f"{where}: train.{part} is {rate} of the rate {self.lr:g}; choose 0 or more, "
                    f"and at most {LARGEST_RATE:g} in all."
                )
        for source in self.data:
            if not 0 < source.share < math.inf:
                raise RecipeError(
                    f"{where}: the share of {source.file.name} is {source.share}; shares are "
                    "above 0."
                )
        if (self.num_steps or 0) * self.global_batch > MOST_SAMPLES:
            raise RecipeError(
                f"{where}: {self.num_steps} steps of {self.global_batch} are more than "
                f"{MOST_SAMPLES:g} samples; choose fewer."
            )
        if self.num_steps is not None and self.warmup_steps >= self.num_steps:
            raise RecipeError(
                f"{where}: warmup_steps ({self.warmup_steps}) must be fewer than num_steps "
                f"({self.num_steps})."
            )
        if self.micro_batch is not None and self.global_batch % self.micro_batch:
            raise RecipeError(
                f"{where}: micro_batch ({self.micro_batch}) must divide global_batch "
                f"({self.global_batch})."
            )
