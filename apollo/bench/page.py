"""Cases `page` and `start`: what the page adds to an answer, and how soon it is there.

In:  a session.  Out: ratios with `Apollo.stream`, with an empty page, with the imports alone.
Odd: the client of /ask is a process of its own, as a browser is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from apollo.bench.answering import NUM_TOKENS, QUESTION
from apollo.bench.meter import NotMeasured, Run, cost_of, cpu_s, metered
from apollo.bench.session import Session
from apollo.bench.worker import Worker

OF_STREAM, LAG_AT_MOST_MS, OF_CPU = 1.1, 60, 1.2
OF_EMPTY_PAGE, OF_IMPORTS, IMPORT_CPU_S = 1.3, 1.5, 0.1
NUM_VISITORS = 8
EXAMPLE = Path(__file__).parent.parent / "demo" / "assets" / "example_1.mp4"
START_S = 240
PAGE = ("-m", "apollo", "demo", "--port")
EMPTY_PAGE = """
import sys, gradio
with gradio.Blocks(analytics_enabled=False) as page:
    gradio.Textbox()
page.launch(server_port=int(sys.argv[1]), quiet=True, ssr_mode=False)
"""
ONLY_WHAT_IS_NEEDED = """
import sys, torch, transformers, gradio, apollo
greedy = apollo.Generation(temperature=0)
apollo.load().answer(sys.argv[1], sys.argv[2], generation=greedy)
"""
IMPORT = "import time; t = time.process_time(); import apollo; print(time.process_time() - t)"


def check_gradio() -> None:
    if importlib.util.find_spec("gradio") is None or importlib.util.find_spec("spaces") is None:
        raise NotMeasured('the page is not installed; pip install "apollo-video[demo]"')


def run_page(session: Session) -> None:
    with session.skipping("page"):
        check_gradio()
        number = 32 if session.quick else NUM_TOKENS
        path = session.video(10, 240).path
        with session.worker() as host, session.fresh_worker() as visitor:
            asked = {"path": path, "number": number}
            url = host.call(open_page)
            visitor.call(visit, url=url, **asked | {"number": 32})  # the video is encoded now
            ways = {
                "stream": partial(host.call, write, way="stream", **asked),
                "generator": partial(host.call, write, way="generator", **asked),
                "/ask": partial(visitor.call, visit, url=url, **asked),
            }
            runs = session.rounds(f"nano, {number} tokens", ways)
            for way in ("generator", "/ask"):
                what = f"nano, {number} tokens: wall of {way} / stream"
                session.ratio(what, runs[way], runs["stream"], "wall_s", at_most=OF_STREAM)
            lags = [1000 * run["lag_s"] for run in runs["generator"]]
            what = "first text after the model's first token"
            session.figure(what, lags, "ms", at_most=LAG_AT_MOST_MS)
            many = {"visitors": 2 if session.quick else NUM_VISITORS, "url": url, **asked}

            def together() -> Run:
                before_s = host.call(cpu_s)
                run: Run = visitor.call(visit, **many)
                return {"wall_s": run["wall_s"], "cpu_s": host.call(cpu_s) - before_s}

            runs = session.rounds(f"{many['visitors']} visitors at once", {"/ask": together})
            ratios = [run["wall_s"] / run["cpu_s"] for run in runs["/ask"]]
            what = f"{many['visitors']} visitors at once: wall / cpu"
            session.figure(what, ratios, at_most=OF_CPU)


def run_start(session: Session) -> None:
    def imported() -> Run:
        done = subprocess.run(
            [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True
        )
        return {"cpu_s": float(done.stdout)}

    runs = session.rounds("start", {"import apollo": imported})["import apollo"]
    what = "import apollo: cpu above the interpreter's"
    session.figure(what, [run["cpu_s"] for run in runs], "s", at_most=IMPORT_CPU_S)
    with session.skipping("page"), session.fresh_worker() as visitor:
        check_gradio()
        visitor.call(get_ready)
        runs_of = session.rounds(
            "start",
            {
                "empty page": partial(_reachable, session, "-c", EMPTY_PAGE),
                "page": partial(_reachable, session, *PAGE),
                "imports and answer": partial(_bare_answer, session),
                "page and answer": partial(_page_answer, session, visitor),
            },
        )
        for above, below, most in (
            ("page", "empty page", OF_EMPTY_PAGE),
            ("page and answer", "imports and answer", OF_IMPORTS),
        ):
            what = f"wall of {above} / {below}"
            session.ratio(what, runs_of[above], runs_of[below], "wall_s", at_most=most)


@contextlib.contextmanager
def _serving(session: Session, *command: str) -> Iterator[str]:
    """The address of a page that `python *command PORT` is about to open."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *command, str(port)],
        env=os.environ | session.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait()


