"""Texts made comparable: what counts as the same words, and what does not."""

from __future__ import annotations

import pytest

from apollo.data.text import normalised_answer, plain_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" A  red\nBall! ", "a red ball"),
        ("at 2.5 s, (or -3)", "at 2 5 s or 3"),
        ("snake_case + 1", "snake case 1"),
        ("一只猫。", "一只猫"),
        ("cafe\u0301", "cafe\u0301"),  # an accent of its own is no sign
    ],
)
def test_plain_words_have_no_signs(text: str, words: str) -> None:
    assert plain_words(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A cat and the dog.", "cat and dog"),
        ("Another theme", "another theme"),
        ("At 2.5 seconds.", "at 2.5 seconds"),
        ("-3, not 3", "-3 not 3"),
        ("a_b", "b"),  # the article stands alone once the sign is a blank
    ],
)
def test_a_normalised_answer_keeps_its_numbers(text: str, words: str) -> None:
    assert normalised_answer(text) == words
