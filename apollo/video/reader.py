"""A video file to the frames that were asked for, and to nothing else.

In: a path and ascending frame numbers, or clips. Out: RGB frames (H, W, 3) uint8, upright, one at a
time, so memory does not grow with the video; or a picture file to one such frame.
The odd part: keyframes are believed until one turns out to be none, then the rest of the file is
decoded whole.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from apollo.errors import SettingError, VideoError
from apollo.video.clips import Clip, VideoInfo
from apollo.video.container import MAX_SIDE
from apollo.video.decoding import Damage, GoSlower, decode
from apollo.video.index import read_index

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "decord")


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Rate, length and size of a video; raises `VideoError` if it cannot be used."""
    return read_index(path).info


def read_clips(
    path: str | os.PathLike[str], clips: Sequence[Clip], *, backend: str = "auto"
) -> Iterator[np.ndarray]:
    """Each clip's frames (T, H, W, 3) uint8, one clip at a time; clips may overlap.

    `backend` is "auto" for the reader of this module or "decord" for the decord package, which is
    slower and wrong on some containers and there to compare with.
    """
    if backend not in BACKENDS:
        names = " or ".join(f'"{name}"' for name in BACKENDS)
        raise SettingError(f"There is no video backend {backend!r}; choose {names}.")
    if backend == "decord":
        return _read_clips_with_decord(path, clips, _import_decord())
    return _read_clips(path, clips)


class VideoReader:
    """Reads chosen frames of one file; `warning` tells what was missing, if anything was."""

    def __init__(self, path: str | os.PathLike[str], *, num_threads: int = 2) -> None:
        self._index = read_index(path)
        self._threads = num_threads
        self._way = self._index.way
        self._running: weakref.WeakSet[Generator[np.ndarray, None, None]] = weakref.WeakSet()
        self.info = self._index.info
        self.warning = self._index.warning

    def __len__(self) -> int:
        return self.info.num_frames

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every iteration that is under way; each holds the file open until it ends."""
        for frames in list(self._running):
            frames.close()

    def iter_frames(self, frame_ids: Sequence[int]) -> Generator[np.ndarray, None, None]:
        """The frames (H, W, 3) uint8 of ascending numbers; a repeated number gives the same array.

        A frame that cannot be decoded is replaced by the one before it, which is counted in
        `warning`; too many of them are a `VideoError`.
        """
        ids = [int(i) for i in frame_ids]
        if any(later < earlier for earlier, later in zip(ids, ids[1:], strict=False)):
            raise ValueError("frame_ids must ascend")
        if ids and not 0 <= ids[0] <= ids[-1] < len(self):
            raise IndexError(f"frame_ids must lie in 0..{len(self) - 1}, not {ids[0]}..{ids[-1]}")
        frames = self._frames(ids)
        self._running.add(frames)
        return frames

    def _frames(self, ids: list[int]) -> Generator[np.ndarray, None, None]:
        counts = Counter(ids)
        wanted = deque(counts)
        damage = Damage(os.path.basename(self.info.path), asked=len(counts))
        while wanted:
            try:
                frames = decode(self._index, list(wanted), self._way, self._threads, damage)
                for frame in frames:
                    for _ in range(counts[wanted.popleft()]):
                        yield frame
            except GoSlower as slower:
                logger.debug("%s: decoding the rest %s", damage.name, slower.way.value)
                self._way = slower.way
        if damage.is_real:
            self.warning = damage.sentence()
            logger.warning(self.warning)


def read_image(
    source: str | os.PathLike[str] | Image.Image | np.ndarray,
) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB, turned as its EXIF data says; transparency is dropped."""
    if isinstance(source, np.ndarray):
        return _rgb_of_array(source)
    if isinstance(source, Image.Image):
        return _rgb_of_image(source, "The picture")
    name = os.path.basename(os.path.abspath(os.fspath(source)))
    try:
        with Image.open(source) as image:
            return _rgb_of_image(image, name)
    except FileNotFoundError as error:
        raise VideoError(f"No such picture: {name}; check the path.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VideoError(_too_large(name)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise VideoError(
            f"{name} is not a picture this program can read; save it as JPEG or PNG."
        ) from error


def _rgb_of_image(image: Image.Image, name: str) -> np.ndarray:
    if max(image.size) > MAX_SIDE:  # the size is known before the pixels are decoded
        raise VideoError(_too_large(name))
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def _rgb_of_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    ):
        raise VideoError(
            f"A picture of shape {array.shape} and type {array.dtype} cannot be used; "
            "give (height, width, 3) uint8."
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)  # (H, W) -> (H, W, 3)
    return np.ascontiguousarray(array[:, :, :3])


def _too_large(name: str) -> str:
    return f"{name} is larger than {MAX_SIDE}x{MAX_SIDE} pixels; make it smaller."


def _read_clips(
    path: str | os.PathLike[str], clips: Sequence[Clip]
) -> Generator[np.ndarray, None, None]:
    uses = Counter(i for clip in clips for i in clip.frame_ids)  # not yet handed out
    at_hand: dict[int, np.ndarray] = {}
    with VideoReader(path) as reader:
        ids = sorted(uses)
        frames = reader.iter_frames(ids)
        coming = iter(ids)
        for clip in clips:
            while not all(i in at_hand for i in clip.frame_ids):
                at_hand[next(coming)] = next(frames)
            yield _stack([at_hand[i] for i in clip.frame_ids])
            uses.subtract(clip.frame_ids)
            for i in [i for i in at_hand if uses[i] == 0]:
                del at_hand[i]
        for _ in frames:  # to its end, where it says what was lost
            raise AssertionError("a frame was read that no clip wants")


def _stack(frames: list[np.ndarray]) -> np.ndarray:
    """(T, H, W, 3); where the picture size changes inside a clip, the first frame's size."""
    height, width = frames[0].shape[:2]
    clip = np.empty((len(frames), height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        if frame.shape[:2] != (height, width):
            frame = np.asarray(Image.fromarray(frame).resize((width, height)))
        clip[i] = frame
    return clip


def _import_decord() -> Any:
    try:
        import decord
    except ImportError as error:
        raise SettingError(
            'The video backend "decord" is not installed; run: pip install "apollo-video[decord]"'
        ) from error
    return decord


def _read_clips_with_decord(
    path: str | os.PathLike[str], clips: Sequence[Clip], decord: Any
) -> Generator[np.ndarray, None, None]:
    info = probe(path)  # refuses what must not be opened, with a sentence
    name = os.path.basename(info.path)
    try:
        reader = decord.VideoReader(info.path, num_threads=2)
        for clip in clips:
            yield reader.get_batch(list(clip.frame_ids)).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise VideoError(f'decord cannot read {name}; use the backend "auto".') from error
