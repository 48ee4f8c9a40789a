"""What a visitor's questions, buttons and video do to the page.

In:  what was chosen, typed and pressed, with the visitor's turns.  Out: what becomes of the chat
panel, the question box and the status line.
Odd: Stop, Retry, Clear and a new video change the turns at once; the answer that is being written
notices and ends.
"""

from __future__ import annotations

from apollo.demo import worker  # isort: skip  # before anything that may touch CUDA

import asyncio
import contextlib
import html
import re
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from apollo.catalog import MODELS
from apollo.demo.pacer import SILENCE_S, paced
from apollo.demo.turns import Turns

# ---- one answer ------------------------------------------------------------------------------


def answer(
    video: str | None, messages: list, temperature: float, top_p: float, max_tokens: float
) -> Generator[list[worker.Step], None, None]:
    """The updates of one answer, waiting for the model first."""
    while not worker.host.ready.wait(SILENCE_S):
        yield [("status", f"Loading the model {worker.host.name} …")]
    if worker.host.problem:
        yield [("error", worker.host.problem)]
        return
    yield from paced(worker.answer_steps(video, messages, temperature, top_p, max_tokens))


# ---- what the buttons do: (chat panel, question box, status line) -----------------------------


KEEP = gr.skip()


def show(turns: Turns, box: Any = KEEP, status: str = "") -> tuple:
    """What the three outputs become. The panel renders Markdown; what would be an HTML tag, which
    it drops, or an image is shown as it is written."""
    shown = [
        {"role": m["role"], "content": re.sub(r"<(?=[A-Za-z/!?])", "&lt;", m["content"])}
        for m in turns.messages
        if m["content"]
    ]
    for message in shown:
        message["content"] = message["content"].replace("![", r"!\[")
    return shown, box, status


def send(
    turns: Turns,
    video: str | None,
    question: str,
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> Iterator[tuple]:
    if not question.strip():
        gr.Warning("Type a question first.")
        yield KEEP, KEEP, KEEP
        return
    message = turns.ask(question.strip(), video)
    yield show(turns, box="", status="Waiting for the model …")
    yield from _write(turns, message, temperature, top_p, max_tokens)


def retry(turns: Turns, temperature: float, top_p: float, max_tokens: int) -> Iterator[tuple]:
    message = turns.retry()
    if message is None:
        gr.Warning("There is no answer to try again yet.")
        yield KEEP, KEEP, KEEP
        return
    yield show(turns, status="Waiting for the model …")
    yield from _write(turns, message, temperature, top_p, max_tokens)


def _write(turns: Turns, message: dict[str, str], *settings: float) -> Iterator[tuple]:
    """The one streaming callback: writes `message` until it is complete or no longer wanted."""
    asked = [dict(m) for m in turns.messages[:-1]]
    with contextlib.closing(answer(turns.video, asked, *settings)) as updates:
        for steps in updates:
            if turns.writing is not message:
                return
            status = ""
            for kind, text in steps:
                if kind == "error":
                    # `fail` puts the question back into the box when this has failed
                    raise gr.Error(html.escape(text), title="No answer", print_exception=False)
                if kind == "text":
                    message["content"] += text
                status = text if kind == "status" else ""
            yield show(turns, status=status) if steps else (KEEP, KEEP, KEEP)
    if turns.writing is message:
        turns.end()


def stop(turns: Turns, box: str, failed: bool = False) -> tuple:
    """Keeps what was written. A question that got no answer goes back into the box, before
    anything typed since; otherwise the box is left alone, for someone may be typing in it."""
    question = turns.end(failed)
    return show(turns, box="\n".join(filter(None, [question, box])) if question else KEEP)


def fail(turns: Turns, box: str) -> tuple:
    return stop(turns, box, failed=True)


def clear(turns: Turns) -> tuple:
    turns.start(turns.video)
    return show(turns)


def change_video(turns: Turns, video: str | None, box: str) -> tuple:
    """A new video starts new turns; taking the video away leaves the chat readable."""
    if video is None or video == turns.video:
        return stop(turns, box)
    question = turns.end()
    turns.start(video)
    return show(turns, box=question if question and not box else KEEP)


def read_ahead(video: str | None) -> Iterator[Any]:
    """How much of a video that was just chosen has been read. To close this takes no time, though
    the reading ends with what it is at."""
    with contextlib.closing(paced(worker.reading_ahead(video))) as updates:
        for texts in updates:
            yield html.escape(texts[-1]) if texts else KEEP
    yield ""


def ask(
    video: str | None,
    question: str,
    temperature: float,
    top_p: float,
    max_output_tokens: int,
) -> Iterator[str]:
    """Answers a question about a video. Every update is the whole answer so far; a note about
    the video, say that it is damaged, follows the answer in brackets.

    Args:
        video: the video file
        question: what to ask about it
        temperature: 0 always gives the likeliest answer; higher is more varied
        top_p: choose among the likeliest words up to this share
        max_output_tokens: the longest answer
    """
    text = ""
    messages = [{"role": "user", "content": question}]
    for steps in answer(video, messages, temperature, top_p, max_output_tokens):
        for kind, piece in steps:
            if kind == "error":
                raise gr.Error(piece, print_exception=False)
            text += piece if kind == "text" else f"\n\n({piece})" if kind == "note" else ""
        yield text


async def model_line() -> AsyncIterator[str]:
    """Which model answers; the page is open while it loads, so this follows the loading."""
    while not worker.host.ready.is_set():
        yield f"Loading the model {html.escape(worker.host.name)} … You can already choose a video."
        await asyncio.sleep(0.5)
    if worker.host.problem:
        yield f"**No model:** {html.escape(worker.host.problem)}"
        return
    card = worker.host.model.card
    adapter = ""
    if worker.host.adapter:
        adapter = f" with the adapter **{html.escape(Path(worker.host.adapter).resolve().name)}**"
    line = f"Answers come from **{card.title}**{adapter} ({card.licence}). {card.note}"
    if card.name == "nano":
        others = ", ".join(
            f"{other.title} ({other.size_gb:g} GB, {other.licence})"
            for name, other in MODELS.items()
            if name != "nano"
        )
        line += (
            " For real videos start again with a bigger model, for example "
            f"`apollo demo --model 3B` (on a Space set APOLLO_MODEL): {others}."
        )
    yield line
