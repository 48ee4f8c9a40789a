"""Who is answered next: first come, first served.

In:  threads that want to answer.   Out: for each its place, which becomes the first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Line:
    """Everybody who waits, and at the front who is being answered."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._moved = threading.Condition()

    @contextlib.contextmanager
    def place(self) -> Iterator[Place]:
        """The last place, until the block ends."""
        place = Place(self._places, self._moved)
        with self._moved:
            self._places.append(place)
        try:
            yield place
        finally:
            with self._moved:
                self._places.remove(place)
                self._moved.notify_all()

    def __len__(self) -> int:
        return len(self._places)


class Place:
    """Made by `Line.place`."""

    def __init__(self, places: list[Place], moved: threading.Condition) -> None:
        self._places = places
        self._moved = moved

    @property
    def num_ahead(self) -> int:
        return self._places.index(self)

    def wait(self, timeout_s: float) -> None:
        """Returns as soon as this is the first, at the latest after so long."""
        with self._moved:
            self._moved.wait_for(lambda: not self.num_ahead, timeout_s)
