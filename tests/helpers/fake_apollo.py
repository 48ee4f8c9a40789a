"""A stand-in for a loaded model: same events, answers we can predict, no weights.

The question decides what happens: "slow" writes for minutes, "hang" is silent for minutes before
its first word, "boom" is a bug, "markup" writes HTML and images. Otherwise the answer repeats the
question and says how many messages it was given. Videos are really probed, so bad files give real
sentences.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, make_dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

from apollo.catalog import MODELS
from apollo.video.reader import probe

NUM_CLIPS = 4  # of every video
WORD_S = 0.03
SLOW_WORDS = 8000  # longer than any test waits
ELSEWHERE = "http://elsewhere.invalid/picture.png"
MARKUP = f"""before <script>alert(1)</script> <b>bold</b> x<y ![one]({ELSEWHERE}) ![two][here]

[here]: {ELSEWHERE}

```mermaid
flowchart TD
    A@{{ img: "{ELSEWHERE}", w: 60, h: 60 }}
```
after."""


@dataclass
class Request:
    """As `Apollo.prepare` makes it: small, and it can be sent to another process."""

    text: str
    num_messages: int
    video: str | None
    generation: Any
    num_clips: int
    tokens: Any  # None: the video has to be read

    @property
    def clips_to_encode(self) -> int:
        return 0 if self.tokens is not None else self.num_clips


class FakeApollo:
    def __init__(self, name: str = "nano") -> None:
        self.card = MODELS[name]
        self.asked: list[Any] = []  # (video, messages, generation) of every question
        self.read = 0  # clips that were decoded
        self.closed = 0  # answers that were stopped before their end
        self.kept: dict[str, Any] = {}  # video -> visual tokens

    @contextlib.contextmanager
    def prepare(
        self, video: str | None, question: Any, *, generation: Any, **_: Any
    ) -> Iterator[Any]:
        self.asked.append((video, [dict(m) for m in question], generation))
        request = Request(question[-1]["content"], len(question), video, generation, 0, None)
        if video is not None:
            probe(video)
            request.num_clips, request.tokens = NUM_CLIPS, self.kept.get(video)
        yield SimpleNamespace(
            request=request,
            pixels=lambda: self._pixels(request),
            noted=lambda stats: stats,
            keep=lambda tokens: self.kept.update({video: tokens}),
        )

    def read_ahead(self, video: str, sampling: Any) -> Any:
        probe(video)
        done = dict(done=NUM_CLIPS, total=NUM_CLIPS, is_over=True, error=None)
        return contextlib.nullcontext(SimpleNamespace(**done))

    def _pixels(self, request: Request) -> Iterator[Any]:
        for _ in range(request.clips_to_encode):
            time.sleep(0.02)
            self.read += 1
            yield SimpleNamespace(pixels=[[0.0], [0.0]], lost=(0,))  # one clip for two towers

    def respond(self, request: Request, pixels: Iterable[Any]) -> Iterator[Any]:
        from apollo.events import Done, Encoded, Reading, Stats, Text  # light ones after `install`

        try:
            if total := request.clips_to_encode:
                yield Reading(0, total)
                for done, _ in enumerate(pixels, start=1):
                    yield Reading(done, total)
                yield Encoded([0.0] * total)
            for piece in self._answer(request.text, request.num_messages):
                yield Text(piece)
            reused = request.tokens is not None
            yield Done(Stats(request.num_clips, 8.0, reused, 100, 0, 20, 0.5, 16.0))
        except GeneratorExit:
            self.closed += 1
            raise

    def events(self, video: str | None, question: Any, *, generation: Any, **_: Any) -> Any:
        from apollo.events import Encoded

        messages = (
            [{"role": "user", "content": question}] if isinstance(question, str) else question
        )
        with self.prepare(video, messages, generation=generation) as prepared:
            for event in self.respond(prepared.request, prepared.pixels()):
                if isinstance(event, Encoded):
                    prepared.keep(event.tokens)
                else:
                    yield event

    def _answer(self, text: str, num_messages: int) -> Iterator[str]:
        if "hang" in text:
            for _ in range(6000):
                yield ""
                time.sleep(0.05)
        if "boom" in text:
            yield "so far " if "late" in text else ""
            raise RuntimeError("a bug with /secret/path in it")
        words = f"You asked {text!r} in message {num_messages} and this is my answer.".split()
        if "markup" in text:
            words = [MARKUP]
        if "slow" in text:
            words = [f"word{n}" for n in range(SLOW_WORDS)]
        for word in words:
            time.sleep(WORD_S)
            yield word + " "


def install(load: Callable[..., Any] = lambda *_, **__: FakeApollo()) -> None:
    """Puts light modules into this process, so that it starts without torch.

    `test_actions.py` uses the fake with the real event classes, so the two cannot drift apart.
    """
    events: Any = ModuleType("apollo.events")
    events.Reading = make_dataclass("Reading", ["done", "total"])
    events.Text = make_dataclass("Text", ["piece"])
    events.Encoded = make_dataclass("Encoded", ["tokens"])
    events.Done = make_dataclass("Done", ["stats"])
    events.Stats = make_dataclass(
        "Stats",
        ["clips", "covered_s", "reused_visual_tokens", "prompt_tokens", "reused_prompt_tokens"]
        + ["answer_tokens", "first_token_s", "tokens_per_s", ("note", Any, None)],
    )
    events.Stats.__module__ = events.__name__  # pickled on ZeroGPU
    chat: Any = ModuleType("apollo.chat")
    chat.load = load
    sys.modules |= {"apollo.events": events, "apollo.chat": chat}
