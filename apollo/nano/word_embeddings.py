"""Fresh word embeddings in which all forms of a name are similar.

In:  a model with fresh weights and its tokenizer.  Out: the same, with other embeddings of names.
Odd: "cat", "cats" and their Chinese word start as one vector for the object plus one for the form.
To say a name in the right form is then one rule for all objects, not a hundred to be learned one by
one, and a question about "cats" is similar from the start to a visual token that says cat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from apollo.cartoon.talk.phrases import CHINESE, ENGLISH
from apollo.cartoon.world.facts import BACKGROUNDS, COLOURS, MOTIONS, OBJECTS, WORDS

NAME_SHARE = 0.8  # of a vector's length that the forms of a name share; the rest tells them apart
Form = tuple[str, str, tuple[str, ...]]  # text of a token, name, styles of the form


def _english(text: str, name: str, *styles: str) -> Iterator[Form]:
    """A word with a blank before it and without, in small letters and with a capital."""
    yield f" {text}", name, styles
    yield text, name, (*styles, "bare")
    yield text.capitalize(), name, (*styles, "bare", "capital")
    yield f" {text.capitalize()}", name, (*styles, "capital")


def forms() -> Iterator[Form]:
    """Every text that may be a token of a name; those that are none are skipped later."""
    en, zh = ENGLISH.called, CHINESE.called
    for name in OBJECTS:
        singular, plural = en["object"][name]
        yield from _english(plural, name, "plural")
        yield from _english(singular, name)  # some have one form for both
        yield zh["object"][name][0], name, ("zh",)
    measures = sorted({CHINESE.measure(name) for name in OBJECTS} | {""})
    for count, name in en["number"].items():
        yield from _english(name, name)
        for measure in measures:
            yield f"{zh['number'][count]}{measure}", name, (f"measure {measure}",)
    for background in BACKGROUNDS:
        word = en["background"][background].split()[-1]
        yield from _english(word, word)
        yield zh["background"][background], word, ("zh",)
        yield zh["where"][background], word, ("where",)
    for colour in COLOURS:
        yield from _english(colour, colour)
        yield zh["colour"][colour], colour, ("zh", "sign")
        yield f"{zh['colour'][colour]}色", colour, ("zh",)
    for motion in MOTIONS:
        for text, style in zip(en["verb"][motion], ("does", "plural"), strict=True):
            yield from _english(text, motion, style)
        yield zh["verb"][motion][0], motion, ("zh",)
    for word in WORDS:
        yield word, word, ()
        for sign in (' "', "“", " "):
            yield f"{sign}{word}", word, (sign,)


@torch.no_grad()
def init_names(model: Any) -> None:
    """Draws the embeddings of all names again, in place."""
    table: Tensor = model.llm.get_input_embeddings().weight
    std = table.std()
    ids = {model.tokenizer.decode([token_id]): token_id for token_id in range(len(table))}
    drawn: dict[str, Tensor] = {}

    def vector(key: str) -> Tensor:
        return drawn.setdefault(key, torch.randn(table.shape[1]))

    for text, name, styles in forms():
        if text in ids:
            style = torch.stack([vector(f"form {style}") for style in styles or ("plain",)])
            form = style.sum(0) / len(style) ** 0.5
            table[ids[text]] = std * (
                NAME_SHARE * vector(f"name {name}") + (1 - NAME_SHARE**2) ** 0.5 * form
            )
