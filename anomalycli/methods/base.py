"""The contract of methods, and their registration.

A method is a torch module for bags of segments. docs/extending.md adds one step by step.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..settings import check_settings, make_settings


class MethodSettings(Protocol):
    """A method's hyper-parameters: a frozen dataclass with at least these two fields.

    Its other fields are int, float, bool, str, or one of these or None, each with a default; `Annotated[type,
    description, allowed values]` where only some values are allowed. The command line sets them, and the checkpoint
    keeps them.
    """

    @property
    def feature_dim(self) -> int:
        """D, the width of the features that come in."""

    @property
    def segments(self) -> int:
        """T, the number of segments that a video is divided into."""


class Method(Protocol):
    """An `nn.Module` that scores segments and computes its loss, made by calling its class with its settings.

    B videos, T segments, D features. What is listed after `loss` comes with nn.Module.
    """

    settings: Any  # the MethodSettings it was made with

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Bags, float32 (B, T, D) -> features (B, T, any width) and anomaly scores (B, T) in [0, 1], higher = abnormal.

        In eval mode a video's scores do not depend on the other videos of the batch.
        """

    def loss(self, x_a: Tensor, x_n: Tensor) -> tuple[Tensor, Tensor]:
        """As many abnormal as normal bags, (B, T, D) each -> the loss, a scalar, and which segments of x_a were erased.

        The second is bool (B, T), all False where the method erases nothing. A class with `TAKES_CROPS = True` gets the
        C crops of each video together, (B, C, T, D), where training is set so. Training in bf16 calls this under
        autocast: what must not be rounded is computed in `torch.autocast(..., enabled=False)`.
        """

    def parameters(self) -> Iterator[nn.Parameter]: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> Any: ...
    def train(self) -> Self: ...
    def eval(self) -> Self: ...
    def to(self, device: torch.device) -> Self: ...


@dataclass(frozen=True)
class MethodType:
    """A registered method.

    build: makes the method from its settings. settings: their dataclass. fixed: the settings that make this method
    what it is, which therefore cannot be changed (an ablation of DE-Net is DE-Net with one setting fixed).
    training: settings of training that this method's authors use, by name, in place of the trainer's defaults: the
    class's `TRAINING`.
    """

    name: str
    build: Callable[[Any], Method]
    settings: type
    fixed: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes_crops(self) -> bool:
        """Whether `loss` takes the crops of each video together, (B, C, T, D)."""
        return getattr(self.build, "TAKES_CROPS", False)

    @property
    def names(self) -> list[str]:
        """Names of the settings that can be changed. The width is not one of them: the features determine it."""
        every = [each.name for each in dataclasses.fields(self.settings)]
        return [name for name in every if name != "feature_dim" and name not in self.fixed]

    def segments(self, values: Mapping[str, Any]) -> int:
        """The number of segments with these settings. Raises UsageError for less than one."""
        default = next(each.default for each in dataclasses.fields(self.settings) if each.name == "segments")
        segments = values.get("segments", default)
        if segments < 1:
            raise UsageError(f"segments must be 1 or more, not {segments}.", "segments")
        return segments

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise UsageError for a setting that does not exist or is fixed, or a value of another type."""
        for name in values:
            if name in self.fixed:
                raise UsageError(f"{name} is {self.fixed[name]} in the method {self.name} and cannot be changed.")
        check_settings(self.settings, values)

    def configure(self, feature_dim: int, values: Mapping[str, Any]) -> Any:
        """The settings for features of this width. Raises UsageError where they do not fit together."""
        self.check(values)
        return make_settings(self.settings, {**values, **self.fixed, "feature_dim": feature_dim})


def nothing_erased(scores: Tensor) -> Tensor:
    """What a method that erases nothing returns beside its loss: (B, T) -> bool (B, T)."""
    return torch.zeros_like(scores, dtype=torch.bool)
