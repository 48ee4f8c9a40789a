"""Questions whose answer is yes or no, each half of the time.

In:  a Generator and a Video.  Out: one question with its answer.
Odd: the answer is drawn first, then a question that has it, so the wording gives nothing away.
"""

from __future__ import annotations

import numpy as np

from apollo.train.cartoon import phrases
from apollo.train.cartoon.asking import Asked, a_scene, choice, fill
from apollo.train.cartoon.facts import (
    BACKGROUND_BY_NAME,
    BACKGROUNDS,
    COLOURS,
    MOTION_BY_NAME,
    MOTIONS,
    OBJECT_BY_NAME,
    OBJECTS,
    WORDS,
)
from apollo.train.cartoon.templates import YES_NO
from apollo.train.cartoon.world import Video, can_move


def _ask_object(rng: np.random.Generator, video: Video, want: bool) -> Asked:
    """Is there a cat? If not wanted: something that is nowhere in the video."""
    if want:
        scene = a_scene(rng, video)
        name, colour = scene.object, scene.colour
        if scene.second_object and rng.random() < 0.4:
            name, colour = scene.second_object, None
    else:
        seen = {n for s in video.scenes for n in (s.object, s.second_object)}
        shapes = [(s.object, s.colour) for s in video.scenes if s.colour]
        if shapes and rng.random() < 0.5:  # the right shape in a wrong colour
            name, shown = shapes[int(rng.integers(len(shapes)))]
            colour = choice(rng, [c for c in COLOURS if c != shown])
        else:
            name = choice(rng, [o.singular for o in OBJECTS if o.singular not in seen])
            colour = choice(rng, list(COLOURS)) if OBJECT_BY_NAME[name].is_shape else None
    question = choice(rng, YES_NO["object"]).format(
        a=phrases.a_noun(name, colour), nouns=phrases.noun(name, colour, 2)
    )
    return Asked(question, "", f"object {name} {colour}")


def _ask_background(rng: np.random.Generator, video: Video, want: bool) -> Asked:
    scene = a_scene(rng, video)
    others = [b.name for b in BACKGROUNDS if b.name != scene.background]
    name = scene.background if want else choice(rng, others)
    single = len(video.scenes) == 1
    template = choice(rng, YES_NO["background" if single else "background_of"])
    question = fill(template, scene, bg=BACKGROUND_BY_NAME[name].is_phrase)
    return Asked(question, "", f"background {scene.object} {name}")


def _ask_motion(rng: np.random.Generator, video: Video, want: bool) -> Asked:
    scene = a_scene(rng, video)
    names = [m.name for m in MOTIONS if can_move(scene.object, m.name) and m.name != scene.motion]
    motion = MOTION_BY_NAME[scene.motion if want else choice(rng, names)]
    verb = motion.singular if scene.count == 1 else motion.plural
    template = choice(rng, YES_NO["motion"])
    question = fill(template, scene, base=motion.plural, verb=verb)
    return Asked(question, "", f"motion {scene.object} {motion.name}")


def _ask_word(rng: np.random.Generator, video: Video, want: bool) -> Asked | None:
    shown = [scene.word for scene in video.scenes if scene.word]
    if not shown:
        return None
    word = choice(rng, shown if want else [w for w in WORDS if w not in shown])
    return Asked(choice(rng, YES_NO["word"]).format(word=word), "", f"word {word}")


def yes_no(rng: np.random.Generator, video: Video) -> Asked | None:
    """The answer is drawn first, so that "Yes." is right half of the time."""
    want = bool(rng.random() < 0.5)
    if len(video.scenes) == 1 and rng.random() < 0.1:  # words are in half of all scenes
        answer = "Yes." if video.scenes[0].word else "No."
        return Asked(choice(rng, YES_NO["any_text"]), answer, "any text")
    askers = (_ask_object, _ask_object, _ask_background, _ask_motion, _ask_word)
    asked = askers[int(rng.integers(len(askers)))](rng, video, want)
    if asked is None:
        return None
    return Asked(asked.question, "Yes." if want else "No.", asked.subject)
