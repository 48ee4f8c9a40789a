"""One run over all questions: what is left to ask, in which process, and nothing asked twice.

In:  questions, an answerer and a folder.  Out: every question with its answer, in file order.
Odd: a question that cannot be answered is left out, with the reason, and does not take its batch
     with it: the others of the batch are asked alone. Several processes (`accelerate launch -m
     apollo eval ...`) take whole videos in turn and write files of their own; the first process
     waits and reads them all. Each process reads all files before any writes, so that all of them
     agree on what is left. Torch is imported by what needs it, so wrong data are told at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from apollo.errors import PromptError, VideoError
from apollo.evaluate.left_out import LeftOut, hear_others, tell_others
from apollo.evaluate.protocol import EvalProtocol
from apollo.evaluate.question_file import Question
from apollo.evaluate.score import ScoredAnswer
from apollo.evaluate.store import Stored, append_answers, key_of, read_answers
from apollo.terminal import check_extra
from apollo.video.reader import Video

if TYPE_CHECKING:
    from apollo.chat import Apollo
    from apollo.evaluate.answering import Answerer

LONGEST_WAIT = timedelta(days=30)  # for the slowest process; the usual limit is half an hour


@dataclass(frozen=True)
class Processes:
    """This process among all of them. `wait` returns when every process has called it."""

    index: int = 0
    count: int = 1
    device: str | None = None  # the one assigned to this process
    wait: Callable[[], None] = lambda: None


def launched_processes(device: str | None) -> Processes:
    """The processes that `accelerate launch` or `torchrun` started; one when none did.

    Raises:
        SettingError: there are several, and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes(device=device)
    check_extra("apollo eval in several processes", "train", "accelerate")
    import torch
    from accelerate import PartialState

    on_cpu = device == "cpu" or not torch.cuda.is_available()
    state = PartialState(cpu=on_cpu, timeout=LONGEST_WAIT)
    assigned = device or str(state.device)
    return Processes(state.process_index, state.num_processes, assigned, state.wait_for_everyone)


def evaluate(
    questions: Sequence[Question],
    answerer: Answerer,
    folder: Path,
    *,
    model_digest: str,
    batch: int = 8,
    processes: Processes = Processes(),  # noqa: B008  # frozen
    left_out: list[LeftOut] | None = None,
) -> list[ScoredAnswer]:
    """Asks what is not answered in `folder` yet; returns all questions with their answers.

    `model_digest` stands for the weights; `batch` questions are asked at once. Questions that
    cannot be answered are added to `left_out`, if it is given.

    Raises:
        VideoError, PromptError: without `left_out`: a video cannot be read, which is mostly found
            before the first question is asked, or a question is too long.
        DataError: the answers in `folder` are damaged, or cannot be written.
    """
    protocol = answerer.protocol
    failed: list[LeftOut] | None = None if left_out is None else []
    videos = {} if protocol.ablation == "text-only" else check_videos(questions, failed)
    unread = {one.id for one in failed or ()}
    questions = [question for question in questions if question.id not in unread]
    keys = question_keys(questions, protocol, model_digest, videos)
    known = read_answers(folder)
    processes.wait()  # nobody writes before everybody has read
    left = [question for question in questions if keys[question.id] not in known]
    mine = own_share(left, processes.index, processes.count)
    suffix = f".process{processes.index}" if processes.index else ""
    file = folder / f"answers{suffix}.jsonl"
    with tqdm(total=len(mine), desc=protocol.ablation, unit="question", disable=None) as bar:
        for start in range(0, len(mine), batch):
            group = mine[start : start + batch]
            for rows in _answered(group, answerer, failed):
                append_answers(file, [Stored(keys[q.id], q.id, text) for q, text in rows])
            bar.update(len(group))
    if failed is not None and processes.count > 1:
        tell_others(folder, processes.index, failed)
    processes.wait()
    known = read_answers(folder)
    if failed is None or left_out is None:
        return [ScoredAnswer(question, known[keys[question.id]]) for question in questions]
    if processes.count > 1:
        failed = hear_others(folder, processes.count)
    left_out.extend(failed)
    told = {one.id for one in failed}
    lost = [q for q in questions if keys[q.id] not in known and q.id not in told]
    left_out.extend(
        LeftOut(q.id, f'Question "{q.id}" got no answer; start again to ask it.') for q in lost
    )
    return [ScoredAnswer(q, known[keys[q.id]]) for q in questions if keys[q.id] in known]


