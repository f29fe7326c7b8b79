"""Dropout that is fast on CPUs."""

import torch
from torch import Tensor, nn

STEPS = 2**16  # 16 random bits per element, so p is rounded to a multiple of 1 / STEPS


class Dropout(nn.Dropout):
    """nn.Dropout with faster random numbers on CPUs, where those of torch take a fifth to a third of a training step.

    One 64-bit number of torch's generator serves four elements. On other devices it is nn.Dropout.
    """

    def forward(self, x: Tensor) -> Tensor:
        dropped = round(self.p * STEPS)
        if not self.training or x.device.type != "cpu" or dropped in (0, STEPS):
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-STEPS / 2, STEPS / 2)
        return x * (bits >= dropped - STEPS // 2).to(x.dtype).mul_(STEPS / (STEPS - dropped))
