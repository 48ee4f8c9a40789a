"""Videos that are being read: a thread decodes and encodes, and whoever needs the clips waits.

In:  a `Prepared` request.   Out: its clips, one after the other.
Odd: questions about the same new video share one reading; it ends when nobody waits for it any
more. Reading ahead of a question is the same with nobody waiting: it rests while an answer is
written, unless that answer waits for it. One video at a time is read ahead in a process.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from apollo.data.heap import trim_heap
from apollo.errors import ApolloError
from apollo.events import Prepared
from apollo.model.clip_cache import ClipCache, ClipKey, EncodedClip
from apollo.model.visual_tokens import Viewer
from apollo.video.budget import Interrupted
from apollo.video.clips import Clip
from apollo.video.reader import Video

log = logging.getLogger(__name__)

Then: TypeAlias = Callable[[Prepared, Callable[[], None]], None]
HEARTBEAT_S = 0.2  # a caller gets a chance to stop this often
LOOK_AGAIN_S = 0.05  # whether an answer is still being written


class Cancelled(Exception):
    """Nobody waits for the reading any more; raised in its thread, never outside."""


class ClipReading:
    """The clips of one video, in the order in which they are read. Made by `Readings`."""

    def __init__(
        self,
        video: Video,
        clips: Sequence[Clip],
        keys: Sequence[ClipKey | None],
        is_busy: Callable[[], bool],
        work: Callable[[ClipReading], None],
    ) -> None:
        """`work` is what its thread does; `is_busy` says whether an answer is being written."""
        self.keys = tuple(keys)
        self.error: BaseException | None = None
        self.is_over = False
        self._video = video
        self._clips = clips
        self._encoded: list[EncodedClip] = []
        self._is_busy = is_busy
        self._num_waiting = 0  # questions
        self._is_ahead = False
        self._is_cancelled = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._run, args=(work,), name="apollo-reading", daemon=True
        )

    @property
    def num_done(self) -> int:
        return len(self._encoded)

    def _run(self, work: Callable[[ClipReading], None]) -> None:
        try:
            work(self)
        except BaseException as error:
            is_known = isinstance(error, ApolloError | Cancelled | Interrupted)
            if not is_known and not self._num_waiting:
                log.warning("%s could not be read ahead.", self._video.name, exc_info=error)
            traceback.clear_frames(error.__traceback__)  # tensors that would stay with the error
            self.error = error
        finally:
            self._video.close()
            trim_heap()  # what decoding took
            with self._changed:
                self.is_over = True
                self._changed.notify_all()

    # ---- in the thread -------------------------------------------------------------------

    def encode(self, viewer: Viewer, cache: ClipCache, exact: bool) -> None:
        """Decodes and encodes every clip."""
        with contextlib.closing(viewer.pixels(self._video, self._clips, exact)) as groups:
            while True:
                self.wait_for_turn()
                group = next(groups, None)
                if group is None:
                    return
                self.wait_for_turn()
                is_kept = not self._video.has_changed
                for tokens, num_lost in zip(
                    viewer.encode(group.pixels).cpu(), group.lost, strict=True
                ):
                    clip = EncodedClip(tokens.clone(), num_lost)
                    cache.put(self.keys[self.num_done] if is_kept else None, clip)
                    with self._changed:
                        self._encoded.append(clip)
                        self._changed.notify_all()

    def wait_for_turn(self) -> None:
        """Returns when the work may go on.

        Raises:
            Cancelled: nobody wants it any more.
        """
        with self._changed:
            while not (self._is_cancelled or self._num_waiting) and self._is_busy():
                self._changed.wait(LOOK_AGAIN_S)
            if self._is_cancelled:
                raise Cancelled

    # ---- for those who want the clips ----------------------------------------------------

    def may_take(self, prepared: Prepared) -> bool:
        """Whether its limit of time is not below that of the question."""
        return prepared.video is None or self._video.max_read_s >= prepared.video.max_read_s

    def join(self, ahead: bool = False) -> bool:
        """From now on a question waits, or the video is read ahead; False if it is too late."""
        with self._changed:
            if self._is_cancelled or self.error is not None:
                return False
            self._num_waiting += not ahead
            self._is_ahead |= ahead
            self._changed.notify_all()
            if self._thread.ident is None:
                self._thread.start()
                _started.add(self)
        return True

    def leave(self, ahead: bool = False) -> None:
        """Ends the thread unless somebody else wants the clips."""
        with self._changed:
            self._num_waiting -= not ahead
            self._is_ahead &= not ahead
            if self._num_waiting or self._is_ahead:
                return
            self._is_cancelled = True
        self.cancel()

    def cancel(self) -> None:
        """Ends the thread, also while it waits for frames. Nobody can join any more."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()
        self._video.interrupted.set()
        if self._thread is not threading.current_thread():  # in which garbage may be collected
            self._thread.join()

    def clips(self, places: Sequence[int]) -> Iterator[EncodedClip | None]:
        """The clips at these ascending places, as they come; None is a sign of life.

        Raises:
            ApolloError: the video cannot be read, or its clips cannot be encoded.
        """
        for place in places:
            while place >= len(self._encoded):
                with self._changed:
                    if place >= len(self._encoded) and not self.is_over:
                        self._changed.wait(HEARTBEAT_S)
                if place < len(self._encoded):
                    break
                if self.is_over:
                    assert self.error is not None, (
                        "a reading that is waited for ends with its clips"
                    )
                    raise self.error
                yield None
            yield self._encoded[place]

    def wait(self, timeout_s: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.is_over, timeout_s)


