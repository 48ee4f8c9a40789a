"""One video file, opened once: what it is, its digest, and the frames that are asked for.

In:  a path, then ascending frame numbers, or clips.   Out: RGB frames (H, W, 3) uint8, upright, one
at a time, so memory does not grow with the video.
Odd: the index and the digest of a file that has not changed are kept for the process, so a second
question about it does not even open it. Keyframe flags are trusted until one proves wrong, then the
rest of the file is decoded whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from apollo.data.recent import Recent
from apollo.errors import SettingError, VideoError
from apollo.settings import Sampling
from apollo.video.budget import Budget
from apollo.video.clips import Clip
from apollo.video.container import Cursor, existing_file, open_file
from apollo.video.decoding import Damage, GoSlower, decode
from apollo.video.display import fit_into
from apollo.video.index import PacketIndex, read_index
from apollo.video.info import VideoInfo
from apollo.video.survey import Survey, survey_of

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "decord")
LARGE_PIXELS = 1920 * 1200
MOST_THREADS = 8
_CHUNK_BYTES = 1 << 20
_indices: Recent[PacketIndex] = Recent(32)  # about 2 MB for an hour of video
_digests: Recent[str] = Recent(1024)
_surveys: Recent[Survey | None] = Recent(32)  # up to 4 MB for a long video


class Video:
    """A video file; a context manager. For one thread at a time.

    Decoding may take `max_read_s` seconds altogether.

    `warning` tells what was missing, if anything was; `num_opens` how often the file was opened for
    this object, and `num_frames_read` how many frames were decoded and given.

    Raises:
        VideoError: the file cannot be used; in one sentence.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        num_threads: int | None = None,
        max_read_s: float = Sampling.max_read_s,
    ) -> None:
        self.num_opens = self.num_frames_read = 0
        self._num_threads = num_threads
        self._running: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()
        self._users: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()
        self._opened: BinaryIO | None = None
        self._is_closed = False
        self._path = existing_file(path)
        self._state = _state_of(self._path, os.stat(self._path))
        # The name of another open file may soon mean nothing; other files are opened when needed.
        if self._path.startswith(("/dev/", "/proc/")) or _indices.kept(self._state) is None:
            self._opened = self._open()
            self._state = _state_of(self._path, os.fstat(self._opened.fileno()))
        try:
            self._index = _indices.get(self._state, lambda: read_index(self._file))
        except BaseException:
            self.close()
            raise
        self.max_read_s = max_read_s
        self._budget = Budget(os.path.basename(self._path), max_read_s)
        self._way = self._index.way
        self.info: VideoInfo = self._index.info
        self.warning = self._index.warning

    @property
    def _file(self) -> BinaryIO:
        if self._is_closed:
            raise ValueError(f"{self._path} is closed")
        if self._opened is None:
            file = self._open()
            if _state_of(self._path, os.fstat(file.fileno())) != self._state:
                file.close()
                name = os.path.basename(self._path)
                raise VideoError(f"{name} has changed since it was looked at; ask again.")
            self._opened = file
        return self._opened

    def _open(self) -> BinaryIO:
        self.num_opens += 1
        return open_file(self._path)

    @property
    def state(self) -> tuple[Any, ...]:
        """Another one when the file has another content."""
        return self._state

    @property
    def has_changed(self) -> bool:
        """Whether the open file was written to: its frames may not be those of its digest."""
        if self._opened is None:
            return False
        now = os.fstat(self._opened.fileno())
        return (now.st_size, now.st_mtime_ns) != self._state[3:5]

    @property
    def name(self) -> str:
        return os.path.basename(self._path)

    @property
    def index_warning(self) -> str | None:
        """What is known to be wrong before anything is decoded."""
        return self._index.warning

    @property
    def digest(self) -> str:
        """A digest of the file's content."""
        return _digests.get(self._state, self._digest)

    def _digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        content = Cursor(self._file)
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
        return digest.hexdigest()

    def survey(self) -> Survey | None:
        """What a cheap first pass over the file tells; None where none can be made.

        Raises:
            VideoError: the time for reading is used up.
        """
        make = lambda: survey_of(self._file, self._index, self._budget)  # noqa: E731
        return _surveys.get(self._state, make)

    def tell(self) -> None:
        """Logs the warning; for callers that cannot hand it to a person."""
        if self.warning:
            logger.warning(self.warning)

    def __len__(self) -> int:
        return self.info.num_frames

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every iteration that is under way and closes the file."""
        for iteration in [*self._users, *self._running]:
            iteration.close()
        self._is_closed = True
        if self._opened is not None:
            self._opened.close()

    def close_first(self, user: Generator[Any, None, None]) -> None:
        """Has `close` end this iteration, which reads the video, before all others."""
        self._users.add(user)

    @property
    def interrupted(self) -> threading.Event:
        """While another thread has this set, reading frames ends with `budget.Interrupted`."""
        return self._budget.interrupted

    def frames(
        self, frame_ids: Sequence[int], damage: Damage | None = None
    ) -> Generator[np.ndarray, None, None]:
        """The frames (H, W, 3) uint8 of ascending numbers; a repeated number gives the same array.

        A frame that cannot be decoded is replaced by the one before it, which is counted in
        `warning` at the end, and in `damage` at once; too many of them are a `VideoError`.
        """
        ids = [int(i) for i in frame_ids]
        if any(later < earlier for earlier, later in zip(ids, ids[1:], strict=False)):
            raise ValueError("frame_ids must ascend")
        if ids and not 0 <= ids[0] <= ids[-1] < len(self):
            raise IndexError(f"frame_ids must lie in 0..{len(self) - 1}, not {ids[0]}..{ids[-1]}")
        frames = self._frames(ids, damage or self.damage_of(ids))
        self._running.add(frames)
        return frames

    def damage_of(self, frame_ids: Iterable[int]) -> Damage:
        """To be filled in while `frames` reads these."""
        return Damage(self.name, asked=len(set(frame_ids)))

    @property
    def _threads(self) -> int:
        """For decoding. On two cores four take 0.85 of the time of two and the same CPU seconds,
        because they go on while a frame is converted; but each holds pictures, so for large ones
        there are no more than cores."""
        cores = os.cpu_count() or 2
        wanted = cores if self.is_large else cores + 2
        return self._num_threads or min(MOST_THREADS, max(2, wanted))

    @property
    def is_large(self) -> bool:
        """A few of its pictures take much memory."""
        return self.info.width * self.info.height > LARGE_PIXELS

    def _frames(self, ids: list[int], damage: Damage) -> Generator[np.ndarray, None, None]:
        counts = Counter(ids)
        wanted = deque(counts)
        before: Any = None
        while wanted:
            how = (self._way, self._threads, damage, before, self._budget)
            frames = decode(self._file, self._index, list(wanted), *how)
            try:
                for frame in self._budget.timed(frames):
                    self.num_frames_read += 1
                    for _ in range(counts[wanted.popleft()]):
                        yield frame
                    del frame  # before the next is made
            except GoSlower as slower:
                logger.debug("%s: decoding the rest %s", damage.name, slower.way.value)
                self._way, before = slower.way, slower.before
        if damage.is_real:
            self.warning = " ".join(filter(None, [self._index.warning, damage.sentence()]))

    def read(
        self, clips: Sequence[Clip], *, backend: str = "auto"
    ) -> Generator[np.ndarray, None, None]:
        """Each clip's frames (T, H, W, 3) uint8, one clip at a time; clips may overlap.

        `backend` is "auto" for the reader of this module or "decord" for the decord package, which
        is slower and wrong on some containers, and opens the file for itself.

        Raises:
            SettingError: there is no such backend, or it is not installed.
        """
        if backend not in BACKENDS:
            names = " or ".join(f'"{name}"' for name in BACKENDS)
            raise SettingError(f"There is no video backend {backend!r}; choose {names}.")
        if backend == "decord":
            self.num_opens += 1
            return _read_with_decord(self.info.path, clips, _import_decord())
        return self._read(clips)

    def _read(self, clips: Sequence[Clip]) -> Generator[np.ndarray, None, None]:
        uses = Counter(i for clip in clips for i in clip.frame_ids)  # not yet handed out
        ids = sorted(uses)
        frames = self.frames(ids)
        coming = zip(ids, frames, strict=True)
        at_hand: dict[int, np.ndarray] = {}
        for clip in clips:
            yield _filled(clip, coming, at_hand, uses)
        for _ in frames:  # run to the end, so that damage is reported
            raise AssertionError("a frame was read that no clip wants")


def _state_of(path: str, state: os.stat_result) -> tuple[Any, ...]:
    """Another one when the file has another content."""
    return (
        path,
        state.st_dev,
        state.st_ino,
        state.st_size,
        state.st_mtime_ns,
        state.st_ctime_ns,
    )


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Rate, length and size of a video; raises `VideoError` if it cannot be used."""
    with Video(path) as video:
        return video.info


