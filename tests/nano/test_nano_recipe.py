"""nano's own recipes: all stages, one after the other, each from what earlier ones left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paths import EXAMPLE_VIDEOS

import apollo
from apollo.nano import joint_learners
from apollo.nano.joint_learners import MANY, connect_sample
from apollo.nano.tasks import fresh_model
from apollo.settings import Generation
from apollo.train.command import run_stages
from apollo.train.recipe import read_recipe

FOLDER = Path(joint_learners.__file__).parent / "recipes"


@pytest.mark.slow
def test_every_stage_goes_on_from_the_ones_before_and_the_last_is_a_model(tmp_path: Path) -> None:
    recipe = read_recipe(FOLDER / "nano.yaml")
    short = [replace(s, num_steps=1, global_batch=2, warmup_steps=0) for s in recipe.stages]
    names = [stage.name for stage in recipe.stages]
    assert run_stages(replace(recipe, stages=tuple(short)), tmp_path, names, threads=1)

    first, last = (apollo.load(tmp_path / name / "result") for name in ("joint", "polish"))
    answer = last.answer(
        EXAMPLE_VIDEOS / "example_1.mp4", "What is there?", generation=Generation(max_new_tokens=4)
    )
    assert isinstance(answer, str)  # two samples teach nothing that could be asked for
    for part in ("mm_connector", "llm", "vision_tower"):
        before, after = (dict(getattr(m.model, part).named_parameters()) for m in (first, last))
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed, f"{part} of the last stage is that of joint"


def test_the_short_recipe_is_the_long_one_with_fewer_steps() -> None:
    long = {stage.name: stage for stage in read_recipe(FOLDER / "nano.yaml").stages}
    short = read_recipe(FOLDER / "nano-short.yaml").stages
    for stage in short:
        original = long[stage.name]
        assert stage.num_steps is not None and original.num_steps is not None
        assert stage.num_steps < original.num_steps / 5
        same = replace(
            original,
            num_steps=stage.num_steps,
            warmup_steps=stage.warmup_steps,
            options=stage.options,
        )
        assert stage == same


@pytest.mark.slow
def test_clips_are_chosen_by_what_they_show() -> None:
    transforms = fresh_model(0).vision_tower.vision_processor
    facts = {
        shares: [connect_sample(n, transforms, *shares)["facts"] for n in range(12)]
        for shares in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
    }
    assert all(f["place"] for f in facts[1.0, 0.0])
    assert all(f["count"] >= MANY for f in facts[0.0, 1.0])
    assert all(f["place"] or f["count"] >= MANY for f in facts[0.5, 0.5])
    assert any(not f["place"] and f["count"] < MANY for f in facts[0.0, 0.0])