class Readings:
    """The readings of one model."""

    def __init__(self, viewer: Viewer, cache: ClipCache, is_busy: Callable[[], bool]) -> None:
        self._viewer = viewer
        self._cache = cache
        self._is_busy = is_busy
        self._running: list[ClipReading] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, prepared: Prepared) -> Iterator[Iterator[int]]:
        """Reads the missing clips of a question; gives how many there are, again and again.

        They are added to `prepared`. Joins a reading that is under way where it has all of them
        and may take as long.
        """
        reading, places = self._found(prepared, None, ahead=False)
        try:
            yield _taken(prepared, reading, places)
        finally:
            reading.leave()

    def ahead(self, prepared: Prepared, then: Then) -> ReadAhead:
        """Reads them without anybody waiting; afterwards `then` goes on in the same thread."""
        reading, places = self._found(prepared, then, ahead=True)
        return ReadAhead(reading, prepared.request.selection.num_clips, len(places))

    def cancel(self) -> None:
        """Ends what is read ahead."""
        with self._lock:
            running = [*self._running]
        for reading in running:
            reading.leave(ahead=True)

    def _found(
        self, prepared: Prepared, then: Then | None, ahead: bool
    ) -> tuple[ClipReading, list[int]]:
        """A reading that is joined already, and the places in it of the missing clips."""
        wanted = [prepared.request.selection.keys[place] for place in prepared.request.missing]
        with self._lock:
            self._running = [reading for reading in self._running if not reading.is_over]
            for reading in self._running:
                places = _places(wanted, reading.keys)
                if places and reading.may_take(prepared) and reading.join(ahead):
                    return reading, places
            reading = self._new(prepared, then)
            reading.join(ahead)
            self._running.append(reading)
        return reading, list(range(len(wanted)))

    def _new(self, prepared: Prepared, then: Then | None) -> ClipReading:
        """From now on the video belongs to the reading."""
        selection, missing = prepared.request.selection, prepared.request.missing

        def work(reading: ClipReading) -> None:
            if missing:
                reading.encode(self._viewer, self._cache, prepared.exact)
            if then is not None:
                for _ in _taken(prepared, reading, range(len(missing))):
                    reading.wait_for_turn()
                then(prepared, reading.wait_for_turn)

        return ClipReading(
            prepared.give_video(),
            [selection.clips[place] for place in missing],
            [selection.keys[place] for place in missing],
            self._is_busy,
            work,
        )


def _places(wanted: Sequence[ClipKey | None], keys: Sequence[ClipKey | None]) -> list[int]:
    """Where the wanted clips are in a reading, if all are there and in this order."""
    if None in wanted or not {*wanted} <= {*keys}:
        return []
    places = [keys.index(key) for key in wanted]
    return places if places == sorted(places) else []


def _taken(prepared: Prepared, reading: ClipReading, places: Sequence[int]) -> Iterator[int]:
    """Adds the clips at these places to the question; how many there are, again and again."""
    missing = iter(prepared.request.missing)
    num_done = 0
    for clip in reading.clips(places):
        if clip is not None:
            prepared.add(next(missing), clip)
            num_done += 1
        yield num_done


_ahead: list[weakref.ref[ClipReading]] = []  # the one of this process
_ahead_lock = threading.Lock()
_started: weakref.WeakSet[ClipReading] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """A thread that computes while the interpreter ends may crash it."""
    for reading in [*_started]:
        reading.cancel()


class ReadAhead:
    """A video that is being read before anybody asks. Made by `Apollo.read_ahead`."""

    def __init__(self, reading: ClipReading, total: int, num_missing: int) -> None:
        self.total = total  # clips
        self._kept = total - num_missing
        self._reading = reading

    def end_others(self) -> None:
        """Ends what else is read ahead in this process."""
        with _ahead_lock:
            before = [reading for known in _ahead if (reading := known()) is not None]
            _ahead[:] = [weakref.ref(self._reading)]
        for reading in before:
            if reading is not self._reading:
                reading.leave(ahead=True)

    @property
    def done(self) -> int:
        """Clips that need not be read any more."""
        return min(self.total, self._kept + self._reading.num_done)

    @property
    def is_over(self) -> bool:
        """All is read, or it was cancelled, or it failed."""
        return self._reading.is_over

    @property
    def error(self) -> ApolloError | None:
        """Why it failed, if it did; a question about the video says the same."""
        error = self._reading.error
        return error if isinstance(error, ApolloError) else None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it is over, after at most so long."""
        return self._reading.wait(timeout_s)

    def close(self) -> None:
        """Ends the reading, unless a question waits for it. What has been read is kept."""
        self._reading.leave(ahead=True)

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
