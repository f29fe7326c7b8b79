"""Weights of convolutions in 8-bit steps, rounded so that the outputs change least.

Frantar et al., "GPTQ" (ICLR 2023), for 2D convolutions: weights are rounded one after the other, those of the strongest
inputs first, and the others of the same output make up for the error, as far as inputs go together.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

STEPS = 127  # of the largest weight of each output channel
DAMPING = 0.01  # of the mean strength of the inputs: keeps those that never occur from being rounded wildly
LONGEST = 2048  # inputs of one output channel; where there are more, the weights stay as they are
PLACES = 1024  # of each map that are looked at


def round_weights(net: nn.Module, run: Callable[[], Any], is_exact: Callable[[str], bool]) -> None:
    """Round the weights of the 2D convolutions of `net`, in place, except of those whose name `is_exact`.

    `run` calls the network on examples of its input.
    """
    convolutions = {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d) and fits(module) and not is_exact(name)
    }
    moments: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def add(module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found = second_moments(module, inputs[0], output[0, 0].numel())
            moments[name] = moments.get(name, torch.zeros(())) + found

        return add

    handles = [module.register_forward_hook(watch(name)) for name, module in convolutions.items()]
    if convolutions:
        with torch.inference_mode():
            run()
    for handle in handles:
        handle.remove()
    for name, strengths in moments.items():
        weight = convolutions[name].weight.data
        outputs = weight.flatten(1).double()  # (outputs, k)
        step = outputs.abs().amax(1, keepdim=True).clamp(min=1e-30) / STEPS
        whole = rounded((outputs / step).unflatten(0, (len(strengths), -1)), strengths.double())
        weight.copy_((whole.flatten(0, 1) * step).view_as(weight))


def fits(convolution: nn.Conv2d) -> bool:
    """Whether `second_moments` knows its inputs, and they are not too many."""
    is_plain = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    return is_plain and convolution.weight[0].numel() <= LONGEST


def second_moments(convolution: nn.Conv2d, x: Tensor, n_places: int) -> Tensor:
    """Mean products of the inputs of one output: maps (B, C, H, W) -> (groups, k, k), k inputs per output channel.

    `n_places`: places of each output map, of which about PLACES are looked at.
    """
    every = max(1, math.isqrt(n_places // PLACES))
    stride = tuple(every * one for one in convolution.stride)
    padding = cast(tuple[int, ...], convolution.padding)
    inputs = unfold(x, convolution.kernel_size, convolution.dilation, padding, stride)
    inputs = inputs.transpose(0, 1).flatten(1).unflatten(0, (convolution.groups, -1))  # (groups, k, B * places)
    return inputs @ inputs.mT / inputs.shape[2]


def rounded(weights: Tensor, moments: Tensor) -> Tensor:
    """Whole numbers for weights (groups, outputs, k) in steps, given `second_moments` (groups, k, k).

    The largest weight of each output is `STEPS` or -`STEPS` and stays so: it sets the length of a step.
    """
    strengths = moments.diagonal(dim1=1, dim2=2)  # (groups, k)
    damping = DAMPING * strengths.mean(1, keepdim=True).clamp(min=1e-12)
    order = strengths.argsort(1, descending=True)[:, None]  # (groups, 1, k)
    x = weights.gather(2, order.expand_as(weights))
    moments = moments + torch.diag_embed(damping.expand_as(strengths))
    moments = moments.gather(1, order.mT.expand_as(moments)).gather(2, order.expand_as(moments))
    shares = torch.linalg.cholesky(torch.linalg.inv(moments), upper=True)
    is_largest = x.abs() >= x.abs().amax(2, keepdim=True)
    largest = x.sign() * STEPS
    for i in range(x.shape[2]):
        whole = torch.where(is_largest[:, :, i], largest[:, :, i], x[:, :, i].round().clamp(-STEPS, STEPS))
        error = (x[:, :, i] - whole) / shares[:, i, i, None]
        x[:, :, i + 1 :] -= error[:, :, None] * shares[:, None, i, i + 1 :]
        x[:, :, i] = whole
    return torch.zeros_like(weights).scatter_(2, order.expand_as(weights), x)
