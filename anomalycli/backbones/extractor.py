"""A backbone on a device, ready to turn clips into features."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..device import DTYPES, pick_device, pick_precision
from ..errors import UsageError
from ..features.files import FeatureKind
from . import DEFAULT, int8
from .base import Backbone, find_backbone, registered_name
from .int8 import Judge
from .vggish import VGGish
from .weights import OnBytes

SMALLEST = 16  # pixels; the shortest side that a network here can make anything of
LARGEST = 4096  # pixels; 16 frames of it are more than a gigabyte


class Extractor:
    """A backbone on a device, at a precision and picture size; with `audio`, VGGish beside it.

    `backbone` is a name or `module:Class`, see `base.find_backbone`. `device` is auto, cpu, cuda or mps; `precision`
    auto, fp32, bf16, fp16 or int8. auto is an accelerator if there is one, and bf16 on a CPU with bf16 instructions.
    `size` is the short side of the picture in pixels, `crops` 1, 5 or 10, `audio` one of vggish.MODES, `weights` a
    file to use instead of the published one.

    `calibration_clips` is how many clips `calibrate` needs before the first call: 0 unless the precision is int8
    and no calibrated network is in the cache. `clips_to_check` is how many clips `check` takes: 0 unless such a network
    is in the cache. With `still` set, clips in which nothing moves are to take the features of the last one that was
    computed; with `every` above 1, only every so many clips are to be computed.
    """

    still = False
    every = 1

    def __init__(
        self,
        backbone: str = DEFAULT,
        device: str = "auto",
        precision: str = "auto",
        size: int | None = None,
        *,
        crops: int = 1,
        audio: str | None = None,
        weights: Path | None = None,
        on_bytes: OnBytes | None = None,
    ):
        network = find_backbone(backbone)
        self.device = pick_device(device)
        if precision == "int8":
            int8.check(self.device)
        self.precision = precision if precision == "int8" else pick_precision(precision, self.device)
        net = network(crops)  # type: ignore[call-arg]  # a Protocol cannot describe it
        self.multiple, self.frames_taken = net.multiple, net.frames_taken
        self.size = size or net.short_side
        if self.size < SMALLEST:
            raise UsageError(f"A short side of {self.size} is too small; the smallest is {SMALLEST}.", "size")
        if self.size > LARGEST:
            raise UsageError(f"A short side of {self.size} is too large; the largest is {LARGEST}.", "size")
        self.crops = net.crops
        self.vggish = VGGish(audio).load(on_bytes).eval().to(self.device) if audio else None
        net.load(weights, on_bytes).eval()
        self.kind = FeatureKind(
            backbone=registered_name(backbone) or backbone,
            weights_sha256=net.sha256,
            preprocessing=net.preprocessing,
            size=self.size,
            dim=net.dim,
            audio=audio,
            clip_length=net.clip_length,
            stride=net.clip_length,
            groups=net.groups,
        )
        self.calibration_clips = self.clips_to_check = 0
        self.net: Any = net  # the module, or int8.Int8
        if self.precision == "int8":
            if kept := int8.load(net, self.kind, self.crops):
                self.net, self.clips_to_check = kept, int8.CHECKED
            else:
                self.calibration_clips = int8.WANTED
        else:
            self._place(net)

    def _place(self, net: Backbone) -> None:
        net.tune(self.device, DTYPES[self.precision])
        self.net = net.to(self.device)

    def identity(self) -> dict[str, Any]:
        """What features depend on beside the video, of JSON: kept features and scores of another one are not used."""
        same: dict[str, Any] = {"kind": dataclasses.asdict(self.kind), "crops": self.crops}
        same["precision"] = self.precision
        same |= {"still": True} if self.still else {}
        return same | ({"every": self.every} if self.every > 1 else {})

    def calibrate(self, clips: list[np.ndarray], judge: Judge | None = None) -> str:
        """Quantise the network on `clips`, each as a call takes them, and return a sentence on the result.

        The clips come from the videos that will be extracted: `calibration_clips` of them, or as many as there are.
        If int8 is not close enough to fp32 in its features and in the scores of `judge`, or there are too few
        clips, the extractor runs at the default precision.
        """
        quantised, told = int8.quantise(self.net, clips, self.kind, self.crops, judge)
        self.calibration_clips = 0
        if quantised:
            self.net = quantised
            return f"int8: {told}."
        self.precision = pick_precision("auto", self.device)
        self._place(self.net)
        return f"{self.precision} is used, not int8: {told}."

    def check(self, clips: list[np.ndarray], judge: Judge | None = None) -> str | None:
        """Compare a stored int8 network with fp32 on these clips; returns a sentence if it is not close enough."""
        self.clips_to_check = 0
        good, told = int8.compare(self.net, clips, judge)
        if good:
            return None
        advice = (
            f"delete {int8.cache_path(self.kind, self.crops)} to calibrate it on these, or choose another precision"
        )
        told = f"on {len(clips)} clips of these videos, {told}; {int8.REQUIRED}"
        return f"int8: {told}. The network was calibrated on others: {advice}."

    @property
    def batch(self) -> int:
        """How many clips to run at once."""
        return int8.STREAMS if isinstance(self.net, int8.Int8) else self.net.batch[self.device.type]

    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        """The features of clips of one size: uint8 (T, H, W, 3) each -> float32 (len(clips), n_crops, D).

        T is the number of `frames_taken`, or `kind.clip_length` if that is None. The features of a clip are the same,
        bit for bit, whatever clips are beside it.
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
