"""The page: drop a video, ask, read the answer while it is written.

In:  a model name (`apollo demo --model 3B`, or APOLLO_MODEL on a Space).  Out: `demo`, Gradio's
Blocks with the page and the API endpoint /ask.
Odd: on a ZeroGPU Space `answer_on_gpu` runs in a forked process: it takes and gives only strings
and numbers, yields at least every 0.25 s (that is when it can be stopped), and what it changes is
lost. Everywhere else it is an ordinary generator. Stop, Retry, Clear and a new video change the
visitor's conversation at once; the answer being written notices and ends.
"""

from __future__ import annotations

import spaces  # isort: skip  # before anything that may touch CUDA

import asyncio
import contextlib
import html
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
import gradio as gr  # noqa: E402

import apollo  # noqa: E402
from apollo.catalog import MODELS  # noqa: E402
from apollo.demo.turns import Conversation, Message  # noqa: E402
from apollo.demo.worker import BEAT_S, Host, Step, beats  # noqa: E402

ASSETS = Path(__file__).parent / "assets"
EXAMPLES = [  # apollo-nano answers each of them rightly; the tests hold it to that
    ("example_1.mp4", "What happens in this video?"),
    ("example_2.mp4", "What comes after the snowman?"),
    ("example_2.mp4", "When does the butterfly appear?"),
    ("example_3.mp4", "视频里发生了什么？"),
]
MODEL_SLOT = "model"  # every listener that runs the model waits in this one line
MAX_WAITING = 32
MAX_UPLOAD = "500mb"
UPLOADS_KEPT_S = 2 * 3600
GPU_S = (15, 120)  # the shortest and longest GPU slot asked for on ZeroGPU

THEME = gr.themes.Soft(
    primary_hue="indigo",
    neutral_hue="slate",
    radius_size="lg",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],  # nothing fetched
)

host = Host(os.environ.get("APOLLO_MODEL", "nano"))


# ---- one answer ------------------------------------------------------------------------------


def seconds_needed(
    video: str | None, messages: list[Message], temperature: float, top_p: float, max_tokens: int
) -> int:
    """The GPU seconds to ask ZeroGPU for: start-up, half a second a clip, 15 tokens a second."""
    try:
        clips = len(host.model.clips(video, apollo.Sampling())) if video else 0
    except apollo.ApolloError:
        clips = 0  # the answer itself will say what is wrong with the video
    return round(min(max(10 + clips / 2 + max_tokens / 15, GPU_S[0]), GPU_S[1]))


@spaces.GPU(duration=seconds_needed)
def answer_on_gpu(
    video: str | None, messages: list[Message], temperature: float, top_p: float, max_tokens: int
) -> Iterator[Step]:
    """The only function that touches the model."""
    yield from beats(host.steps(video, messages, temperature, top_p, int(max_tokens)))


def answer(
    video: str | None, messages: list[Message], temperature: float, top_p: float, max_tokens: int
) -> Iterator[Step]:
    """The steps of one answer as the page sees them, waiting for the model first."""
    while not host.ready.wait(BEAT_S):
        yield "status", f"Loading the model {host.name} …"
    if host.problem:
        yield "error", host.problem
        return
    yield from beats(answer_on_gpu(video, messages, temperature, top_p, max_tokens))


# ---- what the buttons do: (chat panel, question box, status line) -----------------------------


KEEP = gr.skip()


def show(conversation: Conversation, box: Any = KEEP, status: str = "") -> tuple:
    """What the three outputs become. The panel renders Markdown and drops what looks like HTML
    tags, so those are escaped: nothing the model says disappears."""
    shown = [
        {"role": m["role"], "content": re.sub(r"<(?=[A-Za-z/!?])", "&lt;", m["content"])}
        for m in conversation.messages
        if m["content"]
    ]
    return shown, box, status


