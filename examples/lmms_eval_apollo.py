"""Apollo as a model of lmms-eval, which brings its own benchmarks.

    pip install lmms-eval
    python examples/lmms_eval_apollo.py --model apollo --model_args name=nano --tasks mvbench

In:  the arguments of `python -m lmms_eval`.  Out: what lmms-eval writes.
Odd: lmms-eval asks an entry point `lmms_eval.models` for models of others; run as a script, this
     file registers itself instead, and then hands over to lmms-eval. To have it in a package of
     yours, name `manifest` in such an entry point. Tasks that compare likelihoods, or ask in
     several rounds, are refused by a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from tqdm import tqdm

import apollo
from apollo.errors import SettingError
from apollo.settings import Generation, Sampling

DEFAULT_NEW_TOKENS = 256
# the names lmms-eval's tasks use for the longest answer
_LENGTH_NAMES = ("max_new_tokens", "max_gen_toks")


def manifest() -> ModelManifest:
    """What lmms-eval wants to know of a model: the name "apollo" and this class."""
    return ModelManifest(model_id="apollo", simple_class_path=f"{__name__}.{ApolloModel.__name__}")


class ApolloModel(lmms):
    """One loaded model. Arguments come from `--model_args name=...,max_clips=...`."""

    is_simple = True

    def __init__(
        self,
        name: str = "nano",
        device: str | None = None,
        dtype: str | None = None,
        quantization: str | None = None,
        max_clips: int | None = None,
        batch_size: int | str = 1,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            raise SettingError(
                f"Unknown model arguments: {', '.join(sorted(unknown))}; there are name, device, "
                "dtype, quantization and max_clips."
            )
        if str(batch_size) != "1":
            raise SettingError(
                f"batch_size is {batch_size}; Apollo answers lmms-eval one by one, so choose 1. "
                "`apollo eval` asks in batches."
            )
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator

            self.accelerator = Accelerator()
            self._rank = self.accelerator.process_index
            self._world_size = self.accelerator.num_processes
            device = device or str(self.accelerator.device)
        self.sampling = Sampling(max_clips=max_clips)
        self.model = apollo.load(name, device=device, dtype=dtype, quantization=quantization)
        self.device = self.model.model.device  # with several processes lmms-eval asks for it

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The answer to each request."""
        answers = []
        for request in tqdm(requests, disable=None if self.rank == 0 else True):
            text, settings, doc_to_visual, doc_id, task, split = request.args
            visuals = doc_to_visual(self.task_dict[task][split][doc_id]) or []
            answers.append(self._answer(text, visuals, settings, f"{task} {doc_id}"))
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        raise SettingError(
            "Apollo gives answers to lmms-eval, not likelihoods; choose a task with the output "
            "type generate_until."
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        raise SettingError(
            "Apollo answers lmms-eval in one round; choose a task with the output type "
            "generate_until."
        )

    def _answer(self, text: str, visuals: Any, settings: dict[str, Any], where: str) -> str:
        visuals = list(visuals) if isinstance(visuals, (list, tuple)) else [visuals]
        if len(visuals) > 1:
            raise SettingError(
                f"{where} shows {len(visuals)} videos or pictures at once; Apollo takes one, so "
                "leave this task out."
            )
        shown: dict[str, Any] = {"video": None}
        if visuals and isinstance(visuals[0], (str, os.PathLike)):
            shown = {"video": visuals[0]}
        elif visuals:
            shown["image"] = visuals[0]
        generation = _generation(settings)
        answer = self.model.answer(
            question=text, sampling=self.sampling, generation=generation, **shown
        )
        until = settings.get("until") or []
        for stop in [until] if isinstance(until, str) else until:
            answer = answer.split(stop)[0] if stop else answer
        return str(answer).strip()


def _generation(settings: dict[str, Any]) -> Generation:
    """lmms-eval's settings as ours; greedy unless it asks for sampling."""
    length = next((settings[name] for name in _LENGTH_NAMES if settings.get(name)), None)
    temperature = settings.get("temperature") or 0
    if not settings.get("do_sample", temperature > 0):
        temperature = 0
    return Generation(
        temperature=temperature,
        top_p=settings.get("top_p") or 1,
        max_new_tokens=length or DEFAULT_NEW_TOKENS,
    )


def main() -> None:
    """lmms-eval's own command line, which now knows the model "apollo"."""
    from lmms_eval.cli.dispatch import main as run_lmms_eval
    from lmms_eval.models import MODEL_REGISTRY_V2

    MODEL_REGISTRY_V2.register_manifest(manifest(), overwrite=True)
    run_lmms_eval()


if __name__ == "__main__":
    main()
