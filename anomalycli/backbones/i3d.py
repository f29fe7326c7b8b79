"""The backbones `i3d` and `i3d-inception`: large 3D networks, trained on actions."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import UsageError
from .base import VideoNetwork
from .inception_i3d import InceptionI3D
from .weights import OnBytes, fetch, load_weights

CROPS = {1: "centre", 5: "centre, top left, top right, bottom left, bottom right"}  # the order of XD-Violence's files
CROPS[10] = CROPS[5] + ", then the five mirrored"


def crop(frames: Tensor, n: int) -> list[Tensor]:
    """Clips (B, T, H, W, 3) -> `n` squares of 7/8 of the short side (224 of 256), in the order of CROPS."""
    height, width = frames.shape[2:4]
    side = min(height, width) * 7 // 8
    down, right = height - side, width - side
    places = ((down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right))[: min(n, 5)]
    squares = [frames[:, :, y : y + side, x : x + side] for y, x in places]
    return squares + [square.flip(3) for square in squares] if n == 10 else squares


class I3D(VideoNetwork):
    """pytorchvideo's I3D ResNet-50, trained on Kinetics-400.

    D = 2048: the last stage, mean over T, H, W. Pixels are x / 255, mean .45, std .225.

    Most published features of this field, also of width 2048, come from another I3D ResNet-50, and are not comparable
    with these: caffe2 weights (i3d_baseline_32x2_IN_pretrain_400k, no non-local blocks), stride 2 in time in the stem,
    pools (2, 3, 3) and (2, 1, 1), pictures squashed to 340 x 256 and scaled to [-1, 1]. The shapes of all 265 tensors
    are equal, so its weights load here; with equal weights and input the features have a cosine of .998 to each other.
    """

    published = "i3d"  # in the registry of weights
    dim = 2048
    clip_length = 16
    short_side = 256
    preprocessing = "short side scaled, bilinear; crops of 7/8 of it; /255; mean .45, std .225"
    mean, std = 0.45, 0.225

    def __init__(self, crops: int = 1):
        if crops not in CROPS:
            raise UsageError(f"There is no order of {crops} crops: choose {', '.join(map(str, CROPS))}.", "crops")
        super().__init__()
        self.n_crops, self.crops = crops, CROPS[crops]
        self.net: Any = self.build()

    def build(self) -> nn.Module:
        """The network, without weights."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it decorates with torch.jit.script, which is going away
            from pytorchvideo.models.hub import i3d_r50

        return i3d_r50()

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "I3D":
        """Read the weights at `path`, or fetch the published ones. Raises AnomalyError if they do not fit."""
        self.sha256 = load_weights(self.net, path or fetch(self.published, on_bytes))
        return self

    def views(self, frames: Tensor) -> list[Tensor]:
        return crop(frames, self.n_crops)  # each (B, 16, side, side, 3)

    def maps(self, view: Tensor) -> tuple[Tensor, ...]:  # (B, 16, side, side, 3) uint8
        x = (view.float() / 255 - self.mean) / self.std  # float32: the rounding to bf16 comes after
        x = x.permute(0, 4, 1, 2, 3).to(next(self.net.parameters()).dtype)  # (B, 3, 16, side, side), channels last
        return (self.last_stage(x),)

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        return maps[0].float().mean((2, 3, 4))  # (B, D)

    def last_stage(self, x: Tensor) -> Tensor:
        """Pixels (B, 3, T, H, W) -> maps of the last stage before the classifier."""
        for block in self.net.blocks[:-1]:
            x = block(x)
        return x  # (B, 2048, T', H', W')


class InceptionI3DRGB(I3D):
    """Inception-I3D, trained on ImageNet and Kinetics-400.

    XD-Violence's published features come from this network and checkpoint, with the centre as crop 0. Nobody has
    reproduced the published files exactly.

    D = 1024: Mixed_5c, mean over T, H, W. Pixels are in [-1, 1].
    """

    published = "i3d-inception"
    dim = 1024
    preprocessing = "short side scaled, bilinear; crops of 7/8 of it; pixels in [-1, 1]"
    mean, std = 0.5, 0.5

    def build(self) -> nn.Module:
        return InceptionI3D()

    def last_stage(self, x: Tensor) -> Tensor:
        return self.net(x)
