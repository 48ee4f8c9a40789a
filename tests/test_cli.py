"""The command line, mostly as a person meets it: in a process of its own."""

from __future__ import annotations

import dataclasses
import io
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

import apollo
from apollo import cli
from apollo.settings import Generation, Sampling

TINY = "tests/data/golden/tiny-apollo"
VIDEO = "tests/data/golden/videos/v02_15fps_0p6s.mp4"
WITH_FAKE = """
import sys
sys.path.insert(0, "tests/helpers")
import fake_apollo
fake_apollo.install()
from apollo import cli
sys.exit(cli.main())
"""
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


def run(*args: str, code: str | None = None, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-c", code] if code else ["-m", "apollo"]), *args]
    return subprocess.run(
        command, cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=240, **kwargs
    )


def start(*args: str, **kwargs: Any) -> subprocess.Popen[bytes]:
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) | kwargs
    return subprocess.Popen([sys.executable, "-c", WITH_FAKE, *args], cwd=ROOT, env=ENV, **pipes)


def read_until(stream: Any, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        assert select.select([stream], [], [], 60)[0], f"{wanted!r} never came after {seen!r}"
        piece = os.read(stream if isinstance(stream, int) else stream.fileno(), 4096)
        assert piece, f"the output ended with {seen!r}"
        seen += piece
    return seen


# ---- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["ask"], ["chat"], ["download"], ["demo"]])
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="^0$"):
        cli.main([*command, "--help"])
    assert "usage: apollo" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom apollo import cli\n"
        "try: cli.main(['ask', '--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'gradio', 'transformers', 'av', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert run(code=code).returncode == 0, run(code=code).stderr


