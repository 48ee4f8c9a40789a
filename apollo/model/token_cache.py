"""A bounded cache of visual tokens, shared by content.

The key holds a digest of the file's bytes, so a visitor can only hit an entry by owning the same
bytes. The least recently used entry leaves first. Safe to use from several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor

DEFAULT_MAX_BYTES = 512 * 2**20


class TokenCache:
    """key -> visual tokens (N, K, D), at most `max_bytes` in all, and what was missing in them."""

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[Tensor, str | None]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Tensor | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key, (None, None))[0]

    def warning(self, key: Hashable) -> str | None:
        """What was said about the video when the tokens were made."""
        with self._lock:
            return self._entries.get(key, (None, None))[1]

    def put(self, key: Hashable, tokens: Tensor, warning: str | None = None) -> None:
        """Keeps the tokens on the CPU; something larger than the whole cache is not kept."""
        tokens = tokens.detach().cpu()
        if tokens.nbytes > self.max_bytes:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self._num_bytes += tokens.nbytes - (old[0].nbytes if old is not None else 0)
            self._entries[key] = tokens, warning
            while self._num_bytes > self.max_bytes:
                _, (dropped, _) = self._entries.popitem(last=False)
                self._num_bytes -= dropped.nbytes

    def __len__(self) -> int:
        return len(self._entries)
