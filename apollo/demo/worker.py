"""One model for all visitors: loading it, asking it, and pacing what it says.

In:  a model name; questions from many threads.  Out: steps ("status" | "text" | "beat" | "error",
text), at least four and at most about fifteen a second, so a page stays smooth and Stop is prompt.
Odd: work is handed to a thread and never joined, because a web server closes a generator on its
event loop, where waiting would freeze every visitor; the model's lock keeps turns apart instead.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import logging
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import apollo
from apollo.demo.turns import Message

log = logging.getLogger(__name__)

Step = tuple[str, str]
BEAT: Step = ("beat", "")
BEAT_S = 0.2  # the longest silence
UPDATE_S = 1 / 15  # the shortest time between two steps
BURST_UPDATES = 3  # a burst of text takes at least about so many


class Host:
    """The one model of this process. It loads in the background while the page is served."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.adapter = ""  # folder of the adapter that the model answers with
        self.model: Any = None
        self.problem = ""  # a sentence, when loading failed
        self.ready = threading.Event()  # set when loading is over, well or badly
        self.turn = threading.Lock()  # held by the one answer being written

    def start(self, name: str, **options: Any) -> None:
        self.name, self.adapter = name, options.get("adapter") or ""
        threading.Thread(target=self.load, kwargs=options, name="load-model", daemon=True).start()

    def load(self, **options: Any) -> None:
        try:
            self.model = apollo.load(self.name, **options)
        except apollo.ApolloError as error:
            self.problem = str(error)
            log.error("apollo: %s", error)
        except Exception:
            self.problem = f"The model {self.name} could not be loaded; the server's log says why."
            log.exception("apollo: loading %s failed", self.name)
        finally:
            self.ready.set()

    def steps(
        self,
        video: str | None,
        messages: list[Message],
        temperature: float,
        top_p: float,
        max_new_tokens: int,
    ) -> Generator[Step, None, None]:
        """One answer. A failure is a step too: a ZeroGPU worker would pass on only the name of an
        exception's class."""
        try:
            settings = apollo.Generation(
                temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens
            )
            with self.turn:  # a stopped answer may still be finishing its last token
                yield BEAT
                events = self.model.events(video, messages, generation=settings)
                with contextlib.closing(events):
                    yield from map(_step, events)
        except apollo.ApolloError as error:
            yield "error", str(error)
        except Exception:
            reference = uuid.uuid4().hex[:8]
            log.exception("apollo: answering failed, reference %s", reference)
            yield (
                "error",
                (
                    "Something went wrong while answering; try again, and if it happens again, "
                    f"report it with the reference {reference}."
                ),
            )


def _step(event: Any) -> Step:
    if isinstance(event, apollo.Text):
        return ("text", event.piece) if event.piece else BEAT
    if isinstance(event, apollo.Reading):
        return "status", f"Reading the video: {event.done} of {event.total} clips"
    return "status", _summary(event.stats)


def _summary(stats: Any) -> str:
    """How the answer came about, in a line."""
    reading = "reused" if stats.reused_visual_tokens else "read"
    parts = [f"{stats.clips} clips {reading}"] if stats.clips else []
    parts += [f"first word after {stats.first_token_s:.1f} s", f"{stats.tokens_per_s:.0f} tokens/s"]
    return " · ".join(parts) + (f" · {stats.note}" if stats.note else "")


def beats(items: Iterator[Step]) -> Generator[Step, None, None]:
    """The same steps, run in a thread and paced; `BEAT` fills the silence.

    A burst of text is spread over a few updates, so that an answer which came all at once is still
    seen to be written, and no backlog lasts. Closing this closes `items` as soon as they have
    yielded once more.
    """
    inbox: queue.SimpleQueue[Step | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        try:
            for item in items:
                if stop.is_set():
                    break
                inbox.put(item)
        except Exception as error:
            inbox.put(error)
        finally:
            if isinstance(items, Generator):
                items.close()
            inbox.put(None)

    # A copy of the context carries the visitor's request, which ZeroGPU's quota is counted by.
    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True).start()
    backlog: deque[Step | BaseException | None] = deque()
    try:
        while True:
            _wait_for_more(inbox, backlog)
            step = _next_step(backlog) if backlog else BEAT
            if step is None:
                return
            if isinstance(step, BaseException):
                raise step
            yield step
    finally:
        stop.set()


def _wait_for_more(inbox: queue.SimpleQueue, backlog: deque) -> None:
    """Moves what has come in to the backlog, at most `BEAT_S` after nothing has."""
    with contextlib.suppress(queue.Empty):
        if not backlog:
            backlog.append(inbox.get(timeout=BEAT_S))
        time.sleep(UPDATE_S)
        while True:
            backlog.append(inbox.get_nowait())


def _next_step(backlog: deque[Step | BaseException | None]) -> Step | BaseException | None:
    """Takes the next update: a share of the text that waits, or the last of other steps alike."""
    first = backlog.popleft()
    if not isinstance(first, tuple):
        return first
    kind = first[0]
    alike = list(itertools.takewhile(lambda s: isinstance(s, tuple) and s[0] == kind, backlog))
    num_more = len(alike) // BURST_UPDATES if kind == "text" else len(alike)
    more = [backlog.popleft() for _ in range(num_more)]
    texts = [first[1], *(step[1] for step in more if isinstance(step, tuple))]
    return kind, "".join(texts) if kind == "text" else texts[-1]
