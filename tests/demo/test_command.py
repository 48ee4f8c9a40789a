"""What `apollo demo` says before and instead of a page."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_apollo import FakeApollo
from paths import ROOT

import apollo
from apollo import cli
from apollo.demo import command, page, worker

FOREIGN = 'raise SystemExit("a foreign app.py was run")'


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, host: worker.Host) -> dict[str, Any]:
    """What the page was opened with and what the model was loaded with; nothing is really done."""
    seen: dict[str, Any] = {}

    def load(name: str, **options: Any) -> FakeApollo:
        seen["load"] = {"name": name, **options}
        return FakeApollo()

    monkeypatch.setattr(apollo, "load", load, raising=False)
    monkeypatch.setattr(page.demo, "launch", lambda **options: seen.update(launch=options))
    monkeypatch.setattr(page.demo, "block_thread", lambda: None)
    monkeypatch.setattr(page.demo, "local_url", "http://127.0.0.1:7999/", raising=False)
    monkeypatch.setattr(command, "check_address", lambda *_: None)
    monkeypatch.setattr(command.gc, "freeze", lambda: None)  # it would last for all other tests
    return seen


def said(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one sentence that `apollo demo` ends with."""
    assert cli.main(["demo", *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1, captured
    return captured.err.strip()


def test_the_flags_reach_the_page_and_the_model(launched: dict[str, Any]):
    flags = "--model 7B --quantization 4bit --dtype float16 --revision v1 --device cpu"
    assert cli.main(["demo", *flags.split(), "--port", "7999", "--share"]) == 0
    assert launched["load"] == {
        "name": "7B",
        "adapter": None,
        "device": "cpu",
        "dtype": "float16",
        "quantization": "4bit",
        "revision": "v1",
    }
    options = launched["launch"]
    assert (options["server_port"], options["share"], options["mcp_server"]) == (7999, True, False)


def test_the_collector_leaves_the_loaded_model_alone(
    launched: dict[str, Any], monkeypatch: pytest.MonkeyPatch, host: worker.Host
):
    frozen: list[bool] = []
    served = launched  # opened and loaded without really doing it
    monkeypatch.setattr(command, "collector_paused", contextlib.nullcontext)
    monkeypatch.setattr(command.gc, "freeze", lambda: frozen.append(host.ready.is_set()))
    assert cli.main(["demo"]) == 0 and "launch" in served
    assert frozen == [True]


def test_a_space_is_told_by_its_variables(
    launched: dict[str, Any], monkeypatch: pytest.MonkeyPatch, adapter: Path, host: worker.Host
):
    monkeypatch.setenv("APOLLO_MODEL", "3B")
    monkeypatch.setenv("APOLLO_ADAPTER", str(adapter))
    assert command.main([]) == 0
    assert (launched["load"]["name"], launched["load"]["adapter"]) == ("3B", str(adapter))
    assert (host.name, host.adapter) == ("3B", str(adapter))


def test_on_zerogpu_the_model_is_loaded_before_the_page_opens(
    launched: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker, "ZERO_GPU", True)
    assert command.main(["--model", "3B"]) == 0
    assert list(launched) == ["load", "launch"]
    assert (launched["load"]["name"], launched["load"]["device"]) == ("3B", "cuda")


def test_an_unknown_model_is_a_sentence(capsys: pytest.CaptureFixture[str]):
    assert "There is no model 'nosuch'" in said(capsys, "--model", "nosuch")


def test_an_adapter_that_is_none_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert "holds no adapter" in said(capsys, "--adapter", str(tmp_path))


def test_a_model_that_cannot_be_loaded_ends_the_page_with_a_sentence(
    launched: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def load(*_: Any, **__: Any) -> None:
        raise apollo.SettingError("This machine has no cuda device; leave it out or use cpu.")

    monkeypatch.setattr(apollo, "load", load)
    assert command.main(["--device", "cuda"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "The page is at http://127.0.0.1:7999/ (Ctrl-C ends it).\n"
    assert captured.err.endswith("This machine has no cuda device; leave it out or use cpu.\n")
    assert "launch" in launched


def test_without_the_extra_the_remedy_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "spaces", None)  # as if it were not installed
    assert 'pip install "apollo-video[demo]"' in said(capsys)


def test_an_adapter_without_peft_names_the_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, adapter: Path
):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert 'pip install "apollo-video[adapters]"' in said(capsys, "--adapter", str(adapter))


@pytest.mark.parametrize("arguments", [["-m", "apollo", "demo"], [str(ROOT / "app.py")]])
def test_without_the_extra_there_is_no_traceback_and_a_foreign_app_is_not_run(
    arguments: list[str], tmp_path: Path
):
    """In a process of its own, from a folder with another program's app.py in it."""
    (tmp_path / "app.py").write_text(FOREIGN)
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['gradio'] = None")
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "apollo: apollo demo needs gradio, which is not installed; run "
        'pip install "apollo-video[demo]" and start again.\n'
    )


def test_mcp_without_its_package_names_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert 'pip install "gradio[mcp]==' in said(capsys, "--mcp")


def test_a_taken_port_is_a_sentence(capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = said(capsys, "--port", str(port))
    assert f"127.0.0.1:{port}" in sentence and "another --port" in sentence
    command.check_address("127.0.0.1", port)
