"""Linear layers in 8 or 4 bits for a CPU, by torch's own integer kernels.

In:  a linear layer.  Out: one with the same name, shape and inputs, and smaller weights.
Odd: the kernels know no gradients. An adapter trains through these layers, so the gradient of the
input is computed with the weights put back; the weights themselves never learn.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

GROUP = 32  # inputs that share a scale in 4 bits
ROWS = 16  # the 4-bit kernel takes outputs in blocks
FINE = 254  # fine steps in a coarse one
SMALLEST = 1e-8  # a scale; zero would divide by zero


class _SmallLinear(nn.Linear):
    """A linear layer whose weight is `small`, computed by `product`, put back by `whole`."""

    scales: Tensor

    def __init__(self, layer: nn.Linear, small: Tensor, scales: Tensor) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight = nn.Parameter(small, requires_grad=False)
        self.bias = layer.bias
        self.register_buffer("scales", scales)

    def product(self, rows: Tensor) -> Tensor:
        raise NotImplementedError

    def whole(self, dtype: torch.dtype) -> Tensor:
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        output = _Product.apply(input, self)
        return output if self.bias is None else output + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, layer: _SmallLinear) -> Tensor:
        ctx.layer = layer
        rows = input.reshape(-1, layer.in_features)  # (..., in) -> (rows, in)
        output = layer.product(rows).to(input.dtype)
        return output.view(*input.shape[:-1], layer.out_features)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] @ ctx.layer.whole(grads[0].dtype), None


@functools.cache
def weight_steps() -> int:
    """The largest 8-bit weight with which this CPU's products are exact.

    CPUs without VNNI add pairs of products in 16 bits, which overflow without a word.
    """
    most = torch.full((64, 64), 127, dtype=torch.int8)
    return 127 if int(torch._int_mm(most, most)[0, 0]) == 64 * 127 * 127 else 63


class Int8Linear(_SmallLinear):
    """One scale per output. Inputs become two numbers of 8 bits, coarse and fine: one alone would
    lose what is small beside the few very large inputs that language models have."""

    def __init__(self, layer: nn.Linear) -> None:
        weight = layer.weight.detach().float()
        scales = (weight.abs().amax(1) / weight_steps()).clamp(min=SMALLEST)  # (out,)
        super().__init__(layer, (weight / scales[:, None]).round().to(torch.int8), scales)

    def product(self, rows: Tensor) -> Tensor:
        rows = rows.float()
        row_scales = (rows.abs().amax(1, keepdim=True) / 127).clamp(min=SMALLEST)  # (rows, 1)
        scaled = rows / row_scales
        coarse = scaled.round()
        fine = ((scaled - coarse) * FINE).round()
        # two products: one row alone has a kernel that is four times as fast as that for two
        total = self._sums(coarse) + self._sums(fine) / FINE  # (rows, out)
        return total * row_scales * self.scales

    def _sums(self, steps: Tensor) -> Tensor:
        return torch._int_mm(steps.to(torch.int8), self.weight.t()).float()

    def whole(self, dtype: torch.dtype) -> Tensor:
        return (self.weight.float() * self.scales[:, None]).to(dtype)


class Int4Linear(_SmallLinear):
    """A scale and a lowest value per output and 32 inputs; computes in bfloat16."""

    def __init__(self, layer: nn.Linear) -> None:
        weight = layer.weight.detach().float()
        groups = weight.view(layer.out_features, -1, GROUP)  # (out, in) -> (out, groups, 32)
        low, high = groups.amin(2, keepdim=True), groups.amax(2, keepdim=True)
        scale = ((high - low) / 15).clamp(min=SMALLEST)
        steps = ((groups - low) / scale).round().clamp(0, 15).to(torch.int32)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(steps.view_as(weight), 1)
        middle = low + 8 * scale  # the kernel computes (step - 8) * scale + middle
        scales = torch.cat([scale, middle], 2)  # (out, groups, 2)
        scales = scales.transpose(0, 1).contiguous()  # -> (groups, out, 2)
        super().__init__(layer, packed, scales.bfloat16())

    @staticmethod
    def fits(layer: nn.Linear) -> bool:
        return layer.in_features % GROUP == 0 and layer.out_features % ROWS == 0

    def product(self, rows: Tensor) -> Tensor:
        return torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows.bfloat16().contiguous(), self.weight, GROUP, self.scales.bfloat16()
        )

    def whole(self, dtype: torch.dtype) -> Tensor:
        """The packed order is the kernel's own, so the kernel is asked for every input alone."""
        ones = torch.eye(self.in_features, dtype=torch.bfloat16)  # (in, in)
        return self.product(ones).t().to(dtype)  # (in, out) -> (out, in)


def small_linear(layer: nn.Linear, kind: str) -> nn.Module:
    """The layer in "8bit" or "4bit"; in 8 bits where its shape is none of the 4-bit kernel's."""
    return Int4Linear(layer) if kind == "4bit" and Int4Linear.fits(layer) else Int8Linear(layer)
