"""How the words of an answer are drawn."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from asking import QUESTION, VARIED

from apollo.chat import Apollo
from apollo.model import sampling
from apollo.settings import Generation


def test_temperature_zero_is_deterministic(apollo: Apollo, endless: None) -> None:
    answers = {
        apollo.answer(None, QUESTION, generation=Generation(0, max_new_tokens=12, seed=seed))
        for seed in (None, 1, 2)
    }
    assert len(answers) == 1


def test_a_seed_makes_an_answer_repeatable(apollo: Apollo, endless: None) -> None:
    def ask(seed: int | None) -> str:
        generation = Generation(temperature=1.5, top_p=1, max_new_tokens=16, seed=seed)
        return apollo.answer(None, QUESTION, generation=generation)

    state = torch.random.get_rng_state()
    first = ask(5)
    assert ask(5) == first
    assert len({first, ask(6), ask(None), ask(None)}) == 4
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers are used


def test_a_seed_holds_while_others_are_answered(apollo: Apollo, endless: None) -> None:
    alone = apollo.answer(None, QUESTION, generation=VARIED)
    answers: dict[int, str] = {}
    both_ready = threading.Barrier(2)

    def ask(number: int) -> None:
        both_ready.wait(60)
        answers[number] = apollo.answer(None, QUESTION, generation=VARIED)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: alone, 1: alone}


def test_sampling_follows_the_softmax_up_to_top_p() -> None:
    num_draws, temperature, top_p = 20_000, 0.8, 0.75
    logits = torch.tensor([2.0, 1.5, 0.3, 1.1, -0.5, -4.0])
    shares = (logits / temperature).softmax(0)
    order = shares.argsort(descending=True)
    before = shares[order].cumsum(0) - shares[order]  # what likelier tokens hold already
    kept = order[before < top_p]
    expected = torch.zeros_like(shares)
    expected[kept] = shares[kept] / shares[kept].sum()
    assert 1 < len(kept) < len(logits)

    processors = sampling.logits_processors(Generation(temperature, top_p, seed=0))
    ids = torch.zeros(num_draws, 1, dtype=torch.long)
    drawn = processors(ids, logits.repeat(num_draws, 1)).argmax(-1)  # type: ignore[arg-type]
    counts = drawn.bincount(minlength=len(logits))
    assert counts[expected == 0].sum() == 0
    wanted = expected[kept] * num_draws
    chi_square = ((counts[kept] - wanted) ** 2 / wanted).sum()
    assert chi_square < 16  # 0.1 % of all seeds lie above, for 3 kept tokens


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999, 1.0])
def test_a_large_vocabulary_is_cut_where_sorting_all_of_it_would_cut(top_p: float) -> None:
    scores = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(1))
    shares = scores[0].double().softmax(0)
    order = shares.argsort(descending=True)
    kept = {*order[shares[order].cumsum(0) - shares[order] < top_p].tolist()}
    draw = sampling.Draw(1.0, top_p, seed=3)
    drawn = {int(draw(None, scores.clone()).argmax()) for _ in range(300)}
    assert drawn <= kept and len(drawn) > 100


def test_sampling_draws_anew_at_every_token() -> None:
    draw = sampling.Draw(1.0, 1.0, seed=0)
    scores = torch.zeros(1, 1000)
    ids = torch.zeros(1, 1, dtype=torch.long)
    assert len({int(draw(ids, scores.clone()).argmax()) for _ in range(20)}) > 15
    cut = torch.full((1, 4), -math.inf)
    cut[0, 2] = 0.0
    assert draw(ids, cut.clone()).argmax() == 2  # what was ruled out stays out


@pytest.mark.parametrize("temperature", [1e-6, 1e-10, 1e-38, 1e-40, 5e-324])
def test_row_64_a_temperature_next_to_nothing_is_greedy(
    apollo: Apollo, endless: None, temperature: float
) -> None:
    settings = Generation(temperature, seed=0, max_new_tokens=12)
    greedy = apollo.answer(None, QUESTION, generation=Generation(0, max_new_tokens=12))
    assert apollo.answer(None, QUESTION, generation=settings) == greedy


def test_row_64_the_smallest_temperature_that_draws_still_can() -> None:
    smallest = Generation(sampling.GREEDY_BELOW, top_p=1, seed=0)
    scores = torch.tensor([[-500.0, 99.0, 100.0, -math.inf]])
    drawn = sampling.logits_processors(smallest)(torch.zeros(1, 1), scores)  # type: ignore
    assert drawn.argmax() == 2 and not drawn.isnan().any()
