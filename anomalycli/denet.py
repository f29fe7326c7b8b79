"""DE-Net: multi-scale temporal modelling (MSTM) and a classifier, Sec. 3.1, Eq. 1-5 of the paper.

Reads downward: attention, transformer layer, MSTM, DE-Net. Shapes: B videos, T segments, D features, S scales.
Scale s of the paper is s = 0 ... S-1 here.

The layers are written out because torch's own spend much of a training step on a CPU in dropout and in
convolutions of this unusual shape. Names of parameters are those of torch's layers.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .denet_settings import DENetConfig as DENetConfig
from .dropout import Dropout
from .segment_layers import Layers, attend, feed_forward


class SelfAttention(nn.Module):
    """Multi-head self-attention: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.num_heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))  # query, key and value in one product
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        self.drop = Dropout(dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        qkv = linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, T, 3*D)
        qkv = qkv.unflatten(2, (3, self.num_heads, -1))  # (B, T, 3, heads, D/heads)
        query, key, value = qkv.transpose(1, 3).unbind(2)  # (B, heads, T, D/heads) each
        attended = attend(query, key, value, self.drop)  # (B, heads, T, D/heads)
        joined = attended.transpose(1, 2).flatten(2)  # (B, T, D)
        return self.out_proj(joined)


class EncoderLayer(nn.Module):
    """A transformer layer: attention, then a feed-forward part, each added to its input. (B, T, D) -> (B, T, D)

    Norms come first (pre-norm): the sums then reach MSTM's FC layer without a norm between, and training is stable
    without a warm-up of the learning rate.
    """

    def __init__(self, config: DENetConfig):
        super().__init__()
        self.self_attn = SelfAttention(config.dim, config.heads, config.encoder_dropout)
        self.linear1 = nn.Linear(config.dim, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, config.dim)
        self.norm1 = nn.LayerNorm(config.dim)
        self.norm2 = nn.LayerNorm(config.dim)
        self.drop = Dropout(config.encoder_dropout)

    def forward(self, x: Tensor) -> Tensor:
        attended = self.self_attn(self.norm1(x))  # (B, T, D)
        x = x + self.drop(attended)
        narrow = feed_forward(self.norm2(x), self.linear1, self.drop, self.linear2)  # (B, T, D)
        return x + self.drop(narrow)


class Encoder(nn.Module):
    """The transformer of one scale, TransEncoder of Eq. 2: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: DENetConfig):
        super().__init__()
        layer = EncoderLayer(config)
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(config.layers))  # all start alike, as torch's

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class RunConv(nn.Conv1d):
    """A convolution over time as wide as its stride, Conv1D of Eq. 1: (B, T, D) -> (B, T/width, D).

    Such windows do not overlap, so it is one matrix product over runs of `width` segments, several times as fast on a
    CPU as torch's convolution, and needs no transposition to (B, D, T).
    """

    def __init__(self, dim: int, width: int):
        super().__init__(dim, dim, kernel_size=width, stride=width)

    def forward(self, x: Tensor) -> Tensor:
        runs = x.unflatten(1, (-1, self.kernel_size[0]))  # (B, T/width, width, D)
        flat = runs.flatten(2)  # (B, T/width, width*D)
        weight = self.weight.transpose(1, 2).flatten(1)  # (D, D, width) -> (D, width*D)
        return linear(flat, weight, self.bias)


class MSTM(nn.Module):
    """Multi-scale temporal modelling: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: DENetConfig):
        super().__init__()
        dim, scales = config.dim, range(config.scales)
        self.convs = nn.ModuleList(RunConv(dim, 2**s) for s in scales)
        self.positions = nn.ParameterList(
            nn.init.trunc_normal_(torch.empty(config.segments // 2**s, dim), std=0.02) for s in scales
        )
        self.encoders = nn.ModuleList(Encoder(config) for _ in scales)
        self.fc = nn.Linear(config.scales * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        scales = []
        for s, (conv, position, encoder) in enumerate(zip(self.convs, self.positions, self.encoders, strict=True)):
            local = conv(x)  # (B, T/2^s, D)  Eq. 1
            whole = encoder(local + position)  # (B, T/2^s, D)  Eq. 2
            repeated = whole.repeat_interleave(2**s, dim=1)  # (B, T, D)  Eq. 3
            scales.append(repeated)
        joined = torch.cat(scales, dim=2)  # (B, T, S*D)
        return self.fc(joined)  # (B, T, D)  Eq. 4


def classifier(dim: int, dropout: float) -> nn.Sequential:
    """Fully connected layers of 512, 32 and 1 units: (..., dim) -> scores (..., 1) in [0, 1].

    DE-Net's f (below Eq. 4), and all of the ranking method that it builds on (Sultani et al. 2018).
    """
    return Layers(
        nn.Linear(dim, 512),
        nn.ReLU(),
        Dropout(dropout),
        nn.Linear(512, 32),
        Dropout(dropout),
        nn.Linear(32, 1),
        nn.Sigmoid(),
    )


class DENet(nn.Module):
    """(B, T, feature_dim) -> MSTM's features (B, T, D) and anomaly scores (B, T) in [0, 1]."""

    def __init__(self, config: DENetConfig):
        super().__init__()
        self.config = config
        self.narrow = nn.Linear(config.feature_dim, config.width) if config.width else nn.Identity()
        self.mstm: nn.Module = MSTM(config)
        self.classifier = classifier(config.dim, config.dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        narrow = self.narrow(x)  # (B, T, D)
        features = self.mstm(narrow).float()  # (B, T, D)  Eq. 1-4
        with torch.autocast(x.device.type, enabled=False):  # bf16 would round scores that differ to equal ones
            scores = self.classifier(features)  # (B, T, 1)  Eq. 5
        return features, scores.squeeze(2)
