"""apollo-nano says the same whatever is kept of earlier answers, and wherever it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import apollo
from apollo.model.clip_store import ClipStore
from apollo.model.visual_tokens import encoder_digest

ASSETS = Path(apollo.__file__).parent / "demo" / "assets"
EXAMPLES = [
    ("example_1.mp4", "What happens in this video?"),
    ("example_2.mp4", "What comes after the snowman?"),
    ("example_3.mp4", "视频里发生了什么？"),
]
GREEDY = apollo.Generation(temperature=0, max_new_tokens=64)


@pytest.fixture(scope="module")
def fresh() -> Callable[[], Any]:
    """Another Apollo over the same weights, with nothing kept."""
    loaded = apollo.load()
    return lambda: apollo.Apollo(loaded.model, loaded.card)


def conversations(model: Any) -> list[str]:
    """Every example, then two more turns about its video, then the example again."""
    said = []
    for file, question in EXAMPLES:
        messages: list[dict[str, str]] = []
        for text in (question, "What is in the video?", "Is there a dog?"):
            messages.append({"role": "user", "content": text})
            answer = model.answer(ASSETS / file, messages, generation=GREEDY)
            messages.append({"role": "assistant", "content": answer})
            said.append(answer)
        said.append(model.answer(ASSETS / file, question, generation=GREEDY))
    return said


@pytest.fixture(scope="module")
def expected(fresh: Any) -> list[str]:
    """With nothing kept at all."""
    model = fresh()
    model.cache.max_bytes = model.prefixes.max_bytes = 0
    answers = conversations(model)
    assert all(answers) and len({*answers}) > 4
    return answers


@pytest.mark.parametrize("off", ["", "cache", "prefixes"])
def test_cold_and_warm_in_memory(fresh: Any, expected: list[str], off: str) -> None:
    model = fresh()
    if off:
        getattr(model, off).max_bytes = 0
    assert conversations(model) == expected
    assert conversations(model) == expected


def test_from_disk_and_after_damage(fresh: Any, expected: list[str], tmp_path: Path) -> None:
    def stored() -> Any:
        model = fresh()
        model.cache.store = ClipStore(tmp_path, encoder_digest(model.model))
        return model

    assert conversations(stored()) == expected
    warm = stored()
    assert conversations(warm) == expected
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == 8
    for number, file in enumerate(files):
        if number % 3 == 0:
            file.write_bytes(file.read_bytes()[: -1 - number])
    assert conversations(stored()) == expected
    assert len([*tmp_path.rglob("*.safetensors")]) == len(files)


def test_after_reading_ahead(fresh: Any, expected: list[str]) -> None:
    model = fresh()
    for file in sorted({file for file, _ in EXAMPLES}):
        assert model.read_ahead(ASSETS / file).wait(60)
    assert conversations(model) == expected
