"""The LLM's answer as a stream of text pieces that stops when its iterator is closed.

In:  a prompt (ids with slots) and its visual tokens.  Out: text, piece by piece.
Odd: `generate` runs in a thread. An empty piece comes at least every HEARTBEAT_S, so that a caller
can stop while the prompt is still being read; an error in the thread ends the stream and is raised.
"""

from __future__ import annotations

import atexit
import contextvars
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.pieces import Pieces
from apollo.model.prefix import Prefixes, marks_of
from apollo.model.sampling import GREEDY_BELOW, logits_processors
from apollo.settings import Generation

HEARTBEAT_S = 0.1
_of_thread = threading.local()  # `check`: raises what ends the work of the thread


class Stopped(Exception):
    """The iterator was closed; raised inside the thread that generates, never outside."""


@dataclass
class Pace:
    """When tokens were written. A piece of text may hold several, so they are timed here."""

    began_s: float = field(default_factory=time.monotonic)
    num_tokens: int = 0
    first_token_s: float = 0.0  # after `began_s`
    last_token_s: float = 0.0
    num_reused: int = 0  # tokens of the prompt that were not computed again

    def note(self, num_tokens: int) -> None:
        self.last_token_s = time.monotonic() - self.began_s
        if not self.num_tokens:
            self.first_token_s = self.last_token_s
        self.num_tokens += num_tokens

    @property
    def tokens_per_s(self) -> float:
        """Between the first token and the last; 0 if there is only one."""
        took_s = self.last_token_s - self.first_token_s
        return (self.num_tokens - 1) / took_s if took_s > 0 else 0.0


def watch_layers(model: ApolloForCausalLM) -> None:
    """Lets a stop take effect between two layers, while a long prompt is read and between tokens.

    A model is watched once, however often this is called.
    """
    for layer in model.llm.get_decoder().layers:
        if _raise_if_stopped not in layer._forward_pre_hooks.values():
            layer.register_forward_pre_hook(_raise_if_stopped)


def _raise_if_stopped(module: Any, inputs: Any) -> None:
    check = getattr(_of_thread, "check", None)
    if check is not None:
        check()


def prefill(
    model: ApolloForCausalLM,
    ids: list[int],
    visual_tokens: Tensor,
    prefixes: Prefixes,
    clip_keys: Sequence[Hashable],
    check: Callable[[], None],
) -> None:
    """Computes the beginning of prompts (S,) that will come, and keeps it in `prefixes`.

    `check` is called before every layer; what it raises ends the work.
    """
    marks, owner = marks_of(ids, clip_keys), model.adapter_key
    cache, known = prefixes.start(owner, marks, model.llm.config)
    if cache is None or owner is None or not prefixes.max_bytes or known == len(ids) - 1:
        return
    input_ids = torch.tensor([ids], device=model.device)  # (1, S)
    mask = torch.ones_like(input_ids)
    _of_thread.check = check
    try:
        with torch.inference_mode():
            embeddings, _, _ = model.merge(input_ids, [visual_tokens])  # (1, S, D)
            model.llm.get_decoder()(
                inputs_embeds=embeddings[:, known:], attention_mask=mask, cache=cache
            )
    finally:
        _of_thread.check = None
    prefixes.keep(owner, marks, cache)


def stream_text(
    model: ApolloForCausalLM,
    ids: list[int],
    visual_tokens: Tensor | None,
    generation: Generation,
    pace: Pace | None = None,
    prefixes: Prefixes | None = None,
    clip_keys: Sequence[Hashable] = (),
) -> Iterator[str]:
    """Pieces of the answer; "" is a heartbeat. Closing the iterator ends the generation.

    ids: the prompt (S,), with one slot per row of `visual_tokens` (N*K, D).
    `pace` is told of every token. `prefixes` gives the beginning that was computed before, and
    keeps what is computed now; `clip_keys` say which clips the slots stand for.
    """
    stop = threading.Event()
    failure: list[BaseException] = []
    pace = pace or Pace()
    streamer = Pieces(model.tokenizer, pace.note, timeout=HEARTBEAT_S)
    input_ids = torch.tensor([ids], device=model.device)  # (1, S)
    marks, owner = marks_of(ids, clip_keys or [None]), model.adapter_key
    cache = None
    if prefixes is not None and prefixes.max_bytes and owner is not None:
        # What is reused differs in the last bits, by which a draw may fall otherwise; a seed
        # promises the same answer.
        is_repeatable = generation.seed is not None and generation.temperature >= GREEDY_BELOW
        beginning = marks[:0] if is_repeatable else marks
        cache, pace.num_reused = prefixes.start(owner, beginning, model.llm.config)

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def run() -> None:
        _of_thread.check = check
        try:
            generate(
                input_ids,
                visual_tokens=[visual_tokens],
                do_sample=False,
                max_new_tokens=generation.max_new_tokens,
                logits_processor=logits_processors(generation),
                streamer=streamer,
                **({} if cache is None else {"cache": cache}),
            )
        except Stopped:
            streamer.end()
        except BaseException as error:
            failure.append(error)
            streamer.on_finalized_text("", stream_end=True)

    generate = torch.inference_mode()(model.generate)  # costs less than no_grad, which it has
    # the context carries the request (on Spaces: its ZeroGPU quota) into the thread
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)

    def end() -> None:
        stop.set()
        if thread is not threading.current_thread():  # in which garbage may be collected
            thread.join()

    thread.start()
    atexit.register(end)  # a program may end while this generator waits
    try:
        while True:
            try:
                yield next(streamer)
            except queue.Empty:
                yield ""
            except StopIteration:
                break
    finally:
        atexit.unregister(end)
        end()
        if cache is not None and not failure and not thread.is_alive():
            assert prefixes is not None
            prefixes.keep(owner, np.append(marks, np.array(streamer.ids, np.int64)), cache)
    if failure:
        raise failure.pop()  # an error that is kept here keeps this frame, and all its tensors
