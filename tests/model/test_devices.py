"""What only shows on a graphics card or a Mac: simulated here, and real under the marker `gpu`."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from asking import LONG, PICTURE, QUESTION, SHORT
from paths import EXAMPLE_VIDEOS, TINY
from torch import nn
from torch.testing import assert_close

import apollo
from apollo.model import visual_tokens
from apollo.model.causal_lm import ApolloForCausalLM
from apollo.model.clip_cache import ClipCache
from apollo.model.device import best_dtype
from apollo.model.generation import watch_layers
from apollo.model.visual_tokens import Viewer, clips_at_once
from apollo.settings import Generation, Sampling
from apollo.video.reader import Video

CUDA = torch.device("cuda", 0)
needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")


def pretend_card(monkeypatch: pytest.MonkeyPatch, *, native_bfloat16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: native_bfloat16 or including_emulation,
    )


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_pretended_card_without_bfloat16_gets_float16(
    monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype
) -> None:
    pretend_card(monkeypatch, native_bfloat16=native)
    assert best_dtype(CUDA) is dtype
    assert best_dtype(torch.device("cpu")) is torch.float32
    assert best_dtype(torch.device("mps")) is torch.bfloat16


def test_load_takes_the_number_type_of_a_pretended_card(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def from_pretrained(folder: Any, **keywords: Any) -> Any:
        asked.update(keywords)
        raise InterruptedError

    pretend_card(monkeypatch, native_bfloat16=False)
    monkeypatch.setattr("apollo.chat.pick_device", lambda wanted: CUDA)
    monkeypatch.setattr(ApolloForCausalLM, "from_pretrained", from_pretrained)
    with pytest.raises(InterruptedError):
        apollo.load("nano")
    assert asked["dtype"] is torch.float16


def test_flash_attention_with_a_stubbed_kernel_equals_sdpa(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers' function reads the module's config before it calls the kernel."""
    from transformers.integrations import flash_attention

    calls = []

    def kernel(q: Any, k: Any, v: Any, mask: Any, *, softmax_scale: float, **others: Any) -> Any:
        calls.append(others["is_causal"])
        groups = q.shape[2] // k.shape[2]
        k, v = (t.repeat_interleave(groups, 2) for t in (k, v))
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (N, S, heads, d) -> (N, heads, S, d)
        out = nn.functional.scaled_dot_product_attention(q, k, v, scale=softmax_scale)
        return out.transpose(1, 2)

    monkeypatch.setattr(flash_attention, "_flash_attention_forward", kernel)
    monkeypatch.setattr("apollo.model.causal_lm.check_attention", lambda name: name)
    expected, pixels = encoded(tiny_model)
    flash = ApolloForCausalLM.from_pretrained(TINY)
    for module in (flash.vision_tower, flash.mm_connector):
        for part in module.modules():
            if hasattr(part, "config") and hasattr(part, "is_causal"):
                config = part.config
                name = "_attn_implementation"
                if hasattr(type(config), "__dataclass_fields__"):
                    name = "attn_implementation"
                object.__setattr__(config, name, "flash_attention_2")
    assert_close(flash.encode_clips(pixels), expected, atol=1e-5, rtol=1e-4)
    assert calls and not any(calls)


def encoded(model: Any) -> tuple[Any, Any]:
    with Video(SHORT) as video:
        viewer = Viewer(model, ClipCache())
        pixels = next(viewer.pixels(video, viewer.plan(video.info, Sampling()), exact=False)).pixels
    return model.encode_clips(pixels), pixels


def test_a_pretended_card_gets_eight_clips_at_once(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model.config, "encode_batch_size", 25)
    monkeypatch.setattr(type(tiny_model), "device", property(lambda _: CUDA))
    viewer = Viewer(tiny_model, ClipCache())
    with Video(LONG) as video:
        clips = viewer.plan(video.info, Sampling(max_clips=12))
        groups = [group.pixels for group in viewer.pixels(video, clips, exact=False)]
    assert all(x.dtype == torch.uint8 for group in groups for x in group)
    assert [len(group[0]) for group in groups] == [8, 4]


def test_a_cpu_gets_groups_that_take_a_fraction_of_a_second(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clips_at_once(tiny_model) == tiny_model.config.encode_batch_size == 2
    monkeypatch.setattr(tiny_model.config, "encode_batch_size", 25)
    assert clips_at_once(tiny_model) == 8
    for flop, group in ((4e9, 8), (1e6, 1)):
        monkeypatch.setattr(visual_tokens, "CPU_FLOP_AT_ONCE", flop)
        assert clips_at_once(tiny_model) == group


def test_uint8_pixels_give_the_same_tokens_as_normalised_ones(tiny_model: Any) -> None:
    tokens, pixels = encoded(tiny_model)
    transforms = tiny_model.vision_tower.vision_processor
    ready = [t.normalise(x) for t, x in zip(transforms, pixels, strict=True)]
    assert torch.equal(tiny_model.encode_clips(ready), tokens)


def test_a_model_is_watched_once_however_many_wrap_it(tiny_model: Any) -> None:
    watch_layers(tiny_model)
    layer = tiny_model.llm.get_decoder().layers[0]
    before = len(layer._forward_pre_hooks)
    for _ in range(3):
        apollo.Apollo(tiny_model, apollo.MODELS["nano"])
    assert len(layer._forward_pre_hooks) == before


@pytest.mark.gpu
@needs_card
@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash_attention_2"])
def test_nano_answers_on_a_card(attention: str) -> None:
    if attention == "flash_attention_2":
        pytest.importorskip("flash_attn")
    greedy = Generation(temperature=0, max_new_tokens=16)
    on_card = apollo.load("nano", device="cuda", attn_implementation=attention)
    assert on_card.model.dtype is best_dtype(CUDA)
    for given in ({"video": LONG}, {"image": PICTURE}):
        assert on_card.answer(given.pop("video", None), QUESTION, generation=greedy, **given)
    sampled = Generation(seed=3, max_new_tokens=16)
    once, again = (on_card.answer(SHORT, QUESTION, generation=sampled) for _ in range(2))
    assert once == again


@pytest.mark.gpu
@needs_card
def test_float32_tokens_on_a_card_are_close_to_the_processors() -> None:
    on_card = apollo.load("nano", device="cuda", dtype="float32").model
    tokens, pixels = encoded(apollo.load("nano", device="cpu").model)
    assert_close(on_card.encode_clips(pixels).cpu(), tokens, atol=2e-2, rtol=2e-2)


def test_bfloat16_on_a_cpu_answers_like_float32() -> None:
    """Half the memory. nano's answer to a greedy question survives the rounding."""
    half = apollo.load("nano", device="cpu", dtype="bfloat16")
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    question, exact = "What happens in this video?", apollo.load("nano", device="cpu")
    video = EXAMPLE_VIDEOS / "example_1.mp4"
    greedy = Generation(temperature=0)
    answer = half.answer(video, question, generation=greedy)
    assert answer == exact.answer(video, question, generation=greedy) != ""
