"""The first stage of the LLM: conversations about facts, with an oracle in place of the vision.

In:  sample numbers.  Out: conversations with the facts of their video, and their loss.
Odd: a visual token of the oracle is the mean of the LLM's own word embeddings for one fact of the
clip, plus a vector for the slot, through the connector's last norm. The connector is later trained
to give these vectors, so the LLM need not learn another language for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from apollo.cartoon.draw.labels import facts_of_clip
from apollo.cartoon.talk.questions import Turn, conversation
from apollo.cartoon.world.facts import SLOT_SIZES
from apollo.cartoon.world.scenes import CLIP_DURATION_S, Cartoon, video_from_seed
from apollo.model.prompt import tokenize
from apollo.nano.attention_loss import conversation_loss
from apollo.nano.attention_targets import add_targets
from apollo.nano.rows import branched_row, clips_block, pad_branched
from apollo.nano.slot_texts import SLOT_TEXTS
from apollo.train.task import Metrics

SCENE_SHARES = (0.2, 0.3, 0.3, 0.2)  # of 1..4 scenes: several are harder
CHATS = 12  # independent questions about one video, in one row
FOLLOW_UP_CHATS, FOLLOW_UP_TURNS = 2, 3  # besides, short conversations about "it"
WHOLE_SHARE = 0.15  # of the videos have one long conversation instead, as in a chat
WHOLE_TURNS = 8
CHINESE_SHARE = 0.35
# learned last: something must be compared, or found by what comes before or after it
HARD_KINDS = ("choice", "yesno", "not_shown", "next", "before", "list", "describe")
# apply to few scenes, so they are rare among mixed questions
RARE_KINDS = ("position", "relation", "second_object", "at")
TEXT_ONLY_SHARE = 0.02  # greetings without a video
SLOT_STD = 0.3  # of fresh slot vectors; at 1 they would outweigh the words
WORD_GAIN = 0.5  # initial factor of the word embeddings in a visual token
NOISE_STD = 0.15  # on the oracle's vectors, whose entries have a spread of about 1

OBJECT_SLOT = list(SLOT_SIZES).index("object")


class OracleSlots(nn.Module):
    """Facts (N, K) as ids -> visual tokens (N, K, D) that a perfect connector would give.

    Each token encodes its slot, its value, and by a learned map which object the clip shows: so a
    question about the cat finds the cat's colour in one layer, without finding the clip first.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        width = model.config.llm_cfg["hidden_size"]
        self.slot_vectors = nn.Parameter(SLOT_STD * torch.randn(len(SLOT_SIZES), width))
        self.gain = nn.Parameter(torch.tensor(WORD_GAIN))
        self.whose = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.whose.weight)  # a name in a question is then similar to its clips' tokens
        for slot, texts in enumerate(SLOT_TEXTS.values()):
            self.register_buffer(f"table_{slot}", self._table(texts, model), persistent=False)

    @staticmethod
    def _table(texts: list[tuple[str, ...]], model: Any) -> Tensor:
        """Share of each token in each value, (values + 1, vocabulary); row 0, none, is empty."""
        table = torch.zeros(len(texts) + 1, model.config.llm_cfg["vocab_size"])
        for value, forms in enumerate(texts, start=1):
            for form in forms:
                ids = tokenize(form, model.tokenizer)
                for token_id in ids:
                    table[value, token_id] += 1 / len(ids) / len(forms)
        return table

    def words(self, slot: int, embeddings: Tensor) -> Tensor:
        """The embedding of each value of a slot: of what it is called, (values + 1, D)."""
        table: Tensor = getattr(self, f"table_{slot}")
        return self.gain * (table @ embeddings)

    def forward(self, facts: Tensor, embeddings: Tensor, norm: nn.Module) -> Tensor:
        names = [self.words(slot, embeddings) for slot in range(facts.shape[1])]
        whose = self.whose(names[OBJECT_SLOT])[facts[:, OBJECT_SLOT]]  # (N, D)
        columns = [
            norm(names[slot][facts[:, slot]] + self.slot_vectors[slot] + whose)
            for slot in range(facts.shape[1])
        ]
        return torch.stack(columns, 1)  # K times (N, D) -> (N, K, D)

    def values(self, slot: int, objects: Tensor, embeddings: Tensor, norm: nn.Module) -> Tensor:
        """A slot's vectors for every value, in clips with these objects (B,): (B, values + 1, D).

        In the slot that names the object, every value is its own object.
        """
        words = self.words(slot, embeddings)  # (values + 1, D)
        whose = self.whose(self.words(OBJECT_SLOT, embeddings))
        whose = whose[None] if slot == OBJECT_SLOT else whose[objects][:, None]
        vectors: Tensor = norm(words + self.slot_vectors[slot] + whose)
        return vectors.expand(len(objects), -1, -1)

    def owners(self, slot: int, facts: Tensor, embeddings: Tensor, norm: nn.Module) -> Tensor:
        """A slot's vectors with the values `facts` (B,), for every object: (B, objects + 1, D)."""
        words = self.words(slot, embeddings)[facts]  # (B, D)
        whose = self.whose(self.words(OBJECT_SLOT, embeddings))  # (objects + 1, D)
        vectors: Tensor = norm(words[:, None] + self.slot_vectors[slot] + whose[None])
        return vectors


