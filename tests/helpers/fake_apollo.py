"""A stand-in for a loaded model: same events, answers we can predict, no weights.

The question decides what happens: "slow" writes for minutes, "hang" is silent for minutes before
its first word, "boom" is a bug, "markup" writes HTML. Otherwise the answer repeats the question and
says how many messages it was given. Videos are really probed, so bad files give real sentences.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import apollo
from apollo.catalog import MODELS
from apollo.video.reader import probe

WORD_S = 0.06
SLOW_WORDS = 4000  # longer than any test waits


class FakeApollo:
    def __init__(self, name: str = "nano") -> None:
        self.card = MODELS[name]
        self.asked: list[Any] = []  # (video, messages, generation) of every question
        self.closed = 0  # answers that were stopped before their end

    def clips(self, video: str, sampling: Any = None) -> list[Any]:
        probe(video)
        return [SimpleNamespace(start_s=0.0, end_s=2.0)] * 4

    def events(
        self, video: str | None, question: Any, *, sampling: Any = None, generation: Any
    ) -> Iterator[Any]:
        if isinstance(question, str):
            question = [{"role": "user", "content": question}]
        self.asked.append((video, [dict(m) for m in question], generation))
        text = question[-1]["content"]
        try:
            if video is not None:
                for done, _ in enumerate([None, *self.clips(video)]):
                    yield apollo.Reading(done, 4)
                    time.sleep(0.02)
            yield from self._answer(text, len(question))
            yield apollo.Done(_stats())
        except GeneratorExit:
            self.closed += 1
            raise

    def _answer(self, text: str, num_messages: int) -> Iterator[Any]:
        if "hang" in text:
            for _ in range(6000):
                yield apollo.Text("")
                time.sleep(0.05)
        if "boom" in text:
            yield apollo.Text("so far ") if "late" in text else apollo.Text("")
            raise RuntimeError("a bug with /secret/path in it")
        words = f"You asked {text!r} in message {num_messages} and this is my answer.".split()
        if "markup" in text:
            words = ["before", "<script>alert(1)</script>", "<b>bold</b>", "x<y", "after."]
        if "slow" in text:
            words = [f"word{n}" for n in range(SLOW_WORDS)]
        for word in words:
            time.sleep(WORD_S)
            yield apollo.Text(word + " ")


def _stats() -> Any:
    from apollo.chat import Stats

    return Stats(4, 8.0, False, 100, 20, 0.5, 16.0)


def install(load: Callable[..., Any] = lambda *_, **__: FakeApollo()) -> None:
    """Puts a light `apollo.chat` into this process, so that it starts without torch.

    `test_app.py` uses the fake with the real event classes, so the two cannot drift apart.
    """
    chat: Any = ModuleType("apollo.chat")
    chat.Reading = make_dataclass("Reading", ["done", "total"])
    chat.Text = make_dataclass("Text", ["piece"])
    chat.Done = make_dataclass("Done", ["stats"])
    chat.Stats = make_dataclass(
        "Stats",
        ["clips", "covered_s", "reused_visual_tokens", "prompt_tokens", "answer_tokens"]
        + ["first_token_s", "tokens_per_s", ("note", Any, None)],
    )
    chat.load = load
    sys.modules["apollo.chat"] = chat
