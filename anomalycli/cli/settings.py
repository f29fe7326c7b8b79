"""Settings of networks and training: their options, presets and NAME=VALUE."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import UsageError
from ..training.presets import PRESETS
from .command import Option, options_of
from .terminal import note

# options whose names differ from their fields: elsewhere --threshold is that of events, and --crops a number
OPTION_NAMES = {"threshold": "delta", "crops": "crop-policy"}
VALIDATION = "Validation and the checkpoint to write"


def training_options() -> list[Option]:
    """An option for each setting of DE-Net and of training; --set sets those of other methods."""
    from ..denet_settings import DENetSettings
    from ..training.config import TrainConfig

    loss = dict.fromkeys(("erasing", "threshold", "alpha1", "alpha2", "lambda1", "lambda2"), "Training")
    validation = dict.fromkeys(("validation", "validate_every", "keep"), VALIDATION)
    return [
        *options_of(DENetSettings, {"": "Network", "feature_dim": "", **loss}, OPTION_NAMES),
        *options_of(TrainConfig, {"": "Training", **validation}, OPTION_NAMES),
    ]


def preset_of(name: str | None) -> dict[str, Any]:
    """Settings of the preset `name`, as a new dict; none without a name."""
    return dict(PRESETS[name]) if name else {}


def settings_of(changes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, dict]]:
    """Settings of all methods, and those of single ones, from (METHOD.)NAME=VALUE."""
    everyone: dict[str, Any] = {}
    of_method: dict[str, dict] = {}
    for name, value in map(pair_of, changes):
        method, _, setting = name.rpartition(".")
        place = of_method.setdefault(method, {}) if method else everyone
        place[field_of(setting)] = value_of(value)
    return everyone, of_method


def settings_for(method: str, preset: str | None, changes: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Settings of one method: what it has of the preset, then its own, NAME=VALUE, and the options that were given."""
    from ..methods import find_method
    from ..training.plan import setting_names

    known = {"feature_dim", *setting_names(method)}
    settings = {name: value for name, value in preset_of(preset).items() if name in known}
    settings |= find_method(method).training
    for name, value in map(pair_of, changes):
        settings[field_of(name)] = value_of(value)
    return settings | {name: value for name, value in given.items() if value is not None}


def sweeps_of(sweeps: tuple[str, ...]) -> dict[str, list[bool | int | float | str]]:
    """The values of each swept setting, from (METHOD.)NAME=V1,V2,..."""
    values: dict[str, list[bool | int | float | str]] = {}
    for name, words in map(pair_of, sweeps):
        method, dot, setting = name.rpartition(".")
        values[f"{method}{dot}{field_of(setting)}"] = [value_of(word) for word in words.split(",")]
    return values


@contextmanager
def names_as_written(pairs: tuple[str, ...]) -> Iterator[None]:
    """Have a UsageError name settings as (METHOD.)NAME=VALUE does, where options are named otherwise than fields."""
    try:
        yield
    except UsageError as error:
        message = str(error)
        for name in {pair.partition("=")[0].strip().rpartition(".")[2] for pair in pairs}:
            if field_of(name) != name.replace("-", "_"):
                message = re.sub(rf"\b{field_of(name)}\b", name, message)
        raise UsageError(message, *error.settings) from error


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


def value_of(text: str) -> bool | int | float | str:
    """The number or truth value that `text` is, or `text` itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def say_warnings(warnings: Iterable[str]) -> None:
    """Print warnings, one per line, each once."""
    for warning in dict.fromkeys(warnings):
        note(warning)