def facts_of_video(video: Cartoon) -> Tensor:
    """(N, K) ids, one row per clip."""
    rows = [list(facts_of_clip(video, clip).values()) for clip in range(video.num_clips)]
    return torch.tensor(rows)


def chats_about(
    rng: np.random.Generator, video: Cartoon, hard_share: float = 0.0, rare_share: float = 0.0
) -> list[list[Turn]]:
    """Independent conversations about one video, with shares of HARD_KINDS and RARE_KINDS."""
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    if rng.random() < WHOLE_SHARE:
        follow_ups = bool(rng.random() < 0.5)
        whole = conversation(
            rng, video, turns=WHOLE_TURNS, language=language, follow_ups=follow_ups
        )
        return [whole]
    more = {HARD_KINDS: round(CHATS * hard_share), RARE_KINDS: round(CHATS * rare_share)}
    any_kind = conversation(rng, video, turns=CHATS - sum(more.values()), language=language)
    chats = [[turn] for turn in any_kind]
    for kinds, turns in more.items():
        if turns:
            asked = conversation(rng, video, turns=turns, kinds=kinds, language=language)
            chats += [[turn] for turn in asked]
    for _ in range(FOLLOW_UP_CHATS):
        chats.append(
            conversation(rng, video, turns=FOLLOW_UP_TURNS, language=language, follow_ups=True)
        )
    return chats


def greetings(rng: np.random.Generator, video: Cartoon) -> list[list[Turn]]:
    """Small talk without a video; the one given is not mentioned."""
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    return [conversation(rng, video, turns=2, kinds=("chat",), language=language) for _ in range(4)]


def scenes_of_batch(batch: int, max_scenes: int) -> int:
    """How many scenes the videos of a batch have: the same, so that little of it is padding."""
    shares = np.array(SCENE_SHARES[:max_scenes])
    rng = np.random.default_rng((batch, 4))
    return int(rng.choice(max_scenes, p=shares / shares.sum())) + 1


def chat_sample(
    number: int,
    model: Any,
    batch_size: int,
    max_scenes: int = len(SCENE_SHARES),
    **shares: float,
) -> dict[str, Any]:
    """Conversations in one row, and the facts of the video's clips (None without a video).

    `shares` are those of `chats_about`.
    """
    rng = np.random.default_rng((number, 3))
    num_scenes = scenes_of_batch(number // batch_size, max_scenes)
    video = video_from_seed(number, num_scenes=num_scenes)
    shows = rng.random() >= TEXT_ONLY_SHARE
    chats = chats_about(rng, video, **shares) if shows else greetings(rng, video)
    tokens_per_clip = model.config.tokens_per_clip
    block = clips_block(video.num_clips, CLIP_DURATION_S, tokens_per_clip) if shows else None
    pairs = [[(turn.question, turn.answer) for turn in chat] for chat in chats]
    row = branched_row(pairs, block, model.tokenizer)
    if shows:
        add_targets(row, chats, video, model.tokenizer)
    return {
        "row": row,
        "facts": facts_of_video(video) if shows else None,
        "video": video if shows else None,
    }


def collate_chats(samples: list[dict[str, Any]], tokenizer: Any) -> dict[str, Any]:
    """Rows as tensors, and the facts and pixels of each."""
    return {
        "rows": pad_branched([sample["row"] for sample in samples], tokenizer.pad_token_id),
        "facts": [sample["facts"] for sample in samples],
        "pixels": [sample.get("pixels") for sample in samples],
    }


class LanguageLearner(nn.Module):
    """The LLM, the connector's last norm and the oracle; nothing of the vision path."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.llm = model.llm
        self.norm = model.mm_connector.resampler.norm
        self.oracle = OracleSlots(model)
        self._model = [model]  # in a list: not a part of this module
        # gives the attention weights; on CPUs it is also a tenth faster with a dense mask
        self.llm.set_attn_implementation("eager")

    def visual_tokens(self, facts: list[Tensor | None]) -> list[Tensor | None]:
        embeddings = self.llm.get_input_embeddings().weight
        out: list[Tensor | None] = []
        for clip_facts in facts:
            if clip_facts is None:
                out.append(None)
                continue
            tokens = self.oracle(clip_facts, embeddings, self.norm).flatten(0, 1)  # (N*K, D)
            out.append(tokens + NOISE_STD * torch.randn_like(tokens) if self.training else tokens)
        return out

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, Metrics]:
        tokens = self.visual_tokens(batch["facts"])
        return conversation_loss(self._model[0], batch["rows"], tokens)
