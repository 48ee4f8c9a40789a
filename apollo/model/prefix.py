"""What the LLM computed for prompts before, so that only what is new in the next one is computed.

In:  the marks of a prompt (S,), see `marks_of`.   Out: the keys and values of its longest known
beginning, and, after an answer, those of prompt and answer for the next time.
Odd: a prompt begins with its video, so a question about a known video computes little more than
the question, whoever asked about it before. Tensors are only read, never changed in place, so
answers that are written at the same time can begin with the same ones. Bounded in bytes; the least
recently used entry leaves first, and all of them when memory runs out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from apollo.constants import X_TOKEN_INDEX
from apollo.model.memory import Bounded, free_bytes, total_bytes

SHARE_OF_MEMORY = 1 / 16
LARGEST_MAX_BYTES = 4 * 2**30
_SPREAD = 0x9E3779B97F4A7C15  # odd, so that the slots of a clip get different marks
_SIGN = 1 << 63  # slots have negative marks, words have none

Layers = list[tuple[Tensor, Tensor]]  # keys and values (1, heads, S, d) of every layer


def marks_of(ids: Sequence[int], clip_keys: Sequence[Hashable]) -> np.ndarray:
    """One number per place of a prompt (S,), equal where the LLM reads the same.

    A word is its id; a slot is a digest of its clip's key, of 63 bits, and of its place in it.
    """
    marks = np.array(ids, np.int64)
    slots = np.flatnonzero(marks == X_TOKEN_INDEX)
    if len(slots):
        tokens_per_clip = len(slots) // len(clip_keys)
        places = np.arange(tokens_per_clip, dtype=np.uint64) * np.uint64(_SPREAD)
        digests = [hashlib.blake2b(repr(key).encode(), digest_size=8).digest() for key in clip_keys]
        clips = np.frombuffer(b"".join(digests), np.uint64)  # (N,)
        mixed = (clips[:, None] ^ places[None]) | np.uint64(_SIGN)  # (N, K)
        marks[slots] = mixed.reshape(-1).view(np.int64)
    return marks


@dataclass(frozen=True, eq=False)
class _Entry:
    owner: Hashable  # which weights computed it
    marks: np.ndarray  # (S,)
    layers: Layers

    @property
    def num_bytes(self) -> int:
        return sum(k.nbytes + v.nbytes for k, v in self.layers)


class Prefixes(Bounded):
    """Keys and values of the last conversations. Safe to use from several threads."""

    def __init__(self, device: torch.device, max_bytes: int | None = None) -> None:
        """`max_bytes` is a share of the device's memory by default; 0 keeps nothing."""
        if max_bytes is None:
            max_bytes = min(LARGEST_MAX_BYTES, int(total_bytes(device) * SHARE_OF_MEMORY))
        super().__init__(max_bytes)
        self.device = device
        self._entries: list[_Entry] = []  # the one used last is the last

    def _drop(self) -> None:
        while sum(e.num_bytes for e in self._entries) > self._max_bytes:
            del self._entries[0]

    def start(self, owner: Hashable, marks: np.ndarray, config: Any) -> tuple[Any, int]:
        """A cache for `generate` that holds the longest known beginning, and its length.

        It is never the whole prompt, because the last token's scores have to be computed. None
        where this kind of LLM keeps more than keys and values.
        """
        cache = DynamicCache(config=config)
        if any(type(layer) is not DynamicLayer for layer in cache.layers):
            return None, 0
        with self._lock:
            known = [e for e in self._entries if e.owner == owner]
            lengths = [_num_equal(e.marks, marks[:-1]) for e in known]
            length = max(lengths, default=0)
            if not length:
                return cache, 0
            entry = known[lengths.index(length)]
            self._entries = [*(e for e in self._entries if e is not entry), entry]
        layers: list[Any] = cache.layers
        for layer, (keys, values) in zip(layers, entry.layers, strict=True):
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys[:, :, :length], values[:, :, :length]  # views
        return cache, length

    def keep(self, owner: Hashable, marks: np.ndarray, cache: Any) -> None:
        """Keeps what `generate` left in the cache. The last layers may hold less when it was
        stopped, and nothing was computed for the last word."""
        length = min([len(marks), *(layer.get_seq_length() for layer in cache.layers)])
        if not length:
            return
        layers = [(x.keys[:, :, :length], x.values[:, :, :length]) for x in cache.layers]
        entry = _Entry(owner, marks[:length], layers)
        if entry.num_bytes > self.max_bytes:
            return
        if free_bytes(self.device) < entry.num_bytes:
            self.clear()
            return
        with self._lock:
            self._entries = [e for e in self._entries if not _is_part(e, entry)]
            if not any(_is_part(entry, e) for e in self._entries):
                self._entries.append(entry)
            self._drop()

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    @property
    def num_bytes(self) -> int:
        with self._lock:
            return sum(e.num_bytes for e in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[int]:
        """The lengths of the entries in tokens."""
        with self._lock:
            return iter([len(e.marks) for e in self._entries])


def _num_equal(a: np.ndarray, b: np.ndarray) -> int:
    """How many marks are equal at the beginning."""
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length


def _is_part(entry: _Entry, of: _Entry) -> bool:
    length = len(entry.marks)
    return entry.owner == of.owner and _num_equal(entry.marks, of.marks) == length
