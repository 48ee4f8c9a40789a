"""Multiple choice: a question with lettered options, and the letter that an answer means.

In:  a question and its options.  Out: the text to ask; from the model's answer, a letter or None.
Odd: the form is ApolloBench's: one option a line, then the request for a letter alone. Models often
     write more than a letter, so an answer is read generously, but never guessed: when two options
     fit, the answer counts as unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from apollo.data.text import plain_words

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_ONLY = "Answer with the option's letter from the given choices directly."

# ways to give a letter, the plainest first; "A" may also be an article, so it needs punctuation
_ALONE = re.compile(r"^\W*([A-Za-z])\W*$")
_LED = re.compile(r"^\W*([A-Z])\s*[.:)\]](?=\s|\W|$)")
_NAMED = re.compile(
    r"\b(?i:answer|option|choice)\s*(?:is|:)?\s*:?\s*\W{0,3}([B-Z]\b|A\b(?! [a-z]))"
)
_BRACKETED = re.compile(r"[(\[]([A-Z])[)\]]")


def question_text(question: str, options: Sequence[str]) -> str:
    """What the model is asked: the question, one line per option, the request for a letter."""
    assert 2 <= len(options) <= len(LETTERS), options
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *lines, LETTER_ONLY])


def letter_of(answer: str, options: Sequence[str]) -> str | None:
    """The letter that an answer gives, None when it gives none, or more than one."""
    letters = LETTERS[: len(options)]
    for pattern in (_ALONE, _BRACKETED, _LED, _NAMED):
        found = {match.upper() for match in pattern.findall(answer)}
        if found:
            letter = found.pop()
            return letter if not found and letter in letters else None
    said = plain_words(answer)
    plain = [plain_words(option) for option in options]
    matches = [letter for letter, option in zip(letters, plain, strict=True) if option == said]
    if not matches:  # an option inside a sentence, unless it is part of a longer option there
        inside = [i for i, option in enumerate(plain) if _holds(said, option)]
        matches = [
            letters[i]
            for i in inside
            if not any(j != i and _holds(plain[j], plain[i]) for j in inside)
        ]
    return matches[0] if len(matches) == 1 else None


def _holds(text: str, part: str) -> bool:
    """Whether the words of `part` stand in `text`, next to each other."""
    return bool(part) and f" {part} " in f" {text} "
