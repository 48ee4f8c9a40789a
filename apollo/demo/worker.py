"""One model for all visitors, and the steps of one answer.

In:  questions from many threads.  Out: steps: ("text", piece), ("status", sentence) or
("error", sentence); None is a sign of life, a moment at which the work can be stopped.
Odd: on a ZeroGPU Space `answer_on_gpu` runs in a forked process that has the GPU for some seconds.
What it changes is lost, so decoding, caches and conversations stay in this process: it is given a
request and pixels, and gives back text and the visual tokens for this process to remember.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported
import spaces  # noqa: E402  # isort: skip  # before anything that may touch CUDA

import contextlib
import functools
import logging
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
from spaces.config import Config as SpaceConfig

import apollo
from apollo.demo.line import Line

if TYPE_CHECKING:  # the page is there before the slow libraries are
    from apollo.model.prompt import Message

log = logging.getLogger(__name__)

Step = tuple[str, Any]
Steps = Generator[Step | None, None, Any]

ZERO_GPU: bool = SpaceConfig.zero_gpu
UPLOADS_KEPT_S = 2 * 3600
# What a GPU of ZeroGPU is asked for; more than is needed, because at its end the answer is cut off.
MAX_READ_S = 600  # of one video; others wait meanwhile
LOOK_AGAIN_S = 0.2
MODEL_LOADS_S = 600
GPU_START_S = 5
GPU_CLIPS_PER_S = 8
GPU_TOKENS_PER_S = 20
GPU_S = (10, 120)  # the shortest and longest time asked for


class Host:
    """The one model of this process. It loads while the page is already served."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.adapter = ""  # folder of the adapter that the model answers with
        self.model: Any = None
        self.problem = ""  # a sentence, when loading failed
        self.ready = threading.Event()  # set when loading is over, well or badly
        self.line = Line()  # the first in it is answered

    def load(self, name: str, **options: Any) -> None:
        """Loads the model; the arguments and what it raises are those of `apollo.load`."""
        self.name, self.adapter = name, options.get("adapter") or ""
        try:
            self.model = apollo.load(name, **options)
        except Exception as error:
            self.problem = f"The model {name} could not be loaded; the server's log says why."
            if isinstance(error, apollo.ApolloError):
                self.problem = str(error)
            raise
        finally:
            self.ready.set()


host = Host(os.environ.get("APOLLO_MODEL", "nano"))


def in_sentences(work: Callable[..., Steps]) -> Callable[..., Steps]:
    """A failure becomes a step: ZeroGPU passes on only the name of an exception's class."""

    @functools.wraps(work)
    def run(*args: Any) -> Steps:
        try:
            yield from work(*args)
        except gr.Error:
            raise  # ZeroGPU's own: the quota is used up, or the process died
        except apollo.ApolloError as error:
            yield "error", str(error)
        except Exception:
            reference = uuid.uuid4().hex[:8]
            log.exception("apollo: answering failed, reference %s", reference)
            yield (
                "error",
                "Something went wrong while answering; try again, and if it happens again, "
                f"report it with the reference {reference}.",
            )

    return run


def seconds_needed(request: Any, pixels: Any) -> int:
    """The GPU seconds to ask ZeroGPU for, from the clips to encode and the tokens to write."""
    encoding_s = request.clips_to_encode / GPU_CLIPS_PER_S
    seconds = GPU_START_S + encoding_s + request.generation.max_new_tokens / GPU_TOKENS_PER_S
    return round(min(max(seconds, GPU_S[0]), GPU_S[1]))


@spaces.GPU(duration=seconds_needed)
@in_sentences
def answer_on_gpu(request: Any, pixels: Iterable[Any]) -> Steps:
    """The only function that uses the model's weights: encodes the pixels, writes the answer."""
    with contextlib.closing(host.model.respond(request, pixels)) as events:
        yield from map(_step, events)


