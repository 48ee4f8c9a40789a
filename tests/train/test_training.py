"""The training code of apollo-nano: optimiser, rows, oracle and every stage's loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from apollo.cartoon.talk.phrases import CHINESE, ENGLISH
from apollo.cartoon.talk.questions import all_texts
from apollo.cartoon.talk.vocabulary import pieces_of
from apollo.cartoon.world.facts import OBJECTS, SLOT_SIZES
from apollo.cartoon.world.scenes import video_from_seed
from apollo.constants import IGNORE_INDEX, X_TOKEN_INDEX
from apollo.errors import RecipeError
from apollo.model.prompt import build_prompt, tokenize
from apollo.nano import RECIPES
from apollo.nano.attention_loss import conversation_loss
from apollo.nano.joint_learners import (
    ConnectLearner,
    JointLearner,
    SlotLearner,
    connect_sample,
    joint_sample,
)
from apollo.nano.language_learner import (
    HARD_KINDS,
    RARE_KINDS,
    LanguageLearner,
    chat_sample,
    chats_about,
    collate_chats,
    scenes_of_batch,
)
from apollo.nano.rows import BranchedRow, branched_row, clips_block, pad_branched
from apollo.nano.samples import SEED_STRIDE, clip_sample, collate, frame_sample
from apollo.nano.shape import EMBEDDING_STD, GRID, build_internvideo2, build_nano, build_siglip
from apollo.nano.slot_texts import SLOT_TEXTS
from apollo.nano.tasks import STREAMS, image_task, language_task
from apollo.nano.tokenizer import train_tokenizer
from apollo.nano.vision_learners import ImageLearner, VideoLearner
from apollo.nano.word_embeddings import init_names
from apollo.train.answer_loss import count_answers
from apollo.train.optimizer import MuonAdamW, orthogonalise, parameter_groups
from apollo.train.recipe import read_recipe
from apollo.train.rows import chat_row
from apollo.train.stage import Stage
from apollo.train.task import Start


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = (piece for text in all_texts(num_videos=200) for piece in pieces_of(text))
    return train_tokenizer(texts, 2048)


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


def test_conversations_in_one_row_are_what_each_would_be_alone(model: Any) -> None:
    """Same logits as in a row of its own, through the mask and the positions."""
    block = clips_block(2, 2.0, tokens_per_clip=8)
    chats = [
        [("What is in the video?", "A cat.")],
        [("Where is the dog?", "In the middle."), ("And the background?", "The sea.")],
        [("Describe the video.", "A cat moves up.")],
    ]
    tokens = torch.randn(16, 192)
    LanguageLearner(model).eval()  # sets the attention that shows itself

    def losses(rows: list[BranchedRow]) -> tuple[float, int]:
        batch = pad_branched(rows, model.tokenizer.pad_token_id)
        with torch.no_grad():
            loss, _ = conversation_loss(model, batch, [tokens] * len(rows))
        return float(loss), count_answers(batch)

    together, num_together = losses([branched_row(chats, block, model.tokenizer)])
    alone = [losses([branched_row([chat], block, model.tokenizer)]) for chat in chats]
    assert num_together == sum(num for _, num in alone)
    assert together == pytest.approx(sum(x * n for x, n in alone) / num_together, rel=1e-5)
    padded, _ = losses([branched_row([chat], block, model.tokenizer) for chat in chats])
    assert padded == pytest.approx(together, rel=1e-5)


def test_the_oracle_gives_different_facts_different_vectors(model: Any) -> None:
    task = LanguageLearner(model)
    words = model.llm.get_input_embeddings().weight
    assert list(SLOT_TEXTS) == list(SLOT_SIZES)
    objects = torch.tensor([3, 7])
    for slot, (name, size) in enumerate(SLOT_SIZES.items()):
        vectors = task.oracle.values(slot, objects, words, task.norm)
        assert vectors.shape == (2, size, words.shape[1]), name
        distances = torch.cdist(vectors[0], vectors[0]) + 99 * torch.eye(size)
        assert distances.min() > 0.05, name
        facts = torch.ones(2, len(SLOT_SIZES), dtype=torch.long)
        facts[:, 0] = objects
        seen = task.oracle(facts, words, task.norm)[:, slot]
        met = vectors[torch.arange(2), facts[:, slot]]
        assert torch.allclose(seen, met, atol=1e-5), name
        owners = task.oracle.owners(slot, facts[:, slot], words, task.norm)
        if slot:
            assert torch.allclose(seen, owners[torch.arange(2), objects], atol=1e-5), name


def start(takes: dict[str, Path] | None = None) -> Start:
    return Start(Path("recipe.yaml"), "", 0, takes or {}, Path("features"))


def test_every_sample_is_made_from_its_number_alone() -> None:
    stage = Stage("image", {"tower": 1.0}, task="cartoon image", num_steps=2, global_batch=3)
    task, again = image_task(stage, start()), image_task(stage, start())
    first, second = task.collate([task.sample(4)] * 2), again.collate([again.sample(4)] * 2)
    assert torch.equal(first["pixels"], second["pixels"])
    assert first["object"].shape == (2, GRID, GRID) and task.count(first) == 2
    assert not torch.equal(first["pixels"], task.collate([task.sample(5)] * 2)["pixels"])


def test_no_two_stages_train_on_the_same_samples() -> None:
    recipe = read_recipe(RECIPES / "nano.yaml")
    tasks = [stage.task.removeprefix("cartoon ") for stage in recipe.stages]
    assert tuple(tasks) == STREAMS
    most = max((stage.num_steps or 0) * stage.global_batch for stage in recipe.stages)
    assert most < SEED_STRIDE * 1000


def loss_of(task: Any, batch: Any, num_steps: int, lr: float = 2e-3) -> list[float]:
    """Trains a task for a few steps on the same batch."""
    optimizer = MuonAdamW(parameter_groups([task]), lr)
    losses = []
    for _ in range(num_steps):
        loss, metrics = task.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert all(0 <= value <= 1 for name, value in metrics.items() if name != "attention")
    return losses


@pytest.mark.slow
def test_every_stage_learns(model: Any) -> None:
    """A few steps on one batch: each stage's loss falls, through the real classes."""
    torch.manual_seed(1)
    image = ImageLearner(build_siglip())
    frames = [frame_sample(n, GRID, image.tower.transform) for n in range(8)]
    assert (fall := loss_of(image, collate(frames), 6))[-1] < 0.9 * fall[0]

    video = VideoLearner(build_internvideo2())
    clips = [clip_sample(n, GRID, video.tower.transform) for n in range(4)]
    assert (fall := loss_of(video, collate(clips), 6))[-1] < 0.9 * fall[0]

    seen = collate([connect_sample(n, model.vision_tower.vision_processor) for n in range(4)])
    assert (fall := loss_of(SlotLearner(model), seen, 6))[-1] < 0.9 * fall[0]

    language = LanguageLearner(model)
    chats = [chat_sample(n, model, 2) for n in range(2)]
    told = collate_chats(chats, model.tokenizer)
    assert (fall := loss_of(language, told, 6))[-1] < 0.9 * fall[0]

    assert (fall := loss_of(ConnectLearner(language, model), seen, 6))[-1] < 0.9 * fall[0]

    numbers = (n for n in range(0, 100, 2) if joint_sample(n, model, 2).get("pixels"))
    first = next(numbers)
    shown = collate_chats([joint_sample(n, model, 2) for n in (first, first + 1)], model.tokenizer)
    assert (fall := loss_of(JointLearner(language, model), shown, 6))[-1] < 0.9 * fall[0]


