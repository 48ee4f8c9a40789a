"""The page: drop a video, ask, read the answer while it is written.

In:  the functions of `actions`.  Out: `demo`, Gradio's Blocks with the page and the API endpoint
/ask.
"""

from __future__ import annotations

from apollo.demo import actions  # isort: skip  # before anything that may touch CUDA

from pathlib import Path
from typing import Any

import gradio as gr

from apollo.demo.turns import Turns
from apollo.demo.worker import UPLOADS_KEPT_S

ASSETS = Path(__file__).parent / "assets"
EXAMPLES = [  # apollo-nano answers each of them rightly; the tests hold it to that
    ("example_1.mp4", "What happens in this video?"),
    ("example_2.mp4", "What comes after the snowman?"),
    ("example_2.mp4", "When does the butterfly appear?"),
    ("example_3.mp4", "视频里发生了什么？"),
]
SLIDERS = [  # lowest, highest, step, at first, label, info
    (0, 1, 0.05, 0.4, "Temperature", "0 always gives the likeliest answer; higher is more varied"),
    (0.05, 1, 0.05, 0.7, "Top-p", "Chooses among the likeliest words up to this share"),
    (32, 1024, 32, 256, "Max output tokens", "The longest answer; a word is one or two tokens"),
]
MODEL_SLOT = "model"  # every listener that runs the model; `worker.host.line` orders them
MAX_WAITING = 32
MAX_THREADS = 2 * MAX_WAITING + 16  # one for each that waits, and for uploads and buttons
MAX_UPLOAD = "500mb"

THEME = gr.themes.Soft(
    primary_hue="indigo",
    neutral_hue="slate",
    radius_size="lg",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],  # nothing fetched
)
# Whatever an answer contains, the browser fetches nothing for it from elsewhere.
HEAD = """<meta http-equiv="Content-Security-Policy" content="img-src 'self' data: blob:; \
media-src 'self' data: blob:; font-src 'self' data:; frame-src 'none'; object-src 'none'">"""


def build() -> gr.Blocks:
    with gr.Blocks(
        title="Apollo", fill_width=True, analytics_enabled=False, delete_cache=(600, UPLOADS_KEPT_S)
    ) as page:
        turns = gr.State(Turns())
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
                reading = gr.Markdown("", elem_id="reading", container=False)
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
        quiet: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
        runs: dict[str, Any] = dict(
            concurrency_id=MODEL_SLOT, concurrency_limit=MAX_WAITING, **quiet
        )
        quick: dict[str, Any] = dict(queue=False, **quiet)
        asked = [send_button.click, box.submit]
        sent = gr.on(asked, actions.send, [turns, video, box, *sliders], panel, **runs)
        retried = retry_button.click(
            actions.retry, [turns, *sliders], panel, cancels=[sent], **runs
        )
        running = [sent, retried]
        for run in running:
            run.failure(actions.fail, [turns, box], panel, **quick)
        stop_button.click(actions.stop, [turns, box], panel, cancels=running, **quick)
        # the panel has a bin of its own, which must not leave the conversation behind
        emptied = [clear_button.click, chat.clear]
        gr.on(emptied, actions.clear, [turns], panel, cancels=running, **quick)
        changed = video.change(
            actions.change_video, [turns, video, box], panel, cancels=running, **quick
        )
        read = changed.then(actions.read_ahead, video, reading, concurrency_limit=None, **quiet)
        video.change(None, cancels=[read], **quick)  # of the video before
        page.load(actions.model_line, None, about, concurrency_limit=None, **quiet)
        api_endpoint(video, sliders)
    return page


def settings_panel() -> list[gr.Slider]:
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        return [
            gr.Slider(low, high, value=value, step=step, label=label, info=info)
            for low, high, step, value, label, info in SLIDERS
        ]


def api_endpoint(video: gr.Video, sliders: list[gr.Slider]) -> None:
    """/ask. It takes the page's own inputs, so an upload is checked like one from the page: a
    caller can name a file it has uploaded, never a path on this machine."""
    with gr.Row(visible=False):
        question, answer_text = gr.Textbox(label="Question"), gr.Textbox(label="Answer")
        gr.Button("Ask").click(
            actions.ask,
            [video, question, *sliders],
            answer_text,
            api_name="ask",
            concurrency_id=MODEL_SLOT,
            concurrency_limit=MAX_WAITING,
        )


demo = build()
demo.queue(max_size=MAX_WAITING, default_concurrency_limit=8)
