"""Texts made comparable: what is left of two wordings when only their words count."""

from __future__ import annotations

import re
import unicodedata

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_SIGN = re.compile(r"[.,-](?!\d)|[^\w\s.,-]|_")  # but not the signs inside and before a number


def plain_words(text: str) -> str:
    """Lower case, punctuation and symbols to blanks, single blanks: "2.5 m!" is "2 5 m"."""
    kept = "".join(c if unicodedata.category(c)[0] not in "PSC" else " " for c in text.lower())
    return " ".join(kept.split())


def normalised_answer(text: str) -> str:
    """Like `plain_words`, but numbers keep their signs, and the articles of English go away."""
    return " ".join(_ARTICLE.sub(" ", _SIGN.sub(" ", text.lower())).split())
