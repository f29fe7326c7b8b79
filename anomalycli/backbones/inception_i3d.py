"""Inception-I3D: Inception-v1 with every filter inflated into time.

Carreira & Zisserman, "Quo Vadis, Action Recognition?" (CVPR 2017), figure 3. Parameters have the
names of the widely used RGB checkpoint `rgb_imagenet.pt`, so its state dict loads strictly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels of each Inception block: 1x1 | 1x1 -> 3x3 | 1x1 -> 3x3 | pool -> 1x1
MIXED = {
    "Mixed_3b": (64, (96, 128), (16, 32), 32),
    "Mixed_3c": (128, (128, 192), (32, 96), 64),
    "Mixed_4b": (192, (96, 208), (16, 48), 64),
    "Mixed_4c": (160, (112, 224), (24, 64), 64),
    "Mixed_4d": (128, (128, 256), (24, 64), 64),
    "Mixed_4e": (112, (144, 288), (32, 64), 64),
    "Mixed_4f": (256, (160, 320), (32, 128), 128),
    "Mixed_5b": (256, (160, 320), (32, 128), 128),
    "Mixed_5c": (384, (192, 384), (48, 128), 128),
}


def same_pad(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """TensorFlow's SAME: zeros so that an output is ceil(input / stride) long, the odd one at the end."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride):
        total = max(k - (size % s or s), 0)
        pads = [total // 2, total - total // 2, *pads]  # F.pad begins with the last dimension
    return F.pad(x, pads) if any(pads) else x


class Unit3D(nn.Module):
    """Convolution, batch normalisation, ReLU; with `logits`, only a convolution with a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, logits: bool = False):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=logits)
        self.bn = None if logits else nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(same_pad(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu(self.bn(x), inplace=True)


class MaxPool(nn.Module):
    """Max pooling padded with zeros. Its inputs are outputs of a ReLU, so the padding is never the maximum."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(same_pad(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """An Inception block: four parallel branches."""

    def __init__(self, inputs: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int):
        super().__init__()
        self.b0 = Unit3D(inputs, b0)
        self.b1a, self.b1b = Unit3D(inputs, b1[0]), Unit3D(*b1, kernel=3)
        self.b2a, self.b2b = Unit3D(inputs, b2[0]), Unit3D(*b2, kernel=3)
        self.b3a, self.b3b = MaxPool((3, 3, 3), (1, 1, 1)), Unit3D(inputs, b3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))), 1)


class InceptionI3D(nn.Module):
    """Video (B, 3, T, H, W) in [-1, 1] -> the maps before the classifier, (B, 1024, T/8, H/32, W/32).

    The classifier's parameters (`logits`) are part of the checkpoint, so the module has them; features do not use
    them.
    """

    def __init__(self, n_classes: int = 400):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, kernel=7, stride=2)
        self.MaxPool3d_2a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3D(64, 64)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, kernel=3)
        self.MaxPool3d_3a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        width = 192
        for name, (b0, b1, b2, b3) in MIXED.items():
            if name == "Mixed_4b":
                self.MaxPool3d_4a_3x3 = MaxPool((3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                self.MaxPool3d_5a_2x2 = MaxPool((2, 2, 2), (2, 2, 2))
            self.add_module(name, Mixed(width, b0, b1, b2, b3))
            width = b0 + b1[1] + b2[1] + b3
        self.logits = Unit3D(width, n_classes, logits=True)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, T, H, W)
        for name, layer in self.named_children():
            if name != "logits":
                x = layer(x)
        return x  # (B, 1024, T', H', W')