def read_clips(
    path: str | os.PathLike[str], clips: Sequence[Clip], *, backend: str = "auto"
) -> Generator[np.ndarray, None, None]:
    """`Video.read` of a file that is open no longer than the clips are read."""
    with Video(path) as video:
        yield from video.read(clips, backend=backend)
        video.tell()


def _filled(
    clip: Clip,
    coming: Iterator[tuple[int, np.ndarray]],
    at_hand: dict[int, np.ndarray],
    uses: Counter[int],
) -> np.ndarray:
    """(T, H, W, 3), each frame copied in as it comes; all get the first one's size."""
    shown: np.ndarray | None = None
    for place, wanted in enumerate(clip.frame_ids):
        while wanted not in at_hand:
            number, frame = next(coming)
            at_hand[number] = frame
        frame = at_hand[wanted]
        if shown is None:
            shown = np.empty((len(clip.frame_ids), *frame.shape), np.uint8)
        fit_into(frame, shown[place])
        uses[wanted] -= 1
        if not uses[wanted]:
            del at_hand[wanted]
    assert shown is not None, "a clip has frames"
    return shown


def _import_decord() -> Any:
    try:
        import decord
    except ImportError as error:
        raise SettingError(
            'The video backend "decord" is not installed; run: pip install "apollo-video[decord]"'
        ) from error
    return decord


def _read_with_decord(
    path: str, clips: Sequence[Clip], decord: Any
) -> Generator[np.ndarray, None, None]:
    try:
        reader = decord.VideoReader(path, num_threads=2)
        for clip in clips:
            yield reader.get_batch(list(clip.frame_ids)).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        name = os.path.basename(path)
        raise VideoError(f'decord cannot read {name}; use the backend "auto".') from error
