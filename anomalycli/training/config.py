"""Settings of training, common to all methods."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ..data import CROP_POLICIES
from ..errors import UsageError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "bf16")
SEEDS = 1 << 63  # how many there are
CHECKPOINTS = {"last": "last", "validation": "best on validation", "test": "best on test"}

_NEEDED = {
    "test": "To keep the state that is best on test videos, name the folder of their features.",
    "validation": "To keep the state that is best on validation videos, hold some out, of both labels.",
}


def check_keep(keep: str, has_videos: bool) -> None:
    """Raise UsageError where the best state on test or validation videos is to be kept, and there are none."""
    if keep in _NEEDED and not has_videos:
        raise UsageError(_NEEDED[keep], keep)


@dataclass(frozen=True)
class TrainConfig:
    """Training settings: the paper's (Sec. 4.1), and ours where the paper gives none.

    Each field is Annotated with its description and, for a fixed set of values, those values; the command line
    makes its options from them. Raises ValueError for values out of range.
    """

    steps: Annotated[int, "Batches to train on."] = 1000  # not in the paper
    batch: Annotated[int, "Abnormal videos per batch, and as many normal ones."] = 32
    lr: Annotated[float, "Learning rate of Adam."] = 1e-5
    weight_decay: Annotated[float, "Weight decay of Adam."] = 1e-3
    crops: Annotated[
        str,
        "Features with several crops: their mean, a random one per batch (draw), each as a video (all), or those of a "
        "video together, for methods that take them so (rtfm).",
        CROP_POLICIES,
    ] = "mean"
    standardise: Annotated[bool, "Standardise features by the training videos' mean and deviation."] = False
    balance: Annotated[
        bool, "With standardise: give all groups of features the same weight, whatever their widths."
    ] = False
    group_dropout: Annotated[float, "With standardise: drop whole groups of features this often, in training."] = 0.0
    scale: Annotated[
        float, "Multiply features by this, after standardising. The larger, the less temporal modules mix segments."
    ] = 1.0
    validation: Annotated[float, "Share of the videos of each label to hold out for validation."] = 0.2
    validate_every: Annotated[int, "Steps between validations; the training state is saved as often."] = 50
    keep: Annotated[str, "Checkpoint to write: the last, or the best on validation or test.", tuple(CHECKPOINTS)] = (
        "last"
    )
    precision: Annotated[
        str, "Of the network's products; auto is bf16 where the device computes it faster.", PRECISIONS
    ] = "auto"
    seed: Annotated[int, "Same seed, same model."] = 0

    def __post_init__(self):
        for name, allowed in (("crops", CROP_POLICIES), ("keep", CHECKPOINTS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; not '{getattr(self, name)}'.")
        for name in ("steps", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        for name in ("weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}.")
        if self.seed >= SEEDS:
            raise ValueError(f"seed must be less than 2 to the power of 63, not {self.seed}.")
        for name in ("lr", "scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name)}.")
        for name in ("validation", "group_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, not {getattr(self, name)}.")

    @property
    def prepares(self) -> bool:
        """Whether features change before they enter the network."""
        return self.standardise or self.scale != 1

    def on(self, device: "torch.device") -> "TrainConfig":
        """These settings with the precision that "auto" means on `device`."""
        from ..device import pick_precision  # torch, which the command line does without until it trains

        precision = pick_precision(self.precision, device)
        return dataclasses.replace(self, precision="bf16" if precision == "bf16" else "fp32")