def send(
    conversation: Conversation,
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
    message = conversation.ask(question.strip(), video)
    yield show(conversation, box="", status="Waiting for the model …")
    yield from _write(conversation, message, temperature, top_p, max_tokens)


def retry(
    conversation: Conversation, temperature: float, top_p: float, max_tokens: int
) -> Iterator[tuple]:
    message = conversation.retry()
    if message is None:
        gr.Warning("There is no answer to try again yet.")
        yield KEEP, KEEP, KEEP
        return
    yield show(conversation, status="Waiting for the model …")
    yield from _write(conversation, message, temperature, top_p, max_tokens)


def _write(
    conversation: Conversation,
    message: Message,
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> Iterator[tuple]:
    """The one streaming callback: writes `message` until it is complete or no longer wanted."""
    asked = [dict(m) for m in conversation.messages[:-1]]
    steps = answer(conversation.video, asked, temperature, top_p, max_tokens)
    with contextlib.closing(steps):  # type: ignore[type-var]
        for kind, text in steps:
            if conversation.writing is not message:
                return
            if kind == "error":
                # `fail` puts the question back into the box when this has failed
                raise gr.Error(html.escape(text), title="No answer", print_exception=False)
            if kind == "text":
                message["content"] += text
                yield show(conversation, status="")
            elif kind == "status":
                yield show(conversation, status=text)
            else:
                yield KEEP, KEEP, KEEP
    conversation.end()


def stop(conversation: Conversation, box: str, failed: bool = False) -> tuple:
    """Keeps what was written. A question that got no answer goes back into the box, before
    anything typed since; otherwise the box is left alone, for someone may be typing in it."""
    question = conversation.end(failed)
    return show(conversation, box="\n".join(filter(None, [question, box])) if question else KEEP)


def fail(conversation: Conversation, box: str) -> tuple:
    return stop(conversation, box, failed=True)


def clear(conversation: Conversation) -> tuple:
    conversation.start(conversation.video)
    return show(conversation)


def change_video(conversation: Conversation, video: str | None, box: str) -> tuple:
    """A new video starts a new conversation; taking the video away leaves the chat readable."""
    if video is None or video == conversation.video:
        return stop(conversation, box)
    question = conversation.end()
    conversation.start(video)
    return show(conversation, box=question if question and not box else KEEP)


def ask(
    video: str | None,
    question: str,
    temperature: float,
    top_p: float,
    max_output_tokens: int,
) -> Iterator[str]:
    """Answers a question about a video. Every update is the whole answer so far.

    Args:
        video: the video file
        question: what to ask about it
        temperature: 0 always gives the likeliest answer; higher is more varied
        top_p: choose among the likeliest words up to this share
        max_output_tokens: the longest answer
    """
    text = ""
    messages = [{"role": "user", "content": question}]
    for kind, piece in answer(video, messages, temperature, top_p, max_output_tokens):
        if kind == "error":
            raise gr.Error(piece, print_exception=False)
        text += piece if kind == "text" else ""
        yield text


# ---- the page --------------------------------------------------------------------------------


async def model_line() -> AsyncIterator[str]:
    """Which model answers; the page is open while it loads, so this follows the loading."""
    while not host.ready.is_set():
        yield f"Loading the model {html.escape(host.name)} … You can already choose a video."
        await asyncio.sleep(0.5)
    if host.problem:
        yield f"**No model:** {html.escape(host.problem)}"
        return
    card = host.model.card
    adapter = ""
    if host.adapter:
        adapter = f" with the adapter **{html.escape(Path(host.adapter).resolve().name)}**"
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


def build() -> gr.Blocks:
    with gr.Blocks(
        title="Apollo", fill_width=True, analytics_enabled=False, delete_cache=(600, UPLOADS_KEPT_S)
    ) as page:
        conversation = gr.State(Conversation())
        gr.HTML(
            "<h1>Apollo</h1><p>Drop a video and ask about it.</p>", elem_id="title", padding=False
        )
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=2, min_width=300):
                video = gr.Video(
                    label="Video",
                    format=None,
                    include_audio=True,
                    sources=["upload"],
                    elem_id="video",
                    height="min(42vh, 360px)",
                )
                examples = gr.Column(elem_id="try")
            with gr.Column(scale=3, min_width=300):
                chat = gr.Chatbot(
                    label="Chat",
                    elem_id="chat",
                    height="min(54vh, 560px)",
                    layout="bubble",
                    placeholder="Choose a video, then ask: *What happens in this video?*",
                    buttons=["copy"],
                    latex_delimiters=[],
                    show_label=False,
                    allow_tags=False,
                    feedback_options=(),
                )
                status = gr.Markdown("", elem_id="status", container=False)
                box = gr.Textbox(
                    label="Question",
                    show_label=False,
                    placeholder="Ask about the video",
                    elem_id="question",
                    lines=1,
                    max_lines=6,
                    autofocus=True,
                    max_length=8000,
                )
                with gr.Row(elem_id="buttons"):
                    send_button = gr.Button("Send", variant="primary", elem_id="send")
                    stop_button = gr.Button("Stop", variant="stop", elem_id="stop")
                    retry_button = gr.Button("Retry", elem_id="retry")
                    clear_button = gr.Button("Clear", elem_id="clear")
                sliders = settings_panel()
        about = gr.Markdown("", elem_id="about")
        with examples:
            gr.Examples(
                [[str(ASSETS / file), question] for file, question in EXAMPLES],
                inputs=[video, box],
                label="Try one",
                elem_id="examples",
                cache_examples=False,
                api_visibility="private",
            )

        panel = [chat, box, status]
        runs: dict[str, Any] = dict(
            concurrency_id=MODEL_SLOT,
            concurrency_limit=1,
            show_progress="hidden",
            api_visibility="private",
        )
        quick: dict[str, Any] = dict(queue=False, show_progress="hidden", api_visibility="private")
        sent = gr.on(
            [send_button.click, box.submit],
            send,
            [conversation, video, box, *sliders],
            panel,
            **runs,
        )
        retried = retry_button.click(retry, [conversation, *sliders], panel, cancels=[sent], **runs)
        running = [sent, retried]
        for run in running:
            run.failure(fail, [conversation, box], panel, **quick)
        stop_button.click(stop, [conversation, box], panel, cancels=running, **quick)
        # the panel has a bin of its own, which must not leave the conversation behind
        gr.on(
            [clear_button.click, chat.clear], clear, [conversation], panel, cancels=running, **quick
        )
        video.change(change_video, [conversation, video, box], panel, cancels=running, **quick)
        page.load(
            model_line,
            None,
            about,
            concurrency_limit=None,
            show_progress="hidden",
            api_visibility="private",
        )
        api_endpoint(video, sliders)
    return page


def settings_panel() -> list[gr.Slider]:
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        return [
            gr.Slider(
                0,
                1,
                value=0.4,
                step=0.05,
                label="Temperature",
                info="0 always gives the likeliest answer; higher is more varied",
            ),
            gr.Slider(
                0.05,
                1,
                value=0.7,
                step=0.05,
                label="Top-p",
                info="Chooses among the likeliest words up to this share",
            ),
            gr.Slider(
                32,
                1024,
                value=256,
                step=32,
                label="Max output tokens",
                info="The longest answer; a word is one or two tokens",
            ),
        ]


def api_endpoint(video: gr.Video, sliders: list[gr.Slider]) -> None:
    """/ask. It takes the page's own inputs, so an upload is checked like one from the page: a
    caller can name a file it has uploaded, never a path on this machine."""
    with gr.Row(visible=False):
        question, answer_text = gr.Textbox(label="Question"), gr.Textbox(label="Answer")
        gr.Button("Ask").click(
            ask,
            [video, question, *sliders],
            answer_text,
            api_name="ask",
            concurrency_id=MODEL_SLOT,
            concurrency_limit=1,
        )


demo = build()
demo.queue(max_size=MAX_WAITING, default_concurrency_limit=8)
if os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
    host.load(device="cuda")  # ZeroGPU packs the weights found on "cuda" at launch
