"""The loss of conversations: the same as through a dense mask, by the kernel that needs none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from apollo.catalog import NANO_FOLDER
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.prompt import video_block
from apollo.train.answer_loss import answer, answers_of, count_answers, embed, share_without_error
from apollo.train.rows import chat_row, pad_rows
from apollo.video.clips import Clip

CHATS = (  # of different lengths, so that two of the rows are padded
    [("What is in the video?", "A cat.")],
    [("Where is the dog?", "In the middle."), ("And the background?", "The sea, it is blue.")],
    [("Hello!", "Hello! Ask me about the video.")],
)


@pytest.fixture(scope="module")
def model() -> Any:
    return ApolloForCausalLM.from_pretrained(NANO_FOLDER, dtype=torch.float32).eval()


def batch_of(model: Any) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    """Two conversations about a video of one clip, and one without."""
    num_tokens = model.config.tokens_per_clip
    block = video_block(
        [Clip((), 0.0, 1.5)], duration_s=2.0, clip_duration_s=2.0, tokens_per_clip=num_tokens
    )
    rows = [chat_row(chat, block, model.tokenizer) for chat in CHATS[:2]]
    rows.append(chat_row(CHATS[2], None, model.tokenizer))
    torch.manual_seed(0)
    width = model.config.llm_cfg["hidden_size"]
    seen = [torch.randn(num_tokens, width), torch.randn(num_tokens, width), None]
    return pad_rows(rows, model.tokenizer.pad_token_id), seen


def test_rows_have_the_loss_that_a_mask_of_what_each_token_sees_gives(model: Any) -> None:
    rows, seen = batch_of(model)
    lengths = (rows["input_ids"] != model.tokenizer.pad_token_id).sum(1)
    assert len(set(lengths.tolist())) == 3 and count_answers(rows) > 20
    place = torch.arange(rows["input_ids"].shape[1])
    sees = place[None, None, :] <= place[None, :, None]  # (1, S, S)
    sees = sees & (place[None, None, :] < lengths[:, None, None])  # no padding, (B, S, S)
    bias = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[:, None]
    with torch.no_grad():
        embeddings = embed(model, rows["input_ids"], seen)
        dense = model.llm.model(inputs_embeds=embeddings, attention_mask=bias).last_hidden_state
        wanted = answers_of(model, dense, rows["labels"])
        given = answer(model, rows, seen)
    assert float(given.loss) == pytest.approx(float(wanted.loss), rel=1e-5)
    assert torch.equal(given.right, wanted.right)


def test_no_mask_is_built_and_the_kernel_is_the_causal_one(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[tuple[Tensor | None, bool]] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(*args: Any, **options: Any) -> Tensor:
        masks.append((options.get("attn_mask"), options.get("is_causal", False)))
        return attend(*args, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    rows, seen = batch_of(model)
    loss = answer(model, rows, seen).loss
    assert loss.requires_grad
    assert masks == [(None, True)] * model.config.llm_cfg["num_hidden_layers"]


def test_an_answer_counts_as_right_only_as_a_whole(model: Any) -> None:
    right, row = torch.tensor([True, False, True]), torch.tensor([0, 0, 2])
    assert share_without_error(right, row) == 0.5
    rows, seen = batch_of(model)
    answers = answer(model, rows, seen)
    shares = answers.metrics(rows)
    counted = (rows["labels"][:, 1:] >= 0).sum(1).tolist()
    whole = [bool(part.all()) for part in answers.right.split(counted)]
    assert shares["answers"] == pytest.approx(sum(whole) / 3)
    assert shares["tokens"] == pytest.approx(float(answers.right.float().mean()))
