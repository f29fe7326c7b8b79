"""Plans: a method with its settings and those of training, made from names and values."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..methods import find_method
from ..settings import make_settings, unknown_setting
from .config import TrainConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Plan:
    """A method, its settings, and those of training."""

    method: str
    settings: Any  # the method's dataclass
    config: TrainConfig

    def with_training(self, **changes: Any) -> "Plan":
        """The same plan with other settings of training."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))

    def on(self, device: "torch.device") -> "Plan":
        """The same plan with the precision that "auto" means on `device`."""
        return dataclasses.replace(self, config=self.config.on(device))


def setting_names(method: str) -> list[str]:
    """The settings of a method that can be changed, and those of training."""
    return [*find_method(method).names, *(field.name for field in dataclasses.fields(TrainConfig))]


def make_plan(method: str, feature_dim: int, values: Mapping[str, Any] | None = None) -> Plan:
    """A plan from settings by name, those of the method and those of training in one mapping.

    Settings of training that are not given are the method's own, where it has some, and else the trainer's.

    Raises UsageError for a method or a setting that does not exist, and for values that do not fit together.
    """
    kind = find_method(method)
    network, training = split_settings(method, values or {})
    config = make_settings(TrainConfig, {**kind.training, **training})
    if config.crops == "together" and not kind.takes_crops:
        raise UsageError(f"{method} takes one crop at a time: crops must be mean, draw or all.", "crops")
    return Plan(method, kind.configure(feature_dim, network), config)


def split_settings(method: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of `values` that are the method's settings, and those that are of training.

    Raises UsageError for a setting that neither has, or that the method has fixed.
    """
    kind = find_method(method)
    own = {field.name for field in dataclasses.fields(kind.settings)} - {"feature_dim"}
    training = {field.name for field in dataclasses.fields(TrainConfig)}
    if unknown := sorted(values.keys() - own - training):
        raise UsageError(f"{method}: {unknown_setting(unknown[0], [*kind.names, *training])}", unknown[0])
    network = {name: value for name, value in values.items() if name in own}
    kind.check(network)
    kind.segments(network)
    others = {name: value for name, value in values.items() if name in training}
    make_settings(TrainConfig, {**kind.training, **others})  # their ranges too
    return network, others
