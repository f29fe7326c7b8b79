"""MIL-Rank: Sultani, Chen and Shah, Real-World Anomaly Detection in Surveillance Videos, CVPR 2018."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ..denet import classifier
from ..losses import ranking_loss
from .base import nothing_erased


@dataclass(frozen=True)
class MILRankSettings:
    """Its hyper-parameters, as published; segments and dropout as DE-Net's."""

    feature_dim: Annotated[int, "Width of the clip features."] = 512
    segments: Annotated[int, "T: segments per video."] = 64
    dropout: Annotated[float, "Dropout between the layers."] = 0.6
    smoothness: Annotated[float, "Weight of the squared differences between neighbouring scores."] = 8e-5
    sparsity: Annotated[float, "Weight of the sum of the scores."] = 8e-5

    def __post_init__(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, not {self.dropout}.")
        for name in ("smoothness", "sparsity"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}.")


class MILRank(nn.Module):
    """Three layers of 512, 32 and 1 units, applied to each segment separately.

    The loss is their Eq. 5-7: the hinge of DE-Net's Eq. 11, and of the abnormal video's scores smoothness and
    sparsity. The paper trains with Adagrad on 32 segments; here optimizer, segments and batches are the trainer's.
    """

    Settings = MILRankSettings

    def __init__(self, settings: MILRankSettings):
        super().__init__()
        self.settings = settings
        self.layers = classifier(settings.feature_dim, settings.dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):  # bf16 would round scores that differ to equal ones
            return x, self.layers(x).squeeze(2)

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        s_a, s_n = self(torch.cat((x_a, x_n)))[1].split(len(x_a))
        regular = self.settings.smoothness * smoothness(s_a), self.settings.sparsity * sparsity(s_a)
        return ranking_loss(s_a, s_n) + regular[0] + regular[1], nothing_erased(s_a)


def smoothness(scores: Tensor) -> Tensor:
    """Sum of squared differences between neighbours, (B, T) -> mean over videos."""
    return scores.diff(dim=1).square().sum(1).mean()


def sparsity(scores: Tensor) -> Tensor:
    """Sum of scores, (B, T) -> mean over videos."""
    return scores.sum(1).mean()
