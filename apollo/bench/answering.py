"""Cases `follow-up`, `turns`, `ahead` and `stream`: what a model is asked, and asked again.

In:  a session.  Out: ratios with the plain way, with Apollo without reuse, with a bare `generate`.
Odd: a prompt is never asked twice, since a cache would know all of it; questions carry numbers.
"""

from __future__ import annotations

import itertools
import time
from functools import cache, partial
from typing import Any

from apollo.bench.meter import NotMeasured, Run, cost_of, metered
from apollo.bench.session import Session

OF_BASELINE, OF_NO_REUSE = 15, 12
AHEAD_S, AHEAD_AT_MOST = 10.0, 1.5
NUM_TOKENS = 200
GREEDY_AT_LEAST, SAMPLED_AT_LEAST = 0.97, 0.95
NUM_TURNS = 4
WORK = ("files_opened", "frames_decoded", "clips_encoded")
QUESTION = {"role": "user", "content": "What happens in this video?"}
_numbers = itertools.count(1)


def run_follow_up(session: Session) -> None:
    for name in ("nano", "small" if session.quick else "0.5B"):
        for duration_s in (60, 180):
            footage = session.video(duration_s, 720)
            what = f"{name}, {footage.label}"
            with session.skipping(what), session.worker() as worker:
                asked = {"path": footage.path, "name": name}
                ways = ["follow-up", "new conversation", "without reuse", "baseline"]
                runs = session.rounds(
                    what, {w: partial(worker.call, next_turn, way=w, **asked) for w in ways}
                )
                for way in ways[:2]:
                    for slow, least in (
                        ("baseline", OF_BASELINE),
                        ("without reuse", None if name == "nano" else OF_NO_REUSE),
                    ):
                        label = f"{what}: cpu of {slow} / {way}"
                        session.ratio(label, runs[slow], runs[way], "cpu_s", at_least=least)
                    _nothing_again(session, f"{what}, {way}", runs[way])


def _nothing_again(session: Session, what: str, runs: Any) -> None:
    for work in WORK:
        label = f"{what}: {work.replace('_', ' ')}"
        if work in runs[0]:
            session.figure(label, [run[work] for run in runs], "", at_most=0)
        else:
            with session.skipping(label):
                raise NotMeasured("the statistics of an answer do not count this yet")


def run_turns(session: Session) -> None:
    for duration_s in (600, 7200):
        footage = session.video(duration_s, 240)
        with session.worker() as worker:
            runs: list[Run] = worker.call(turns, path=footage.path, number=NUM_TURNS)
        what = f"nano, {footage.label}, turns 2 to {NUM_TURNS}"
        _nothing_again(session, what, runs[1:])
        session.figure(f"{what}: cpu", [run["cpu_s"] for run in runs[1:]], "s")


def run_ahead(session: Session) -> None:
    footage = session.video(60, 720)
    wait_s = 1.0 if session.quick else AHEAD_S
    what = f"nano, {footage.label}: first text, read ahead / follow-up"
    with session.skipping(what), session.worker() as worker:
        runs = session.rounds(
            footage.label,
            {"both": partial(worker.call, after_reading_ahead, path=footage.path, wait_s=wait_s)},
        )
        ratios = [run["wall_s"] / run["follow_up_s"] for run in runs["both"]]
        session.figure(what, ratios, at_most=AHEAD_AT_MOST)


def run_stream(session: Session) -> None:
    number = 20 if session.quick else NUM_TOKENS
    footage = session.video(60, 240)
    what = f"nano, {footage.label}, {number} tokens"
    asked = {"path": footage.path, "number": number}
    ways = ["generate", "stream", "generate, sampled", "stream, sampled"]
    with session.worker() as worker:
        runs = session.rounds(what, {w: partial(worker.call, write, way=w, **asked) for w in ways})
    for bare, way, least in (
        ("generate", "stream", GREEDY_AT_LEAST),
        ("generate, sampled", "stream, sampled", SAMPLED_AT_LEAST),
        ("generate", "stream, sampled", None),
    ):
        session.ratio(
            f"{what}: tokens per cpu second, {way} / {bare}",
            runs[bare],
            runs[way],
            "cpu_s",
            at_least=least,
        )


