"""Texts normalised for comparison: two answers are the same when their words are."""

from __future__ import annotations

import re
import unicodedata

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
# punctuation, except the point, comma or minus that belongs to a number
_SIGN = re.compile(r"[.,-](?!\d)|[^\w\s.,-]|_")

# half of a character that UTF-16 writes in two parts: no file and no terminal takes it
_HALF = re.compile("[\\ud800-\\udfff]")


def whole_characters(text: str) -> str:
    """The text with halves of one character joined, and U+FFFD in place of every other half."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_text(text: str) -> bool:
    """Whether it can be a name or be written to a file: without NUL and halves of signs."""
    return "\0" not in text and not _HALF.search(text)


def plain_words(text: str) -> str:
    """Lower case, without punctuation and symbols, words one blank apart: "2.5 m!" is "2 5 m"."""
    kept = "".join(c if unicodedata.category(c)[0] not in "PSC" else " " for c in text.lower())
    return " ".join(kept.split())


def normalised_answer(text: str) -> str:
    """Like `plain_words`, but "-2.5" stays a number, and English articles are left out."""
    return " ".join(_ARTICLE.sub(" ", _SIGN.sub(" ", text.lower())).split())
