"""The training code of apollo-nano: optimiser, loop, rows, oracle and a short real run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.prompt import build_prompt, tokenize
from apollo.train import nano as recipe
from apollo.train.cartoon.facts import SLOT_SIZES
from apollo.train.cartoon.questions import all_texts
from apollo.train.cartoon.samples import batches, clip_sample, frame_sample
from apollo.train.joint import ConnectTask, JointTask, SlotTask, connect_batches, joint_batches
from apollo.train.language import SLOT_TEXTS, LanguageTask, chat_batches
from apollo.train.loop import restore, run_stage
from apollo.train.nano_model import GRID, build_internvideo2, build_nano, build_siglip
from apollo.train.optimizer import MuonAdamW, orthogonalise, parameter_groups, rate_at
from apollo.train.rows import chat_row, clips_block, pad_rows
from apollo.train.tokenizer import train_tokenizer
from apollo.train.vision import ImageTask, VideoTask


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(all_texts(num_videos=200), 2048)


@pytest.fixture()
def model(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    return build_nano(tokenizer)


def test_orthogonalise_brings_all_singular_values_near_one() -> None:
    for shape in ((12, 30), (30, 12)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.6 and values.max() < 1.3


def test_matrices_go_to_muon_and_tables_do_not(model: Any) -> None:
    groups = parameter_groups([model])
    names = {id(p): name for name, p in model.named_parameters()}
    muon = {names[id(p)] for group in groups if group["muon"] for p in group["params"]}
    rest = {names[id(p)] for group in groups if not group["muon"] for p in group["params"]}
    assert muon | rest == set(names.values()) and not muon & rest
    assert any("q_proj.weight" in name for name in muon)
    assert {"llm.model.embed_tokens.weight", "mm_connector.resampler.latents"} <= rest


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [rate_at(step, 1000) for step in range(1000)]
    assert rates[0] < 0.1 and rates[100] == rates[499] == 1.0 and rates[999] < 0.02
    assert rates[500:] == sorted(rates[500:], reverse=True)


class Regression(nn.Module):
    """A small problem for the loop: a linear map to be found."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.map = nn.Linear(6, 4)
        self.wanted = torch.randn(4, 6)

    def loss(self, x: Tensor) -> tuple[Tensor, dict[str, float]]:
        return (self.map(x) - x @ self.wanted.T).square().mean(), {}


def inputs(start: int) -> Iterator[Tensor]:
    for step in range(start, 10_000):
        yield torch.randn(16, 6, generator=torch.Generator().manual_seed(step))


def train(folder: Path, num_steps: int, stop_after: int | None = None) -> Regression:
    task = Regression()

    def until_killed(start: int) -> Iterator[Tensor]:
        for step, x in enumerate(inputs(start), start):
            if step == stop_after:
                raise KeyboardInterrupt
            yield x

    run_stage(
        "map",
        task,
        parameter_groups([task]),
        until_killed,
        task.loss,
        num_steps=num_steps,
        lr=0.02,
        folder=folder,
    )
    return task


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 450)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", 450, stop_after=333)
    resumed = train(tmp_path / "killed", 450)
    assert torch.equal(whole.map.weight, resumed.map.weight)
    losses = [
        json.loads(line)["loss"] for line in (tmp_path / "whole/map.jsonl").read_text().splitlines()
    ]
    assert losses[-1] < losses[0] / 20
    assert not list(tmp_path.rglob("*.writing"))


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    done = train(tmp_path, 200)
    again = train(tmp_path, 200, stop_after=0)
    assert torch.equal(done.map.weight, again.map.weight)
    fresh = Regression()
    assert restore(tmp_path / "map.safetensors", fresh, None) == 200
    assert restore(tmp_path / "nothing.safetensors", fresh, None) == 0


