"""Whether an answer is right: the same words, or for times within a second.

In:  what was asked and the right answer, and what was given.  Out: a bool.
"""

from __future__ import annotations

import re

from apollo.data.text import plain_words

TIMED_KINDS = ("when", "duration", "passing")
CLOSE_S = 1.0


def is_right(kind: str, wanted: str, given: str) -> bool:
    """Times of a TIMED_KINDS answer may be off by CLOSE_S; all other words must be the same.

    The right times are those of the clips, and a real cut is never further from its clip's border
    than CLOSE_S, so an answer with the real times is right as well.
    """
    if kind not in TIMED_KINDS:
        return plain_words(wanted) == plain_words(given)
    number = r"\d+(?:\.\d+)?"
    if plain_words(re.sub(number, "", wanted)) != plain_words(re.sub(number, "", given)):
        return False
    times_s = [[float(t) for t in re.findall(number, text)] for text in (wanted, given)]
    if len(times_s[0]) != len(times_s[1]):
        return False
    return all(abs(a - b) <= CLOSE_S for a, b in zip(*times_s, strict=True))
