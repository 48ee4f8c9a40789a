"""Multiple choice: the text that is asked, and the letter that is read from an answer."""

from __future__ import annotations

import pytest

from apollo.data.choices import letter_of, question_text

OPTIONS = ("A cat.", "A dog.", "A red circle.", "Nothing.")


def test_the_question_has_one_line_per_option_and_asks_for_a_letter() -> None:
    assert question_text("What is it?", ("a cat", "a dog")) == (
        "What is it?\nA. a cat\nB. a dog\n"
        "Answer with the option's letter from the given choices directly."
    )


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("b", "B"), (" B.", "B"), ("(B)", "B"), ("B. A dog.", "B"), ("B: a dog", "B"),
        ("**B**", "B"), ("The answer is B.", "B"), ("Answer: B", "B"), ("I would say (B).", "B"),
        ("The correct option is C", "C"), ("The answer is B because it barks.", "B"),
        ("The answer is a dog.", "B"), ("C) A red circle", "C"),
        ("A dog.", "B"), ("a dog", "B"), ("It is a red circle.", "C"), ("Nothing", "D"),
        ("A cat.", "A"), ("I see a cat", "A"),
    ],
)  # fmt: skip
def test_a_letter_is_read_however_it_is_given(answer: str, letter: str) -> None:
    assert letter_of(answer, OPTIONS) == letter


@pytest.mark.parametrize(
    "answer",
    ["", "E", "E. A horse.", "A horse.", "a cat and a dog", "(A) or (B)", "I don't know.", "???"],
)
def test_what_is_no_clear_choice_is_not_guessed(answer: str) -> None:
    assert letter_of(answer, OPTIONS) is None


def test_an_option_inside_another_does_not_make_two() -> None:
    options = ("left", "to the left of the dog", "right", "above")
    assert letter_of("It is to the left of the dog.", options) == "B"
    assert letter_of("left", options) == "A"


def test_chinese_options_are_read() -> None:
    options = ("一只猫", "一只狗")
    assert letter_of("一只狗。", options) == "B"
    assert letter_of("B。", options) == "B"
