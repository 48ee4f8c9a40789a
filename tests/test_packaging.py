"""What the wheel asks for, what it holds, and that a Space is given the same."""

import argparse
import importlib.metadata
import re
import sys
import tomllib
from typing import Any

import pytest
from paths import ROOT

import apollo
from apollo.terminal import add_model_flags, check_extra, model_options

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def package_of(requirement: str) -> str:
    match = re.match(r"[\w-]+", requirement)
    assert match, requirement
    return match[0]


def test_a_space_installs_what_the_page_and_an_adapter_need():
    text = (ROOT / "requirements.txt").read_text()
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    wanted = PROJECT["dependencies"] + EXTRAS["demo"] + EXTRAS["adapters"]
    assert [line for line in lines if line] == wanted


def test_only_the_page_is_pinned_and_only_in_its_extra():
    pinned = {extra: [r for r in EXTRAS[extra] if "==" in r] for extra in EXTRAS if extra != "dev"}
    assert {package_of(r) for r in pinned.pop("demo")} == {"gradio", "spaces"}
    assert not any(pinned.values())
    assert not any("==" in r for r in PROJECT["dependencies"])
    everywhere = [package_of(r) for r in PROJECT["dependencies"]]
    assert not {"gradio", "spaces", "peft", "accelerate"} & {*everywhere}


def test_training_includes_adapters_and_reports():
    assert "apollo-video[adapters,eval]" in EXTRAS["train"]
    assert "apollo-video[demo,train]" in EXTRAS["dev"]


def test_there_is_one_version_number():
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT
    assert importlib.metadata.version("apollo-video") == apollo.__version__


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    check_extra("apollo demo", "demo", "json")
    monkeypatch.setitem(sys.modules, "gradio", None)  # as if it were not installed
    with pytest.raises(apollo.SettingError) as caught:
        check_extra("apollo demo", "demo", "gradio", "spaces")
    assert str(caught.value) == (
        "apollo demo needs gradio, which is not installed; run "
        'pip install "apollo-video[demo]" and start again.'
    )


def test_the_flags_of_a_model_are_what_load_takes(monkeypatch: pytest.MonkeyPatch):
    parser = argparse.ArgumentParser()
    add_model_flags(parser)
    flags = "--model 7B --adapter mine --device cuda --dtype float16 --quantization 4bit"
    options = model_options(parser.parse_args([*flags.split(), "--revision", "v1"]))
    assert options == {
        "name": "7B",
        "adapter": "mine",
        "device": "cuda",
        "dtype": "float16",
        "quantization": "4bit",
        "revision": "v1",
    }
    assert model_options(parser.parse_args([])) == {"name": "nano"} | dict.fromkeys(
        ["adapter", "device", "dtype", "quantization", "revision"]
    )