@pytest.mark.parametrize("settings", [Sampling, Generation])
def test_every_setting_is_a_flag_with_its_help(settings: Any, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.main(["ask", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for spec in dataclasses.fields(settings):
        assert f"--{spec.name.replace('_', '-')} " in text
        assert spec.metadata["help"] in text


def test_flags_become_settings_of_the_right_type():
    line = "ask v.mp4 what --start-s 1.5 --max-clips 3 --temperature 0 --seed 7 --system-prompt hi"
    args = cli.build_parser().parse_args(line.split())
    assert cli.read_settings(args, Sampling) == Sampling(start_s=1.5, max_clips=3)
    assert cli.read_settings(args, Generation) == Generation(
        temperature=0.0, seed=7, system_prompt="hi"
    )


def test_without_flags_the_settings_are_the_defaults():
    args = cli.build_parser().parse_args(["ask", "v.mp4", "what"])
    assert cli.read_settings(args, Sampling) == Sampling()
    args = cli.build_parser().parse_args(["ask", "--exact", "v.mp4", "what"])
    assert cli.read_settings(args, Sampling) == Sampling(exact=True)
    assert cli.read_settings(args, Generation) == Generation()


@pytest.mark.parametrize("command", [["ask", VIDEO, "what"], ["chat", VIDEO]])
def test_every_flag_of_the_model_reaches_it(monkeypatch: pytest.MonkeyPatch, command: list[str]):
    asked: dict[str, Any] = {}

    def load(**options: Any) -> Any:
        asked.update(options)
        raise apollo.CheckpointError("It is enough.")

    monkeypatch.setattr(apollo, "load", load)
    monkeypatch.chdir(ROOT)
    flags = "--model 7B --dtype bfloat16 --quantization 4bit --revision v2 --device cpu"
    assert cli.main([*command, *flags.split(), "--adapter", "a"]) == 2
    assert asked == {
        "name": "7B",
        "dtype": "bfloat16",
        "quantization": "4bit",
        "revision": "v2",
        "device": "cpu",
        "adapter": "a",
    }


def test_a_question_that_fails_does_not_end_the_conversation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked: list[list[str]] = []
    ahead: list[str] = []

    class Model:
        def read_ahead(self, video: str, sampling: apollo.Sampling) -> None:
            ahead.append(video)

        def events(self, video: str, question: Any, **_: Any) -> Iterator[Any]:
            asked.append([message["content"] for message in question])
            if len(asked) == 1:
                raise apollo.SettingError("The model ran out of memory; read fewer clips.")
            yield apollo.Text("Fine.")

    monkeypatch.setattr(apollo, "load", lambda **_: Model())
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    monkeypatch.chdir(ROOT)
    assert cli.main(["chat", VIDEO]) == 0
    out, err = capsys.readouterr()
    assert out == "Fine.\n" and err == "apollo: The model ran out of memory; read fewer clips.\n"
    assert asked == [["one"], ["two"]]
    assert ahead == [VIDEO]  # while the first question is typed


@pytest.mark.parametrize("command", ["ask", "demo"])
def test_an_adapter_without_its_package_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
):
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.chdir(ROOT)
    asked = [VIDEO, "what"] if command == "ask" else []
    assert cli.main([command, *asked, "--adapter", "somewhere"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and 'pip install "apollo-video[adapters]"' in err and err.count("\n") == 1


def test_python_m_apollo_is_apollo():
    assert run("--version").stdout.strip() == f"apollo {apollo.__version__}"


# ---- ask -------------------------------------------------------------------------------------


def test_ask_streams_to_stdout():
    process = start("ask", VIDEO, "slow")
    first = read_until(process.stdout, b"word1 ")
    assert b"word200" not in first  # it was there before the end
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err


def test_ask_writes_only_the_answer_when_nobody_watches():
    done = run("ask", VIDEO, "What is it?", code=WITH_FAKE)
    assert done.stdout == "You asked 'What is it?' in message 1 and this is my answer. \n"
    assert (done.returncode, done.stderr) == (0, "")


def test_reading_is_shown_on_a_terminal():
    terminal, child = pty.openpty()
    process = start("ask", VIDEO, "What is it?", stderr=child)
    os.close(child)
    seen = read_until(terminal, b"4 of 4 clips")
    assert b"Reading the video: 1 of 4 clips" in seen
    out, _ = process.communicate(timeout=60)
    assert b"Reading" not in out
    os.close(terminal)


def test_a_reader_that_leaves_is_no_error():
    process = start("ask", VIDEO, "slow")
    read_until(process.stdout, b"word1 ")
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(60), err) == (141, b"")
    process.stdin.close(), process.stderr.close()


def test_a_terminal_without_unicode_still_gets_an_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ENV, "PYTHONIOENCODING", "ascii")
    done = run("ask", VIDEO, "caf\u00e9?", code=WITH_FAKE)
    assert "caf??" in done.stdout and done.returncode == 0


# ---- chat ------------------------------------------------------------------------------------


def test_chat_keeps_the_conversation_until_quit():
    done = run("chat", VIDEO, code=WITH_FAKE, input="one\n\ntwo\n/quit\nthree\n")
    assert done.returncode == 0
    assert "'one' in message 1" in done.stdout and "'two' in message 3" in done.stdout
    assert "three" not in done.stdout


def test_chat_ends_with_its_input():
    assert run("chat", VIDEO, code=WITH_FAKE, input="one").returncode == 0


def test_ctrl_c_stops_the_answer_and_not_the_chat():
    process = start("chat", VIDEO)
    process.stdin.write(b"slow\n")
    process.stdin.flush()
    read_until(process.stdout, b"word2 ")
    process.send_signal(signal.SIGINT)
    read_until(process.stdout, "…\n".encode())
    out, err = process.communicate(b"and then?\n", timeout=60)
    assert b"'and then?' in message 3" in out  # the stopped answer is part of the conversation
    assert process.returncode == 0 and err == b""


# ---- what can be wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("command", [["ask", "{}", "What is it?"], ["chat", "{}"]])
@pytest.mark.parametrize("content", [None, "", "not a video"])
def test_a_bad_video_is_one_line_and_exit_code_2(
    command: list[str], content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_text(content)
    status = cli.main([part.format(path) for part in command] + ["--model", TINY])
    assert_one_line(status, *capsys.readouterr(), "bad.mp4")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["ask", VIDEO, "hi", "--model", "no-such-model"], "no-such-model"),
        (["ask", VIDEO, "hi", "--temperature", "9"], "temperature is 9"),
        (["ask", VIDEO, "hi", "--end-s", "-1"], "end_s is -1"),
        (["ask", VIDEO, "hi", "--model", TINY, "--device", "abacus"], "abacus"),
        (["ask", VIDEO, " ", "--model", TINY, "--device", "cpu"], "question"),
        (["download", "no-such-model"], "no-such-model"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
):
    monkeypatch.chdir(ROOT)
    assert_one_line(cli.main(args), *capsys.readouterr(), says)


def test_a_mistake_leaves_no_traceback_in_a_process_of_its_own(tmp_path: Path):
    done = run("ask", str(tmp_path / "missing.mp4"), "What is it?")
    assert_one_line(done.returncode, done.stdout, done.stderr, "missing.mp4")


def assert_one_line(status: int, out: str, err: str, says: str) -> None:
    assert (status, out) == (2, "")
    assert err.startswith("apollo: ") and err.count("\n") == 1, err
    assert says in err


# ---- the real thing --------------------------------------------------------------------------


@pytest.mark.slow
def test_ask_with_a_real_checkpoint():
    settings = ["--max-new-tokens", "12", "--temperature", "0"]
    done = run("ask", VIDEO, "What is it?", "--model", TINY, "--device", "cpu", *settings)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 3
    assert "Traceback" not in done.stderr


def test_download_of_a_folder_prints_it(monkeypatch: Any, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(ROOT)
    assert cli.main(["download", TINY]) == 0
    assert capsys.readouterr().out.strip() == TINY
