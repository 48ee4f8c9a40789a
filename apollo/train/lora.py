"""`apollo lora train`: an adapter for people's own clips, on the trainer that trains everything.

In:  `LoraSettings`: a data file (see records.py), a base model, an output folder.
Out: the adapter's three files in the output folder; beside them what a stopped run goes on from
     (training/), and what is dear to make again (features/, rehearsal/).
Odd: the base does not change. As long as the adapter stays off the towers, every clip is decoded
and encoded once. For nano, cartoon questions it knows are mixed in, or it would forget them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from apollo.adapters import lora as adapters
from apollo.adapters.files import OWN_CONFIG, PEFT_CONFIG, WEIGHTS, AdapterConfig
from apollo.adapters.identity import identify
from apollo.cartoon.rehearsal import write_rehearsal
from apollo.catalog import NANO_FOLDER, card_of
from apollo.chat import load
from apollo.errors import DataError, SettingError
from apollo.model import checkpoint
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.quantize import check_quantization
from apollo.settings import Generation, Sampling
from apollo.train.conversations import ConversationTask
from apollo.train.records import read_records
from apollo.train.stage import POLICIES, Source, Stage
from apollo.train.stage_run import train_stage
from apollo.train.task import Start

log = logging.getLogger(__name__)

NANO, OTHERS = "nano", ""
ADAPTER = "adapter"  # the one part of the stage
SETTINGS, TRAINING, FEATURES, REHEARSAL = "training.json", "training", "features", "rehearsal"
FILES = (PEFT_CONFIG, OWN_CONFIG, WEIGHTS)  # the weights last: without them there is no adapter

# A new thing must be seen as well as named, so nano's connector learns too; a large model sees
# enough. nano is small and needs larger steps.
TARGETS = {NANO: ("llm", "connector"), OTHERS: ("llm",)}
RATES = {NANO: 1e-3, OTHERS: 2e-4}
REHEARSED = {NANO: 0.6, OTHERS: 0.0}
NUM_STEPS, BATCH = 400, 8  # nano: a few minutes on two cores
WARMUP_SHARE = 0.05
SAVE_EVERY = 50
SHOWN_TOKENS = 64


def is_nano(base: str) -> bool:
    """Whether the base knows cartoons: nano itself, or a folder of a model built like it."""
    card = card_of(base)
    folder = Path(card.source).expanduser()
    if card.name == NANO or not folder.is_dir():
        return card.name == NANO
    ours, theirs = (
        checkpoint.read_configs(place)["vision_tower_cfg"]["configs"].keys()
        for place in (NANO_FOLDER, folder)
    )
    return bool(ours == theirs)


def default_of(table: dict[str, Any], base: str) -> Any:
    """The value for this base: nano's own, or that of all others."""
    return table[NANO if is_nano(base) else OTHERS]


@dataclass(frozen=True)
class LoraSettings:
    """One adapter to train.

    Raises:
        SettingError: a value is out of range; said in the words of the command's flags.
    """

    data: Path
    output: Path
    adapter: AdapterConfig
    base: str = NANO
    steps: int = NUM_STEPS
    batch: int = BATCH
    lr: float = RATES[NANO]
    quantization: str | None = None
    rehearse: float = 0.0  # share of the samples that are cartoon questions
    seed: int = 0
    unreadable: str = "fail"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "lr"):
            if not getattr(self, name) > 0:
                raise SettingError(f"--{name} is {getattr(self, name)}; it must be above 0.")
        if not 0 <= self.rehearse < 1:
            raise SettingError(f"--rehearse is {self.rehearse}; choose 0 or more and less than 1.")
        if self.seed < 0:
            raise SettingError(f"--seed is {self.seed}; choose 0 or more.")
        if self.unreadable not in POLICIES:
            raise SettingError(
                f"--unreadable is {self.unreadable!r}; choose {' or '.join(POLICIES)}."
            )
        if self.rehearse and not is_nano(self.base):
            raise SettingError(
                "--rehearse mixes in cartoon questions, which only nano has learnt; leave it out "
                f"or give 0 with the base {self.base}."
            )
        check_quantization(self.quantization)

    @property
    def touches_towers(self) -> bool:
        return not set(self.adapter.targets) <= {"llm", "connector"}

    def stage(self, *sources: Source) -> Stage:
        """The training as the trainer takes it."""
        on_gpu = torch.cuda.is_available()
        return Stage(
            name="lora",
            train={ADAPTER: 1.0},
            data=sources,
            unreadable=self.unreadable,
            feature_cache=not self.touches_towers,
            num_steps=self.steps,
            global_batch=self.batch,
            lr=self.lr,
            warmup_steps=int(self.steps * WARMUP_SHARE),
            precision="bfloat16" if on_gpu else "float32",
            save_every=SAVE_EVERY,
        )


