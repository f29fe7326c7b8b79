"""Layers of a training step, fast on CPUs: the classifier's first two, attention, and the feed-forward part.

The losses depend on few segments of a video, such as the one with the highest score, and the gradients of the others
are zero. Layers that work on each segment alone, and the queries of attention, compute gradients of those few segments
only. The gradients of weights are sums over all segments, zeros included: sums of fewer would round otherwise. So the
results are those of torch's operations, bit for bit.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu, linear

from .dropout import PIECE, Dropout, Mask, is_ours, masked, pieces

LEAST = 16  # rows of a product: BLAS sums those of fewer in another order


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
        return is_ours(x, cast(Dropout, layers[2]).p) and x.dtype == torch.float32


JOINED = [nn.Linear, nn.ReLU, Dropout, nn.Linear]


def attend(query: Tensor, key: Tensor, value: Tensor, drop: Dropout) -> Tensor:
    """Attention, (B, heads, T, D/heads) each, with dropout of its weights: (B, heads, T, D/heads)."""
    inputs = query.flatten(0, 1), key.mT.flatten(0, 1), value.flatten(0, 1)  # (B*heads, ...)
    if drop.training and is_ours(query, drop.p):
        attended = _Attention.apply(*inputs, query.shape[1], drop.p)
    else:
        attended = drop(_weights(*inputs[:2])) @ inputs[2]
    return cast(Tensor, attended.unflatten(0, query.shape[:2]))


def _weights(query: Tensor, key: Tensor) -> Tensor:
    products = query @ key  # (B*heads, T, T)
    scaled = products * query.shape[2] ** -0.5  # so that their spread does not grow with D
    return scaled.softmax(2)


def feed_forward(x: Tensor, first: nn.Linear, drop: Dropout, second: nn.Linear) -> Tensor:
    """Linear, GELU, dropout and linear: (B, T, D) -> (B, T, K)."""
    if drop.training and is_ours(x, drop.p) and x.is_contiguous():
        narrow: Tensor = _FeedForward.apply(x, first.weight, first.bias, second.weight, second.bias, drop.p)
        return narrow
    return cast(Tensor, second(drop(gelu(first(x)))))


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
        y, z, mask = x.new_empty(len(x), width), x.new_empty(len(x), len(after)), Mask(len(x) * width, p)
        for rows in pieces(len(x), _rows(width)):
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
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None

        def before(rows: slice | Tensor) -> Tensor:
            """The gradient of what enters the ReLU."""
            part = (grad[rows] @ after).mul_(ctx.scale)
            part = torch.ops.aten.threshold_backward(part, y[rows], 0)
            if grad_x is not None:
                grad_x[rows] = part @ weight
            return part

        hidden = torch.zeros_like(y)
        dense, rows = _with_gradient(grad, _rows(len(weight)))
        for piece in dense:
            hidden[piece] = before(piece)
        hidden[rows] = before(rows)
        return grad_x, hidden.mT @ x, hidden.sum(0), grad.mT @ y, grad.sum(0), None, None


class _FeedForward(Function):
    """z = y @ after.T + shift, y = gelu(x @ weight.T + bias) * mask; (..., D) -> (..., width) -> (..., K)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, after: Tensor, shift: Tensor, p: float) -> Tensor:
        ctx.dtypes = x.dtype, weight.dtype
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        rows, weight, bias, after, shift = (each.to(kind) for each in (x.flatten(0, -2), weight, bias, after, shift))
        h = linear(rows, weight, bias)
        y = gelu(h)
        ctx.mask = Mask(y.numel(), p)
        y = masked(y, ctx.mask)
        ctx.save_for_backward(rows, weight, h, y, after)
        return linear(y, after, shift).unflatten(0, x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, h, y, after = ctx.saved_tensors
        shape, grad = grad.shape, grad.flatten(0, -2)
        rows = _active(grad)
        if rows is None:
            before = torch.ops.aten.gelu_backward(masked(grad @ after, ctx.mask), h)
            grad_x = before @ weight
        else:
            part = masked(grad.index_select(0, rows) @ after, ctx.mask.rows(rows, h.shape[1]))
            part = torch.ops.aten.gelu_backward(part, h.index_select(0, rows))
            before = torch.zeros_like(h).index_copy_(0, rows, part)
            grad_x = torch.zeros_like(x).index_copy_(0, rows, part @ weight)
        to_x, to_weight = ctx.dtypes
        weights = before.mT @ x, before.sum(0), grad.mT @ y, grad.sum(0)
        return grad_x.to(to_x).view(*shape[:-1], -1), *(each.to(to_weight) for each in weights), None


class _Attention(Function):
    """z = y @ value, y = softmax(query @ key / sqrt(d)) * mask; (N, T, d), (N, d, T), (N, T, d) -> (N, T, d).

    N are the heads of all videos, those of one video side by side, and d is D/heads.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, heads: int, p: float) -> Tensor:
        weights = _weights(query, key)
        ctx.heads, ctx.mask = heads, Mask(weights.numel(), p)
        y = masked(weights, ctx.mask)
        ctx.save_for_backward(query, key, value, weights, y)
        return y @ value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, y = ctx.saved_tensors
        rows = _active_queries(grad, ctx.heads)
        part, mask, few = grad, ctx.mask, weights
        if rows is not None:
            part, few = _taken(grad, rows), _taken(weights, rows)
            mask = mask.rows(rows.flatten(), weights.shape[2])
        part = torch._softmax_backward_data(masked(part @ value.mT, mask), few, 2, few.dtype)
        part = part * query.shape[2] ** -0.5  # gradient of query @ key
        grad_query = part @ key.mT
        if rows is not None:
            part, grad_query = _spread(part, rows, weights), _spread(grad_query, rows, query)
        return grad_query, query.mT @ part, y.mT @ grad, None, None


def _taken(x: Tensor, rows: Tensor) -> Tensor:
    """The `rows`, (N, n) of all N * T, of x: (N, T, K) -> (N, n, K)."""
    return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)


def _spread(part: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """Zeros (N, T, K), as `like`, with `part` (N, n, K) in `rows`, (N, n) of all N * T."""
    spread = like.new_zeros(like.shape)
    spread.flatten(0, 1).index_copy_(0, rows.flatten(), part.flatten(0, 1))
    return spread


def _with_gradient(grad: Tensor, size: int) -> tuple[list[slice], Tensor]:
    """Pieces of `size` rows of grad (N, D), most of which are not zero, and the indices of such rows among the others.

    The indices are at least LEAST, if there are others.
    """
    active = _not_zero(grad)
    dense: list[slice] = []
    sparse: list[slice] = []
    for piece in pieces(len(grad), size):
        (dense if 2 * active[piece].sum() > len(active[piece]) else sparse).append(piece)
    for piece in dense:
        active[piece] = False
    for piece in sparse[:1]:
        active[piece][:LEAST] = True
    return dense, active.nonzero().squeeze(1)


def _active(grad: Tensor) -> Tensor | None:
    """Indices of the rows of grad (N, D) that are not zero, at least LEAST; None where they are most of the rows."""
    active = _not_zero(grad)
    active[:LEAST] = True
    rows = active.nonzero().squeeze(1)
    return rows if 2 * len(rows) <= len(grad) else None


def _active_queries(grad: Tensor, heads: int) -> Tensor | None:
    """Rows of grad (N, T, d) of the segments whose gradient is not zero in any head, (N, n) of all N * T, or None.

    As many of each video, n, so others are among them. None where they are most.
    """
    length = grad.shape[1]
    active = _not_zero(grad).view(-1, heads, length).any(1)  # (B, T)
    n = max(LEAST // 2, int(active.sum(1).max()))
    if 2 * n > length:
        return None
    segments = active.float().topk(n, dim=1).indices.repeat_interleave(heads, 0)  # (N, n)
    return segments + length * torch.arange(len(grad))[:, None]


def _not_zero(rows: Tensor) -> Tensor:
    """Whether each row has a number other than 0, (..., D) -> bool (...)."""
    numbers = rows.bool().contiguous()
    if numbers.shape[-1] % 8 == 0:
        numbers = numbers.view(torch.int64)  # eight at a time
    return numbers.any(-1)


def _rows(width: int) -> int:
    """Rows of this width in a piece, a multiple of 64."""
    return max(1, PIECE // width // 64) * 64
