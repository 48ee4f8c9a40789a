"""Recipes: what is read, and that every wrong one is refused with file, stage, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import sentence

from apollo.errors import RecipeError
from apollo.train import task
from apollo.train.optimizer import share_of_rate
from apollo.train.recipe import read_recipe
from apollo.train.stage import Source, Stage

GOOD = """\
model: nano
output: out
seed: 3
stages:
  - name: align
    train: {connector: 1.0}
    data: [{file: a.jsonl, share: 2}, {file: b.jsonl}]
    num_steps: 10
    lr: 1e-3
  - name: sft
    train: {connector: 1, llm: 0.5}
    data: a.jsonl
    validation: v.jsonl
    epochs: 1
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(text)
    return file


def test_a_recipe_is_read_with_its_paths_beside_it(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, GOOD))
    align, sft = recipe.stages
    assert (recipe.model, recipe.output, recipe.seed) == ("nano", tmp_path / "out", 3)
    assert align.data == (Source(tmp_path / "a.jsonl", 2.0), Source(tmp_path / "b.jsonl", 1.0))
    assert (align.lr, align.num_steps, sft.epochs) == (1e-3, 10, 1.0)
    assert (sft.validation, sft.train) == (tmp_path / "v.jsonl", {"connector": 1.0, "llm": 0.5})
    assert (recipe.takes(align), recipe.takes(sft)) == ((), ("align",))


def test_values_can_be_changed_from_the_command_line(tmp_path: Path) -> None:
    changes = ["seed=9", "align.lr=5e-4", "sft.train.llm=0", "sft.keep=1"]
    recipe = read_recipe(written(tmp_path, GOOD), changes)
    assert (recipe.seed, recipe.stages[0].lr, recipe.stages[1].keep) == (9, 5e-4, 1)
    assert recipe.stages[1].train["llm"] == 0
    for change, word in (("lr=1", "lr"), ("none.lr=1", "none"), ("seed", "STAGE.KEY")):
        with pytest.raises(RecipeError) as error:
            read_recipe(written(tmp_path, GOOD), [change])
        assert word in sentence(error)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("num_steps: 10", "num_step: 10", ['"align"', "num_step", 'is "num_steps"']),
        ("seed: 3", "sead: 3", ["sead", 'is "seed"']),
        ("{connector: 1.0}", "{connector: 0}", ['"align"', "nothing is trained"]),
        ("{connector: 1.0}", "{connector: -1}", ["train.connector", "0 or more"]),
        ("    train: {connector: 1.0}\n", "", ['"train" is missing']),
        ("{connector: 1.0}", "{connector: fast}", ["train.connector", "number"]),
        ("num_steps: 10", "num_steps: ten", ["num_steps", "'ten'", "whole number"]),
        ("num_steps: 10", "num_steps: true", ["num_steps", "whole number"]),
        ("num_steps: 10", "num_steps: 0", ["num_steps", "above 0"]),
        ("num_steps: 10", "num_steps: 10\n    epochs: 1", ["either"]),
        ("    num_steps: 10\n", "", ["either"]),
        ("num_steps: 10", "num_steps: 10\n    warmup_steps: 10", ["warmup_steps (10)"]),
        ("num_steps: 10", "num_steps: 10\n    micro_batch: 7", ["micro_batch (7)", "divide"]),
        ("num_steps: 10", "num_steps: 10\n    schedule: step", ["'step'", "cosine"]),
        ("num_steps: 10", "num_steps: 10\n    unreadable: hide", ["'hide'", "skip"]),
        ("share: 2", "share: 0", ["a.jsonl", "above 0"]),
        ("share: 2", "chare: 2", ["chare", 'is "share"']),
        ("    data: a.jsonl\n", "", ['"sft"', '"data" is missing']),
        ("name: sft", "name: align", ['two stages are called "align"']),
        ("name: sft", "name: ../up", ["../up", "folder"]),
        ("epochs: 1", "epochs: 1\n    takes: [later]", ['"later"', "earlier", "align"]),
        ("stages:", "stages: []\nmore:", ["more"]),
        ("model: nano", "model: [", ["line 3"]),
    ],
)
def test_a_wrong_recipe_is_one_sentence(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in GOOD
    file = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(RecipeError) as error:
        read_recipe(file)
    text = sentence(error)
    for word in [str(file), *words]:
        assert word in text, text


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    for text in ("", "- a\n- b\n", "only text"):
        with pytest.raises(RecipeError):
            read_recipe(written(tmp_path, text))
    with pytest.raises(RecipeError) as error:
        read_recipe(tmp_path / "none.yaml")
    assert "none.yaml" in sentence(error)
    (tmp_path / "recipe.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError):
        read_recipe(tmp_path / "recipe.yaml")


def test_the_recipes_of_the_package_are_whole() -> None:
    found = sorted(file for folder in task.RECIPES for file in folder.glob("*.yaml"))
    assert {file.stem for file in found} >= {"nano", "apollo"}
    for file in found:
        assert read_recipe(file).stages, file


def test_the_rate_rises_and_falls_as_its_schedule_says() -> None:
    def rates(schedule: str) -> list[float]:
        stage = Stage("s", {}, num_steps=1000, warmup_steps=100, schedule=schedule)
        return [share_of_rate(stage, step, 1000) for step in range(1000)]

    for schedule in ("cosine", "linear", "constant"):
        found = rates(schedule)
        assert found[:101] == sorted(found[:101]) and found[0] < 0.02 and found[100] > 0.99
    assert rates("constant")[-1] == 1.0
    assert rates("linear")[499] == 1.0 and rates("linear")[999] < 0.02
    cosine = rates("cosine")
    assert cosine[550] == pytest.approx(0.5, abs=0.01) and cosine[999] < 1e-4
    assert cosine[100:] == sorted(cosine[100:], reverse=True)
