"""DE-Net: multi-scale temporal modelling (MSTM) and a classifier, Sec. 3.1, Eq. 1-5 of the paper.

Shapes: B videos, T segments, D features, S scales. Scale s of the paper is s = 0 ... S-1 here.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from .dropout import Dropout


@dataclass(frozen=True)
class DENetConfig:
    """Dimensions of the network: the paper's (Sec. 4.1), and ours where the paper gives none.

    Each field is Annotated with its description, from which the command line makes an option. Raises ValueError for
    dimensions that contradict each other.
    """

    feature_dim: Annotated[int, "Width of the clip features."] = 512
    segments: Annotated[int, "T: segments per video."] = 64
    scales: Annotated[int, "S: temporal scales."] = 3
    heads: Annotated[int, "Attention heads of the transformers."] = 8
    layers: Annotated[int, "Layers of each scale's transformer."] = 1
    feedforward: Annotated[int, "Width of the transformers' feed-forward layers."] = 2048  # not in the paper
    encoder_dropout: Annotated[float, "Dropout in the transformers."] = 0.1  # not in the paper
    dropout: Annotated[float, "Dropout in the classifier."] = 0.6
    # not in the paper
    width: Annotated[int | None, "Project the features to this width first; none keeps their own width."] = None

    def __post_init__(self):
        coarsest = 2 ** (self.scales - 1) if self.scales > 0 else 0
        if coarsest == 0 or self.segments % max(2, coarsest):
            raise ValueError(
                f"{self.segments} segments cannot be halved {self.scales - 1} times for {self.scales} scales."
            )
        if self.dim % self.heads:
            raise ValueError(f"{self.dim} features cannot be shared out among {self.heads} heads.")

    @property
    def dim(self) -> int:
        """D inside the network."""
        return self.width or self.feature_dim


class MSTM(nn.Module):
    """Multi-scale temporal modelling: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: DENetConfig):
        super().__init__()
        dim, scales = config.dim, range(config.scales)
        self.convs = nn.ModuleList(nn.Conv1d(dim, dim, kernel_size=2**s, stride=2**s) for s in scales)
        self.positions = nn.ParameterList(
            nn.init.trunc_normal_(torch.empty(config.segments // 2**s, dim), std=0.02) for s in scales
        )
        self.encoders = nn.ModuleList(_encoder(config) for _ in scales)
        self.fc = nn.Linear(config.scales * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        scales = []
        for s, (conv, position, encoder) in enumerate(zip(self.convs, self.positions, self.encoders, strict=True)):
            local = _convolve(conv, x)  # (B, T/2^s, D)  Eq. 1
            whole = encoder(local + position)  # (B, T/2^s, D)  Eq. 2
            scales.append(whole.repeat_interleave(2**s, dim=1))  # (B, T, D)  Eq. 3
        return self.fc(torch.cat(scales, dim=2))  # (B, T, S*D) -> (B, T, D)  Eq. 4


class DENet(nn.Module):
    """(B, T, feature_dim) -> MSTM's features (B, T, D) and anomaly scores (B, T) in [0, 1]."""

    def __init__(self, config: DENetConfig):
        super().__init__()
        self.config = config
        self.narrow = nn.Linear(config.feature_dim, config.width) if config.width else nn.Identity()
        self.mstm = MSTM(config)
        self.classifier = nn.Sequential(
            nn.Linear(config.dim, 512),
            nn.ReLU(),
            Dropout(config.dropout),
            nn.Linear(512, 32),
            Dropout(config.dropout),
            nn.Linear(32, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.mstm(self.narrow(x)).float()  # (B, T, D)
        with torch.autocast(x.device.type, enabled=False):  # scores that differ must not be rounded to equal ones
            return features, self.classifier(features).squeeze(2)  # (B, T)  Eq. 5


class EncoderLayer(nn.TransformerEncoderLayer):
    """A pre-norm transformer layer, (B, T, D) -> (B, T, D): torch's with its parameters, faster to train on a CPU."""

    def __init__(self, config: DENetConfig):
        super().__init__(config.dim, config.heads, config.feedforward, batch_first=True, norm_first=True)
        self.drop = Dropout(config.encoder_dropout)

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        x = x + self.drop(self.attend(self.norm1(x)))
        wide = self.drop(gelu(self.linear1(self.norm2(x))))  # (B, T, feedforward)
        return x + self.drop(self.linear2(wide))

    def attend(self, x: Tensor) -> Tensor:
        attention = self.self_attn
        qkv = linear(x, attention.in_proj_weight, attention.in_proj_bias)  # (B, T, 3*D)
        query, key, value = qkv.unflatten(2, (3, attention.num_heads, -1)).transpose(1, 3).unbind(2)
        weights = (query @ key.mT * query.shape[3] ** -0.5).softmax(3)  # (B, heads, T, T), of (B, heads, T, D/heads)
        return attention.out_proj((self.drop(weights) @ value).transpose(1, 2).flatten(2))


def _convolve(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution as wide as its stride: a linear map of each run of segments. (B, T, D) -> (B, T/width, D)"""
    width = conv.kernel_size[0]
    runs = x.unflatten(1, (-1, width)).flatten(2)  # (B, T/width, width*D)
    return linear(runs, conv.weight.transpose(1, 2).flatten(1), conv.bias)


def _encoder(config: DENetConfig) -> nn.TransformerEncoder:
    return nn.TransformerEncoder(EncoderLayer(config), config.layers, enable_nested_tensor=False)
