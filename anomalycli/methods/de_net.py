"""DE-Net as a method: the network, and Algorithm 1's loss. Its ablations (Table 4) fix one of the settings.

With another `temporal` module in MSTM's place it is what Table 5 compares.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ..denet import DENet, DENetConfig
from ..erasing import erase
from ..losses import step_loss, total_loss
from .base import nothing_erased
from .ms_tct import MSTCT, FullMSTCT
from .rtfm import MTN

ERASING = ("dynamic", "always", "never")
TEMPORAL = ("mstm", "none", "mtn", "ms-tct", "ms-tct-full")


@dataclass(frozen=True)
class DENetSettings(DENetConfig):
    """The network's dimensions, and what Algorithm 1 needs besides."""

    erasing: Annotated[str, "Abnormal videos to erase in: by dynamic assessment, always or never.", ERASING] = "dynamic"
    threshold: Annotated[float, "δ of Eq. 10: segments that score higher are erased."] = 0.8
    alpha1: Annotated[float, "Weight of the score loss, Eq. 14-15."] = 1.0
    alpha2: Annotated[float, "Weight of the feature loss, Eq. 14-15."] = 1e-4
    lambda1: Annotated[float, "Weight of the loss without erasing, Eq. 16."] = 1.0
    lambda2: Annotated[float, "Weight of the loss after erasing, Eq. 16."] = 1.0
    temporal: Annotated[str, "Temporal module: MSTM, none, RTFM's (mtn) or MS-TCT's.", TEMPORAL] = "mstm"

    def __post_init__(self):
        super().__post_init__()
        if self.erasing not in ERASING:
            raise ValueError(f"erasing must be one of {', '.join(ERASING)}; not '{self.erasing}'.")
        if self.temporal not in TEMPORAL:
            raise ValueError(f"temporal must be one of {', '.join(TEMPORAL)}; not '{self.temporal}'.")
        for name in ("alpha1", "alpha2", "lambda1", "lambda2"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}.")


class DENetMethod(DENet):
    """DE-Net with its loss, Eq. 14-16."""

    Settings = DENetSettings

    def __init__(self, settings: DENetSettings):
        temporal = _temporal(settings)  # first, so that a seed gives the initial weights that it always gave
        super().__init__(settings)
        self.settings = settings
        if temporal is not None:
            self.mstm = temporal

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        unerased, s_a, s_n = self._step(x_a, x_n)  # the un-erase step
        settings = self.settings
        if settings.erasing == "never":
            return settings.lambda1 * unerased, nothing_erased(s_a)
        x_e, erased_segments = erase(x_a, s_a, x_n, s_n, settings.threshold, settings.erasing == "dynamic")
        erased, _, _ = self._step(x_e, x_n)  # the erase step
        return total_loss(unerased, erased, settings.lambda1, settings.lambda2), erased_segments

    def _step(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a step (Eq. 14 or 15), and the scores (B, T) of abnormal and normal videos."""
        features, scores = self(torch.cat((x_a, x_n)))
        f_a, f_n = features.split(len(x_a))
        s_a, s_n = scores.split(len(x_a))
        return step_loss(f_a, s_a, f_n, s_n, self.settings.alpha1, self.settings.alpha2), s_a, s_n


def _temporal(settings: DENetSettings) -> nn.Module | None:
    """What stands in MSTM's place, (B, T, D) -> (B, T, D); None: MSTM itself."""
    if settings.temporal == "none":
        return nn.Identity()
    if settings.temporal == "mtn":
        return MTN(settings.dim)
    if settings.temporal == "ms-tct":
        return MSTCT(settings)
    return FullMSTCT(settings.dim) if settings.temporal == "ms-tct-full" else None