def _answered(
    group: Sequence[Question], answerer: Answerer, failed: list[LeftOut] | None
) -> Iterator[list[tuple[Question, str]]]:
    """The questions of a batch with their answers; one by one when the batch has a bad one."""
    try:
        yield list(zip(group, answerer.answers(group), strict=True))
        return
    except (VideoError, PromptError, OSError) as error:
        if len(group) == 1:
            if failed is None:
                raise
            failed.append(_failure(group[0], error))
            return
    for question in group:
        yield from _answered([question], answerer, failed)


def _failure(question: Question, error: Exception) -> LeftOut:
    reason = str(error)
    name = f'Question "{question.id}"'
    return LeftOut(question.id, reason if reason.startswith(name) else f"{name}: {reason}")


def check_videos(
    questions: Iterable[Question], failed: list[LeftOut] | None = None
) -> dict[Path, str]:
    """The digest of every video. Each is opened, so a bad one is told before hours of work.

    Questions about bad ones are added to `failed`, if it is given.

    Raises:
        VideoError: without `failed`: a video cannot be read, or a question is about what lies
            behind its end.
    """
    digests: dict[Path, str] = {}
    durations_s: dict[Path, float] = {}
    faults: dict[Path, Exception] = {}
    for question in questions:
        path = question.video
        try:
            if path in faults:
                raise faults[path]
            if path not in digests:
                with Video(path) as video:
                    digests[path], durations_s[path] = video.digest, video.info.duration_s
            if (question.start_s or 0.0) >= durations_s[path]:
                raise VideoError(
                    f'Question "{question.id}" is about second {question.start_s:g} on, but '
                    f"{path.name} is {durations_s[path]:.1f} s long; correct its start_s."
                )
        except (VideoError, OSError) as error:
            if path not in digests:
                faults[path] = error
            failure = _failure(question, error)
            if failed is None:
                raise VideoError(failure.reason) from error
            failed.append(failure)
    return digests


def question_keys(
    questions: Iterable[Question],
    protocol: EvalProtocol,
    model_digest: str,
    videos: Mapping[Path, str],
) -> dict[str, str]:
    """id -> a digest of all that the answer depends on: weights, settings, question, pixels.

    `videos` holds the digests of the videos, and nothing when they are not looked at.
    """
    keys = {}
    for question in questions:
        # the right answer and the category do not change what the model says
        asked = {
            **{"question": question.question, "options": list(question.options)},
            **{"start_s": question.start_s, "end_s": question.end_s},
            **{"video": videos.get(question.video, ""), "protocol": protocol.as_json()},
        }
        keys[question.id] = key_of(id=question.id, model=model_digest, **asked)
    return keys


def own_share(left: Sequence[Question], index: int, count: int) -> list[Question]:
    """The questions of one process: whole videos in turn, the questions of a video together."""
    by_video: dict[Path, list[Question]] = {}
    for question in left:
        by_video.setdefault(question.video, []).append(question)
    videos = list(by_video.values())[index::count]
    return [question for group in videos for question in group]


def digest_model(model: Apollo, adapter: Path | None = None) -> str:
    """A digest of a loaded model: its weights, the files beside them, its adapter, its number type.

    Of a large model's weights it reads only a part, as the model's identity does.
    """
    from apollo.adapters.identity import identify

    folder = model.model.source_folder
    assert folder is not None, "the model was changed after it was loaded"
    files = [file for kind in ("*.json", "*.txt") for file in sorted(folder.rglob(kind))]
    if adapter is not None:
        files += sorted(file for file in adapter.iterdir() if file.is_file())
    return key_of(
        weights=identify(folder).digest,
        files=[(file.name, hashlib.blake2b(file.read_bytes()).hexdigest()) for file in files],
        dtype=str(model.model.dtype),
        quantization=model.model.quantization,
    )
