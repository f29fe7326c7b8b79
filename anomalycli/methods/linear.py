"""Logistic regression on segments: a baseline that is hard to beat with few videos."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .base import nothing_erased


@dataclass(frozen=True)
class LinearSettings:
    """Its hyper-parameters."""

    feature_dim: Annotated[int, "Width of the clip features."] = 512
    segments: Annotated[int, "T: segments per video."] = 64
    share: Annotated[float, "Share of a video's segments, the highest, whose mean is the video's logit."] = 1.0

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be greater than 0 and at most 1, not {self.share}.")


class Linear(nn.Module):
    """A logit per segment; the cross-entropy of the mean logit of a video's highest segments.

    With `share` 1 it is logistic regression on the mean of the features.
    """

    Settings = LinearSettings
    TRAINING = {"lr": 1e-3, "weight_decay": 1e-2, "steps": 100}  # noqa: RUF012 (a constant)

    def __init__(self, settings: LinearSettings):
        super().__init__()
        self.settings = settings
        self.layer = nn.Linear(settings.feature_dim, 1)
        nn.init.zeros_(self.layer.weight)  # any start will do: there is one minimum
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self._logits(x).sigmoid()

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._logits(torch.cat((x_a, x_n)))  # (2B, T)
        k = math.ceil(self.settings.share * logits.shape[1])
        videos = logits.topk(k, dim=1).values.mean(1)  # (2B,)
        labels = torch.cat((torch.ones(len(x_a)), torch.zeros(len(x_n)))).to(videos)
        return binary_cross_entropy_with_logits(videos, labels), nothing_erased(logits[: len(x_a)])

    def _logits(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # bf16 would round scores that differ to equal ones
            return self.layer(x).squeeze(2)
