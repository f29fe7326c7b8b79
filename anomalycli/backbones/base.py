"""The contract that every backbone fulfils, a base class with its optional parts, and the registry.

A backbone is one class. It is found by its name here (BUILT_IN), by the name under which an installed package offers it
(entry points of the group `anomalycli.backbones`), or as `module:Class`. docs/extending.md adds one step by step.
"""

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..features.files import Groups
from .speed import channels_last, fold_batch_norm
from .weights import OnBytes
from .winograd import save_multiplications

GROUP = "anomalycli.backbones"
BUILT_IN = {
    "lite": "anomalycli.backbones.lite:Lite",
    "mc3": "anomalycli.backbones.mc3:MC3",
    "i3d": "anomalycli.backbones.i3d:I3D",
    "i3d-caffe": "anomalycli.backbones.i3d_caffe:I3DCaffe",
    "i3d-inception": "anomalycli.backbones.i3d:InceptionI3DRGB",
}
REQUIRED = ("dim", "clip_length", "short_side", "preprocessing", "load", "maps", "pool")


class Backbone(Protocol):
    """A network that turns clips into features. Its class is called with the number of crops: `Class(crops=1)`.

    `ClipNetwork` gives all members but those marked *required*, so a subclass of it is the short way.
    `contract.check_backbone` tests a backbone; tests/backbones/test_contract.py has each built-in one tested.
    """

    dim: int  # required: D, the numbers per clip and crop
    clip_length: int  # required: frames per clip; consecutive clips share no frame
    short_side: int  # required: the default short side of the picture, pixels
    preprocessing: str  # required: what is done to the pixels, in words; features with another text are refused
    multiple: int  # both sides of the picture are rounded to a multiple of it
    frames_taken: tuple[int, ...] | None  # numbers of the frames of a clip that `views` gets, from 0; None: all
    groups: Groups  # names and widths of consecutive parts of the D numbers; (): one part
    batch: Mapping[str, int]  # clips to run at once, by the type of the device: cpu, cuda, mps
    exact_at_int8: tuple[str, ...]  # regular expressions: operations whose names they are found in stay in fp32 at int8
    crops: str  # the names of the crops, in their order
    sha256: str  # of the weights, once they are loaded
    net: nn.Module  # what is converted to the precision: the arithmetic around it stays in fp32

    def load(self, path: Path | None = None, on_bytes: OnBytes | None = None) -> "Backbone":
        """Required. Read the weights at `path`, or the published ones; set `sha256`; return self.

        `on_bytes` is called with the progress of a download. Raises AnomalyError if the weights are missing or do not
        fit.
        """

    def maps(self, view: Tensor) -> Sequence[Tensor]:
        """Required. What the network makes of one crop: uint8 (B, T, height, width, 3), RGB -> one or more tensors.

        T is the number of frames taken. This part is traced and quantised at int8, for pictures of any size.
        """

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        """Required. The features of one crop: what `maps` returned -> float32 (B, D).

        The features of a clip must not depend on the other clips of the batch.
        """

    def views(self, frames: Tensor) -> list[Tensor]:
        """The crops of clips: uint8 (B, T, H, W, 3) -> n_crops tensors (B, T, height, width, 3)."""

    def __call__(self, frames: Tensor) -> Tensor:
        """Features: uint8 (B, T, H, W, 3) -> float32 (B, n_crops, D)."""

    def tune(self, device: torch.device, dtype: torch.dtype) -> None:
        """Prepare `net` for inference in `dtype` on `device`. Must not change the features beyond rounding."""

    def eval(self) -> Any:
        """As torch.nn.Module has it, like `to`."""

    def to(self, device: torch.device) -> Any: ...


class ClipNetwork(nn.Module):
    """The optional parts of a backbone: one crop, the whole frame, every frame of a clip, one clip at once on a CPU."""

    multiple = 1
    frames_taken: tuple[int, ...] | None = None
    groups: Groups = ()
    batch: Mapping[str, int] = MappingProxyType({"cpu": 1, "cuda": 16, "mps": 4})
    exact_at_int8: tuple[str, ...] = ()
    crops = "whole frame"
    sha256: str
    net: nn.Module

    def __init__(self, crops: int = 1):
        if crops != 1:
            raise UsageError(f"{type(self).__name__} takes the whole frame and has no crops.", "crops")
        super().__init__()

    def views(self, frames: Tensor) -> list[Tensor]:
        return [frames]

    def forward(self, frames: Tensor) -> Tensor:
        return torch.stack([self.pool(self.maps(view)) for view in self.views(frames)], 1)

    def maps(self, view: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError

    def tune(self, device: torch.device, dtype: torch.dtype) -> None:
        channels_last(self.net.to(dtype))


class VideoNetwork(ClipNetwork):
    """A backbone of 3D convolutions: normalisation is folded into them, and CPUs compute them with fewer products."""

    def tune(self, device: torch.device, dtype: torch.dtype) -> None:
        fold_batch_norm(self.net)
        if device.type == "cpu":
            save_multiplications(self.net, dtype)
        super().tune(device, dtype)


def backbone_names() -> list[str]:
    """The names of all backbones, the built-in ones first."""
    return [*BUILT_IN, *(point.name for point in _offered() if point.name not in BUILT_IN)]


def registered_name(name: str) -> str | None:
    """The name under which a backbone is registered, also if `name` is its `module:Class`; None if it is not."""
    if name in backbone_names():
        return name
    places = BUILT_IN.items() | {(point.name, point.value) for point in _offered()}
    return next((known for known, place in sorted(places) if place == name), None)


def find_backbone(name: str) -> type[Backbone]:
    """The class of a backbone by its name or as `module:Class`.

    Raises UsageError if there is none of that name, it cannot be imported, or it lacks a required member.
    """
    place = BUILT_IN.get(name) or next((point.value for point in _offered() if point.name == name), None)
    if place is None and ":" not in name:
        raise UsageError(
            f"There is no backbone '{name}'; there are: {', '.join(backbone_names())}, and any other as module:Class.",
            "backbone",
        )
    module, _, attribute = (place or name).partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"The backbone '{name}' cannot be imported from {module}: {error}.", "backbone") from error
    if missing := [member for member in REQUIRED if not hasattr(found, member)]:
        raise UsageError(f"'{name}' is not a backbone: it has no {', '.join(missing)}.", "backbone")
    return found


def _offered() -> list[importlib.metadata.EntryPoint]:
    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
