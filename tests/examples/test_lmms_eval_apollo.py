"""The model class for lmms-eval: against a small stand-in, and the real package if installed."""

from __future__ import annotations

import abc
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from asking import PICTURE, SHORT
from PIL import Image

import apollo
from apollo.errors import SettingError, VideoError
from apollo.settings import Generation

OURS = "examples.lmms_eval_apollo"


def stand_in() -> dict[str, ModuleType]:
    """As much of lmms-eval as its evaluator uses of a model, with the same names."""

    class lmms(abc.ABC):
        is_simple = True

        def __init__(self) -> None:
            self._rank, self._world_size = 0, 1
            self.task_dict: dict[str, Any] = {}

        @abc.abstractmethod
        def loglikelihood(self, requests: Any) -> Any: ...

        @abc.abstractmethod
        def generate_until(self, requests: Any) -> Any: ...

        @abc.abstractmethod
        def generate_until_multi_round(self, requests: Any) -> Any: ...

        @property
        def rank(self) -> int:
            return self._rank

        @property
        def world_size(self) -> int:
            return self._world_size

    @dataclass(frozen=True)
    class ModelManifest:
        model_id: str
        simple_class_path: str | None = None
        chat_class_path: str | None = None
        aliases: tuple[str, ...] = ()

    class Registry:
        def register_manifest(self, manifest: ModelManifest, *, overwrite: bool) -> None:
            self.registered = manifest

        def get_manifest(self, name: str) -> ModelManifest:
            assert name == self.registered.model_id
            return self.registered

    contents = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.model": {"lmms": lmms},
        "lmms_eval.cli": {},
        "lmms_eval.cli.dispatch": {"main": None},
        "lmms_eval.models": {"MODEL_REGISTRY_V2": Registry()},
        "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
    }
    modules = {name: ModuleType(name) for name in contents}
    for name, module in modules.items():
        vars(module).update(contents[name], __path__=[])
    return modules


def installed() -> bool:
    return find_spec("lmms_eval") is not None


KINDS = [
    "stand-in",
    pytest.param(
        "real", marks=pytest.mark.skipif(not installed(), reason="lmms-eval is not installed")
    ),
]


@pytest.fixture(params=KINDS)
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Our module, imported over the stand-in or over the real package."""
    if request.param == "stand-in":
        for name, module in stand_in().items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, OURS, raising=False)
    yield importlib.import_module(OURS)
    sys.modules.pop(OURS, None)


@pytest.fixture
def model(ours: Any) -> Any:
    lm = ours.ApolloModel(name="nano", device="cpu")
    with Image.open(PICTURE) as opened:
        picture = opened.convert("RGB")
    docs = [{"shown": [str(SHORT)]}, {"shown": [picture]}, {"shown": []}]
    docs += [{"shown": ["gone.mp4"]}, {"shown": [str(SHORT), str(SHORT)]}]
    lm.task_dict["task"] = {"test": docs}
    return lm


def request(doc_id: int, text: str = "What is shown?", **settings: Any) -> Any:
    settings = {"max_new_tokens": 12, **settings}
    args = (text, settings, lambda doc: doc["shown"], doc_id, "task", "test")
    return SimpleNamespace(args=args)


def test_it_answers_like_the_chat(model: Any) -> None:
    greedy = Generation(temperature=0, top_p=1, max_new_tokens=12)
    nano = apollo.load("nano", device="cpu")
    expected = [
        nano.answer(SHORT, "What is shown?", generation=greedy),
        nano.answer(None, "What is shown?", image=PICTURE, generation=greedy),
        nano.answer(None, "What is shown?", generation=greedy),
    ]
    assert model.generate_until([request(i) for i in range(3)]) == expected
    assert len(set(expected)) > 1


def test_settings_of_a_task_are_followed(model: Any) -> None:
    (whole,) = model.generate_until([request(0)])
    (cut,) = model.generate_until([request(0, until=[" "])])
    assert cut == whole.split(" ")[0] != whole
    (short,) = model.generate_until([request(0, max_new_tokens=1)])
    assert whole.startswith(short) and short != whole
    (greedy,) = model.generate_until([request(0, do_sample=False, temperature=2.0)])
    assert greedy == whole


def test_as_a_script_it_registers_itself_and_starts_lmms_eval(
    ours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = importlib.import_module("lmms_eval.models").MODEL_REGISTRY_V2
    found = []
    dispatch = importlib.import_module("lmms_eval.cli.dispatch")
    monkeypatch.setattr(dispatch, "main", lambda: found.append(registry.get_manifest("apollo")))
    ours.main()
    assert found == [ours.manifest()]


def test_the_manifest_names_a_class_that_can_be_made(ours: Any) -> None:
    given = ours.manifest()
    module, _, name = given.simple_class_path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert given.model_id == "apollo" and found is ours.ApolloModel
    assert not found.__abstractmethods__ and found.is_simple


def test_what_it_cannot_do_is_told(model: Any, ours: Any) -> None:
    with pytest.raises(SettingError, match="not likelihoods"):
        model.loglikelihood([])
    with pytest.raises(SettingError, match="in one round"):
        model.generate_until_multi_round([])
    with pytest.raises(SettingError, match="task 4 shows 2 videos"):
        model.generate_until([request(4)])
    with pytest.raises(VideoError, match=r"No such video file: gone\.mp4"):
        model.generate_until([request(3)])
    with pytest.raises(SettingError, match="Unknown model arguments: pretrained"):
        ours.ApolloModel(pretrained="nano")
    with pytest.raises(SettingError, match="batch_size is auto"):
        ours.ApolloModel(batch_size="auto")


@pytest.mark.skipif(not installed(), reason="lmms-eval is not installed")
def test_the_registry_of_the_real_package_takes_it() -> None:
    from lmms_eval.models.registry_v2 import ModelRegistryV2

    registry = ModelRegistryV2()
    registry.register_manifest(importlib.import_module(OURS).manifest())
    assert registry.get_model_class("apollo").__name__ == "ApolloModel"
