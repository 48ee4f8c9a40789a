"""How much one question may make us decode, so that a small hostile file cannot hold the machine.

Odd: only reading is timed. The clock stands still while the caller works on a frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator

import numpy as np

from apollo.errors import VideoError
from apollo.settings import Sampling

MAX_DECODED_PIXELS = 2e12  # ten hours of 1080p at 25 frames a second


class Interrupted(Exception):
    """Another thread wants the reading to end."""


class Budget:
    """What is left for one question about one video.

    While `interrupted` is set, reading ends with `Interrupted` at the next packet.
    """

    def __init__(self, name: str, max_read_s: float = Sampling.max_read_s) -> None:
        self._name = name
        self._max_read_s = max_read_s
        self.interrupted = threading.Event()
        self._pixels = 0
        self._spent_s = 0.0
        self._since: float | None = None

    def add_pictures(self, pictures: int, width: int, height: int) -> None:
        """Called with what is about to be decoded.

        Raises:
            VideoError: that is too much.
        """
        self._pixels += pictures * width * height
        if self._pixels > MAX_DECODED_PIXELS:
            raise VideoError(
                f"{self._name} is too much to read at once: {pictures} pictures of "
                f"{width}x{height} pixels would have to be decoded; ask about a shorter part, or "
                "make it smaller."
            )

    def check_time(self) -> None:
        """Called before each packet.

        Raises:
            VideoError: the time for reading is used up.
            Interrupted: another thread asked for it.
        """
        if self.interrupted.is_set():
            raise Interrupted
        now_s = 0.0 if self._since is None else time.monotonic() - self._since
        if self._spent_s + now_s > self._max_read_s:
            raise VideoError(
                f"{self._name} takes longer than {self._max_read_s:g} seconds to read; ask about "
                "a shorter part, or raise max_read_s."
            )

    def timed(self, frames: Iterator[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """The same frames; the time they take to come is spent."""
        while True:
            self._since = time.monotonic()
            try:
                frame = next(frames)
            except StopIteration:
                return
            finally:
                self._spent_s += time.monotonic() - self._since
                self._since = None
            yield frame
            del frame  # before the next is made: large ones would be in memory together
