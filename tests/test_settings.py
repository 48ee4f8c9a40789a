"""Numbers that a person sets: checked by the field's type, whatever way they arrive."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace
from typing import Any

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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Generation(temprature=1),
            "has no setting 'temprature'; did you mean temper",
        ),
        (lambda: Sampling(bla=1), "Sampling has no setting 'bla'; it has clip_duration_s, frames"),
        (lambda: Generation(temperature=None), "temperature is None, which is not a number"),
        (lambda: Generation(max_new_tokens=math.inf), "max_new_tokens is inf; choose a whole"),
        (lambda: Generation(max_new_tokens=10**5000), "max_new_tokens is beyond all numbers"),
        (lambda: Sampling(start_s=10**400), "start_s is beyond all numbers; choose a value at"),
        (lambda: Sampling(end_s=math.inf), "end_s is inf; choose a value at least 0"),
        (lambda: Generation(system_prompt=5), "system_prompt is 5, which is not text"),
        (lambda: Sampling(choose="random"), "choose is 'random'; choose uniform or varied"),
        (lambda: Sampling(choose=3), "choose is 3, which is not text"),
        (lambda: Sampling(choose=None), "choose is None, which is not text"),
        (lambda: Sampling(exact=1), "exact is 1; choose True or False"),
        (lambda: Sampling(exact=None), "exact is None; choose True or False"),
        (lambda: replace(Generation(), top_p=2), "top_p is 2; choose a value between 0.01 and 1"),
    ],
)
def test_settings_that_cannot_be(make: Any, words: str) -> None:
    with pytest.raises(SettingError) as error:
        make()
    assert words in str(error.value)


def test_settings_can_be_copied_and_sent() -> None:
    for settings in (Generation(0.5, seed=3), Sampling(start_s=1)):
        assert pickle.loads(pickle.dumps(settings)) == settings == copy.deepcopy(settings)
