"""The LLM's answer as a stream of text pieces that stops when its iterator is closed.

In:  a prompt (ids with slots) and its visual tokens.  Out: text, piece by piece.
Odd: `generate` runs in a thread. An empty piece comes at least every HEARTBEAT_S, so that a caller
can stop while the prompt is still being read; an error in the thread ends the stream and is raised.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TextIteratorStreamer,
    TopPLogitsWarper,
)

from apollo.model.causal_lm import ApolloForCausalLM
from apollo.settings import Generation

HEARTBEAT_S = 0.1
GREEDY_BELOW = 1e-5  # temperature; scores divided by less are beyond float32
_stop_of_thread = threading.local()


class Stopped(Exception):
    """The iterator was closed; raised inside the thread that generates, never outside."""


@dataclass
class Pace:
    """When tokens were written. Text is emitted per word, so tokens are timed here."""

    began_s: float = field(default_factory=time.monotonic)
    num_tokens: int = 0
    first_token_s: float = 0.0  # after `began_s`
    last_token_s: float = 0.0

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


class _PacedStreamer(TextIteratorStreamer):
    """Notes when tokens come."""

    def __init__(self, pace: Pace, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pace = pace

    def put(self, value: Any) -> None:
        if value.numel():  # the prompt comes first, and is empty: it went in as embeddings
            self.pace.note(value.numel())
        super().put(value)


class _StopWhenSet(StoppingCriteria):
    """Ends generation after the current token."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        return torch.full((len(input_ids),), self.stop.is_set(), device=input_ids.device)


class GumbelSampling(LogitsProcessor):
    """Samples from the softmax by making the argmax random, with a generator of its own.

    argmax(scores + Gumbel noise) is a draw from softmax(scores). The global random state stays
    untouched, so a seeded answer is repeatable whatever else runs in the process.
    """

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self.generator = torch.Generator(device)
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        # an exponential draw's negative logarithm is Gumbel noise; no copy leaves the device
        drawn = torch.empty_like(scores, dtype=torch.float32).exponential_(generator=self.generator)
        return scores.float() - drawn.clamp_min(torch.finfo(torch.float32).tiny).log()


def logits_processors(generation: Generation, device: torch.device) -> LogitsProcessorList:
    """Temperature 0 is greedy: nothing to do."""
    if generation.temperature < GREEDY_BELOW:
        return LogitsProcessorList()
    return LogitsProcessorList(
        [
            TemperatureLogitsWarper(float(generation.temperature)),
            TopPLogitsWarper(float(generation.top_p)),
            GumbelSampling(generation.seed, device),
        ]
    )


def watch_layers(model: ApolloForCausalLM) -> None:
    """Lets a stop take effect between two layers, also while a long prompt is being read.

    A model is watched once, however often this is called.
    """
    for layer in model.llm.get_decoder().layers:
        if _raise_if_stopped not in layer._forward_pre_hooks.values():
            layer.register_forward_pre_hook(_raise_if_stopped)


def _raise_if_stopped(module: Any, inputs: Any) -> None:
    stop = getattr(_stop_of_thread, "event", None)
    if stop is not None and stop.is_set():
        raise Stopped


def stream_text(
    model: ApolloForCausalLM,
    ids: list[int],
    visual_tokens: Tensor | None,
    generation: Generation,
    pace: Pace | None = None,
) -> Iterator[str]:
    """Pieces of the answer; "" is a heartbeat. Closing the iterator ends the generation.

    ids: the prompt (S,), with one slot per row of `visual_tokens` (N*K, D).
    `pace` is told of every token.
    """
    stop = threading.Event()
    failure: list[BaseException] = []
    streamer = _PacedStreamer(
        pace or Pace(),
        model.tokenizer,
        timeout=HEARTBEAT_S,
        skip_special_tokens=True,
    )
    input_ids = torch.tensor([ids], device=model.device)  # (1, S)

    def run() -> None:
        _stop_of_thread.event = stop
        try:
            model.generate(
                input_ids,
                visual_tokens=[visual_tokens],
                do_sample=False,
                max_new_tokens=generation.max_new_tokens,
                logits_processor=logits_processors(generation, model.device),
                stopping_criteria=StoppingCriteriaList([_StopWhenSet(stop)]),
                streamer=streamer,
            )
        except Stopped:
            streamer.on_finalized_text("", stream_end=True)
        except BaseException as error:
            failure.append(error)
            streamer.on_finalized_text("", stream_end=True)

    # the context carries the request (on Spaces: its ZeroGPU quota) into the thread
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        while True:
            try:
                yield next(streamer)
            except queue.Empty:
                yield ""
            except StopIteration:
                break
    finally:
        stop.set()
        thread.join()
    if failure:
        raise failure[0]
