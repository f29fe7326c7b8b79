"""The backbone `i3d-caffe`: the I3D ResNet-50 that published features of width 2048 come from."""

import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..errors import AnomalyError
from .i3d import I3D
from .weights import OnBytes, load_weights

PICTURE = (256, 340)  # height and width to which the public extractor squashes every frame
PARTS = (
    (r"conv1\.", "blocks.0.conv."),
    (r"bn1\.", "blocks.0.norm."),
    (r"layer1\.(\d)\.", r"blocks.1.res_blocks.\1."),
    (r"layer2\.(\d)\.", r"blocks.3.res_blocks.\1."),
    (r"layer3\.(\d)\.", r"blocks.4.res_blocks.\1."),
    (r"layer4\.(\d)\.", r"blocks.5.res_blocks.\1."),
    (r"fc\.", "blocks.6.proj."),
)
INSIDE = {
    **{f"conv{i}": f"branch2.conv_{letter}" for i, letter in enumerate("abc", 1)},
    **{f"bn{i}": f"branch2.norm_{letter}" for i, letter in enumerate("abc", 1)},
    "downsample.0": "branch1_conv",
    "downsample.1": "branch1_norm",
}


class I3DCaffe(I3D):
    """I3D ResNet-50 32x2 without non-local blocks, caffe2's, as its converted checkpoint (i3d_r50_kinetics.pth) has it.

    It differs from pytorchvideo's in the stem: stride 2 in time, and a pool of (2, 3, 3) without padding. Every frame
    is squashed to 340 x 256 and its pixels are in [-1, 1]. D = 2048: the last stage, mean over T, H, W. The network and
    the names are tested against a reference written from their description; the checkpoint itself was not at hand.
    """

    preprocessing = "squashed to 340 x 256, bilinear; crops of 224; pixels in [-1, 1]"
    mean, std = 0.5, 0.5

    def build(self) -> nn.Module:
        net: Any = super().build()
        stem = net.blocks[0]
        stem.conv.stride = (2, 2, 2)
        stem.pool = nn.MaxPool3d((2, 3, 3), (2, 2, 2))
        return net

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "I3DCaffe":
        """Read the weights at `path`, under the names of the checkpoint. There is no address to fetch them from."""
        if path is None:
            raise AnomalyError(
                "The weights of i3d-caffe are not at a public address that could be verified: give the file.", "weights"
            )
        self.sha256 = load_weights(self.net, path, rename=renamed)
        return self

    def views(self, frames: Tensor) -> list[Tensor]:
        return super().views(squashed(frames))


def renamed(name: str) -> str:
    """The name of a tensor of the checkpoint in pytorchvideo's network; other names stay."""
    for pattern, place in PARTS:
        if match := re.match(pattern, name):
            inner = name[match.end() :]
            module, _, tensor = inner.rpartition(".")
            return match.expand(place) + (f"{INSIDE.get(module, module)}.{tensor}" if module else tensor)
    return name


def squashed(frames: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) -> (B, T, 256, 340, 3)."""
    if frames.shape[2:4] == PICTURE:
        return frames
    pictures = frames.flatten(0, 1).permute(0, 3, 1, 2).float()
    pictures = interpolate(pictures, PICTURE, mode="bilinear", antialias=True).round().clamp(0, 255)
    return pictures.to(frames.dtype).permute(0, 2, 3, 1).unflatten(0, frames.shape[:2])