def test_the_forms_of_a_name_start_alike(model: Any) -> None:
    torch.manual_seed(0)
    init_names(model)
    table = model.llm.get_input_embeddings().weight.detach()
    ids = {model.tokenizer.decode([i]): i for i in range(len(table))}

    def likeness(pairs: list[tuple[str, str]]) -> float:
        known = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
        assert len(known) >= 20
        left, right = (torch.stack([table[ids[pair[side]]] for pair in known]) for side in (0, 1))
        return float(torch.cosine_similarity(left, right).mean())

    names = [f" {name}" for name in OBJECTS]
    forms = [(f" {name}", f" {ENGLISH.noun(name, count=2)}") for name in OBJECTS]
    words = [(f" {name}", CHINESE.noun(name)) for name in OBJECTS]
    others = list(zip(names, names[1:], strict=False))
    # of a vector's square length 0.64 is the name's, which the forms of one name share
    assert likeness(words) == pytest.approx(0.64, abs=0.1)
    assert likeness([pair for pair in forms if pair[0] != pair[1]]) == pytest.approx(0.64, abs=0.1)
    assert likeness(others) < 0.5
    assert table.std() == pytest.approx(EMBEDDING_STD, rel=0.1)


def test_options_are_checked_and_change_what_is_asked() -> None:
    stage = Stage("s", {"llm": 1.0}, task="cartoon language", num_steps=2, options={"hard": 1})
    with pytest.raises(
        RecipeError, match='no option "hard"; it has only hard_share, rare_share, max'
    ):
        language_task(stage, start())
    with pytest.raises(RecipeError, match="options.hard_share is 2; choose a number from 0 to 1"):
        language_task(replace(stage, options={"hard_share": 2}), start())
    with pytest.raises(RecipeError, match="hard_share and rare_share are together 1.2; choose at"):
        language_task(replace(stage, options={"hard_share": 0.6, "rare_share": 0.6}), start())
    for wrong in (0, 5, 2.0, True, "all"):
        with pytest.raises(RecipeError, match="max_scenes is .*whole number from 1 to 4"):
            language_task(replace(stage, options={"max_scenes": wrong}), start())
    with pytest.raises(RecipeError, match='no option "hard_share"; it has none'):
        image_task(replace(stage, task="cartoon image", options={"hard_share": 1}), start())
    kinds: list[set[str]] = []
    for shares in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        turns = [
            turn
            for seed in range(40)
            for chat in chats_about(
                np.random.default_rng(seed), video_from_seed(seed, num_scenes=2), *shares
            )
            if len(chat) == 1
            for turn in chat
        ]
        kinds.append({turn.kind for turn in turns})
    assert kinds[1] == set(HARD_KINDS) and kinds[0] > kinds[1]
    assert kinds[2] == set(RARE_KINDS)
    for most in (1, 2, 4):
        scenes = {scenes_of_batch(batch, most) for batch in range(60)}
        assert scenes == set(range(1, most + 1))
