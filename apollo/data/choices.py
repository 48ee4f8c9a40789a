"""Multiple choice: a question with lettered options, and the letter that an answer means.

In:  a question and its options.  Out: the text to ask; from the model's answer, a letter or None.
Odd: the form is ApolloBench's: one option a line, then the request for a letter alone. Models often
     write more than a letter, so an answer is read as a person reads it, in English or Chinese: a
     final answer beats what was considered before, what is ruled out does not count, and "A" may be
     an article. It is never guessed: when two options fit, the answer counts as unreadable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from apollo.data import letter_patterns as patterns
from apollo.data.text import normalised_answer, plain_words

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_ONLY = "Answer with the option's letter from the given choices directly."
_MOST_SIGNS = 4000  # of an answer that are looked at
_BETWEEN = r"[\W_]+"  # two words


def question_text(question: str, options: Sequence[str]) -> str:
    """What the model is asked: the question, one line per option, the request for a letter."""
    assert 2 <= len(options) <= len(LETTERS), options
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *lines, LETTER_ONLY])


def letter_of(answer: str, options: Sequence[str]) -> str | None:
    """The letter that an answer gives, None when it gives none, or more than one."""
    text = patterns.THOUGHT.split(_same_signs(answer))[-1].strip()
    if len(text) > _MOST_SIGNS:  # the choice is said first or last
        text = f"{text[: _MOST_SIGNS // 2]}\n{text[-_MOST_SIGNS // 2 :]}"
    for pattern in patterns.FINAL:
        if finals := [final for final in pattern.findall(text) if final.strip()]:
            text = finals[-1]
    text = patterns.MARKUP.sub("", text).strip()
    letter = _read(text, [_same_signs(option) for option in options])
    return letter if letter and letter in LETTERS[: len(options)] else None


def _same_signs(text: str) -> str:
    """Full-width letters and signs become plain ones, many blanks one."""
    text = unicodedata.normalize("NFKC", text)
    return patterns.BLANKS.sub(lambda blanks: "\n" if "\n" in blanks[0] else " ", text)


def _read(text: str, options: Sequence[str]) -> str | None:
    """The first way of giving a letter that the text uses decides."""
    if alone := patterns.ALONE.fullmatch(text):
        return alone[1].upper()
    for alike in (str.casefold, plain_words, normalised_answer):
        said = alike(text)
        same = [i for i, option in enumerate(options) if alike(option) == said]
        if said and len(same) == 1:
            return LETTERS[same[0]]
    text = _with_points(text, options)
    lines = [line for line in text.split("\n") if line.strip()]
    leading = {line: letter for line in lines if (letter := _leading(line, options))}
    led = {*leading.values()}
    if len(led) > 1:  # the options were listed
        text = "\n".join(line for line in lines if line not in leading)
    for tier in patterns.CLAIMS:
        if claimed := _claimed(text, tier):
            if len(led) == 1 and lines[0] in leading and _is_choice(lines[0], options):
                claimed |= led  # "B. A green cat. The answer is C." says two things
            return _only(claimed)
    if patterns.ONLY_LETTERS.fullmatch(text):
        return _only(letter.upper() for letter in patterns.ANY_LETTER.findall(text))
    if len(led) > 1:
        return None
    if lines and lines[0] in leading:
        return _only(led)
    for line in reversed(lines):
        if alone := patterns.ALONE.fullmatch(line):
            return alone[1].upper()
    if patterns.SEVERAL.search(text):
        return None
    for tier in patterns.WEAK_CLAIMS:
        if claimed := _claimed(text, tier):
            return _only(claimed)
    return _only(LETTERS[i] for i in _said_options(text, options))


def _only(letters: Iterable[str]) -> str | None:
    """The letter, if there is exactly one."""
    found = {*letters}
    return found.pop() if len(found) == 1 else None


def _with_points(text: str, options: Sequence[str]) -> str:
    """ "C Two dogs" becomes "C. Two dogs" when that is option C: the letter is no word there."""
    wordings = [_wording(option) for option in options]
    for letter, option, wording in zip(LETTERS, options, wordings, strict=False):
        if wording is None or plain_words(option).split()[0] == letter.lower():
            continue  # "A red bus" may be the option itself
        for found in reversed([*re.finditer(rf"(?<![\w'’]){letter}\s+(?={wording})", text)]):
            others = [other for other in wordings if other not in (None, wording)]
            if not any(re.compile(other).match(text, found.start()) for other in others):
                text = f"{text[: found.start()]}{letter}. {text[found.end() :]}"
    return text


def _leading(line: str, options: Sequence[str]) -> str | None:
    """The letter that a line begins with, unless the line says that it is wrong."""
    found = patterns.LED.match(line)
    if not found:
        return None
    place = found.end(1 if found[1] else 2)
    ruled_out = patterns.RULED_OUT_AFTER.match(line, place) and not _is_choice(line, options)
    return None if ruled_out else line[place - 1].upper()


def _is_choice(line: str, options: Sequence[str]) -> bool:
    """Whether a line is a letter alone, or a letter and its own option."""
    found = patterns.LED.match(line)
    assert found is not None
    rest = plain_words(line[found.end() :])
    place = LETTERS.index((found[1] or found[2]).upper())
    return not rest or (place < len(options) and rest.startswith(plain_words(options[place])))


def _claimed(text: str, tier: Iterable[re.Pattern[str]]) -> set[str]:
    """The letters that a tier of patterns finds and the text does not rule out."""
    together = [*patterns.SEVERAL.finditer(text)]
    found: set[str] = set()
    for pattern in tier:
        for match in pattern.finditer(text):
            if not _is_ruled_out(text, match.start(), match.end(1)):
                found.add(match[1].upper())
                found.update(
                    letter
                    for several in together
                    if several.start() <= match.start(1) < several.end()
                    for letter in several.groups()
                )
    return found


def _is_ruled_out(text: str, start: int, end: int) -> bool:
    """Whether the text around says that what stands there is not meant."""
    before = text[max(0, start - 40) : start]
    return bool(
        patterns.RULED_OUT_BEFORE.search(before) or patterns.RULED_OUT_AFTER.match(text, end)
    )


def _wording(option: str) -> str | None:
    """A pattern that finds the words of an option, whatever the signs between them."""
    words = plain_words(option).split()
    if len(words) > 2 and words[0] in ("a", "an", "the"):
        words = words[1:]
    if not words:
        return None
    escaped = [re.escape(word) for word in words]
    if patterns.CHINESE.search(option):
        if len(words) == 1 and len(words[0]) == 1:
            return None  # a sign that stands inside too many other words
        return rf"(?<!\d)(?i:{'[^0-9A-Za-z]*'.join(escaped)})"
    if words == ["no"]:
        return r"(?<!\w)(?i:no)(?!\s*\w)"  # not that of "no dog"
    return rf"(?<!\w)(?<!\d[.,:])(?i:{_BETWEEN.join(escaped)})(?!\w|[.,:]\d)"


def _said_options(text: str, options: Sequence[str]) -> list[int]:
    """The places of the options whose words stand in the text, unless as part of a longer one."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for i, option in enumerate(options):
        if wording := _wording(option):
            spans[i] = [found.span() for found in re.finditer(wording, text)]
    every = [span for found in spans.values() for span in found]
    said = [
        i
        for i, found in spans.items()
        if any(
            not _is_ruled_out(text, *span) and not any(_is_inside(span, other) for other in every)
            for span in found
        )
    ]
    first, *rest = (plain_words(part) for part in patterns.SEGMENT.split(text))
    plain = [plain_words(option) for option in options]
    if len(said) > 1 and first in plain and not {*rest} & {*plain}:
        longer = [i for i in said if plain[i] != first and " " in plain[i]]
        return [plain.index(first), *longer]  # "Yes, there is no dog"
    return said


def _is_inside(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return other != span and other[0] <= span[0] and span[1] <= other[1]
