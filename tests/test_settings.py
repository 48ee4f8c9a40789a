"""Numbers that a person sets: checked by the field's type, whatever way they arrive."""

from __future__ import annotations

import pytest

from apollo.errors import SettingError
from apollo.settings import Generation, Sampling


def test_whole_numbers_are_told_by_the_fields_type() -> None:
    assert Generation(max_new_tokens=12.0).max_new_tokens == 12  # type: ignore[arg-type]
    assert Sampling(max_clips=4.0).max_clips == 4  # type: ignore[arg-type]
    assert type(Generation(seed=7.0).seed) is int  # type: ignore[arg-type]
    for refused in ({"max_new_tokens": 12.5}, {"seed": 0.5}):
        with pytest.raises(SettingError, match="choose a whole number"):
            Generation(**refused)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="choose a whole number"):
        Sampling(frames_per_clip=1.5)  # type: ignore[arg-type]


def test_fractions_stay_fractions_and_whole_ones_are_allowed() -> None:
    assert Sampling(clip_duration_s=2).clip_duration_s == 2
    assert Generation(temperature=1, top_p=0.5).top_p == 0.5
    assert Sampling(start_s=1.5).start_s == 1.5
