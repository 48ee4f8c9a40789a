"""Ids become pieces of text that add up to the whole."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from apollo.model import pieces
from apollo.model.pieces import Pieces

TEXTS = ["A red ball rolls.", "视频里发生了什么？", "Zwölf 🦋🦋 fliegen,\n\nund é.", " ", ""]


def put_all(tokenizer: Any, ids: list[int]) -> list[str]:
    streamer = Pieces(tokenizer, lambda number: None, timeout=1)
    streamer.put(torch.zeros(1, 0, dtype=torch.long))  # the prompt
    for number in ids:
        streamer.put(torch.tensor([number]))
    streamer.end()
    assert streamer.ids == ids
    return list(streamer)


@pytest.mark.parametrize("gap_s", [0.0, 3600.0], ids=["slow", "fast"])
def test_pieces_add_up(tiny_model: Any, monkeypatch: pytest.MonkeyPatch, gap_s: float) -> None:
    monkeypatch.setattr(pieces, "SHORTEST_GAP_S", gap_s)
    tokenizer = tiny_model.tokenizer
    numbers = random.Random(7)
    samples = [tokenizer(text).input_ids for text in TEXTS]
    samples += [[numbers.randrange(len(tokenizer)) for _ in range(n)] for n in (1, 5, 80, 300)]
    for ids in samples:
        said = put_all(tokenizer, ids)
        assert "".join(said) == tokenizer.decode(ids, skip_special_tokens=True)
        assert gap_s == 0 or len(said) <= 2


def test_no_piece_ends_inside_a_character(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "SHORTEST_GAP_S", 0.0)
    text = "🦋视频🦋"
    ids = tiny_model.tokenizer(text).input_ids
    said = put_all(tiny_model.tokenizer, ids)
    assert len(ids) > len([piece for piece in said if piece]) > 2
    assert not any("\ufffd" in piece for piece in said)


def test_a_long_answer_is_not_decoded_again(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "SHORTEST_GAP_S", 0.0)
    lengths: list[int] = []
    real = Pieces._decoded
    monkeypatch.setattr(
        Pieces, "_decoded", lambda self, ids: lengths.append(len(ids)) or real(self, ids)
    )
    ids = tiny_model.tokenizer("A red ball rolls over a hill. " * 30).input_ids
    put_all(tiny_model.tokenizer, ids)
    assert len(ids) > 200 and max(lengths) < 12