# ---- in the worker ---------------------------------------------------------------------------


@cache
def first_turn(path: str, name: str) -> list[dict[str, str]]:
    """A question about the video and its answer."""
    from apollo.bench import models  # imports torch

    text, _ = models.ask(models.named(name), path, [QUESTION], 8)
    return [QUESTION, {"role": "assistant", "content": text or "It moves."}]


def next_turn(path: str, name: str, way: str) -> Run:
    """The cost of an answer's first token."""
    from apollo.bench import baseline, models

    apollo = models.named(name)
    said = first_turn(path, name)
    messages = [_another()] if way == "new conversation" else [*said, _another()]
    if way == "baseline":
        clips = apollo.clips(path)
        return cost_of(lambda: baseline.answer(apollo.model, path, clips, messages, 1))
    if way == "without reuse":
        apollo.prefixes.clear()
    with metered() as run:
        _, stats = models.ask(apollo, path, messages, 1)
    return run | models.counted(stats)


def _another() -> dict[str, str]:
    return {"role": "user", "content": f"And what is in part {next(_numbers)} of it?"}


def turns(path: str, number: int) -> list[Run]:
    """A conversation of so many turns with nano."""
    from apollo.bench import models

    apollo = models.fresh("nano")
    messages: list[dict[str, str]] = []
    runs = []
    for turn in range(number):
        messages.append({"role": "user", "content": f"What comes {turn + 1} minutes later?"})
        with metered() as run:
            text, stats = models.ask(apollo, path, messages, 16)
        messages.append({"role": "assistant", "content": text or "Nothing."})
        runs.append(run | models.counted(stats))
    return runs


def after_reading_ahead(path: str, wait_s: float) -> Run:
    """Wall seconds to the first text some seconds after the video is known, and of the next."""
    from apollo.bench import models
    from apollo.settings import Sampling

    apollo = models.fresh("nano")
    reading = apollo.read_ahead(path, Sampling())
    time.sleep(wait_s)
    with metered() as run:
        text, _ = models.ask(apollo, path, [QUESTION], 1)
    reading.close()
    messages = [QUESTION, {"role": "assistant", "content": text or "It moves."}, _another()]
    follow_up = cost_of(lambda: models.ask(apollo, path, messages, 1))
    return run | {"follow_up_s": follow_up["wall_s"]}


def write(path: str, number: int, way: str) -> Run:
    """The cost of so many tokens about a video that is encoded; the prompt is read whole."""
    import torch

    from apollo.bench import baseline, models
    from apollo.settings import Generation

    apollo = models.named("nano")
    greedy = Generation(temperature=0, max_new_tokens=number)
    models.ask(apollo, path, [QUESTION], 1)  # from here on its visual tokens are kept
    apollo.prefixes.clear()
    is_sampled = way.endswith("sampled")
    if way.startswith("stream"):
        generation = Generation(max_new_tokens=number) if is_sampled else greedy
        return cost_of(lambda: apollo.stream(path, QUESTION["content"], generation=generation))
    clips = apollo.clips(path)
    ids = baseline.prompt_ids(apollo.model, path, clips, [QUESTION])
    pixels = baseline.pixels(path, clips, apollo.model.vision_tower.vision_processor)
    with torch.no_grad():
        rows = apollo.model.encode_clips(pixels).flatten(0, 1)  # (N, K, D) -> (N*K, D)
        embeddings, _, _ = apollo.model.merge(torch.tensor([ids]), [rows])  # (1, S, D)
    drawn = {"temperature": Generation.temperature, "top_p": Generation.top_p}
    return cost_of(
        lambda: apollo.model.llm.generate(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
            do_sample=is_sampled,
            max_new_tokens=number,
            **(drawn if is_sampled else {}),
        )
    )
