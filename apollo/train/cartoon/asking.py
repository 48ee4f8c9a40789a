"""The parts of a question: what was asked and answered, random picks, and filled templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from apollo.train.cartoon import phrases
from apollo.train.cartoon.world import Scene, Video


@dataclass(frozen=True)
class Asked:
    """`subject` tells two questions of a kind apart; the same one is not asked twice."""

    question: str
    answer: str
    subject: str = ""


Asker = Callable[[np.random.Generator, Video], Asked | None]


def choice(rng: np.random.Generator, items: Sequence[str]) -> str:
    return items[int(rng.integers(len(items)))]


def a_scene(rng: np.random.Generator, video: Video) -> Scene:
    return video.scenes[int(rng.integers(len(video.scenes)))]


def fill(template: str, scene: Scene, *, with_colour: bool = True, **more: str) -> str:
    """The template about the main object of a scene."""
    colour, count = (scene.colour if with_colour else None), scene.count
    the = f"the {phrases.noun(scene.object, colour, count)}"
    one = count == 1
    values = {
        "nouns": phrases.noun(scene.object, colour, 2),
        "a": phrases.a_noun(scene.object, colour),
        "the": the,
        "it": "it" if one else "they",
        "does": "does" if one else "do",
        "Does": "Does" if one else "Do",
        "is_": "is" if one else "are",
        "move": "moves" if one else "move",
        "object": "object" if one else "objects",
        "shape": "shape" if one else "shapes",
    }
    return template.format(**{**values, **more})
