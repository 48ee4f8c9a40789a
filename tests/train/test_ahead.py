"""Every stage of a recipe is checked before the first one trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from asking import SHORT
from folders import sentence
from paths import TINY
from train_process import train

from apollo import cli
from apollo.errors import ApolloError, DataError, RecipeError
from apollo.nano import RECIPES
from apollo.train.command import run_stages
from apollo.train.recipe import Recipe, read_recipe

SAID = [
    {"role": "user", "content": "What is there?"},
    {"role": "assistant", "content": "A ball, and it rolls."},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(SHORT, tmp_path / "clip.mp4")
    record = {"video": "clip.mp4", "messages": SAID}
    (tmp_path / "data.jsonl").write_text(json.dumps(record) + "\n")
    return tmp_path


def two_stages(folder: Path, **second: Any) -> Path:
    stage = {"train": {"connector": 1.0}, "data": "data.jsonl", "num_steps": 1, "global_batch": 1}
    stages = [{"name": "align", **stage}, {"name": "sft", **stage, **second}]
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({"model": str(TINY), "output": "out", "stages": stages}))
    return file


def refused(recipe: Recipe, names: list[str], output: Path, error_class: type[ApolloError]) -> str:
    with pytest.raises(error_class) as error:
        run_stages(recipe, output, names, threads=1)
    assert not list(output.glob("*/*")), "a stage began"
    return sentence(error)


@pytest.mark.parametrize(
    ("second", "error_class", "words"),
    [
        ({"train": {"conector": 1.0}}, RecipeError, ["recipe.yaml", '"sft"', '"conector"', "llm"]),
        ({"max_length": 30}, DataError, ["data.jsonl, line 1", "30"]),
        ({"data": "other.jsonl"}, DataError, ["other.jsonl, line 1", "gone.mp4"]),
        ({"validation": "nowhere.jsonl"}, DataError, ["nowhere.jsonl"]),
        ({"tokens_per_clip": 10_000}, DataError, ["data.jsonl, line 1", "tokens"]),
    ],
)
def test_the_second_stage_is_wrong_before_the_first_one_trains(
    folder: Path, second: Any, error_class: type[ApolloError], words: list[str]
) -> None:
    (folder / "other.jsonl").write_text(json.dumps({"video": "gone.mp4", "messages": SAID}))
    file = two_stages(folder, **second)
    text = refused(read_recipe(file), ["align", "sft"], folder / "out", error_class)
    for word in words:
        assert word in text, text


@pytest.mark.slow
def test_the_check_flag_reads_the_data_too(folder: Path) -> None:
    file = two_stages(folder)
    right = train(file, "--check")
    assert right.returncode == 0 and right.stdout.count("to do") == 2, right.stderr
    (folder / "clip.mp4").unlink()
    wrong = train(file, "--check")
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
    assert "data.jsonl, line 1" in wrong.stderr and "clip.mp4" in wrong.stderr


def test_a_stage_needs_what_it_goes_on_from(folder: Path) -> None:
    recipe = read_recipe(two_stages(folder))
    assert "align, is not complete" in refused(recipe, ["sft"], folder / "out", RecipeError)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("polish", {"options": {"max_scenes": 9}}, ["max_scenes", "9"]),
        ("places", {"options": {"place_share": 0.7, "many_share": 0.7}}, ["1.4", "at most 1"]),
        ("joint", {"options": {"hardshare": 0.1}}, ["hardshare", "hard_share"]),
        ("connect", {"takes": ["slots"]}, ["language"]),
        ("slots", {"task": "cartoon slot"}, ["cartoon slot", "cartoon slots"]),
    ],
)
def test_a_late_stage_of_nano_is_checked_at_once(
    tmp_path: Path, stage: str, change: Any, words: list[str]
) -> None:
    values = yaml.safe_load((RECIPES / "nano.yaml").read_text("utf-8"))
    next(entry for entry in values["stages"] if entry["name"] == stage).update(change)
    (tmp_path / "nano.yaml").write_text(yaml.safe_dump(values))
    recipe = read_recipe(tmp_path / "nano.yaml")
    names = [stage.name for stage in recipe.stages]
    text = refused(recipe, names, tmp_path / "out", RecipeError)
    for word in ("nano.yaml", *words):
        assert word in text, text


def test_checking_draws_no_number_that_training_would_draw(folder: Path) -> None:
    from apollo.train.checks import check_stages

    recipe = read_recipe(two_stages(folder, tokens_per_clip=2))
    torch.manual_seed(3)
    check_stages(recipe, recipe.stages, folder / "out")
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))


def test_the_packages_own_recipes_write_where_people_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "nano-short", "--only", "image", "--check"]) == 0
    assert f"results in {Path('runs', 'nano-short')}\n" in capsys.readouterr().out
