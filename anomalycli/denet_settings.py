"""Settings of DE-Net: the dimensions of the network, and what Algorithm 1 needs besides.

They are apart from the network so that the command line can list them without importing torch.
"""

from dataclasses import dataclass
from typing import Annotated

MOST_LAYERS = 64  # of one transformer: more is a mistake, or a file made to exhaust the memory
LARGEST = 1 << 16  # of any dimension
ERASING = ("dynamic", "always", "never")
TEMPORAL = ("mstm", "none", "mtn", "ms-tct", "ms-tct-full")


@dataclass(frozen=True)
class DENetConfig:
    """Dimensions of the network: the paper's (Sec. 4.1), and ours where the paper gives none.

    Each field is Annotated with its description, from which the command line makes an option. Raises ValueError for
    dimensions that contradict each other.
    """

    feature_dim: Annotated[int, "Width of the clip features."] = 512
    segments: Annotated[int, "T: segments per video."] = 64
    scales: Annotated[int, "S: temporal scales."] = 3
    heads: Annotated[int, "Attention heads of the transformers."] = 8
    layers: Annotated[int, "Layers of each scale's transformer."] = 1
    feedforward: Annotated[int, "Width of the transformers' feed-forward layers."] = 2048  # not in the paper
    encoder_dropout: Annotated[float, "Dropout in the transformers."] = 0.1  # not in the paper
    dropout: Annotated[float, "Dropout in the classifier."] = 0.6
    # not in the paper
    width: Annotated[int | None, "Project the features to this width first; none keeps their own width."] = None

    def __post_init__(self):
        for name in ("feature_dim", "segments", "scales", "heads", "layers", "feedforward", "width"):
            value, most = getattr(self, name), MOST_LAYERS if name == "layers" else LARGEST
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}.")
            if value is not None and value > most:
                raise ValueError(f"{name} must be {most} or less, not {value}.")
        for name in ("encoder_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, not {getattr(self, name)}.")
        if self.segments % max(2, 2 ** (self.scales - 1)):
            raise ValueError(
                f"{self.segments} segments cannot be halved {self.scales - 1} times for {self.scales} scales."
            )
        if self.dim % self.heads:
            raise ValueError(f"A width of {self.dim} is not divisible by {self.heads} heads.")

    @property
    def dim(self) -> int:
        """D inside the network."""
        return self.width or self.feature_dim


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
