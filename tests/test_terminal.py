"""Output that cannot be written, input that is no text: a sentence, never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_videos import write_video
from paths import ROOT, TINY

import apollo
from apollo import cli
from apollo.settings import Generation
from apollo.terminal import DONE, USER_ERROR

PYTHON = f"{sys.executable} -c"
WRITE = """'
import sys
from apollo.terminal import guarded, write
sys.exit(guarded(lambda: write("word")))'"""
QUESTIONS = """'
import sys
from apollo import cli
sys.exit(cli.guarded(lambda: [cli.write(ascii(q)) for q in cli.questions()]))'"""


def shell(line: str) -> tuple[int, str, str]:
    ran = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_a_full_disk_behind_stdout_is_a_sentence() -> None:
    """Row 48."""
    code, _, said = shell(f"{PYTHON} {WRITE} > /dev/full")
    assert code == USER_ERROR
    assert said == (
        "apollo: The text cannot be written to standard output (No space left on device); write "
        "it elsewhere.\n"
    )


def test_a_closed_stdout_or_stdin_is_a_sentence() -> None:
    """Row 48."""
    code, _, said = shell(f"{PYTHON} {WRITE} >&-")
    assert (code, said.count("\n")) == (USER_ERROR, 1)
    assert said.startswith("apollo: Standard output is closed")
    code, _, said = shell(f"{PYTHON} {QUESTIONS} <&-")
    assert code == USER_ERROR and said.startswith("apollo: Standard input is closed")


def test_nowhere_to_tell_of_a_mistake_is_no_traceback() -> None:
    """Row 48: the exit code still says it."""
    assert shell(f"{PYTHON} {WRITE} >&- 2>&-") == (USER_ERROR, "", "")
    assert shell(f"{PYTHON} {WRITE} >&- 2>/dev/full") == (USER_ERROR, "", "")


def test_a_line_that_is_no_text_is_read_with_signs_replaced() -> None:
    """Row 44: a line in Latin-1."""
    code, out, _ = shell(rf"printf 'caf\xe9?\n' | PYTHONUTF8=1 {PYTHON} {QUESTIONS}")
    assert (code, out) == (DONE, r"'caf\ufffd?'")


@pytest.mark.slow
def test_an_argument_that_is_no_text_is_answered() -> None:
    """Row 44: an argument in Latin-1."""
    video = "apollo/demo/assets/example_3.mp4"
    code, out, said = shell(rf"{sys.executable} -m apollo ask {video} $'What is \xe9 there?'")
    assert (code, said) == (DONE, "") and out.strip()


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "/data/weights"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_is_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "run_ask", fail)
    assert cli.main(["ask", "v.mp4", "What?"]) == USER_ERROR
    said = capsys.readouterr().err
    assert said.startswith("apollo: The disk is full (") and said.count("\n") == 1


def test_other_faults_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cli, "run_ask", fail)
    with pytest.raises(OSError, match="Input/output"):
        cli.main(["ask", "v.mp4", "What?"])


# ---- what is wrong with the video is told to who asked -----------------------------------------


