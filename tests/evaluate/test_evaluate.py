"""An evaluation run: figures, resuming, batches, processes, ablations."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from asking import SHORT, TEN_S, VIDEOS
from folders import edit, rewrite
from paths import ROOT

from apollo.data.choices import question_text
from apollo.data.shares import Share
from apollo.errors import (
    AdapterError,
    CheckpointError,
    DataError,
    PromptError,
    SettingError,
    VideoError,
)
from apollo.evaluate import answering
from apollo.evaluate import command as evaluate_command
from apollo.evaluate.answering import Answerer
from apollo.evaluate.protocol import ABLATIONS, EvalProtocol
from apollo.evaluate.question_file import Question
from apollo.evaluate.run import (
    Processes,
    check_videos,
    digest_model,
    evaluate,
    own_share,
    question_keys,
)
from apollo.evaluate.score import ScoredAnswer, summarise
from apollo.evaluate.store import Stored, append_answers, key_of, read_answers
from apollo.settings import Generation

FILES = [SHORT, TEN_S, VIDEOS / "v03_24fps_2p5s_portrait.mp4"]


def question(id: str, video: Path = SHORT, **changes: Any) -> Question:
    kept = {"question": f"Question {id}?", "answer": "A", "options": ("a cat", "a dog")}
    return Question(id, video, **{**kept, **changes})


@pytest.fixture
def questions() -> list[Question]:
    return [question(f"{file.name} {i}", file) for i in range(3) for file in FILES]


class Counting:
    """Answers with the question itself, and remembers what it was asked."""

    def __init__(self, protocol: EvalProtocol = EvalProtocol(), fails_at: str = "") -> None:  # noqa: B008
        self.protocol = protocol
        self.fails_at = fails_at
        self.groups: list[list[str]] = []

    def answers(self, questions: Sequence[Question]) -> list[str]:
        ids = [q.id for q in questions]
        if self.fails_at in ids:
            raise VideoError("cannot.")
        self.groups.append(ids)
        return [f"said {q.id}" for q in questions]

    @property
    def asked(self) -> list[str]:
        return [id for group in self.groups for id in group]


# ---- figures ---------------------------------------------------------------------------------


def test_shares_have_wilson_intervals() -> None:
    # figures from the textbook formula, worked out by hand
    low, high = Share(9, 10).interval
    assert (round(low, 4), round(high, 4)) == (0.5958, 0.9821)
    low, high = Share(50, 100).interval
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert Share(0, 10).interval[0] == 0.0 and Share(10, 10).interval[1] == 1.0
    assert Share(0, 10).interval[1] == pytest.approx(0.2775, abs=1e-4)


def test_macro_weighs_categories_alike_and_unread_answers_are_wrong() -> None:
    rows = [ScoredAnswer(question("1", category="x"), "A.")]
    rows += [ScoredAnswer(question(f"y{i}", category="y"), "B") for i in range(8)]
    rows += [ScoredAnswer(question("z", category="y"), "no idea")]
    summary = summarise(rows)
    assert summary.categories == {"x": Share(1, 1), "y": Share(0, 9)}
    assert (summary.overall, summary.unread) == (Share(1, 10), 1)
    assert summary.macro == 0.5
    low, high = summary.macro_interval
    assert 0 < low < 0.5 < high < 1
    figures = summary.as_json()
    assert figures["per_question"]["per_cent"] == 10.0 and figures["macro"]["per_cent"] == 50.0
    assert figures["unread"] == 1


@pytest.mark.parametrize(
    ("given", "wanted", "right"),
    [
        ("A cat.", "the CAT", True),
        ("two cats, one dog", "Two cats one dog", True),
        ("2.5", "25", False),
        ("-3", "3", False),
        ("At 2.5 seconds.", "at 2.5 seconds", True),
        ("一只猫。", "一只猫", True),
        ("a cat and a dog", "a cat", False),
    ],
)
def test_open_answers_are_compared_by_words(given: str, wanted: str, right: bool) -> None:
    row = ScoredAnswer(question("1", options=(), answer=wanted), given)
    assert (row.is_right, row.is_unread) == (right, False)


# ---- what is on disk -------------------------------------------------------------------------


def test_a_torn_line_is_cut_and_asked_again(tmp_path: Path, questions: list[Question]) -> None:
    first = Counting()
    evaluate(questions, first, tmp_path, model_digest="m", batch=2)
    file = tmp_path / "answers.jsonl"
    whole = file.read_bytes()
    for cut in (1, 2, 25):
        file.write_bytes(whole[:-cut])
        again = Counting()
        rows = evaluate(questions, again, tmp_path, model_digest="m", batch=2)
        assert len(again.asked) == 1
        assert [row.given for row in rows] == [f"said {q.id}" for q in questions]
        assert file.read_bytes() == whole


def test_a_damaged_line_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    append_answers(file, [Stored("k", "i", "é \n x")])
    assert read_answers(tmp_path) == {"k": "é \n x"}
    file.write_bytes(file.read_bytes() + b'{"key": 1}\n')
    with pytest.raises(DataError, match=r"answers.jsonl, line 2: .* remove that line"):
        read_answers(tmp_path)


def test_a_run_that_failed_keeps_what_it_had(tmp_path: Path, questions: list[Question]) -> None:
    order = own_share(questions, 0, 1)
    with pytest.raises(VideoError):
        evaluate(questions, Counting(fails_at=order[4].id), tmp_path, model_digest="m", batch=2)
    again = Counting()
    rows = evaluate(questions, again, tmp_path, model_digest="m", batch=2)
    assert sorted(again.asked) == sorted(q.id for q in order[4:])
    assert [row.question for row in rows] == questions


@pytest.mark.parametrize(
    "change", ["model", "ablation", "tokens", "question", "options", "range", "video"]
)
def test_whatever_changes_an_answer_changes_its_key(change: str) -> None:
    one, protocol, model, videos = question("1"), EvalProtocol(), "m", {SHORT: "digest"}
    before = question_keys([one], protocol, model, videos)
    if change == "model":
        model = "n"
    elif change == "ablation":
        protocol = EvalProtocol("grey")
    elif change == "tokens":
        protocol = EvalProtocol(max_new_tokens=3)
    elif change == "question":
        one = question("1", question="Else?")
    elif change == "options":
        one = question("1", options=("a dog", "a cat"))
    elif change == "range":
        one = question("1", start_s=1.0)
    else:
        videos = {SHORT: "other"}
    assert question_keys([one], protocol, model, videos) != before


def test_a_corrected_answer_or_a_moved_file_asks_nothing_anew(tmp_path: Path) -> None:
    moved = Path(shutil.copy(SHORT, tmp_path / "moved.mp4"))
    one, other = question("1"), question("1", moved, answer="B")
    videos = check_videos([one, other, question("2", TEN_S)])
    assert videos[SHORT] == videos[moved] != videos[TEN_S]
    keys = [question_keys([asked], EvalProtocol(), "m", videos) for asked in (one, other)]
    assert keys[0] == keys[1]
    assert key_of(a=1, b=[2]) == key_of(b=[2], a=1) != key_of(a=1, b=[3])


def test_bad_videos_are_told_before_the_first_question(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    model = Counting()
    with pytest.raises(VideoError, match='Question "2": bad.mp4 is not a video'):
        evaluate([question("1"), question("2", bad)], model, tmp_path, model_digest="m")
    with pytest.raises(VideoError, match=r"Question \"1\" is about second 60 on, .* 4\.0 s long"):
        evaluate([question("1", start_s=60.0)], model, tmp_path, model_digest="m")
    assert model.asked == []
    blind = Counting(EvalProtocol("text-only"))
    evaluate([question("2", bad)], blind, tmp_path, model_digest="m")
    assert blind.asked == ["2"]  # needs no picture


# ---- several at once -------------------------------------------------------------------------


def test_questions_of_a_video_stay_together(questions: list[Question]) -> None:
    shares = [own_share(questions, index, 2) for index in range(2)]
    assert sorted(q.id for share in shares for q in share) == sorted(q.id for q in questions)
    videos = [{q.video for q in share} for share in shares]
    assert not videos[0] & videos[1] and all(videos)
    for share in shares:
        changes = sum(a.video != b.video for a, b in zip(share, share[1:], strict=False))
        assert changes == len({q.video for q in share}) - 1


def test_each_process_writes_its_own_file(tmp_path: Path, questions: list[Question]) -> None:
    second = Counting()
    with pytest.raises(KeyError):  # the other process has not answered; launched ones wait for it
        evaluate(questions, second, tmp_path, model_digest="m", processes=Processes(1, 2))
    first = Counting()
    rows = evaluate(questions, first, tmp_path, model_digest="m", processes=Processes(0, 1))
    assert len(rows) == len(first.asked) + len(second.asked) == len(questions)
    assert {f.name for f in tmp_path.iterdir()} == {"answers.jsonl", "answers.process1.jsonl"}


# ---- with a model ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano() -> Iterator[Any]:
    import apollo

    torch.set_num_threads(1)
    yield apollo.load("nano", device="cpu")


@pytest.fixture
def asked(questions: list[Question]) -> list[Question]:
    """Questions of different lengths, with and without options, one about a part."""
    texts = ["What is in the video?", "Which one?", "And what do we see there at the very end?"]
    changed = []
    for number, one in enumerate(questions):
        options = ("a cat", "a dog", "a tree", "no animal at all") if number % 3 == 1 else ()
        range_s = {"start_s": 1.0, "end_s": 3.0} if number == 4 else {}
        text = texts[number % 3]
        changed.append(question(one.id, one.video, question=text, options=options, **range_s))
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ["full", *ABLATIONS])
def test_batches_say_what_single_questions_say(
    nano: Any, asked: list[Question], ablation: str
) -> None:
    protocol = EvalProtocol(ablation)
    alone = [Answerer(nano, protocol).answers([one])[0] for one in asked]
    for batch in (3, 8):
        answerer = Answerer(nano, protocol)
        groups = [asked[i : i + batch] for i in range(0, len(asked), batch)]
        assert [text for group in groups for text in answerer.answers(group)] == alone
    assert len(set(alone)) > 1


def test_it_says_what_the_chat_says(nano: Any, asked: list[Question]) -> None:
    generation = Generation(temperature=0, max_new_tokens=16)
    for one in [q for q in asked if q.start_s is None][:4]:
        text = question_text(one.question, one.options) if one.options else one.question
        chat = nano.answer(one.video, text, generation=generation)
        assert Answerer(nano, EvalProtocol()).answers([one]) == [chat]


def test_a_close_call_is_asked_again_alone(
    nano: Any, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Answerer(nano, EvalProtocol())
    texts = plain.answers(asked)
    assert plain.answered_alone == 0
    monkeypatch.setitem(answering.CLOSE_CALL, torch.float32, float("inf"))
    careful = Answerer(nano, EvalProtocol())
    assert careful.answers(asked) == texts
    assert careful.answered_alone == len(asked)


def test_ablations_show_less(nano: Any, calls_of: Any) -> None:
    one = question("1", TEN_S)
    seen = {}
    for ablation in ("full", *ABLATIONS):
        nano.cache = type(nano.cache)()
        seen[ablation] = calls_of(Answerer(nano, EvalProtocol(ablation)), one)
    clips, decoded = {k: v[0] for k, v in seen.items()}, {k: v[1] for k, v in seen.items()}
    assert clips == {"full": 6, "text-only": 0, "centre-frame": 1, "grey": 1}
    assert [len(decoded[k]) for k in ("full", "text-only", "grey")] == [6, 0, 0]
    (frames,) = decoded["centre-frame"]
    assert len(set(frames)) == 1 and frames[0] == 150  # of 300


@pytest.fixture
def calls_of(nano: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from asking import counted

    def run(answerer: Answerer, one: Question) -> tuple[int, list[Any]]:
        with monkeypatch.context() as patch, counted(nano.model, patch) as seen:
            answerer.answers([one])
        return seen.encoded, [clip.frame_ids for clip in seen.clips]

    return run


def test_a_video_is_encoded_once(nano: Any, calls_of: Any) -> None:
    nano.cache = type(nano.cache)()
    answerer = Answerer(nano, EvalProtocol())
    assert calls_of(answerer, question("1", TEN_S))[0] == 6
    assert calls_of(answerer, question("2", TEN_S))[0] == 0


def test_a_question_that_does_not_fit_is_named(nano: Any) -> None:
    long = question("wide", question="what " * 9000)
    with pytest.raises(PromptError, match='Question "wide": The question takes [0-9]+ tokens'):
        Answerer(nano, EvalProtocol("text-only")).answers([long])


def test_protocols_are_checked() -> None:
    with pytest.raises(SettingError, match='Unknown ablation "blind"; choose from text-only'):
        EvalProtocol("blind")
    with pytest.raises(SettingError, match="max_new_tokens is 0"):
        EvalProtocol(max_new_tokens=0)


def test_whatever_changes_a_model_changes_its_key(folder: Path, tmp_path: Path) -> None:
    def key(dtype: Any = torch.float32, quantization: Any = None, adapter: Any = None) -> str:
        loaded = SimpleNamespace(source_folder=folder, dtype=dtype, quantization=quantization)
        return digest_model(SimpleNamespace(model=loaded), adapter)

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter.safetensors").write_bytes(b"1")
    keys = [key(), key(torch.bfloat16), key(quantization="4bit"), key(adapter=adapter)]
    assert key() == keys[0]
    (adapter / "adapter.safetensors").write_bytes(b"2")
    keys.append(key(adapter=adapter))
    rewrite(folder / "llm/model.safetensors", lambda tensors: tensors["model.norm.weight"].add_(1))
    keys.append(key())
    edit(folder / "llm/tokenizer_config.json", model_max_length=7)
    keys.append(key())
    assert len({*keys}) == len(keys) == 7


def test_the_weights_of_a_model_are_not_read_whole(
    nano: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[str] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda f: whole.append(f.suffix) or read_bytes(f))
    digest_model(nano)
    assert {*whole} == {".json"}


# ---- the command, as a process ---------------------------------------------------------------


def write_data(folder: Path, asked: list[Question], copies: int = 1) -> Path:
    records = []
    for copy in range(copies):
        for one in asked:
            records.append({**one.as_record(str(one.video)), "id": f"{one.id} {copy}"})
            if not one.options:
                records[-1]["answer"] = "A cat."
    file = folder / "data.json"
    file.write_text(json.dumps(records))
    return file


def command(data: Path, output: Path, *more: str, launcher: tuple[str, ...] = ()) -> list[str]:
    arguments = [str(data), "--model", "nano", "--device", "cpu", "--output", str(output), *more]
    start = launcher or (sys.executable,)
    return [*start, str(ROOT / "tests/helpers/eval_process.py"), *arguments]


def figures(output: Path) -> Any:
    return json.loads((output / "results.json").read_text())


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=200, env=env)


@pytest.mark.slow
def test_kill_and_resume_equals_one_run(tmp_path: Path, asked: list[Question]) -> None:
    data = write_data(tmp_path, asked, copies=6)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command(data, killed, "--batch", "1"), env=env)
    answers = killed / "answers.jsonl"
    deadline = time.monotonic() + 100
    while not answers.exists() or answers.read_bytes().count(b"\n") < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = answers.read_bytes().split(b"\n")[:-1]
    assert 5 <= len(before) < 6 * len(asked) and not (killed / "results.json").exists()
    done = run(command(data, killed, "--batch", "8"))
    assert done.returncode == 0, done.stderr
    lines = answers.read_bytes().split(b"\n")[:-1]
    assert lines[: len(before)] == before and len(lines) == 6 * len(asked)
    once = run(command(data, whole, "--batch", "1"))
    assert once.returncode == 0, once.stderr
    assert figures(killed) == figures(whole)
    assert "macro" in once.stdout and "Traceback" not in once.stderr


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path, asked: list[Question]) -> None:
    data = write_data(tmp_path, asked)
    launcher = (sys.executable, "-m", "accelerate.commands.launch")
    # the name of the flag misleads: without a GPU it starts processes that talk over gloo
    launcher += (
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
    )
    two = run(command(data, tmp_path / "two", launcher=(*launcher, "--main_process_port", "0")))
    assert two.returncode == 0, two.stderr
    one = run(command(data, tmp_path / "one"))
    assert one.returncode == 0, one.stderr
    assert figures(tmp_path / "one") == figures(tmp_path / "two")
    files = {file.name for file in (tmp_path / "two").glob("answers*")}
    assert files == {"answers.jsonl", "answers.process1.jsonl"}


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate_command.add_flags(parser)
    return parser.parse_args(arguments)


def run_here(data: Path, output: Path, *more: str) -> Any:
    """The command in this process; returns what results.json holds."""
    args = parsed(str(data), "--output", str(output), "--device", "cpu", *more)
    assert evaluate_command.run(args) == 0
    return figures(output)


def test_bad_data_is_one_line_and_an_exit_code(tmp_path: Path, asked: list[Question]) -> None:
    data = write_data(tmp_path, asked)
    records = json.loads(data.read_text())
    records[2]["options"], records[2]["answer"] = ["a cat", "a dog"], "E"
    data.write_text("\n".join(json.dumps(record) for record in records))
    done = run(command(data, tmp_path / "out", "--strict"))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        f'apollo: {data}, line 3: the answer "E" is none of the 2 options; give a letter from A '
        "to B, or the text of an option.\n"
    )


def test_a_limit_takes_evenly_from_the_whole_file(tmp_path: Path, asked: list[Question]) -> None:
    args = parsed(str(write_data(tmp_path, asked)), "--output", str(tmp_path), "--limit", "3")
    picked = evaluate_command.wanted_questions(args, Processes())
    assert [q.id for q in picked] == [f"{FILES[0].name} {i} 0" for i in range(3)]


@pytest.mark.parametrize(
    ("flags", "error", "words"),
    [
        (("--batch", "0"), SettingError, "--batch is 0"),
        (("--limit", "0"), SettingError, "--limit is 0"),
        (("--videos", "gone"), DataError, "No such folder of videos: gone"),
        (("--output", "/dev/null/out"), SettingError, "The folder /dev/null/out cannot be made"),
    ],
)
def test_wrong_flags_are_refused(tmp_path: Path, flags: Any, error: Any, words: str) -> None:
    data = tmp_path / "data.json"
    data.write_text("[]")
    with pytest.raises(error, match=words):
        evaluate_command.run(parsed(str(data), "--output", str(tmp_path / "out"), *flags))


def test_without_the_template_engine_one_sentence_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    args = parsed("gone.json", "--output", str(tmp_path / "out"))
    with pytest.raises(SettingError) as error:
        evaluate_command.run(args)
    assert str(error.value) == (
        "apollo eval needs jinja2, which is not installed; run "
        'pip install "apollo-video[eval]" and start again.'
    )
    assert not args.output.exists()


def test_videos_may_lie_in_another_folder(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "one.mp4").symlink_to(SHORT)
    data = tmp_path / "questions.json"
    data.write_text('[{"id": "a", "video": "one.mp4", "question": "What?", "answer": "It."}]')
    flags = ("--videos", str(videos), "--ablate", "text-only", "grey")
    found = run_here(data, tmp_path / "out", *flags)
    assert list(found["figures"]) == ["full", "text-only", "grey"]
    assert [q["id"] for q in found["questions"]] == ["a"]


def test_without_output_the_results_lie_under_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "own.json"
    data.write_text(
        f'[{{"id": "a", "video": "{SHORT}", "question": "What?", "answer": "It."}}]',
    )
    assert evaluate_command.run(parsed(str(data), "--device", "cpu")) == 0
    assert (tmp_path / "runs" / "own" / "report.html").is_file()


def test_the_command_is_light_until_its_data_are_right(tmp_path: Path) -> None:
    code = """if True:
        import sys, apollo.evaluate.command
        assert not {"torch", "transformers", "jinja2", "av", "numpy"} & {*sys.modules}
        from apollo import cli
        assert cli.main(["eval", "gone.json", "--output", sys.argv[1]]) == 2
        assert not {"torch", "transformers"} & {*sys.modules}
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "apollo: No such data file: gone.json; check the path.\n"