def test_a_row_is_the_prompt_of_inference_and_labels_the_answers(tokenizer: Any) -> None:
    block = clips_block(2, 2.0, tokens_per_clip=8)
    turns = [("What is in the video?", "A cat."), ("How does it move?", "It moves up.")]
    ids, labels = chat_row(turns, block, tokenizer)
    history = [
        {"role": "user", "content": turns[0][0]},
        {"role": "assistant", "content": turns[0][1]},
        {"role": "user", "content": turns[1][0]},
    ]
    prompt = tokenize(build_prompt(history, block), tokenizer)
    assert ids[: len(prompt)] == prompt
    said = tokenizer.decode([token for token in labels if token != IGNORE_INDEX])
    assert said == "A cat.<|im_end|>It moves up.<|im_end|>"
    assert ids.count(X_TOKEN_INDEX) == 16
    padded = pad_rows([(ids, labels), (ids[:5], labels[:5])], tokenizer.pad_token_id)
    assert padded["attention_mask"].sum(1).tolist() == [len(ids), 5]
    assert (padded["labels"][1] == IGNORE_INDEX).all()


def test_the_oracle_gives_different_facts_different_vectors(model: Any) -> None:
    task = LanguageTask(model)
    words = model.llm.get_input_embeddings().weight
    assert list(SLOT_TEXTS) == list(SLOT_SIZES)
    for slot, (name, size) in enumerate(SLOT_SIZES.items()):
        vectors = task.oracle.values(slot, words, task.norm)
        assert vectors.shape == (size, words.shape[1]), name
        distances = torch.cdist(vectors, vectors) + 99 * torch.eye(size)
        assert distances.min() > 0.05, name


def test_every_sample_is_made_from_its_number_alone() -> None:
    tower = build_siglip()
    make = partial(frame_sample, grid=GRID, transform=tower.transform)
    first, second = next(batches(make, 3, 4, 100)), next(batches(make, 3, 4, 100))
    assert torch.equal(first["pixels"], second["pixels"])
    assert first["object"].shape == (3, GRID, GRID)
    later = next(batches(make, 3, 5, 100))
    assert not torch.equal(first["pixels"], later["pixels"])


def loss_of(task: Any, stream: Iterator[Any], num_steps: int, lr: float = 2e-3) -> list[float]:
    """Trains a task for a few steps on the same batch."""
    optimizer = MuonAdamW(parameter_groups([task]), lr)
    batch, losses = next(stream), []
    for _ in range(num_steps):
        loss, metrics = task.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert all(0 <= value <= 1 for value in metrics.values())
    return losses


def test_every_stage_learns(model: Any) -> None:
    """A few steps on one batch: each stage's loss falls, through the real classes."""
    torch.manual_seed(1)
    image = ImageTask(build_siglip())
    stream = batches(partial(frame_sample, grid=GRID, transform=image.tower.transform), 8, 0, 0)
    assert (fall := loss_of(image, stream, 6))[-1] < 0.9 * fall[0]

    video = VideoTask(build_internvideo2())
    stream = batches(partial(clip_sample, grid=GRID, transform=video.tower.transform), 4, 0, 0)
    assert (fall := loss_of(video, stream, 6))[-1] < 0.9 * fall[0]

    transforms = model.vision_tower.vision_processor
    slots = SlotTask(model)
    assert (fall := loss_of(slots, connect_batches(transforms, 4, 0, 0), 6))[-1] < 0.9 * fall[0]

    language = LanguageTask(model)
    assert (fall := loss_of(language, chat_batches(model, 2, 0, 0), 6))[-1] < 0.9 * fall[0]

    connect = ConnectTask(language, model)
    assert (fall := loss_of(connect, connect_batches(transforms, 4, 0, 0), 6))[-1] < 0.9 * fall[0]

    joint = JointTask(language, model)
    seen = (batch for batch in joint_batches(model, 2, 0, 0) if not batch["rehearsal"])
    assert (fall := loss_of(joint, seen, 6))[-1] < 0.9 * fall[0]


def test_the_recipe_names_every_stage_and_keeps_their_samples_apart() -> None:
    assert set(recipe.TRAIN) == set(recipe.NUM_STEPS) == set(recipe.BATCH_SIZE) == set(recipe.LR)
    spans = []
    for stage in recipe.STAGES:
        first = recipe.first_number(stage, seed=0)
        spans.append((first, first + recipe.NUM_STEPS[stage] * recipe.BATCH_SIZE[stage]))
    spans.append((recipe.first_number("image", seed=1), 10**18))
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
