"""Clips and a conversation to the exact text the released checkpoints know, and that text to ids.

In:  planned clips or an image, and messages {"role", "content"}.  Out: text, then token ids with
     X_TOKEN_INDEX at every visual slot.
Odd: two newlines follow "system"; a clip's end is the time of its last frame, so 2 second clips
     read "0.0-1.5 seconds"; counts are words, joined as in "one hundred and five".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from apollo.constants import (
    IM_END,
    IM_START,
    IMAGE_TOKEN,
    SYSTEM_PROMPT,
    VIDEO_TOKEN,
    X_TOKEN_INDEX,
)
from apollo.data.text import whole_characters
from apollo.errors import PromptError
from apollo.video.clips import Clip

Message: TypeAlias = Mapping[str, str]  # {"role": "user" | "assistant" | "system", "content": ...}

ROLES = ("system", "user", "assistant")

_LONGEST_KEPT = 40  # characters of a piece whose ids are kept
_PLACEHOLDER = re.compile(f"({re.escape(VIDEO_TOKEN)}|{re.escape(IMAGE_TOKEN)})")
_MARKER = re.compile(r"<\|(?=[^<>|\s]+\|>)")  # what tokenizers of this family call special

_NAMES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy "
    "eighty ninety"
)
_NAME = _NAMES.split()  # [0..19] are themselves, [18 + tens] is a ten


def number_words(number: int) -> str:
    """0 to 999 999 in British English words, as the checkpoints were trained to read counts."""
    if not 0 <= number < 1_000_000:
        raise PromptError(f"A prompt cannot describe {number} clips; set max_clips below 1000000.")
    if number < 20:
        return _NAME[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _NAME[18 + tens] + (f"-{_NAME[ones]}" if ones else "")
    unit, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    many, rest = divmod(number, unit)
    words = f"{number_words(many)} {name}"
    if not rest:
        return words
    return words + (" and " if rest < 100 else ", ") + number_words(rest)


def video_block(
    clips: Sequence[Clip], *, duration_s: float, clip_duration_s: float, tokens_per_clip: int
) -> str:
    """The text that stands for a video: a header sentence, then one line of slots per clip."""
    if not clips:
        raise PromptError("The video gave no clips, so there is nothing to ask about; choose more.")
    slots = VIDEO_TOKEN * tokens_per_clip
    lines = [f"{_tenths(c.start_s)}-{_tenths(c.end_s)} seconds: {slots}" for c in clips]
    return (
        f"You are provided the following series of {number_words(len(clips))}, "
        f"{clip_duration_s:g} second clips from a {timedelta(seconds=float(duration_s))} "
        "[H:MM:SS] video.\n"
    ) + ",\n".join(lines)


def _tenths(time_s: float) -> str:
    """One decimal as numpy rounds it, half to even of ten times the value: 6.65 becomes 6.6."""
    return f"{round(time_s * 10) / 10:.1f}"


def image_block(tokens_per_clip: int) -> str:
    """The text that stands for an image: its slots; the original has none (docs/original.md#27)."""
    return IMAGE_TOKEN * tokens_per_clip


def chatml(
    messages: Sequence[Message],
    *,
    system_prompt: str | None = None,
    add_generation_prompt: bool = True,
) -> str:
    """Messages as ChatML. A leading system message replaces the default; "" leaves it out.

    Contents are rendered as they are: text a person typed goes through `build_prompt`, or
    through `disarm` where the caller renders by itself.
    """
    if messages and messages[0]["role"] == "system":
        if system_prompt is not None:
            raise PromptError(
                "The conversation begins with a system message and a system prompt was given "
                "too; keep one of them."
            )
        system_prompt, messages = messages[0]["content"], messages[1:]
    elif system_prompt is None:
        system_prompt = SYSTEM_PROMPT
    text = f"{IM_START}system\n\n{system_prompt}{IM_END}\n" if system_prompt else ""
    for message in messages:
        text += f"{IM_START}{message['role']}\n{message['content']}{IM_END}\n"
    return text + (f"{IM_START}assistant\n" if add_generation_prompt else "")


def disarm(text: str) -> str:
    """Make every "<|name|>" in typed text plain text by a space after "<".

    Only inserting (never deleting) means the result cannot form a new marker.
    """
    return _MARKER.sub("< |", text)


def check_messages(messages: Sequence[Message]) -> None:
    """Raise `PromptError` unless user and assistant alternate and the user asks last."""
    if not isinstance(messages, Sequence):
        raise PromptError(
            f"The question is a {type(messages).__name__}; give text, or a list of messages with "
            "role and content."
        )
    for message in messages:
        if not isinstance(message, Mapping):
            raise PromptError(
                f"A message is a {type(message).__name__}; give each as a dict with role and "
                "content, or the question alone as text."
            )
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise PromptError(
                f"A message has the role {role!r} and a {type(content).__name__} as content; "
                'use "system", "user" or "assistant" and text.'
            )
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    for position, message in enumerate(turns):
        expected = ROLES[1 + position % 2]
        if message["role"] != expected:
            raise PromptError(
                f"Turn {position + 1} of the conversation is from the {message['role']}; "
                f"user and assistant must alternate, so it has to be the {expected}'s."
            )
    if turns and turns[-1]["role"] != "user":
        raise PromptError("The conversation ends with the assistant; end it with a question.")
    if not turns or not turns[-1]["content"].strip():
        raise PromptError("The question is empty; type one.")


def build_prompt(
    messages: Sequence[Message], visual: str | None, *, system_prompt: str | None = None
) -> str:
    """The whole prompt: typed text disarmed, `visual` in front of the first user message."""
    check_messages(messages)
    safe = [{"role": m["role"], "content": disarm(m["content"])} for m in messages]
    if visual:
        first = next(message for message in safe if message["role"] == "user")
        first["content"] = f"{visual}\n\n{first['content']}"
    return chatml(safe, system_prompt=None if system_prompt is None else disarm(system_prompt))


def tokenize(prompt: str, tokenizer: Any) -> list[int]:
    """Ids of `prompt` with X_TOKEN_INDEX at each placeholder; text between is encoded alone.

    Half a character, which a terminal or a browser may send, is read as U+FFFD.
    """
    ids: list[int] = []
    for piece in _PLACEHOLDER.split(whole_characters(prompt)):
        if piece in (VIDEO_TOKEN, IMAGE_TOKEN):
            ids.append(X_TOKEN_INDEX)
        elif piece:
            encode = _encoded if len(piece) > _LONGEST_KEPT else _kept_encoded
            ids.extend(encode(piece, tokenizer))
    return ids


def _encoded(piece: str, tokenizer: Any) -> list[int]:
    # verbose=False: how long is too long is decided for the whole prompt, not here.
    return tokenizer(piece, add_special_tokens=False, verbose=False).input_ids


# The times of the clips, which stand in every prompt about a video.
_kept_encoded = functools.lru_cache(maxsize=1 << 14)(_encoded)
