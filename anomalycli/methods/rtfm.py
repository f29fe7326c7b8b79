"""RTFM: Tian et al., Weakly-supervised Video Anomaly Detection with Robust Temporal Feature Magnitude Learning.

ICCV 2021. Layers, terms and weights were checked against the authors' code (github.com/tianyu0207/RTFM).
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from ..dropout import Dropout
from ..segment_layers import Layers
from .base import nothing_erased
from .mil_rank import smoothness


@dataclass(frozen=True)
class RTFMSettings:
    """Its hyper-parameters, as in the authors' code."""

    feature_dim: Annotated[int, "Width of the clip features."] = 512
    segments: Annotated[int, "T: segments per video."] = 64
    k: Annotated[int | None, "Segments of greatest norm that stand for a video; none is a tenth of all."] = None
    margin: Annotated[float, "Norm that abnormal videos should reach."] = 100.0
    magnitude: Annotated[float, "Weight of the loss of norms."] = 1e-4
    smoothness: Annotated[float, "Weight of the squared differences between neighbouring scores."] = 8e-4
    sparsity: Annotated[float, "Weight of the norm of the scores."] = 8e-3
    feature_dropout: Annotated[float, "Dropout of features and between the classifier's layers."] = 0.7

    def __post_init__(self):
        if self.k is not None and not 1 <= self.k <= self.segments:
            raise ValueError(f"k must be from 1 to the {self.segments} segments, not {self.k}.")
        if self.feature_dim < 8:
            raise ValueError(f"RTFM needs features of width 8 or more, not {self.feature_dim}.")
        if not 0 <= self.feature_dropout < 1:
            raise ValueError(f"feature_dropout must be at least 0 and less than 1, not {self.feature_dropout}.")
        for name in ("margin", "magnitude", "smoothness", "sparsity"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}.")


class RTFM(nn.Module):
    """The features of greatest norm tell videos apart.

    f is the mean of the k features of greatest norm after the multi-scale temporal network. The loss:
    1e-4 (|m - |f_a|| + |f_n|)^2, which asks for |f_a| = m and |f_n| = 0; cross-entropy of the mean score
    of those k segments; and of all abnormal scores of the batch, smoothness and their norm as sparsity.
    As in the authors' code it squares where the paper has a hinge, drops out features before
    their norm is taken, and leaves segments out of the choice at random; k is T // 10 (there T is 32, here 64).
    All crops of a video go through the network: their scores and norms are averaged before the choice, and the
    loss of norms is taken of each crop.
    """

    Settings = RTFMSettings
    TRAINING = {"lr": 1e-3, "weight_decay": 5e-3, "crops": "together"}  # noqa: RUF012 (a constant)
    TAKES_CROPS = True

    def __init__(self, settings: RTFMSettings):
        super().__init__()
        self.settings = settings
        self.temporal = MTN(settings.feature_dim)
        self.dropout = Dropout(settings.feature_dropout)
        self.classifier = Layers(
            nn.Linear(settings.feature_dim, 512),
            nn.ReLU(),
            Dropout(settings.feature_dropout),
            nn.Linear(512, 128),
            nn.ReLU(),
            Dropout(settings.feature_dropout),
            nn.Linear(128, 1),
            nn.Sigmoid(),
        )
        self.apply(_xavier)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.dropout(self.temporal(x))  # (B, T, D)
        return features, self.classifier(features).squeeze(2)

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x_a.device.type, enabled=False):  # norms and cross-entropy need fp32
            return self._loss(x_a, x_n)

    def _loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        settings = self.settings
        x = torch.cat((x_a, x_n))
        x = x if x.dim() == 4 else x[:, None]  # (2B, C, T, D)
        features, scores = (part.unflatten(0, x.shape[:2]) for part in self(x.flatten(0, 1)))
        scores = scores.mean(1)  # (2B, T)
        norms = features.norm(dim=3).mean(1)  # (2B, T)
        k = settings.k or max(1, settings.segments // 10)
        chosen = (norms * self.dropout(torch.ones_like(norms))).topk(k, dim=1).indices  # (2B, k)
        index = chosen[:, None, :, None].expand(-1, x.shape[1], -1, features.shape[3])
        top = features.gather(2, index)  # (2B, C, k, D)
        f_a, f_n = top.mean(2).norm(dim=2).split(len(x_a))  # (B, C)
        s_a = scores[: len(x_a)]
        video = scores.gather(1, chosen).mean(1)
        target = torch.cat((torch.ones(len(x_a)), torch.zeros(len(x_n)))).to(video)
        loss = binary_cross_entropy(video, target)
        loss = loss + settings.magnitude * ((settings.margin - f_a).abs() + f_n).square().mean()
        loss = loss + settings.smoothness * len(s_a) * smoothness(s_a) + settings.sparsity * s_a.norm()
        return loss, nothing_erased(s_a)


class MTN(nn.Module):
    """RTFM's multi-scale temporal network: (B, T, D) -> (B, T, D).

    Three convolutions of kernel 3, dilated by 1, 2 and 4, and a non-local block (products over T in
    softmax's place, nothing added at first), D/4 wide each, side by side; a convolution over their
    outputs; and the input added.
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
        last = nn.BatchNorm1d(part)
        self.widen = nn.Sequential(nn.Conv1d(part // 2, part, 1), last)
        nn.init.zeros_(last.weight)
        self.merge = nn.Sequential(nn.Conv1d(4 * part, dim, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm1d(dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x.mT.contiguous()  # (B, D, T); once, not in each convolution
        narrow = self.narrow(x)  # (B, D/4, T)
        query, key, value = self.query(narrow), self.key(narrow), self.value(narrow)  # (B, D/8, T)
        weights = query.mT @ key / x.shape[2]  # (B, T, T)
        attended = narrow + self.widen(value @ weights.mT)  # (B, D/4, T)
        parts = torch.cat([*(conv(x) for conv in self.dilated), attended], dim=1)  # (B, D, T)
        return (self.merge(parts) + x).mT


def _xavier(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv1d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
