"""`apollo lora train`: an adapter for people's own clips, on the trainer that trains everything.

In:  `LoraSettings`: a data file (see records.py), a base model, an output folder.
Out: the adapter's three files in the output folder; beside them what a stopped run goes on from
     (training/), and what is expensive to recompute (features/, rehearsal/).
Odd: the base does not change. As long as the adapter stays off the towers, every clip is decoded
and encoded once. For nano, cartoon questions it knows are mixed in, or it would forget them.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn

from apollo.adapters import lora as adapters
from apollo.adapters.files import OWN_CONFIG, PEFT_CONFIG, WEIGHTS, AdapterConfig
from apollo.adapters.identity import identify
from apollo.cartoon.rehearsal import write_rehearsal
from apollo.catalog import NANO_FOLDER, card_of
from apollo.chat import load
from apollo.data.whole_file import whole_file
from apollo.errors import SettingError
from apollo.model import checkpoint, hub
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.device import best_dtype
from apollo.model.quantize import check_quantization
from apollo.settings import Generation, Sampling, check_kind, shown
from apollo.train.conversations import ConversationTask
from apollo.train.processes import is_first_process, training_device, uses_cpu
from apollo.train.records import read_records
from apollo.train.resume import SETTINGS, Settings, cannot_be_used, check_folder, content_digest
from apollo.train.stage import LARGEST, MAX_SEED, MOST_SAMPLES, POLICIES, Source, Stage
from apollo.train.task import RESULT, Start
from apollo.train.trainer import train_stage

NANO, OTHERS = "nano", ""
ADAPTER = "adapter"  # the one part of the stage
TRAINING, FEATURES, REHEARSAL = "training", "features", "rehearsal"
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
            value, most = getattr(self, name), LARGEST.get(name, 10**9)
            check_kind(f"--{name}", value, whole=name != "lr")
            if not 0 < value <= most:
                raise SettingError(
                    f"--{name} is {shown(value)}; it must be above 0, and at most {most:g}."
                )
        if self.steps * self.batch > MOST_SAMPLES:
            raise SettingError(
                f"--steps {self.steps} of --batch {self.batch} are more than {MOST_SAMPLES:g} "
                "samples; choose fewer."
            )
        check_kind("--rehearse", self.rehearse, whole=False)
        check_kind("--seed", self.seed, whole=True)
        if not 0 <= self.rehearse < 1:
            raise SettingError(f"--rehearse is {shown(self.rehearse)}; choose 0 up to less than 1.")
        if not 0 <= self.seed <= MAX_SEED:
            raise SettingError(f"--seed is {shown(self.seed)}; choose 0 to {MAX_SEED}.")
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
            precision=str(best_dtype(training_device())).removeprefix("torch."),
            gradient_checkpointing=self.quantization is not None,  # memory is what is short
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
        folder = hub.find(card_of(start.base).source)
        device = training_device()
        model = ApolloForCausalLM.from_pretrained(
            folder,
            dtype=best_dtype(device),
            device_map=device,  # where quantized weights are packed
            quantization=self.settings.quantization,
        )
        adapters.target_layers(model, self.settings.adapter.targets)  # before any video is read
        return model

    def parts(self) -> dict[str, list[nn.Module]]:
        return {ADAPTER: [self.model]}  # of which only the adapter asks for gradients

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
    folder, adapter = output / TRAINING, [output / name for name in FILES]
    must_be_same = _settings_as_json(settings)
    if not fresh or not (output / SETTINGS).exists():
        check_folder(output, must_be_same, [*adapter, *folder.glob("*")])
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_used(output, error) from error
    sources = [own]
    if settings.rehearse:
        with PartialState(cpu=uses_cpu()).main_process_first():  # the others find it drawn
            sources.append(Source(write_rehearsal(output / REHEARSAL), settings.rehearse))
    stage = settings.stage(*sources)
    if fresh or not (folder / RESULT).is_dir():
        complete = train_stage(
            stage,
            partial(LoraTask, settings, stage, start),
            folder,
            where=str(settings.data),
            seed=settings.seed,
            settings=(output, must_be_same),
            fresh=[folder, *adapter] if fresh else [],
            minutes=minutes,
        )
        if not complete:
            return False
    if is_first_process():
        for file in adapter:
            with whole_file(file) as growing:
                shutil.copyfile(folder / RESULT / file.name, growing)
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


def _settings_as_json(settings: LoraSettings) -> Settings:
    """What must be the same for a training to go on."""
    values = asdict(settings) | asdict(settings.adapter)
    for name in ("adapter", "output"):
        del values[name]
    base = identify(hub.find(card_of(settings.base).source))
    return values | {"data": content_digest(settings.data), "base": str(base)}
