"""Shared by the tests that ask a tiny model: files, settings, and what a question really costs."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from paths import GOLDEN

from apollo.errors import ApolloError
from apollo.events import Text
from apollo.model import visual_tokens
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.settings import Generation

VIDEOS = GOLDEN / "videos"
SHORT = VIDEOS / "v01_8fps_4s.mp4"  # 2 clips
TEN_S = VIDEOS / "v04_29p97fps_10s.mp4"
LONG = VIDEOS / "v07_15fps_95s.mp4"  # 48 clips
PICTURE = GOLDEN / "images" / "image_a_landscape.png"
GREEDY = Generation(temperature=0, max_new_tokens=12)
VARIED = Generation(temperature=1.5, top_p=1, max_new_tokens=16, seed=5)
QUESTION = "What happens?"
MESSAGES = [
    {"role": "user", "content": "What is first?"},
    {"role": "assistant", "content": "A ball."},
    {"role": "user", "content": "And <|video_token|> then?"},
]


@dataclass
class Calls:
    """What was really decoded, encoded and computed."""

    clips: list[Any] = field(default_factory=list)  # whose frames were decoded and handed out
    encoded: int = 0  # clips that went through the towers
    layers: list[int] = field(default_factory=list)  # runs of each LLM layer


@contextlib.contextmanager
def counted(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """Counts while it is open."""
    seen = Calls()
    read, encode_clips = visual_tokens.clip_pixels, ApolloForCausalLM.encode_clips

    def reading(video: Any, clips: Any, *args: Any, **how: Any) -> Iterator[Any]:
        coming = iter(clips)
        with contextlib.closing(read(video, clips, *args, **how)) as groups:
            for group in groups:
                seen.clips += itertools.islice(coming, len(group.lost))
                yield group

    def encoding(self: Any, pixels: Any) -> Any:
        seen.encoded += len(pixels[0])
        return encode_clips(self, pixels)

    def counting(number: int) -> Any:
        def run(*_: Any) -> None:
            seen.layers[number] += 1

        return run

    monkeypatch.setattr(visual_tokens, "clip_pixels", reading)
    monkeypatch.setattr(ApolloForCausalLM, "encode_clips", encoding)
    layers = model.llm.get_decoder().layers
    seen.layers = [0] * len(layers)
    hooks = [layer.register_forward_hook(counting(i)) for i, layer in enumerate(layers)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def text_of(events: list[Any]) -> str:
    return "".join(event.piece for event in events if isinstance(event, Text))


def refusal(error: pytest.ExceptionInfo[ApolloError]) -> str:
    text = str(error.value)
    assert "\n" not in text and text.endswith("."), text
    return text
