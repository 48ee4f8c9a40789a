"""Numbers keep their meaning: computed tables stay float32, and what is no number is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from asking import GREEDY, QUESTION, SHORT, VARIED, refusal
from folders import refused, rewrite, sentence
from paths import TINY

from apollo.chat import load
from apollo.errors import CheckpointError, ModelError, SettingError
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.finite import FiniteScores, is_finite

IDS = torch.tensor([[5, 6, 7, 8]])
BAD = [float("nan"), float("inf"), -float("inf")]

# ---- computed tables -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cast",
    [
        lambda model: model.to(torch.bfloat16),
        lambda model: model.to(device="cpu", dtype=torch.bfloat16),
        lambda model: model.bfloat16(),
        lambda model: model.half(),
        lambda model: model.half().float().to(torch.float16),
        lambda model: torch.nn.Sequential(model).to(torch.bfloat16)[0],
    ],
)
def test_row_56_rotary_tables_stay_float32(tiny_model: Any, cast: Any) -> None:
    model = cast(ApolloForCausalLM.from_pretrained(TINY))
    assert model.dtype in (torch.bfloat16, torch.float16)
    x, position = torch.zeros(1, 1, 8), torch.tensor([[1000]])
    for ours, exact in zip(
        model.llm.model.rotary_emb(x, position),
        tiny_model.llm.model.rotary_emb(x, position),
        strict=True,
    ):
        assert torch.equal(ours, exact)  # cos, sin
    loaded = ApolloForCausalLM.from_pretrained(TINY, dtype=model.dtype)
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, loaded(IDS).logits)


def test_row_56_tables_move_with_the_model() -> None:
    model = ApolloForCausalLM.from_pretrained(TINY).to("meta", torch.bfloat16)
    assert all(buffer.is_meta for buffer in model.buffers())


# ---- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_row_62_weights_that_are_no_numbers_are_not_loaded(
    folder: Path, value: float, dtype: str
) -> None:
    def spoil(tensors: Any) -> None:
        tensors["resampler.latents"].view(-1)[3] = value

    rewrite(folder / "mm_connector/model.safetensors", spoil)
    refused(folder, "resampler.latents", "not finite", "take another copy", dtype=dtype)


def test_row_62_weights_beyond_float16_are_not_loaded_as_it(folder: Path) -> None:
    def enlarge(tensors: Any) -> None:
        tensors["model.norm.weight"][3] = 70_000

    rewrite(folder / "llm/model.safetensors", enlarge)
    for dtype in ("float32", "bfloat16"):
        ApolloForCausalLM.from_pretrained(folder, dtype=dtype)
    with pytest.raises(SettingError, match="model.norm.weight .* too large for float16") as error:
        ApolloForCausalLM.from_pretrained(folder, dtype="float16")
    sentence(error)


@pytest.mark.parametrize("given", [False, True])
def test_row_62_weights_that_are_no_numbers_are_not_saved(tmp_path: Path, given: bool) -> None:
    model = ApolloForCausalLM.from_pretrained(TINY)
    model.llm.model.norm.weight.data[3] = float("nan")
    state_dict = model.state_dict() if given else None
    with pytest.raises(CheckpointError, match="llm.model.norm.weight .* not finite") as error:
        model.save_pretrained(tmp_path / "out", state_dict=state_dict)
    assert "nothing was saved" in sentence(error) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_row_62_every_kind_of_tensor_is_looked_at(dtype: torch.dtype) -> None:
    tensor = torch.full((3, 1000), torch.finfo(dtype).max, dtype=dtype)
    assert is_finite(tensor) and is_finite(tensor[:0]) and is_finite(torch.arange(3))
    for value in BAD:
        spoiled = tensor.clone()
        spoiled[1, 7] = value
        assert not is_finite(spoiled)


# ---- answers -------------------------------------------------------------------------------------


@pytest.fixture
def large(folder: Path) -> Path:
    """Computes the same in float32, and more than float16 holds on the way."""

    def scale(tensors: Any) -> None:
        for name, tensor in tensors.items():
            if "mlp.up_proj" in name:
                tensor *= 3e4
            if "mlp.down_proj" in name:
                tensor /= 3e4

    rewrite(folder / "llm/model.safetensors", scale)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("generation", [GREEDY, VARIED])
def test_row_62_an_answer_beyond_float16_is_a_sentence(large: Path, generation: Any) -> None:
    exact = load(TINY, device="cpu").answer(SHORT, QUESTION, generation=GREEDY)
    assert load(large, device="cpu").answer(SHORT, QUESTION, generation=GREEDY) == exact
    apollo = load(large, device="cpu", dtype="float16")
    pieces: list[str] = []
    with pytest.raises(ModelError) as error:
        pieces.extend(apollo.stream(SHORT, QUESTION, generation=generation))
    assert "too large for float16" in refusal(error) and not pieces


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("num_tokens", [1, 8])
def test_row_62_generate_never_draws_from_what_is_no_number(sampled: bool, num_tokens: int) -> None:
    model = ApolloForCausalLM.from_pretrained(TINY)
    model.llm.model.norm.weight.data[3] = float("nan")
    with pytest.raises(ModelError, match="not finite in float32") as error:
        model.generate(IDS, do_sample=sampled, max_new_tokens=num_tokens)
    sentence(error)


def test_row_62_scores_are_looked_at_without_waiting_for_them() -> None:
    good, bad = torch.tensor([[1.0, -torch.inf, 3.0]]), torch.tensor([[1.0, torch.nan, torch.inf]])
    cpu, card = torch.device("cpu"), torch.device("cuda")
    scores = FiniteScores(torch.float16, card)
    scores.check_last()  # nothing was computed
    with pytest.raises(ModelError):  # the first token at once
        FiniteScores(torch.float16, card)(None, bad)
    at_once = FiniteScores(torch.float16, cpu)
    assert at_once(None, good) is good
    with pytest.raises(ModelError):  # there is nothing to wait for
        at_once(None, bad)
    assert torch.equal(scores(None, good), good)
    assert scores(None, bad).isfinite().all()  # can be drawn from, and is found out next time
    with pytest.raises(ModelError):
        scores.check_last()
    with pytest.raises(ModelError):
        scores(None, good)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_row_62_a_card_goes_on_after_scores_that_were_no_numbers(tiny_model: Any) -> None:
    model = ApolloForCausalLM.from_pretrained(TINY, device_map={"": 0}, dtype="float16")
    norm = model.llm.model.norm.weight
    kept = norm[3].clone()
    norm.data[3] = float("nan")
    with pytest.raises(ModelError, match="float16"):
        model.generate(IDS.cuda(), do_sample=True, max_new_tokens=8)
    norm.data[3] = kept
    assert model.generate(IDS.cuda(), do_sample=True, max_new_tokens=2).numel()
