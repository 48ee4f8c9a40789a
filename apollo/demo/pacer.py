"""What a thread produces, handed on as soon as it is there, in at most 15 updates a second.

In:  an iterator, run in a thread.  Out: lists of its items; an empty list says that it is silent.
Odd: the thread is never joined, because a web server closes a generator on its event loop, where
waiting would freeze every visitor.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

SILENCE_S = 0.2  # after so long without an item comes an empty list
UPDATE_S = 1 / 15  # the shortest time between two updates

Item = TypeVar("Item")


@dataclass(frozen=True)
class End:
    """After the last item."""

    error: Exception | None = None


def paced(items: Iterator[Item | None]) -> Generator[list[Item], None, None]:
    """The items, several at once when they come fast. None is a sign of life and left out.

    Closing this closes `items` as soon as they have yielded once more; an exception in `items` is
    raised here after what came before it.
    """
    inbox: queue.SimpleQueue[Item | End] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        end = End()
        try:
            for item in items:
                if stop.is_set():
                    break
                if item is not None:
                    inbox.put(item)
        except Exception as error:
            end = End(error)
        finally:
            if isinstance(items, Generator):
                items.close()
            inbox.put(end)

    # A copy of the context carries the visitor's request, which ZeroGPU's quota is counted by.
    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True).start()
    try:
        yield from updates(inbox)
    finally:
        stop.set()


def updates(
    inbox: Any, clock_s: Callable[[], float] = time.monotonic
) -> Generator[list, None, None]:
    """What waits in the inbox, all of it at once, at most every `UPDATE_S`, until `End`.

    The first item after a pause and the last one before the end do not wait at all.
    """
    due_s = clock_s()
    while True:
        try:
            waiting = [inbox.get(timeout=SILENCE_S)]
        except queue.Empty:
            yield []
            continue
        with contextlib.suppress(queue.Empty):
            while not isinstance(waiting[-1], End):
                left_s = due_s - clock_s()
                waiting.append(inbox.get(timeout=left_s) if left_s > 0 else inbox.get(block=False))
        end = waiting.pop() if isinstance(waiting[-1], End) else None
        due_s = clock_s() + UPDATE_S
        if waiting:
            yield waiting
        if isinstance(end, End):
            if end.error is not None:
                raise end.error
            return
