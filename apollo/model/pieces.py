"""Token ids, one at a time, to pieces of text that add up to the whole text.

In:  ids as `generate` makes them, in its thread.   Out: text on a queue, for another thread.
Odd: of the text so far only the last few ids are decoded again, enough to see a character or a word
whose parts come in several ids; so a long answer costs no more per word than a short one. Waking
the other thread costs as much as a small model's token, so ids that come faster than
`SHORTEST_GAP_S` share a piece.
"""

from __future__ import annotations

import time
from typing import Any

from transformers import TextIteratorStreamer

SHORTEST_GAP_S = 0.025  # between two pieces
_UNFINISHED = "\ufffd"  # how the first bytes of a character decode


class Pieces(TextIteratorStreamer):
    """Puts every piece of text on the queue as soon as its characters are complete.

    `ids` are all ids so far. An empty piece is not put; `on_token` is told of each id. A piece that
    had to wait goes out with the next id.
    """

    def __init__(self, tokenizer: Any, on_token: Any, timeout: float) -> None:
        super().__init__(tokenizer, timeout=timeout, skip_special_tokens=True)
        self.ids: list[int] = []
        self._on_token = on_token
        self._begin = 0  # where the ids that are decoded again begin
        self._said = 0  # the ids before are on the queue
        self._due_s = 0.0  # when the next piece may be put

    def put(self, value: Any) -> None:
        new = value.flatten().tolist()  # the prompt comes first, and is empty: it was embeddings
        if not new:
            return
        self._on_token(len(new))
        self.ids += new
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        text = self._new_text()
        if text and not text.endswith(_UNFINISHED):
            self._begin, self._said = self._said, len(self.ids)
            self._due_s = now_s + SHORTEST_GAP_S
            self.on_finalized_text(text)

    def end(self) -> None:
        text = self._new_text()
        self._begin = self._said = len(self.ids)
        self.on_finalized_text(text, stream_end=True)

    def _new_text(self) -> str:
        """Decoded together with the ids before, which decide on spaces between words."""
        before = self._decoded(self.ids[self._begin : self._said])
        return self._decoded(self.ids[self._begin :])[len(before) :]

    def _decoded(self, ids: list[int]) -> str:
        tokenizer: Any = self.tokenizer
        return tokenizer.decode(ids, skip_special_tokens=True)
