"""`apollo lora train | merge | show`: an adapter from a data file, into a model, in words.

Light, because `apollo --help` imports it; all work is behind `run`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from apollo.errors import AdapterError, CheckpointError, SettingError
from apollo.terminal import check_extra, write
from apollo.train.command import MODULES, start_logging

if TYPE_CHECKING:
    from apollo.adapters.files import AdapterFiles


def add_flags(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train an adapter on your own clips")
    add = train.add_argument
    add("data", metavar="DATA", type=Path, help="conversations about videos, JSON or JSON lines")
    add("--output", required=True, type=Path, help="folder for the adapter (see `--adapter`)")
    add("--base", default="nano", help="the model, as in `apollo ask --model`")
    add("--rank", type=int, default=8, help="size of the adapter (default 8)")
    add("--alpha", type=float, default=16.0, help="its strength, divided by rank (default 16)")
    add("--dropout", type=float, default=0.0, help="share of its inputs left out (default 0)")
    add(
        "--targets",
        nargs="+",
        metavar="PART",
        help="llm, connector, towers or one tower's name (default: llm; for nano connector too)",
    )
    add("--steps", type=int, help="steps of training (default 400)")
    add("--batch", type=int, help="conversations in a step (default 8)")
    add("--lr", type=float, help="learning rate (default 1e-3 for nano, 2e-4 for others)")
    add("--quantization", choices=["8bit", "4bit"], help="hold the base's LLM in so few bits")
    add(
        "--rehearse",
        type=float,
        metavar="SHARE",
        help="share of cartoon questions, so that nano forgets nothing (default 0.6; others 0)",
    )
    add("--minutes", type=float, help="stop cleanly after so long; the same command goes on")
    add("--seed", type=int, default=0, help="of all that is random (default 0)")
    add(
        "--unreadable",
        default="fail",
        choices=["fail", "skip"],
        help="what to do about a video that is missing or broken (default fail)",
    )
    add("--fresh", action="store_true", help="begin anew instead of going on")
    train.set_defaults(run_lora=_train)

    merge = commands.add_parser("merge", help="write the base with the adapter in it")
    merge.add_argument("adapter", metavar="ADAPTER", type=Path, help="folder of the adapter")
    merge.add_argument("--output", required=True, type=Path, help="folder for the whole model")
    merge.add_argument("--base", help="the base, when it is not found by its name")
    merge.set_defaults(run_lora=_merge)

    show = commands.add_parser("show", help="say what an adapter is")
    show.add_argument("adapter", metavar="ADAPTER", type=Path, help="folder of the adapter")
    show.set_defaults(run_lora=_show)


def run(args: argparse.Namespace) -> int:
    """Raises ApolloError for whatever a person can mend; returns the exit code 0."""
    args.run_lora(args)
    return 0


def _train(args: argparse.Namespace) -> None:
    check_extra("apollo lora train", "train", *MODULES, "peft")
    from apollo.adapters.files import AdapterConfig
    from apollo.train import lora
    from apollo.train.processes import is_first_process
    from apollo.train.stage import check_minutes

    check_minutes(args.minutes)
    base, targets = args.base, args.targets or lora.default_of(lora.TARGETS, args.base)
    chosen = {"lr": lora.default_of(lora.RATES, base)}
    chosen["rehearse"] = lora.default_of(lora.REHEARSED, base)
    given = {name: getattr(args, name) for name in ("steps", "batch", "lr", "rehearse")}
    settings = lora.LoraSettings(
        data=args.data,
        output=args.output,
        adapter=AdapterConfig(args.rank, args.alpha, args.dropout, tuple(targets)),
        base=base,
        quantization=args.quantization,
        seed=args.seed,
        unreadable=args.unreadable,
        **chosen | {name: value for name, value in given.items() if value is not None},
    )
    start_logging()
    complete = lora.train_adapter(settings, minutes=args.minutes, fresh=args.fresh)
    if not is_first_process():
        return
    if complete:
        question, before, after = lora.before_and_after(settings)
        write(f"{question}\n  before: {before}\n  after:  {after}\n")
        model = "" if base == "nano" else f" --model {base}"
        write(
            f"The adapter is in {args.output}; ask with it: "
            f'apollo ask VIDEO "QUESTION"{model} --adapter {args.output}\n'
        )
    else:
        write("Stopped; the same command goes on from there.\n")


def _merge(args: argparse.Namespace) -> None:
    check_extra("apollo lora merge", "adapters", "peft")
    merge_adapter(args.adapter, args.output, args.base)
    write(f"The whole model is in {args.output}.\n")


def merge_adapter(adapter: Path, output: Path, base: str | None = None) -> None:
    """Writes the base with the adapter in it: a folder in the released layout.

    The base is found by the name that the adapter gives, or is `base`; it must be that very model.

    Raises:
        AdapterError: no adapter there, or its base is not found or another one.
        SettingError: the output folder is not empty or cannot be written.
    """
    from apollo.adapters import lora as adapters
    from apollo.adapters.files import read_adapter
    from apollo.data.whole_file import whole_folder
    from apollo.model.causal_lm import ApolloForCausalLM

    files = read_adapter(adapter)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise SettingError(f"{output} is there already; choose another --output.")
    model = ApolloForCausalLM.from_pretrained(_base_folder(files, base))
    adapters.load_adapter(model, files.folder)
    adapters.merge(model)
    try:
        with whole_folder(output) as growing:
            model.save_pretrained(growing)
    except OSError as error:
        raise SettingError(
            f"The folder {output} cannot be written ({error.strerror}); choose another --output."
        ) from error


def _base_folder(files: AdapterFiles, base: str | None) -> Path:
    from apollo.catalog import card_of
    from apollo.model import hub

    try:
        return hub.find(card_of(base or files.base.name).source)
    except CheckpointError as error:
        if base is not None:
            raise
        raise AdapterError(
            f"The adapter {files.folder} was made for {files.base}, which is not found by that "
            "name; give the model's folder with --base."
        ) from error


def _show(args: argparse.Namespace) -> None:
    from apollo.adapters.files import WEIGHTS, read_adapter

    files = read_adapter(args.adapter)
    tensors, _ = files.tensors()
    num_values = sum(tensor.numel() for tensor in tensors.values())
    size_mb = (files.folder / WEIGHTS).stat().st_size / 1e6
    lines = {
        "base": str(files.base),
        "rank": str(files.config.rank),
        "alpha": f"{files.config.alpha:g}",
        "dropout": f"{files.config.dropout:g}",
        "targets": ", ".join(files.config.targets),
        "size": f"{num_values:,} numbers, {size_mb:.1f} MB",
    }
    write("".join(f"{name + ':':<9}{text}\n" for name, text in lines.items()))