class LoraTask(ConversationTask):
    """Conversations whose only learning part is an adapter on a base that stays as it is."""

    def __init__(self, settings: LoraSettings, stage: Stage, start: Start) -> None:
        self.settings = settings
        super().__init__(stage, start)
        torch.manual_seed(settings.seed)  # the adapter begins with random numbers
        adapters.add_adapter(self.model, settings.adapter, ADAPTER)

    def base_model(self, start: Start, where: str) -> ApolloForCausalLM:
        folder = checkpoint.find(card_of(start.base).source)
        model = ApolloForCausalLM.from_pretrained(
            folder,
            dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
            quantization=self.settings.quantization,
        )
        if model.tokenizer is None:
            raise DataError(
                f"The model {folder} has no tokenizer, so it cannot read conversations; choose "
                "another --base."
            )
        adapters.target_layers(model, self.settings.adapter.targets)  # before any video is read
        return model

    def parts(self) -> dict[str, list[nn.Module]]:
        return {ADAPTER: [self.model]}  # of which only the adapter asks for gradients

    def prepare(self, rank: int, world: int) -> None:
        if rank == 0:  # everything is checked now, so this is the training that the folder holds
            _note_settings(self.settings)
        super().prepare(rank, world)

    def save(self, folder: Path) -> None:
        adapters.save_adapter(self.model, folder, ADAPTER)


def train_adapter(
    settings: LoraSettings, *, minutes: float | None = None, fresh: bool = False
) -> bool:
    """Trains to the end or until the time is up, going on from where it stopped.

    Returns whether the adapter is complete; it is then in `settings.output`.

    Raises:
        ApolloError: something is wrong; said before the long work begins.
    """
    if minutes is not None and minutes <= 0:
        raise SettingError(f"--minutes is {minutes:g}; it must be above 0.")
    output = settings.output
    own = Source(settings.data, 1 - settings.rehearse)
    start = Start(settings.data, settings.base, settings.seed, {}, output / FEATURES)
    read_records(settings.data, unreadable=settings.unreadable)
    if settings.rehearse:  # which takes a while to write, so all else is checked before
        LoraTask(settings, settings.stage(own), start)
    _check_output(settings, fresh=fresh)
    sources = [own]
    if settings.rehearse:
        sources.append(Source(write_rehearsal(output / REHEARSAL), settings.rehearse))
    stage = settings.stage(*sources)
    folder = output / TRAINING
    if not (folder / "result").is_dir():
        build: Callable[[], Any] = partial(LoraTask, settings, stage, start)
        where = str(settings.data)
        if not train_stage(stage, build, folder, where=where, seed=settings.seed, minutes=minutes):
            return False
    if _is_first_process():
        for name in FILES:
            growing = output / f"{name}.writing"
            shutil.copyfile(folder / "result" / name, growing)
            os.replace(growing, output / name)
    return True


def before_and_after(settings: LoraSettings) -> tuple[str, str, str]:
    """The first question of the data, and its answer without and with the trained adapter."""
    record = read_records(settings.data, unreadable=settings.unreadable)[0]
    question = next(m["content"] for m in record.messages if m["role"] == "user")
    video, image = (None, record.media) if record.is_image else (record.media, None)
    sampling = Sampling(start_s=record.start_s, end_s=record.end_s)
    generation = Generation(temperature=0, max_new_tokens=SHOWN_TOKENS)
    model = load(
        settings.base, quantization=settings.quantization, adapter=settings.output.resolve()
    )
    (adapter,) = model.adapters
    answers = []
    for name in (None, adapter):
        model.use_adapter(name)
        answers.append(
            model.answer(video, question, image=image, sampling=sampling, generation=generation)
        )
    return question, answers[0], answers[1]


# ---- the output folder -------------------------------------------------------------------


def _check_output(settings: LoraSettings, *, fresh: bool) -> None:
    """Sees to it that the folder has the same training to go on with, or none.

    Raises:
        SettingError: it cannot be used, or holds another training.
    """
    if not _is_first_process():
        return
    output, file = settings.output, settings.output / SETTINGS
    try:
        output.mkdir(parents=True, exist_ok=True)
        if fresh and file.exists():
            shutil.rmtree(output / TRAINING, ignore_errors=True)
            for name in (*FILES, SETTINGS):
                (output / name).unlink(missing_ok=True)
        taken = [output / name for name in FILES] + list((output / TRAINING).glob("*"))
        if not file.exists():
            if any(path.exists() for path in taken):
                raise SettingError(
                    f"{output} holds files of something else; choose another --output."
                )
            return
        known = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingError(
            f"The folder {output} cannot be used ({error.strerror}); choose another --output."
        ) from error
    except ValueError as error:
        raise SettingError(f"{file} is not JSON; add --fresh to begin anew.") from error
    wanted = _as_json(settings)
    other = [key for key in wanted if not isinstance(known, dict) or known.get(key) != wanted[key]]
    if other:
        raise SettingError(
            f"{output} holds a training with another {' and '.join(other)}; choose another "
            "--output, or add --fresh to begin anew."
        )


def _note_settings(settings: LoraSettings) -> None:
    growing = settings.output / f"{SETTINGS}.writing"
    growing.write_text(json.dumps(_as_json(settings), indent=2) + "\n", encoding="utf-8")
    os.replace(growing, settings.output / SETTINGS)


def _as_json(settings: LoraSettings) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    values = asdict(settings) | asdict(settings.adapter)
    for name in ("adapter", "output"):
        del values[name]
    folder = checkpoint.find(card_of(settings.base).source)
    content = hashlib.blake2b(settings.data.read_bytes(), digest_size=16).hexdigest()
    return values | {
        "data": content,
        "base": str(identify(folder)),
        "targets": list(settings.adapter.targets),
    }


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
