"""What the askers of all kinds of questions share: random choices and wordings to be filled.

In:  a Generator, a Cartoon and a language.  Out: an Asking, from which an asker makes an Asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apollo.cartoon.talk.phrases import Phrases
from apollo.cartoon.world.facts import COLOURS, OBJECTS
from apollo.cartoon.world.scenes import Cartoon, Scene

WORDINGS = ("train", "held-out")


@dataclass(frozen=True)
class Asked:
    """A question with its answer; the same `subject` is not asked about twice.

    `scene` is the one whose object was named last, which "it" means in the next question; `about`
    the one that the answer is about. `absent`: what the question names is not in the video.
    """

    question: str
    answer: str
    subject: str = ""
    scene: Scene | None = None
    about: Scene | None = None
    absent: bool = False


@dataclass(frozen=True)
class Asking:
    """All that an asker needs: random numbers, the video, and one language to ask in."""

    rng: np.random.Generator
    video: Cartoon
    say: Phrases
    wordings: str = "train"  # or "held-out": those that training never sees
    of: Scene | None = None  # what "it" means, in a follow-up question

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def choice(self, items: Sequence[Any]) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def scene(self) -> Scene:
        """The scene that "it" is about, or any."""
        scene: Scene = self.of or self.choice(self.video.scenes)
        return scene

    @property
    def single(self) -> bool:
        return len(self.video.scenes) == 1

    def absent_names(self) -> list[str]:
        """The objects that the video does not show."""
        seen = {name for s in self.video.scenes for name in (s.object, s.second_object)}
        return [name for name in OBJECTS if name not in seen]

    def colour_of(self, name: str) -> str | None:
        """Any colour for a shape, none for a sprite."""
        return self.choice(list(COLOURS)) if OBJECTS[name].is_shape else None

    def fill(self, key: str, scene: Scene | None = None, /, **more: str) -> str:
        """One wording of `key`, about the main object of a scene."""
        names = {}
        if scene is not None:
            colour = None if key.startswith("colour") else scene.colour
            names = self.say.names(scene.object, colour, scene.count)
        template: str = self.choice(self.say.questions[key][self.wordings])
        return template.format(**{**names, **more})


Asker = Callable[[Asking], Asked | None]
