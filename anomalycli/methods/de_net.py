"""DE-Net as a method: the network, and Algorithm 1's loss. Its ablations (Table 4) fix one of the settings.

With another `temporal` module in MSTM's place it is what Table 5 compares.
"""

import torch
from torch import Tensor, nn

from ..denet import DENet
from ..denet_settings import DENetSettings
from ..erasing import erase
from ..losses import step_loss, total_loss
from .base import nothing_erased
from .ms_tct import MSTCT, FullMSTCT
from .rtfm import MTN


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
        x_e, erased_segments = erase(x_a, s_a, x_n, s_n, settings.threshold, dynamic=settings.erasing == "dynamic")
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
