"""The backbone `mc3`: a small 3D network, trained on actions and fine-tuned on fights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .base import VideoNetwork
from .weights import InWheel, OnBytes

WEIGHTS = InWheel(
    "mc3",
    "Feight-Detection-From-Surveillance-Cameras",
    "0.0.1",
    "fight_detection/model_16_m3_0.8888.pth",
    "8268694ade4c0e79a1c5fa41a4f3c21129082d75fac9eb7c25e5a0eabad49bfa",
)
CLASSIFIER = "fc."  # in the published file; not used


class Convolution(nn.Conv3d):
    """3x3 in space, and 3 in time where `over_time`, without bias. A stride in time goes with an extent in time."""

    def __init__(self, inputs: int, outputs: int, over_time: bool, stride: int = 1):
        t, step = (3, stride) if over_time else (1, 1)
        super().__init__(inputs, outputs, (t, 3, 3), (step, stride, stride), (t // 2, 1, 1), bias=False)


class Block(nn.Module):
    """Two convolutions, and the input, projected where the shape changes, added to what they give."""

    def __init__(self, inputs: int, outputs: int, over_time: bool, stride: int):
        super().__init__()
        self.conv1 = nn.Sequential(
            Convolution(inputs, outputs, over_time, stride), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)
        )
        self.conv2 = nn.Sequential(Convolution(outputs, outputs, over_time), nn.BatchNorm3d(outputs))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            project = nn.Conv3d(inputs, outputs, 1, (1, stride, stride), bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class MC318(nn.Module):
    """The stages of mc3_18: 3D convolutions in the stem and the first stage, 2D ones behind it, no classifier.

    Tran et al., "A Closer Look at Spatiotemporal Convolutions" (CVPR 2018). Parameters have torchvision's names. It is
    written here because importing torchvision takes longer than all else that happens before the first clip.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(64), nn.ReLU(inplace=True)
        )
        self.layer1 = nn.Sequential(Block(64, 64, True, 1), Block(64, 64, True, 1))
        self.layer2 = nn.Sequential(Block(64, 128, False, 2), Block(128, 128, False, 1))
        self.layer3 = nn.Sequential(Block(128, 256, False, 2), Block(256, 256, False, 1))
        self.layer4 = nn.Sequential(Block(256, 512, False, 2), Block(512, 512, False, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, T, H, W) -> the outputs of layer3, (B, 256, T, H/16, W/16), and layer4, (B, 512, T, H/32, W/32)."""
        layer3 = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return layer3, self.layer4(layer3)


class MC3(VideoNetwork):
    """mc3_18, trained on Kinetics-400 and fine-tuned on fight / no fight.

    It takes the whole frame, not a centre crop. The third stage is used beside the last, which has become specific to
    fights. The maximum over the picture keeps small events.
    D = 1024: layer3 mean (256), layer3 mean over time and max over the picture (256), layer4 mean (512).
    """

    dim = 1024
    clip_length = 16
    short_side = 128
    multiple = 16
    preprocessing = "whole frame, bilinear, sides to a multiple of 16; /255; Kinetics mean and std"
    mean = (0.43216, 0.394666, 0.37645)
    std = (0.22803, 0.22145, 0.216989)
    scale: Tensor
    shift: Tensor

    def __init__(self, crops: int = 1):
        super().__init__(crops)
        self.net = MC318()
        self.register_buffer("scale", 1 / (255 * torch.tensor(self.std)))
        self.register_buffer("shift", -torch.tensor(self.mean) / torch.tensor(self.std))

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "MC3":
        """Read the weights at `path`, or those of the installed distribution, whose code is never imported."""
        self.sha256 = WEIGHTS.load(self.net, path, unused=CLASSIFIER)
        return self

    def maps(self, view: Tensor) -> tuple[Tensor, ...]:  # (B, 16, H, W, 3) uint8
        x = view * self.scale + self.shift  # float32: the rounding to bf16 comes after
        x = x.permute(0, 4, 1, 2, 3).to(next(self.net.parameters()).dtype)  # (B, 3, 16, H, W), channels last
        return self.net(x)

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        layer3, layer4 = (one.float() for one in maps)
        parts = layer3.mean((2, 3, 4)), layer3.mean(2).amax((2, 3)), layer4.mean((2, 3, 4))
        return torch.cat(parts, 1)  # (B, 1024)
