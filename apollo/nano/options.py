"""The options of a stage of nano's recipe: which samples it draws.

In:  a stage's options, as the recipe has them.  Out: the same, checked, with defaults.
"""

from __future__ import annotations

from typing import Any

from apollo.errors import RecipeError
from apollo.nano.language_learner import SCENE_SHARES
from apollo.train.stage import Stage
from apollo.train.task import Start


def check_options(stage: Stage, start: Start, *known: str) -> None:
    """Checks that the task has each option.

    Raises:
        RecipeError: it has not.
    """
    for name in stage.options:
        if name not in known:
            has = f"it has only {', '.join(known)}" if known else "it has none"
            raise RecipeError(
                f'{start.recipe}, stage "{stage.name}": the task "{stage.task}" has no option '
                f'"{name}"; {has}.'
            )


def share_options(stage: Stage, start: Start, *names: str) -> dict[str, float]:
    """Options that are shares, at most 1 together; 0 where one is not given.

    Raises:
        RecipeError: one is no share, or they are more than 1 together.
    """
    shares = {name: stage.options.get(name, 0.0) for name in names}
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise RecipeError(
                f'{start.recipe}, stage "{stage.name}": options.{name} is {share!r}; choose a '
                "number from 0 to 1."
            )
    if sum(shares.values()) > 1 + 1e-9:  # 0.1 + 0.2 + 0.7 is 1
        raise RecipeError(
            f'{start.recipe}, stage "{stage.name}": {" and ".join(names)} are together '
            f"{sum(shares.values()):g}; choose at most 1."
        )
    return shares


def chat_options(stage: Stage, start: Start) -> dict[str, Any]:
    """The options of a stage of conversations, as `chat_sample` takes them.

    Raises:
        RecipeError: an option is unknown or has a value that it cannot have.
    """
    shares = ("hard_share", "rare_share")
    check_options(stage, start, *shares, "max_scenes")
    most = stage.options.get("max_scenes", len(SCENE_SHARES))
    if type(most) is not int or not 1 <= most <= len(SCENE_SHARES):
        raise RecipeError(
            f'{start.recipe}, stage "{stage.name}": options.max_scenes is {most!r}; choose a '
            f"whole number from 1 to {len(SCENE_SHARES)}."
        )
    return {**share_options(stage, start, *shares), "max_scenes": most}
