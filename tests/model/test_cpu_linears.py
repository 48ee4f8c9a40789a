"""Linear layers in 8 and 4 bits on a CPU: values, gradients, memory, and CPUs with older units."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from paths import ROOT
from torch import nn

from apollo.model import cpu_linears
from apollo.model.cpu_linears import Int4Linear, Int8Linear, small_linear

KINDS = [("8bit", 0.009), ("4bit", 0.09)]  # the error of normal weights, as a share of the output


def layer_of(num_in: int, num_out: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(num_in, num_out, bias=bias)


def error(rough: torch.Tensor, exact: torch.Tensor) -> float:
    return float(((rough - exact).norm() / exact.norm()).detach())


@pytest.mark.parametrize(("kind", "share"), KINDS)
@pytest.mark.parametrize("shape", [(256,), (1, 256), (2, 3, 256)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_near(
    kind: str, share: float, shape: tuple[int, ...], bias: bool
) -> None:
    layer = layer_of(256, 96, bias)
    small = small_linear(layer, kind)
    inputs = torch.randn(shape)
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    rough, exact = small(ours), layer(theirs)
    assert rough.shape == exact.shape and 0 < error(rough, exact) < share
    weights = torch.randn_like(exact)
    (rough * weights).sum().backward()
    (exact * weights).sum().backward()
    assert error(ours.grad, theirs.grad) < share
    assert not any(parameter.requires_grad for parameter in [small.weight])


@pytest.mark.parametrize(("kind", "share"), KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_stay(kind: str, share: float, dtype: torch.dtype) -> None:
    layer = layer_of(256, 96).to(dtype)
    inputs = torch.randn(5, 256, dtype=dtype)
    rough = small_linear(layer, kind)(inputs)
    assert rough.dtype == dtype and error(rough.float(), layer(inputs).float()) < share


@pytest.mark.parametrize(
    ("num_in", "num_out", "kind_of"),
    [
        (64, 32, Int4Linear),
        (63, 32, Int8Linear),
        (64, 31, Int8Linear),
        (7, 5, Int8Linear),
    ],
)
def test_shapes_that_4_bits_cannot_have_take_8(
    num_in: int, num_out: int, kind_of: type[nn.Module]
) -> None:
    layer = layer_of(num_in, num_out)
    small = small_linear(layer, "4bit")
    assert type(small) is kind_of
    inputs = torch.randn(4, num_in)
    assert error(small(inputs), layer(inputs)) < 0.1


@pytest.mark.parametrize(("kind", "bits"), [("8bit", 8.2), ("4bit", 5.1)])
def test_the_weights_are_as_small_as_they_say(kind: str, bits: float) -> None:
    small = small_linear(layer_of(512, 256, bias=False), kind)
    num_bytes = sum(t.nbytes for t in [*small.parameters(), *small.buffers()])
    assert num_bytes * 8 / (512 * 256) < bits


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_zeros_stay_zero_and_no_number_stays_none(kind: str) -> None:
    layer = layer_of(64, 32, bias=False)
    small = small_linear(layer, kind)
    assert torch.equal(small(torch.zeros(1, 64)), torch.zeros(1, 32))
    inputs = torch.randn(2, 64)
    inputs[0, 3] = float("nan")
    finite = small(inputs).isfinite().all(dim=1)
    assert finite.tolist() == [False, True]  # a wrong number must not look like a right one
    nn.init.zeros_(layer.weight)
    assert torch.equal(small_linear(layer, kind)(torch.randn(1, 64)), torch.zeros(1, 32))


def test_one_very_large_input_leaves_the_small_ones_their_part() -> None:
    layer = layer_of(256, 96, bias=False)
    nn.init.zeros_(layer.weight[:, 7])  # only the others reach the output
    small, inputs = small_linear(layer, "8bit"), torch.randn(5, 256)
    inputs[:, 7] = 1000
    assert error(small(inputs), layer(inputs)) < 0.02


LARGEST = """
import torch
from apollo.model import cpu_linears
layer = torch.nn.Linear(512, 16, bias=False)
torch.nn.init.constant_(layer.weight, 0.5)
small = cpu_linears.Int8Linear(layer)
print(cpu_linears.weight_steps(), float(small(torch.ones(1, 512))[0, 0].detach()))
"""


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="oneDNN is for x86")
def test_a_cpu_without_8_bit_units_computes_the_same() -> None:
    """Such a CPU is imitated: its sums of 127 * 127 would overflow and give half of this."""
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LARGEST], env=env, capture_output=True, text=True, check=True
    )
    steps, total = done.stdout.split()
    assert int(steps) == 63 and float(total) == pytest.approx(256, rel=0.01)


def test_fewer_steps_are_still_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_linears, "weight_steps", lambda: 63)
    layer = layer_of(256, 96)
    small: Any = small_linear(layer, "8bit")
    inputs = torch.randn(4, 256)
    assert int(small.weight.abs().max()) == 63
    assert error(small(inputs), layer(inputs)) < 0.02
