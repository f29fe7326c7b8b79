"""Dropout and a hidden layer with dropout, fast on CPUs.

Tensors are worked on in pieces that stay in a core's cache, and what backward needs is kept small. The results are
those of the plain operations, bit for bit.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

STEPS = 2**16  # 16 random bits per element, so p is rounded to a multiple of 1 / STEPS
PIECE = 2**17  # elements worked on at a time: half a megabyte in fp32


class Dropout(nn.Dropout):
    """nn.Dropout with faster random numbers on CPUs, where those of torch take a fifth to a third of a training step.

    One 64-bit number of torch's generator serves four elements. On other devices it is nn.Dropout.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not _is_ours(x, self.p):
            return super().forward(x)
        dropped: Tensor = _Dropped.apply(x, self.p)
        return dropped


class Layers(nn.Sequential):
    """nn.Sequential that computes a Linear, ReLU, Dropout and Linear in a row together, where Dropout is ours."""

    def forward(self, x: Tensor) -> Tensor:
        rest = list(self)
        while rest:
            if self._are_joined(x, rest[:4]):
                first, _, drop, second = (cast(Any, layer) for layer in rest[:4])
                rows, settings = x.flatten(0, -2), (drop.p, x.dim() > 2 and not x.is_contiguous())
                out = _Hidden.apply(rows, first.weight, first.bias, second.weight, second.bias, *settings)
                x, rest = out.unflatten(0, x.shape[:-1]), rest[4:]
            else:
                x = rest.pop(0)(x)
        return x

    def _are_joined(self, x: Tensor, layers: list[nn.Module]) -> bool:
        if [type(layer) for layer in layers] != JOINED or not self.training or torch.is_autocast_enabled("cpu"):
            return False
        return _is_ours(x, cast(Dropout, layers[2]).p) and x.dtype == torch.float32


JOINED = [nn.Linear, nn.ReLU, Dropout, nn.Linear]


def _is_ours(x: Tensor, p: float) -> bool:
    return x.device.type == "cpu" and round(p * STEPS) not in (0, STEPS)


class _Mask:
    """Random bits of `n` elements, and the multiples of what is kept of them: 0 or 1 / (1 - p)."""

    def __init__(self, n: int, p: float):
        dropped = round(p * STEPS)
        draws = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None)
        self.bits = draws.view(torch.int16)[:n]  # uniform in [-STEPS / 2, STEPS / 2)
        self.least, self.scale = dropped - STEPS // 2, STEPS / (STEPS - dropped)

    def of(self, piece: slice, like: Tensor) -> Tensor:
        """The multiples for a piece of the elements, in the type of `like`, which has as many."""
        kept = torch.empty_like(like)
        return torch.ge(self.bits[piece].view(like.shape), self.least, out=kept).mul_(self.scale)


class _Dropped(Function):
    """x * mask, with the mask as random bits."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.mask = _Mask(x.numel(), p)
        return _masked(x, ctx.mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _masked(grad, ctx.mask), None


def _masked(x: Tensor, mask: _Mask) -> Tensor:
    if not x.is_contiguous():  # the result has the strides of x, as that of a product has
        return x * mask.of(slice(None), x.new_empty(x.shape))
    out, flat = torch.empty_like(x), x.view(-1)
    for piece in _pieces(x.numel(), PIECE):
        torch.mul(flat[piece], mask.of(piece, flat[piece]), out=out.view(-1)[piece])
    return out


class _Hidden(Function):
    """z = y @ after.T + shift, y = relu(x @ weight.T + bias) * mask; (N, D) -> (N, width) -> (N, K).

    Of the mask, backward needs no more than where y > 0. `apart`: the bias is added to the product, as torch's linear
    does where its input is not contiguous; otherwise the product is added to the bias, which rounds otherwise.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, after: Tensor, shift: Tensor, p: float, apart: bool
    ) -> Tensor:
        width = len(weight)
        y, z, mask = x.new_empty(len(x), width), x.new_empty(len(x), len(after)), _Mask(len(x) * width, p)
        for rows in _pieces(len(x), _rows(width)):
            if apart:
                part = torch.mm(x[rows], weight.mT, out=y[rows]).add_(bias)
            else:
                part = torch.addmm(bias, x[rows], weight.mT, out=y[rows])
            part.clamp_min_(0)
            part.mul_(mask.of(slice(rows.start * width, rows.stop * width), part))
            torch.addmm(shift, part, after.mT, out=z[rows])
        ctx.scale = mask.scale
        ctx.save_for_backward(x, weight, y, after)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y, after = ctx.saved_tensors
        grad = grad.contiguous()
        before = torch.empty_like(y)  # gradient of what enters the ReLU
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for rows in _pieces(len(x), _rows(len(weight))):
            scaled = (grad[rows] @ after).mul_(ctx.scale)
            torch.ops.aten.threshold_backward(scaled, y[rows], 0, grad_input=before[rows])
            if grad_x is not None:
                torch.mm(before[rows], weight, out=grad_x[rows])
        return grad_x, before.mT @ x, before.sum(0), grad.mT @ y, grad.sum(0), None, None


def _rows(width: int) -> int:
    """Rows of this width in a piece, a multiple of 64."""
    return max(1, PIECE // width // 64) * 64


def _pieces(n: int, each: int) -> list[slice]:
    """Slices of `n` elements, `each` long."""
    return [slice(begin, min(begin + each, n)) for begin in range(0, n, each)]
