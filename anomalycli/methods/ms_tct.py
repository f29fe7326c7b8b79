"""MS-TCT's encoder: Dai et al., MS-TCT: Multi-Scale Temporal ConvTransformer for Action Detection, CVPR 2022.

Checked against the authors' code (github.com/dairui01/MS-TCT): `FullMSTCT` is their encoder and mixer; `MSTCT` is as
small as the MSTM that it is compared with.
"""

import math
from collections.abc import Iterable, Sequence

from torch import Tensor, cat, nn
from torch.nn.functional import gelu, interpolate

from ..denet import DENetConfig, SelfAttention
from ..dropout import Dropout

STAGES = (256, 384, 576, 864)  # widths
BLOCKS, HEADS, RATIO, MIXED = 3, 8, 8, 512  # per stage; of attention; of a block's hidden width; of each mixed stage


class MSTCT(nn.Module):
    """A multi-scale convolution-attention encoder in the manner of MS-TCT: (B, T, D) -> (B, T, D).

    Each stage but the first halves time by a strided convolution; attention over the stage, then a
    feed-forward part with a depth-wise convolution over neighbours; all stages are stretched to length
    T, linearly, and the coarsest is mixed into each. There are as many stages as DE-Net has scales, one block
    each, D throughout.
    """

    def __init__(self, network: DENetConfig):
        super().__init__()
        dim, stages = network.dim, range(network.scales)
        self.merging = nn.ModuleList(nn.Conv1d(dim, dim, 3, stride=2 if s else 1, padding=1) for s in stages)
        self.merged = nn.ModuleList(nn.LayerNorm(dim) for _ in stages)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in stages)
        self.attention = nn.ModuleList(nn.MultiheadAttention(dim, network.heads, batch_first=True) for _ in stages)
        self.local = nn.ModuleList(LocalRelations(dim, network.feedforward) for _ in stages)
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
        return self.fc(_joined(mixed, self.coarsest))


def _joined(stages: Sequence[Tensor], coarsest: Iterable[nn.Module]) -> Tensor:
    """Stages (B, T, D), the last of them mixed into each other one by a layer of `coarsest`: (B, T, S*D)."""
    *finer, last = stages
    return cat([*(stage + layer(last) for stage, layer in zip(finer, coarsest, strict=True)), last], dim=2)


class LocalRelations(nn.Module):
    """Norm, widen, depth-wise convolution of kernel 3 over time, GELU, narrow; and the input added: (B, T, D)."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.norm, self.widen, self.narrow = nn.LayerNorm(dim), nn.Linear(dim, width), nn.Linear(width, dim)
        self.conv = nn.Conv1d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.widen(self.norm(x))  # (B, T, width)
        return x + self.narrow(gelu(self.conv(wide.mT).mT))


class FullMSTCT(nn.Module):
    """MS-TCT as published: four stages of three blocks, each stage wider and half as long. (B, T, D) -> (B, T, D)

    In place of the authors' classification module, a fully connected layer brings the mixed stages back to D.
    """

    def __init__(self, dim: int):
        super().__init__()
        inputs = (dim, *STAGES[:-1])
        self.drop = Dropout(0.5)
        self.stages = nn.ModuleList(
            _Stage(before, width, 2 if s else 1) for s, (before, width) in enumerate(zip(inputs, STAGES, strict=True))
        )
        self.mixers = nn.ModuleList(nn.Linear(width, MIXED) for width in STAGES)
        self.coarsest = nn.ModuleList(nn.Linear(MIXED, MIXED) for _ in STAGES[:-1])
        self.stages.apply(_initialise)
        self.fc = nn.Linear(len(STAGES) * MIXED, dim)

    def forward(self, x: Tensor) -> Tensor:
        length, mixed = x.shape[1], []
        x = self.drop(x)
        for stage, mixer in zip(self.stages, self.mixers, strict=True):
            x = stage(x)  # (B, T/2^s, width)
            mixed.append(interpolate(mixer(x).mT, length, mode="linear").mT)  # (B, T, MIXED)
        return self.fc(_joined(mixed, self.coarsest))


class _Stage(nn.Module):
    """A merging convolution, blocks of attention and local relations, and a norm: (B, T, D) -> (B, T/stride, width)."""

    def __init__(self, dim: int, width: int, stride: int):
        super().__init__()
        self.merge = nn.Conv1d(dim, width, 3, stride=stride, padding=1)
        self.merged = nn.LayerNorm(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(BLOCKS))
        self.attention = nn.ModuleList(SelfAttention(width, HEADS, 0.0) for _ in range(BLOCKS))
        self.local = nn.ModuleList(LocalRelations(width, RATIO * width) for _ in range(BLOCKS))
        self.done = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.merged(self.merge(x.mT).mT)
        for norm, attention, local in zip(self.norms, self.attention, self.local, strict=True):
            x = local(x + attention(norm(x)))
        return self.done(x)


def _initialise(module: nn.Module) -> None:
    """As the authors do: small linear maps, convolutions by their fan-out, no bias."""
    if isinstance(module, SelfAttention):
        nn.init.trunc_normal_(module.in_proj_weight, std=0.02)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv1d):
        fan_out = module.kernel_size[0] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
