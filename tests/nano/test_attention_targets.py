"""Where the LLM is told to target: the right clip, the right token, the right option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from apollo.cartoon.draw.labels import facts_of_clip
from apollo.cartoon.talk.questions import Turn, all_texts, conversation
from apollo.cartoon.talk.vocabulary import pieces_of
from apollo.cartoon.world.facts import SLOT_SIZES
from apollo.cartoon.world.scenes import CLIP_DURATION_S, Cartoon, video_from_seed
from apollo.constants import IGNORE_INDEX
from apollo.nano.answer_parts import parts_of
from apollo.nano.attention_loss import HEADS, NOWHERE, attention_loss
from apollo.nano.attention_targets import add_targets
from apollo.nano.rows import BranchedRow, branched_row, clips_block, pad_branched
from apollo.nano.slot_texts import SLOT_BIT, SLOT_TEXTS, is_name, slots_saying
from apollo.nano.tokenizer import train_tokenizer

K = 8


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = (piece for text in all_texts(num_videos=400) for piece in pieces_of(text))
    return train_tokenizer(texts, 2048)


def row_with_targets(tokenizer: Any, video: Cartoon, chats: list[list[Turn]]) -> BranchedRow:
    block = clips_block(video.num_clips, CLIP_DURATION_S, K)
    pairs = [[(turn.question, turn.answer) for turn in chat] for chat in chats]
    row = branched_row(pairs, block, tokenizer)
    add_targets(row, chats, video, tokenizer)
    return row


def chats_of(seed: int, **more: Any) -> tuple[Cartoon, list[list[Turn]]]:
    video = video_from_seed(seed, num_scenes=3)
    rng = np.random.default_rng(seed)
    return video, [[turn] for turn in conversation(rng, video, turns=20, **more)]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_word_of_a_fact_attends_to_the_token_that_says_it(
    tokenizer: Any, language: str
) -> None:
    """One of its clips says the word in the target's slot."""
    told = checked = 0
    for seed in range(12):
        video, chats = chats_of(seed, language=language)
        row = row_with_targets(tokenizer, video, chats)
        for target in row.targets:
            if (target.layer, target.head) != HEADS["slot"] or not target.slots:
                continue
            said = tokenizer.decode([row.ids[target.query + 1]]).strip(' ."“”，。').lower()
            clip = row.clips[target.first]
            assert 1 <= clip <= row.clips[target.last] <= video.num_clips
            facts = facts_of_clip(video, clip - 1)
            texts = [
                " ".join(SLOT_TEXTS[slot][value - 1]).lower()
                for slot, value in facts.items()
                if value and target.slots & SLOT_BIT[slot]
            ]
            checked += 1
            in_chinese = set() if said.isascii() else set(said)
            told += any(said in text or in_chinese & set(text) for text in texts)
    assert told > 200
    assert told / checked > 0.65  # the others begin an answer or say a fact in another form


def test_a_time_attends_to_the_same_digits(tokenizer: Any) -> None:
    video = next(
        video
        for seed in range(100)
        if (video := video_from_seed(seed, num_scenes=4)).duration_s >= 12
    )
    rng = np.random.default_rng(1)
    chats = [[turn] for turn in conversation(rng, video, turns=8, kinds=("when", "duration"))]
    row = row_with_targets(tokenizer, video, chats)
    digits = 0
    for target in row.targets:
        said = tokenizer.decode([max(row.ids[target.query + 1], 0)])
        if (target.layer, target.head) == HEADS["slot"] and said.isdigit():
            assert tokenizer.decode([row.ids[target.first]]) == said
            digits += 1
    assert digits >= 8


def test_what_is_not_in_the_video_attends_to_nowhere(tokenizer: Any) -> None:
    video = video_from_seed(5, num_scenes=2)
    rng = np.random.default_rng(2)
    chats = [[turn] for turn in conversation(rng, video, turns=6, kinds=("not_shown",))]
    row = row_with_targets(tokenizer, video, chats)
    clip = [target for target in row.targets if (target.layer, target.head) == HEADS["clip"]]
    assert len(clip) == 6 and all((target.first, target.last) == NOWHERE for target in clip)
    read = [target for target in row.targets if (target.layer, target.head) == HEADS["read"]]
    names = [tokenizer.decode([row.ids[target.first]]).strip() for target in read]
    assert len(names) == 6
    for name, chat in zip(names, chats, strict=True):
        assert name in chat[0].question


def test_a_letter_attends_to_its_option(tokenizer: Any) -> None:
    for language in ("en", "zh"):
        video, _ = chats_of(3)
        rng = np.random.default_rng(3)
        chats = [
            [turn]
            for turn in conversation(rng, video, turns=6, kinds=("choice",), language=language)
        ]
        row = row_with_targets(tokenizer, video, chats)
        options = [target for target in row.targets if (target.layer, target.head) == HEADS["same"]]
        assert len(options) == 6
        for target, (turn,) in zip(options, chats, strict=True):
            text = tokenizer.decode(row.ids[target.first : target.last + 1])
            words, letter = turn.answer.rsplit(" (", 1)
            assert f"\n{text}" in turn.question and text == f"{letter[0]}. {words}\n"
            assert tokenizer.decode([row.ids[target.query + 1]]) == letter[0]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_conclusion_attends_to_the_fact_and_to_the_same_in_the_question(
    tokenizer: Any, language: str
) -> None:
    found = {True: 0, False: 0}
    for seed in range(40):
        video = video_from_seed(seed, num_scenes=2)
        rng = np.random.default_rng(seed)
        chats = [
            [turn]
            for turn in conversation(rng, video, turns=6, kinds=("yesno",), language=language)
        ]
        row = row_with_targets(tokenizer, video, chats)
        for target in row.targets:
            if (target.layer, target.head) != HEADS["same"]:
                continue
            turn = chats[row.branches[target.query] - 1][0]
            yes = turn.answer.endswith((", so yes.", "\uff0c\u6240\u4ee5\u662f\u7684\u3002"))
            read, claim = (
                tokenizer.decode(row.ids[other.first : other.last + 1])
                for eye in ("read", "claim")
                for other in row.targets
                if (other.layer, other.head, other.query) == (*HEADS[eye], target.query)
            )
            assert read in turn.answer and claim in turn.question
            assert ((target.first, target.last) != NOWHERE) == yes
            found[yes] += 1
    assert min(found.values()) > 20


