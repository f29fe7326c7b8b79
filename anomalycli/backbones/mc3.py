"""The backbone `mc3`: a small 3D network, trained on actions and fine-tuned on fights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .base import VideoNetwork
from .weights import InWheel, OnBytes, load_weights

WEIGHTS = InWheel(
    "mc3",
    "Feight-Detection-From-Surveillance-Cameras",
    "0.0.1",
    "fight_detection/model_16_m3_0.8888.pth",
    "8268694ade4c0e79a1c5fa41a4f3c21129082d75fac9eb7c25e5a0eabad49bfa",
)


class MC3(VideoNetwork):
    """torchvision's mc3_18, Kinetics-400, fine-tuned on fight / no fight.

    It takes the whole frame, not a centre crop. Its third stage is used beside the last: the last has narrowed to
    fights, and the maximum over the picture keeps what is small in it.
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
        from torchvision.models.video import mc3_18

        super().__init__(crops)
        self.net: Any = mc3_18(num_classes=2)
        self.register_buffer("scale", 1 / (255 * torch.tensor(self.std)))
        self.register_buffer("shift", -torch.tensor(self.mean) / torch.tensor(self.std))

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "MC3":
        """Read the weights at `path`, or those of the installed distribution, whose code is never imported."""
        self.sha256 = WEIGHTS.load(self.net) if path is None else load_weights(self.net, path)
        return self

    def maps(self, view: Tensor) -> tuple[Tensor, ...]:  # (B, 16, H, W, 3) uint8
        x = view * self.scale + self.shift  # float32: the rounding to bf16 comes after
        x = x.permute(0, 4, 1, 2, 3).to(next(self.net.parameters()).dtype)  # (B, 3, 16, H, W), channels last
        layer3 = self.net.layer3(self.net.layer2(self.net.layer1(self.net.stem(x))))  # (B, 256, T', H', W')
        return layer3, self.net.layer4(layer3)  # (B, 512, T'', H'', W'')

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        layer3, layer4 = (one.float() for one in maps)
        parts = layer3.mean((2, 3, 4)), layer3.mean(2).amax((2, 3)), layer4.mean((2, 3, 4))
        return torch.cat(parts, 1)  # (B, 1024)
