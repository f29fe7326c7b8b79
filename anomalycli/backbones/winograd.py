"""3x3x3 convolutions with a third fewer multiplications, for processors that are limited by arithmetic.

Winograd's minimal filtering F(2, 3) (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks,
CVPR 2016) along time alone: of frames d0 ... d3, filters g0, g1, g2 make two frames by four products, not six:

    m1 = (d0 - d2) g0                  m2 = (d1 + d2) (g0 + g1 + g2) / 2
    m4 = (d1 - d3) g2                  m3 = (d2 - d1) (g0 - g1 + g2) / 2
    y0 = m1 + m2 + m3                  y1 = m2 - m3 - m4

where a product is a 3x3 convolution of pictures.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class TemporalWinograd(nn.Module):
    """A 3x3x3 convolution of stride and padding 1: (B, C, T, H, W) -> (B, D, T, H, W), T even; channels last.

    Equals `conv` up to rounding, in `dtype`. For inference on CPUs.
    """

    def __init__(self, conv: nn.Conv3d, dtype: torch.dtype):
        super().__init__()
        g0, g1, g2 = conv.weight.detach().unbind(2)  # (D, C, 3, 3)
        filters = g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2
        self.filters = [g.to(dtype, memory_format=torch.channels_last) for g in filters]
        self.bias = conv.bias

    @staticmethod
    def suits(module: nn.Module) -> bool:
        """Whether `module` is a convolution that this class can replace."""
        return (
            isinstance(module, nn.Conv3d)
            and module.kernel_size == (3, 3, 3)
            and module.stride == module.padding == module.dilation == (1, 1, 1)
            and module.groups == 1
            and module.padding_mode == "zeros"
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 4, 1)  # (B, T, H, W, C), as it lies in memory
        even, odd = x[:, ::2], x[:, 1::2]  # frames 2t and 2t + 1: d1 and d2 of the t-th pair, (B, T/2, H, W, C)
        first, last = torch.empty_like(even), torch.empty_like(even)
        torch.sub(odd[:, :-1], odd[:, 1:], out=first[:, 1:])  # d0 is the odd frame before; the first pair has none
        torch.neg(odd[:, 0], out=first[:, 0])
        torch.sub(even[:, :-1], even[:, 1:], out=last[:, :-1])  # d3 is the even frame after
        last[:, -1] = even[:, -1]
        m1, m2 = self._product(0, first), self._product(1, even + odd, self.bias)
        m3, m4 = self._product(2, odd - even), self._product(3, last)
        y = x.new_empty(*x.shape[:4], m1.shape[4])
        torch.add(m1.add_(m2), m3, out=y[:, ::2])
        torch.sub(m2.sub_(m3), m4, out=y[:, 1::2])
        return y.permute(0, 4, 1, 2, 3)

    def _product(self, i: int, pictures: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, T/2, H, W, C) -> (B, T/2, H, W, D)"""
        flat = pictures.flatten(0, 1).permute(0, 3, 1, 2)
        return conv2d(flat, self.filters[i], bias, padding=1).permute(0, 2, 3, 1).unflatten(0, pictures.shape[:2])


def save_multiplications(net: nn.Module, dtype: torch.dtype) -> None:
    """Replace every suitable convolution in `net` by a TemporalWinograd, in place."""
    for name, child in list(net.named_children()):
        if TemporalWinograd.suits(child):
            setattr(net, name, TemporalWinograd(cast(nn.Conv3d, child), dtype))
        else:
            save_multiplications(child, dtype)
