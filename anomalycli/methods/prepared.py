"""Wrappers for any method: standardised features, dropout of groups of features, ensembles, votes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .base import Method

EPSILON = 1e-6  # below this deviation a feature is constant
SATURATED = 1e-6  # scores nearer to 0 and 1 count as this, so that logits are finite


class Prepared(nn.Module):
    """A method on standardised features: (x - mean) / deviation, both (D,) and kept with the weights.

    groups: widths of the groups of features. In training each group of each video is set to its mean with probability
    `dropout`, so that no group dominates the others.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, method: Any, mean: Tensor, deviation: Tensor, groups: Sequence[int] = (), dropout: float = 0.0):
        super().__init__()
        self.method = method
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.groups, self.dropout = tuple(groups), dropout
        self.settings = method.settings

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.method(self.prepare(x))

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        return self.method.loss(self.drop(self.prepare(x_a)), self.drop(self.prepare(x_n)))

    def prepare(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D), mean 0 and deviation 1 on the training videos."""
        return (x - self.mean) / self.deviation

    def drop(self, x: Tensor) -> Tensor:
        """(B, ..., D) -> the same with groups of some videos at 0, and the others divided by the share that is kept."""
        if not self.training or not self.dropout or len(self.groups) < 2:
            return x
        kept = torch.rand(len(x), len(self.groups), device=x.device) >= self.dropout
        widths = torch.tensor(self.groups, device=x.device)
        mask = kept.repeat_interleave(widths, dim=1).to(x.dtype) / (1 - self.dropout)  # (B, D)
        return x * mask.view(len(x), *[1] * (x.dim() - 2), x.shape[-1])


class Ensemble(nn.Module):
    """Networks of one method, trained from different seeds: the mean of their scores."""

    def __init__(self, members: Sequence[Any]):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.settings = members[0].settings

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, scores = zip(*(member(x) for member in self.members), strict=True)
        return torch.stack(features).mean(0), torch.stack(scores).mean(0)

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        return _summed_loss(self.members, x_a, x_n)


class Vote(nn.Module):
    """Networks of several methods: the mean of their logits, each standardised by its `mean` and `deviation`, (K,).

    Methods differ in how far their scores spread; without this the widest decides alone. The mean is scaled back to
    the voters' mean spread, and its sigmoid is the score. Features are those of the first voter.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, voters: Sequence[Any], mean: Tensor, deviation: Tensor):
        super().__init__()
        self.voters = nn.ModuleList(voters)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.settings = voters[0].settings

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, scores = zip(*(voter(x) for voter in self.voters), strict=True)
        votes = logits(torch.stack(scores, dim=-1).float())  # (B, T, K)
        return features[0], voted(votes, self.mean, self.deviation).sigmoid()

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        return _summed_loss(self.voters, x_a, x_n)


def logits(scores: Tensor) -> Tensor:
    """The logits of scores in [0, 1]."""
    return scores.clamp(SATURATED, 1 - SATURATED).logit()


def voted(votes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """The logit that K voters agree on: logits (..., K), their means and deviations (K,) -> (...)."""
    return ((votes - mean) / deviation).mean(-1) * deviation.mean() + mean.mean()


def _summed_loss(members: Any, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
    losses, erased = zip(*(member.loss(x_a, x_n) for member in members), strict=True)
    return torch.stack(losses).sum(), torch.stack(erased).any(0)


def standardised(
    method: Method, x: np.ndarray, groups: Sequence[int] = (), balance: bool = False, dropout: float = 0.0
) -> Prepared:
    """`method` on features standardised by the mean and deviation of x (..., D).

    With `balance`, groups are scaled to the same sum of variances: one of 40 features counts as much as one of 1280.
    """
    mean, square = _moments(x)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    deviation[deviation < EPSILON] = 1
    if balance and len(groups) > 1:
        deviation *= np.sqrt(np.repeat(groups, groups) * len(groups) / len(mean))
    mean, deviation = mean.astype(np.float32), deviation.astype(np.float32)
    return Prepared(method, torch.from_numpy(mean), torch.from_numpy(deviation), groups, dropout)


def scaled(method: Method, dim: int, scale: float) -> Prepared:
    """`method` on features of width `dim` multiplied by `scale`."""
    return Prepared(method, torch.zeros(dim), torch.full((dim,), 1 / scale))


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of features and of their squares, float64 (D,), computed per video to save memory."""
    sums = np.zeros((2, x.shape[-1]))
    for video in x.reshape(len(x), -1, x.shape[-1]):
        wide = video.astype(np.float64)
        sums += wide.mean(0), (wide**2).mean(0)
    return sums[0] / len(x), sums[1] / len(x)
