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
from torch.nn.functional import binary_cross_entropy, gelu, interpolate

from ..denet import DENet, DENetConfig
from ..dropout import Dropout
from ..losses import ranking_loss
from ..training.trainer import TrainConfig, total_loss


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
    """Tian et al. 2021: the features of greatest norm tell videos apart.

    f is the mean of the k features of greatest norm after the multi-scale temporal network. The loss:
    1e-4 (|m - |f_a|| + |f_n|)^2, which asks for |f_a| = m and |f_n| = 0; cross-entropy of the mean score
    of those k segments; and of all abnormal scores of the batch, smoothness and their norm as sparsity.
    k = 3 and m = 100 as in the paper. Layers, terms and weights were checked against the authors' code
    (github.com/tianyu0207/RTFM): it squares where the paper has a hinge, drops out features before
    their norm is taken, and leaves segments out of the choice at random. There T is 32, here 64.
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
        self.apply(_xavier)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.dropout(self.temporal(x))  # (B, T, D)
        return features, self.classifier(features).squeeze(2)

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        features, scores = self(torch.cat((x_a, x_n)))
        norms = features.norm(dim=2)  # (2B, T)
        chosen = (norms * self.dropout(torch.ones_like(norms))).topk(self.k, dim=1).indices  # (2B, k)
        top = features.gather(1, chosen[:, :, None].expand(-1, -1, features.shape[2]))  # (2B, k, D)
        f_a, f_n = top.mean(1).norm(dim=1).split(len(x_a))
        s_a = scores[: len(x_a)]
        video = scores.gather(1, chosen).mean(1)
        target = torch.cat((torch.ones_like(f_a), torch.zeros_like(f_n)))
        loss = binary_cross_entropy(video, target)
        loss = loss + self.magnitude * ((self.margin - f_a).abs() + f_n).square().mean()
        return loss + self.smoothness * len(s_a) * smoothness(s_a) + self.sparsity * s_a.norm(), _nothing(s_a)


class MTN(nn.Module):
    """RTFM's multi-scale temporal network: (B, T, D) -> (B, T, D).

    Three convolutions of kernel 3, dilated by 1, 2 and 4, and a non-local block (products over T in
    softmax's place, nothing added at first), D/4 wide each, side by side; a convolution over what they
    give; and the input added. Checked against the authors' code.
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
        self.widen = nn.Sequential(nn.Conv1d(part // 2, part, 1), nn.BatchNorm1d(part))
        nn.init.zeros_(self.widen[1].weight)
        self.merge = nn.Sequential(nn.Conv1d(4 * part, dim, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm1d(dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x.mT  # (B, D, T)
        narrow = self.narrow(x)
        query, key, value = self.query(narrow), self.key(narrow), self.value(narrow)  # (B, D/8, T)
        weights = query.mT @ key / x.shape[2]  # (B, T, T)
        attended = narrow + self.widen(value @ weights.mT)
        parts = torch.cat([*(conv(x) for conv in self.dilated), attended], dim=1)  # (B, D, T)
        return (self.merge(parts) + x).mT


class MSTCT(nn.Module):
    """A multi-scale convolution-attention encoder in the manner of MS-TCT: (B, T, D) -> (B, T, D).

    Each stage but the first halves time by a strided convolution; attention over the stage, then a
    feed-forward part with a depth-wise convolution over neighbours; all stages are stretched to length
    T, linearly, and the coarsest is mixed into each. Checked against the authors' code
    (github.com/dairui01/MS-TCT), which has four stages of three blocks that widen; here as many stages
    as DE-Net has scales, one block each, D throughout.
    """

    def __init__(self, network: DENetConfig):
        super().__init__()
        dim, stages = network.dim, range(network.scales)
        self.merging = nn.ModuleList(nn.Conv1d(dim, dim, 3, stride=2 if s else 1, padding=1) for s in stages)
        self.merged = nn.ModuleList(nn.LayerNorm(dim) for _ in stages)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in stages)
        self.attention = nn.ModuleList(nn.MultiheadAttention(dim, network.heads, batch_first=True) for _ in stages)
        self.local = nn.ModuleList(_LocalRelations(dim, network.feedforward) for _ in stages)
        self.done = nn.ModuleList(nn.LayerNorm(dim) for _ in stages)
        self.mixers = nn.ModuleList(nn.Linear(dim, dim) for _ in stages)
        self.coarsest = nn.ModuleList(nn.Linear(dim, dim) for _ in stages[:-1])
        self.fc = nn.Linear(network.scales * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        length, mixed = x.shape[1], []
        for merge, merged, norm, attention, local, done, mixer in zip(
            self.merging, self.merged, self.norms, self.attention, self.local, self.done, self.mixers, strict=True
        ):
            x = merged(merge(x.mT).mT)  # (B, T/2^s, D)
            normed = norm(x)
            x = done(local(x + attention(normed, normed, normed, need_weights=False)[0]))
            mixed.append(interpolate(mixer(x).mT, length, mode="linear").mT)  # (B, T, D)
        parts = [part + linear(mixed[-1]) for part, linear in zip(mixed[:-1], self.coarsest, strict=True)]
        return self.fc(torch.cat([*parts, mixed[-1]], dim=2))


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


def _xavier(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv1d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _nothing(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores, dtype=torch.bool)