@pytest.mark.slow
def test_an_adapter_is_evaluated_apart_from_its_base(tmp_path: Path, nano: Any) -> None:
    import apollo
    from apollo.adapters import lora as adapters

    trained = apollo.load("nano", device="cpu").model
    adapters.add_adapter(trained, adapters.AdapterConfig(rank=4), "mine")
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    adapters.save_adapter(trained, tmp_path / "mine")
    data = write_data(tmp_path, [question("1"), question("2", TEN_S)])
    before = run_here(data, tmp_path / "out", "--dtype", "float32")
    assert before["settings"]["dtype"] == "float32"
    after = run_here(data, tmp_path / "out", "--adapter", str(tmp_path / "mine"))
    assert (before["model"], after["model"]) == ("nano", "nano + mine")
    assert before["questions"] != after["questions"]
    assert (tmp_path / "out" / "answers.jsonl").read_bytes().count(b"\n") == 4
    with pytest.raises(AdapterError, match="gone"):
        run_here(data, tmp_path / "out", "--adapter", str(tmp_path / "gone"))
    own = tmp_path / "mine" / "apollo_adapter.json"
    own.write_text(own.read_text().replace('"digest": "', '"digest": "0'))
    for flag, other, error in (
        ("--adapter", "mine", AdapterError),
        ("--model", "gone", CheckpointError),
    ):
        with pytest.raises(error, match=other):
            run_here(Path("nano-bench"), tmp_path / "bench", flag, str(tmp_path / other))
    assert not list((tmp_path / "bench").iterdir())  # said before its videos are drawn


def test_nano_bench_is_rendered_once_and_again_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[Path] = []

    from apollo.cartoon import bench

    def write_bench_videos(folder: Path, number: int) -> Path:
        assert number == bench.NUM_QUESTIONS
        rendered.append(folder)
        folder.mkdir(parents=True)
        records = [{**question("1").as_record(str(SHORT)), "category": "ocr"}]
        (folder / "nano-bench.json").write_text(json.dumps(records))
        return folder / "nano-bench.json"

    spec = tmp_path / "spec.json"
    spec.write_text("1")
    monkeypatch.setattr(bench, "write_bench_videos", write_bench_videos)
    monkeypatch.setattr(bench, "SPEC", spec)
    args = parsed("nano-bench", "--output", str(tmp_path / "out"))
    for _ in range(2):
        (one,) = evaluate_command.wanted_questions(args, Processes())
        assert (one.category, one.video) == ("ocr", SHORT)
    assert len(rendered) == 1 and rendered[0].parent == tmp_path / "out"
    spec.write_text("2")
    evaluate_command.wanted_questions(args, Processes())
    assert len({*rendered}) == 2
    args.videos = tmp_path
    with pytest.raises(SettingError, match="nano-bench is built in"):
        evaluate_command.wanted_questions(args, Processes())
