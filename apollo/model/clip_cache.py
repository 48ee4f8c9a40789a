"""Visual tokens of the clips that were encoded before, in memory and on disk.

In:  a `ClipKey`, which holds a digest of the file's bytes, so a visitor can only hit an entry by
owning the same bytes.   Out: the clip's visual tokens (K, D).
Odd: entries are clips, not videos: another range, or more of the same video, uses what there is.
Bounded in bytes; the least recently used entry leaves first. Safe to use from several threads.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from apollo.model.clip_store import ClipStore
from apollo.model.memory import Bounded

DEFAULT_MAX_BYTES = 512 * 2**20


@dataclass(frozen=True)
class ClipKey:
    """All that decides the visual tokens of a clip, for one model."""

    adapter: str  # that changes how the model sees; "" for none
    content: str  # digest of the file, or of a picture's pixels
    frames: tuple[int, ...]  # numbers of the frames (T,); the height and width of a picture
    exact: bool  # how they were resized


@dataclass(frozen=True)
class EncodedClip:
    """Visual tokens (K, D) on the CPU, and how many of its frames could not be decoded."""

    tokens: Tensor
    num_lost: int = 0


class ClipCache(Bounded):
    """key -> encoded clip, at most `max_bytes` of them in memory; behind it `store`, if any."""

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES, store: ClipStore | None = None) -> None:
        super().__init__(max_bytes)
        self.store = store
        self._entries: OrderedDict[ClipKey, EncodedClip] = OrderedDict()
        self._num_bytes = 0

    def _drop(self) -> None:
        while self._num_bytes > self._max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self._num_bytes -= dropped.tokens.nbytes

    def get(self, key: ClipKey | None) -> EncodedClip | None:
        """None without a key: then nothing is kept."""
        if key is None:
            return None
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        stored = self.store.get(repr(key)) if self.store is not None else None
        if stored is None:
            return None
        clip = EncodedClip(*stored)
        self._put(key, clip)
        return clip

    def put(self, key: ClipKey | None, clip: EncodedClip) -> None:
        if key is None:
            return
        self._put(key, clip)
        if self.store is not None:
            self.store.put(repr(key), clip.tokens, clip.num_lost)

    def _put(self, key: ClipKey, clip: EncodedClip) -> None:
        """Something larger than the whole cache is not kept."""
        if clip.tokens.nbytes > self.max_bytes:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self._num_bytes += clip.tokens.nbytes - (old.tokens.nbytes if old is not None else 0)
            self._entries[key] = clip
            self._drop()

    def clear(self) -> None:
        """Forgets what is in memory; the disk keeps its entries."""
        with self._lock:
            self._entries.clear()
            self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)