def _step(event: Any) -> Step | None:
    if isinstance(event, apollo.Text):
        return ("text", event.piece) if event.piece else None
    if isinstance(event, apollo.Reading):
        doing = "Looking at" if ZERO_GPU else "Reading"  # there it has been read by now
        return "status", f"{doing} the video: {event.done} of {event.total} clips"
    if isinstance(event, apollo.Done):
        return "done", event.stats
    return "tokens", event.tokens


@in_sentences
def answer_steps(
    video: str | None,
    messages: list[Message],
    temperature: float,
    top_p: float,
    max_new_tokens: int,
) -> Steps:
    """The steps of one answer; runs in the process that serves the page."""
    generation = apollo.Generation(
        temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens
    )
    sampling = apollo.Sampling(max_read_s=MAX_READ_S)
    with host.line.place() as place:
        while ahead := place.num_ahead:
            questions = "one question is" if ahead == 1 else f"{ahead} questions are"
            yield "status", f"Waiting: {questions} before yours"
            place.wait(LOOK_AGAIN_S)
        yield None
        _check_kept(video)
        answer = _answer_on_zerogpu if ZERO_GPU else _answer_here
        yield from answer(video, messages, sampling, generation)


def _check_kept(video: str | None) -> None:
    if video is not None and not os.path.exists(video):
        raise apollo.VideoError(
            f"The video has expired: uploads are kept for {UPLOADS_KEPT_S // 3600} hours; "
            "choose the video again."
        )


def _answer_here(video: str | None, messages: list[Message], sampling: Any, settings: Any) -> Steps:
    events = host.model.events(video, messages, sampling=sampling, generation=settings)
    with contextlib.closing(events):
        for event in events:
            step = _step(event)
            if step and step[0] == "done":
                yield from _ending(step[1])
            else:
                yield step


def _answer_on_zerogpu(
    video: str | None, messages: list[Message], sampling: Any, settings: Any
) -> Steps:
    with host.model.prepare(video, messages, sampling=sampling, generation=settings) as prepared:
        request = prepared.request
        pixels = yield from _read_whole(prepared.pixels(), request.clips_to_encode)
        yield "status", "Waiting for a GPU …"
        with contextlib.closing(answer_on_gpu(request, pixels)) as steps:
            for step in steps:
                if step and step[0] == "tokens":
                    prepared.keep(step[1])
                elif step and step[0] == "done":
                    yield from _ending(prepared.noted(step[1]))
                else:
                    yield step


def _ending(stats: Any) -> Steps:
    if stats.note:
        yield "note", stats.note
    yield "status", summary(stats)


def reading_ahead(video: str | None) -> Iterator[str]:
    """Reads a video before anybody asks: how far it is, again and again. Closing this ends it.

    Not on ZeroGPU, where a GPU is only lent to an answer.
    """
    if video is None or ZERO_GPU or not host.ready.wait(MODEL_LOADS_S) or host.model is None:
        return
    try:
        reading = host.model.read_ahead(video, apollo.Sampling(max_read_s=MAX_READ_S))
    except apollo.ApolloError as error:
        yield str(error)
        return
    with reading:
        while not reading.is_over:
            yield f"Read {reading.done} of {reading.total} clips"
            reading.wait(LOOK_AGAIN_S)
        yield str(reading.error or "")


def _read_whole(pixels: Iterator[Any], total: int) -> Steps:
    """All pixels at once, so that no GPU waits while the video is read."""
    groups: list[Any] = []
    done = 0
    for group in pixels:
        groups.append(group)
        done += len(group.lost)
        yield "status", f"Reading the video: {done} of {total} clips"
    return groups


def summary(stats: Any) -> str:
    """How the answer came about, in a line."""
    reading = "reused" if stats.reused_visual_tokens else "read"
    noun = "clip" if stats.clips == 1 else "clips"
    parts = [f"{stats.clips} {noun} {reading}"] if stats.clips else []
    parts += [f"first word after {stats.first_token_s:.1f} s", f"{stats.tokens_per_s:.0f} tokens/s"]
    return " · ".join(parts) + (f" · {stats.note}" if stats.note else "")
