"""What `compare` compares: DE-Net, its parts, other temporal modules in it, and its peers.

A method is a module with two things: called with bags (B, T, D) it gives features and scores (B, T),
and `loss(x_a, x_n)` gives the loss of abnormal and normal bags, paired, and which segments of x_a
were erased, bool (B, T). Adding one to METHODS is all that a new method takes.

Written from the papers: MIL-Rank is Sultani et al., CVPR 2018; RTFM is Tian et al., ICCV 2021;
MS-TCT is Dai et al., CVPR 2022.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, gelu, relu, softmax

from .denet import DENet, DENetConfig
from .dropout import Dropout
from .losses import ranking_loss
from .train import TrainConfig, total_loss


class Ours(nn.Module):
    """DE-Net, with MSTM or another temporal module (B, T, D) -> (B, T, D) in its place."""

    def __init__(self, network: DENetConfig, config: TrainConfig, erasing: str, temporal: nn.Module | None = None):
        super().__init__()
        self.config = dataclasses.replace(config, erasing=erasing)
        self.denet = DENet(network)
        if temporal is not None:
            self.denet.add_module("mstm", temporal)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.denet(x)

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        return total_loss(self.denet, x_a, x_n, self.config)


class MILRank(nn.Module):
    """Sultani et al. 2018: three layers of 512, 32 and 1 units on each segment by itself.

    Their Eq. 5-7: the hinge of DE-Net's Eq. 11, and of the abnormal video's scores smoothness and
    sparsity at 8e-5 each. The paper trains with Adagrad on 32 segments; here optimizer, segments and
    batches are those of the comparison.
    """

    def __init__(self, network: DENetConfig, config: TrainConfig, smoothness: float = 8e-5, sparsity: float = 8e-5):
        super().__init__()
        self.smoothness, self.sparsity = smoothness, sparsity
        self.layers = nn.Sequential(
            nn.Linear(network.feature_dim, 512),
            nn.ReLU(),
            Dropout(network.dropout),
            nn.Linear(512, 32),
            Dropout(network.dropout),
            nn.Linear(32, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.layers(x).squeeze(2)

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        s_a, s_n = self(torch.cat((x_a, x_n)))[1].split(len(x_a))
        loss = ranking_loss(s_a, s_n) + self.smoothness * smoothness(s_a) + self.sparsity * sparsity(s_a)
        return loss, _nothing(s_a)


class RTFM(nn.Module):
    """Tian et al. 2021: the mean norm of the k segments of greatest norm tells videos apart.

    Their loss: max(0, m - (g_k(x_a) - g_k(x_n))) on features after the multi-scale temporal network,
    g_k the mean of the k greatest L2 norms; cross-entropy of the mean score of those k segments; and
    smoothness and sparsity of abnormal scores. k = 3 and m = 100 as in the paper; the weights of
    the terms are ours to the best of our knowledge of it, not checked against its authors' code.
    """

    def __init__(
        self,
        network: DENetConfig,
        config: TrainConfig,
        k: int = 3,
        margin: float = 100,
        magnitude: float = 1e-4,
        smoothness: float = 8e-4,
        sparsity: float = 8e-3,
    ):
        super().__init__()
        self.k, self.margin = k, margin
        self.magnitude, self.smoothness, self.sparsity = magnitude, smoothness, sparsity
        self.temporal = MTN(network.feature_dim)
        self.dropout = Dropout(0.7)
        self.classifier = nn.Sequential(
            nn.Linear(network.feature_dim, 512),
            nn.ReLU(),
            Dropout(0.7),
            nn.Linear(512, 128),
            nn.ReLU(),
            Dropout(0.7),
            nn.Linear(128, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.temporal(x)  # (B, T, D)
        return features, self.classifier(self.dropout(features)).squeeze(2)

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        features, scores = self(torch.cat((x_a, x_n)))
        top, chosen = features.norm(dim=2).topk(self.k, dim=1)  # (2B, k)
        g_a, g_n = top.mean(1).split(len(x_a))
        s_a = scores[: len(x_a)]
        video = scores.gather(1, chosen).mean(1)
        target = torch.cat((torch.ones_like(g_a), torch.zeros_like(g_n)))
        loss = binary_cross_entropy(video, target) + self.magnitude * relu(self.margin - g_a + g_n).mean()
        return loss + self.smoothness * smoothness(s_a) + self.sparsity * sparsity(s_a), _nothing(s_a)


class MTN(nn.Module):
    """RTFM's multi-scale temporal network: (B, T, D) -> (B, T, D).

    Three convolutions of kernel 3, dilated by 1, 2 and 4, and self-attention over time, D/4 wide
    each, side by side; a convolution over what they give; and the input added.
    """

    def __init__(self, dim: int):
        super().__init__()
        part = dim // 4
        self.dilated = nn.ModuleList(
            nn.Sequential(nn.Conv1d(dim, part, 3, padding=d, dilation=d), nn.ReLU(), nn.BatchNorm1d(part))
            for d in (1, 2, 4)
        )
        self.narrow = nn.Sequential(nn.Conv1d(dim, part, 1, bias=False), nn.ReLU())
        self.query, self.key, self.value = (nn.Conv1d(part, part // 2, 1) for _ in range(3))
        self.widen = nn.Conv1d(part // 2, part, 1)
        self.merge = nn.Sequential(nn.Conv1d(4 * part, dim, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm1d(dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x.mT  # (B, D, T)
        narrow = self.narrow(x)
        query, key, value = self.query(narrow), self.key(narrow), self.value(narrow)  # (B, D/8, T)
        weights = softmax(query.mT @ key, dim=2)  # (B, T, T)
        attended = narrow + self.widen(value @ weights.mT)
        parts = torch.cat([*(conv(x) for conv in self.dilated), attended], dim=1)  # (B, D, T)
        return (self.merge(parts) + x).mT


class MSTCT(nn.Module):
    """A multi-scale convolution-attention encoder in the manner of MS-TCT: (B, T, D) -> (B, T, D).

    Each stage but the first halves time by a strided convolution; attention over the stage, then a
    feed-forward part with a depth-wise convolution over neighbours; all stages go back to length T
    and are mixed. Here as many stages as DE-Net has scales, one block each, D throughout; the paper
    has four stages of three blocks that widen.
    """

    def __init__(self, network: DENetConfig):
        super().__init__()
        dim, stages = network.dim, range(network.scales)
        self.merging = nn.ModuleList(nn.Conv1d(dim, dim, 3, stride=2 if s else 1, padding=1) for s in stages)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in stages)
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(dim, network.heads, network.encoder_dropout, batch_first=True) for _ in stages
        )
        self.local = nn.ModuleList(_LocalRelations(dim, network.feedforward) for _ in stages)
        self.mixers = nn.ModuleList(nn.Linear(dim, dim) for _ in stages)
        self.fc = nn.Linear(network.scales * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        mixed = []
        for s, (merge, norm, attention, local, mixer) in enumerate(
            zip(self.merging, self.norms, self.attention, self.local, self.mixers, strict=True)
        ):
            x = merge(x.mT).mT  # (B, T/2^s, D)
            normed = norm(x)
            x = local(x + attention(normed, normed, normed, need_weights=False)[0])
            mixed.append(mixer(x).repeat_interleave(2**s, dim=1))  # (B, T, D)
        return self.fc(torch.cat([part + mixed[-1] for part in mixed[:-1]] + mixed[-1:], dim=2))


class _LocalRelations(nn.Module):
    """Norm, widen, depth-wise convolution of kernel 3 over time, GELU, narrow; and the input added."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.norm, self.widen, self.narrow = nn.LayerNorm(dim), nn.Linear(dim, width), nn.Linear(width, dim)
        self.conv = nn.Conv1d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(gelu(self.conv(self.widen(self.norm(x)).mT).mT))


def smoothness(scores: Tensor) -> Tensor:
    """Sum of squared differences between neighbours, (B, T) -> mean over videos."""
    return scores.diff(dim=1).square().sum(1).mean()


def sparsity(scores: Tensor) -> Tensor:
    """Sum of scores, (B, T) -> mean over videos."""
    return scores.sum(1).mean()


Build = Callable[[DENetConfig, TrainConfig], Any]

METHODS: dict[str, Build] = {
    "mil-rank": MILRank,
    "rtfm": RTFM,
    # Table 4
    "baseline": lambda network, config: Ours(network, config, "never", nn.Identity()),
    "mstm": lambda network, config: Ours(network, config, "never"),
    "mstm+eo": lambda network, config: Ours(network, config, "always"),
    "de-net": lambda network, config: Ours(network, config, "dynamic"),
    # Table 5
    "rtfm-mtn": lambda network, config: Ours(network, config, "dynamic", MTN(network.dim)),
    "ms-tct": lambda network, config: Ours(network, config, "dynamic", MSTCT(network)),
}


def _nothing(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores, dtype=torch.bool)
