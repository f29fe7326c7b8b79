"""Settings of networks and training: their options, presets and NAME=VALUE."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape

from ..errors import UsageError
from ..training.recipes import PRESETS
from .command import Option, options_of
from .terminal import say

# options whose names differ from their fields: elsewhere --threshold is that of events, and --crops a number
OPTION_NAMES = {"threshold": "delta", "crops": "crop-policy"}
VALIDATION = "Validation and the checkpoint to write"


def training_options() -> list[Option]:
    """An option for each setting of the network and of training."""
    from ..denet import DENetConfig
    from ..training.trainer import TrainConfig

    validation = dict.fromkeys(("validation", "validate_every", "keep"), VALIDATION)
    return [
        *options_of(DENetConfig, {"": "Network", "feature_dim": ""}, OPTION_NAMES),
        *options_of(TrainConfig, {"": "Training", **validation}, OPTION_NAMES),
    ]


def preset_of(name: str | None) -> dict[str, Any]:
    """Settings of the preset `name`, as a new dict; none without a name."""
    return dict(PRESETS[name]) if name else {}


def settings_of(preset: str | None, changes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, dict]]:
    """Settings of all methods, and those of single ones, from a preset and (METHOD.)NAME=VALUE."""
    everyone = preset_of(preset)
    of_method: dict[str, dict] = {}
    for name, value in map(pair_of, changes):
        method, _, setting = name.rpartition(".")
        place = of_method.setdefault(method, {}) if method else everyone
        place[field_of(setting)] = value_of(value)
    return everyone, of_method


def field_of(option: str) -> str:
    """The field that an option is for, by the option's name or the field's own."""
    fields = {name: field for field, name in OPTION_NAMES.items()}
    return fields.get(option.replace("_", "-"), option).replace("-", "_")


def pair_of(text: str) -> tuple[str, str]:
    """NAME=VALUE as two. Raises UsageError for text without =."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"'{text}' is not NAME=VALUE.")
    return name.strip(), value.strip()


def value_of(text: str) -> int | float | str:
    """The number that `text` is, or `text` itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def say_warnings(warnings: Iterable[str]) -> None:
    """Print warnings, one per line, each once."""
    for warning in dict.fromkeys(warnings):
        say(f"[yellow]note[/]  {escape(warning)}")