def cut_video(folder: Path) -> Path:
    whole = write_video(folder / "whole.mkv", frames=150)
    path = folder / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def test_a_cut_video_is_told_with_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row 41: in the statistics, in the log of those who take only text, on the terminal."""
    model, path = apollo.load("nano"), cut_video(tmp_path)
    short = Generation(max_new_tokens=3, temperature=0)
    *_, done = model.events(path, "What?", generation=short)
    note = done.stats.note
    assert note.startswith("cut.mkv ends early: ") and note.endswith("to have the rest.")
    *_, again = model.events(path, "What?", generation=short)
    assert (again.stats.reused_visual_tokens, again.stats.note) == (True, note)
    caplog.clear()
    model.answer(path, "What?", generation=short)
    assert [record.message for record in caplog.records] == [note]
    caplog.clear()
    assert cli.main(["ask", str(path), "What?", "--max-new-tokens", "3"]) == DONE
    assert capsys.readouterr().err == f"apollo: {note}\n"
    assert not caplog.records  # once is enough


@pytest.mark.slow
def test_a_video_that_goes_does_not_end_the_chat(tmp_path: Path) -> None:
    """Row 79."""
    path = tmp_path / "there.mp4"
    shutil.copy(ROOT / "apollo/demo/assets/example_3.mp4", path)
    chat = subprocess.Popen(
        [sys.executable, "-m", "apollo", "chat", str(path)],
        cwd=ROOT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert chat.stdin is not None and chat.stdout is not None
    chat.stdin.write("What colour is the star?\n")
    chat.stdin.flush()
    assert chat.stdout.readline() == "Yellow.\n"
    path.rename(tmp_path / "gone.mp4")
    chat.stdin.write("What colour is the star?\n")
    chat.stdin.flush()
    assert chat.stderr is not None
    assert chat.stderr.readline() == "apollo: No such video file: there.mp4; check the path.\n"
    (tmp_path / "gone.mp4").rename(path)
    out, _ = chat.communicate("What colour is the star?\n", timeout=120)
    assert (out, chat.returncode) == ("Yellow.\n", DONE)


FAKE = "tests/helpers/fake_apollo.py"
CHAT = f"""'
import sys
sys.path.insert(0, "{Path(FAKE).parent}")
import fake_apollo
fake_apollo.install()
from apollo import cli
sys.exit(cli.main(sys.argv[1:]))'"""
CLIP = "tests/data/golden/videos/v02_15fps_0p6s.mp4"


def test_a_chat_whose_output_is_full_or_closed_ends() -> None:
    """Row 48: it must not go on to answer into nothing, and its exit code says so."""
    asked = f"printf 'one\\ntwo\\n' | {PYTHON} {CHAT} chat {CLIP}"
    code, _, said = shell(f"{asked} > /dev/full")
    assert (code, said.count("\n")) == (USER_ERROR, 1) and "No space left" in said
    code, _, said = shell(f"{asked} >&-")
    assert (code, said.count("\n")) == (USER_ERROR, 1) and "output is closed" in said


def test_help_that_cannot_be_written_is_a_sentence() -> None:
    """Row 48: its text is only on its way when the program ends."""
    line = f"env -u PYTHONUNBUFFERED {sys.executable} -m apollo --help"
    code, _, said = shell(f"{line} > /dev/full")
    assert (code, said.count("\n")) == (USER_ERROR, 1) and "No space left" in said
    assert shell(line)[0] == DONE


def test_a_video_that_vanishes_stays_a_sentence_in_the_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row 79: the next question is answered when the video is back."""
    video, away = tmp_path / "v.mp4", tmp_path / "away.mp4"
    shutil.copy(ROOT / CLIP, video)
    moves = {"gone?": (video, away), "back?": (away, video)}

    def asked() -> Iterator[str]:
        for line in ("first?", "gone?", "back?"):
            if line in moves:
                moves[line][0].rename(moves[line][1])
            yield line

    monkeypatch.setattr(cli, "questions", asked)
    flags = ["--model", str(TINY), "--max-new-tokens", "3", "--temperature", "0"]
    assert cli.main(["chat", str(video), *flags]) == DONE
    out, err = capsys.readouterr()
    assert out.count("\n") == 2 and err.count("\n") == 1
    assert err.startswith("apollo: ") and "v.mp4" in err


def test_damage_is_told_again_when_the_visual_tokens_are_reused(tmp_path: Path) -> None:
    """Row 41: the second question reads no frame, so nothing would notice the damage again."""
    options = {"movflags": "faststart"}
    video = write_video(tmp_path / "v.mp4", frames=150, gop=1, container_options=options)
    content = bytearray(video.read_bytes())
    start = content.index(b"mdat") + 4
    hole, size = start + (len(content) - start) // 2, (len(content) - start) // 12
    content[hole : hole + size] = bytes(size)
    model, short = apollo.load(TINY), Generation(max_new_tokens=1, temperature=0)
    for name in ("first.mp4", "second.mp4"):  # the same bytes under another name
        (tmp_path / name).write_bytes(content)
        *_, done = model.events(tmp_path / name, "What?", generation=short)
        assert done.stats.reused_visual_tokens == (name == "second.mp4")
        assert done.stats.note is not None and done.stats.note.startswith(f"{name} is damaged: ")