@pytest.mark.parametrize("kind", ["next", "before"])
def test_what_is_beside_is_found_by_the_later_clip(tokenizer: Any, kind: str) -> None:
    """Only the later of two clips can know of both: it sees what came before it."""
    checked = 0
    for seed in range(20):
        video = video_from_seed(seed, num_scenes=4)
        rng = np.random.default_rng(seed)
        chats = [[turn] for turn in conversation(rng, video, turns=3, kinds=(kind,))]
        row = row_with_targets(tokenizer, video, chats)
        for target in row.targets:
            if (target.layer, target.head) != HEADS["clip"] or (
                target.first,
                target.last,
            ) == NOWHERE:
                continue
            turn = chats[row.branches[target.query] - 1][0]
            scenes = list(video.scenes)
            at = scenes.index(turn.about) if turn.about else -1
            later = scenes[at if kind == "next" else at + 1]
            start_s = next(start for start, _, scene in video.seen_spans() if scene == later)
            assert row.clips[target.first] == start_s / CLIP_DURATION_S + 1
            checked += 1
    assert checked > 50


def test_a_follow_up_attends_to_what_it_means(tokenizer: Any) -> None:
    """In the conversation's earlier words, never in another conversation."""
    found = 0
    for seed in range(30):
        video = video_from_seed(seed, num_scenes=2)
        rng = np.random.default_rng(seed)
        chats = [conversation(rng, video, turns=3, follow_ups=True) for _ in range(2)]
        row = row_with_targets(tokenizer, video, chats)
        for target in row.targets:
            if (target.layer, target.head) == HEADS["read"]:
                assert row.branches[target.first] == row.branches[target.query] > 0
                assert target.first <= target.query  # a list goes on from what was named last
                if row.labels[target.query] == IGNORE_INDEX:  # the answer has not begun
                    read = tokenizer.decode([row.ids[target.last]])
                    assert is_name(read) or read.isdigit()
                    found += 1
    assert found > 30


def test_slots_that_say_a_word() -> None:
    video = video_from_seed(8, num_scenes=1)
    facts = {name: 0 for name in SLOT_SIZES} | facts_of_clip(video, 0)
    noun = SLOT_TEXTS["object"][facts["object"] - 1][0]
    assert slots_saying(facts, noun, "A") == SLOT_BIT["object"]
    assert slots_saying(facts, " zebra crossing", "A") == 0
    assert slots_saying(facts, "A", "") == SLOT_BIT["count"]
    assert slots_saying(facts, ".", "A cat") == 0


def test_the_parts_of_a_description_are_the_scenes_clips() -> None:
    video = video_from_seed(11, num_scenes=3)
    rng = np.random.default_rng(0)
    (turn,) = conversation(rng, video, turns=1, kinds=("describe",))
    parts = parts_of(turn, video)
    assert len(parts) == 3 and parts[0].start == 0
    assert [part.clips for part in parts] == sorted(part.clips for part in parts)
    assert [part.scene for part in parts] == list(video.scenes)


def test_the_loss_is_small_where_attention_lies_right_and_large_elsewhere(tokenizer: Any) -> None:
    video, chats = chats_of(7)
    rows = pad_branched([row_with_targets(tokenizer, video, chats)], tokenizer.pad_token_id)
    length, heads = rows["input_ids"].shape[1], 3
    even = torch.full((1, heads, length, length), 1 / length)
    right = [even * 1e-3 for _ in range(5)]
    for _, layer, head, query, first, last, slots in rows["targets"].tolist():
        shown = rows["clips"][0] > 0
        spot = torch.arange(length)
        meant = (spot >= first) & (spot <= last) & (shown == shown[first])
        if slots:
            meant &= (rows["slots"][0] & slots) > 0
        right[layer][0, head, query] = meant / meant.sum()
        assert meant.any(), (layer, head)
    told = attention_loss(right, rows)
    assert told < 0.5 and attention_loss([even] * 5, rows) > 6


def test_chinese_tokens_never_join_two_names(tokenizer: Any) -> None:
    assert pieces_of("三个红色圆形在海边向左移动。") == [
        "三个",
        "红色",
        "圆形",
        "在海边",
        "向左移动",
        "。",
    ]
    assert pieces_of("A cat moves up.") == ["A cat moves up."]
    tokens = [tokenizer.decode([i]) for i in tokenizer("一只猫在海边向左移动。")["input_ids"]]
    assert "".join(tokens) == "一只猫在海边向左移动。"
    assert "猫" in tokens and "在海边" in tokens