def wait_for(url: str) -> None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < START_S:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise NotMeasured(f"no page could be opened within {START_S} seconds")


def _reachable(session: Session, *command: str) -> Run:
    began_s = time.monotonic()
    with _serving(session, *command) as url:
        wait_for(url)
        return {"wall_s": time.monotonic() - began_s}


def _bare_answer(session: Session) -> Run:
    env = os.environ | session.environment
    code = [sys.executable, "-c", ONLY_WHAT_IS_NEEDED, str(EXAMPLE), QUESTION["content"]]
    run = cost_of(lambda: subprocess.run(code, env=env, capture_output=True, check=True))
    del run["peak_mb"]  # of this process
    return run


def _page_answer(session: Session, visitor: Worker) -> Run:
    began_s = time.monotonic()
    with _serving(session, *PAGE) as url:
        visitor.call(visit, url=url, path=str(EXAMPLE), number=256)
        return {"wall_s": time.monotonic() - began_s}


# ---- in the page's process -------------------------------------------------------------------


def open_page() -> str:
    """Opens the page in this process, over nano as it is measured; its address."""
    from apollo.bench import models
    from apollo.demo.page import demo
    from apollo.demo.worker import host

    host.model = models.named("nano")
    host.ready.set()
    demo.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, share=False
    )
    return str(demo.local_url)


def write(path: str, number: int, way: str) -> Run:
    """The cost of an answer of so many tokens; for the generator behind /ask also how long the
    first text came after the model's first token."""
    from apollo.bench import models
    from apollo.model import generation

    apollo = models.named("nano")
    if way == "stream":
        greedy = generation.Generation(temperature=0, max_new_tokens=number)
        return cost_of(lambda: apollo.stream(path, QUESTION["content"], generation=greedy))
    from apollo.demo import actions

    first_token_s: list[float] = []
    note = generation.Pace.note

    def noting(pace: generation.Pace, num_tokens: int) -> None:
        first_token_s.append(time.monotonic())
        note(pace, num_tokens)

    first_text_s = None
    with patch.object(generation.Pace, "note", noting), metered() as run:
        for text in actions.ask(path, QUESTION["content"], 0, 1, number):
            if text and first_text_s is None:
                first_text_s = time.monotonic()
    if first_text_s is None:
        raise NotMeasured("the answer has no text")
    return run | {"lag_s": first_text_s - first_token_s[0]}


# ---- in the visitor's process ----------------------------------------------------------------


def get_ready() -> None:
    import httpx  # noqa: F401  # a browser is open before the page is


@functools.cache
def uploaded(url: str, path: str) -> dict[str, Any]:
    """The video as a page names it that has it already; waits until the page can be opened."""
    import httpx

    wait_for(url)
    with Path(path).open("rb") as file:
        answer = httpx.post(f"{url}gradio_api/upload", files={"files": file}, timeout=START_S)
    return {"path": answer.raise_for_status().json()[0], "meta": {"_type": "gradio.FileData"}}


def visit(url: str, path: str, number: int, visitors: int = 1) -> Run:
    """The wall seconds until all of so many visitors, who ask at once, have their answers."""
    import httpx

    video = uploaded(url, path)
    failures: list[Exception] = []

    def ask() -> None:
        calls, data = f"{url}gradio_api/call/ask", [video, QUESTION["content"], 0, 1, number]
        try:
            with httpx.Client(timeout=START_S) as browser:
                event = browser.post(calls, json={"data": data}).raise_for_status().json()
                with browser.stream("GET", f"{calls}/{event['event_id']}") as answer:
                    lines = list(answer.iter_lines())
            if "event: complete" not in lines:
                raise NotMeasured(f"/ask gave no answer: {lines[-3:]}")
        except Exception as error:
            failures.append(error)

    began_s = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {"wall_s": time.monotonic() - began_s}
