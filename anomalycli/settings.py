"""Make settings, which are frozen dataclasses, from names and values, and check each.

A field is an int, float, bool or str, or one of these or None. It may be `Annotated[type, description]` or
`Annotated[type, description, allowed values]`.
"""

import dataclasses
import difflib
import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from .errors import UsageError

Settings = TypeVar("Settings")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "none"}


def make_settings(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A `cls` (a dataclass) of `values`, with its defaults for the rest.

    Raises UsageError for a name that it does not have, and for a value that is of another type or out of range.
    """
    check_settings(cls, values)
    hints = get_type_hints(cls)
    typed = {name: float(value) if _is_float(hints[name], value) else value for name, value in values.items()}
    try:
        return cls(**typed)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error), *_named(str(error), values)) from error


def check_settings(cls: type, values: Mapping[str, Any]) -> None:
    """Raise UsageError for a name that `cls` does not have, and for a value that is of another type."""
    hints = get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    for name, value in values.items():
        if name not in names:
            raise UsageError(unknown_setting(name, names))
        kind, allowed = hints[name], None
        if get_origin(kind) is Annotated:
            kind, _, *choices = get_args(kind)
            allowed = choices[0] if choices else None
        if allowed and value not in allowed:
            raise UsageError(f"{name} must be one of {', '.join(allowed)}; not '{value}'.", name)
        if not any(_fits(each, value) for each in _alternatives(kind)):
            kinds = " or ".join(_WORDS[each] for each in _alternatives(kind))
            raise UsageError(f"{name} must be {kinds}, not '{value}'.", name)


def defaults_of(cls: type) -> dict[str, Any]:
    """The defaults of a dataclass by name: what records that were written before a setting existed stand for."""
    return {field.name: field.default for field in dataclasses.fields(cls)}


def is_finite(value: Any) -> bool:
    """Whether the value is a number, not a truth value, that a float can hold: JSON and TOML have larger integers."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def unknown_setting(name: str, names: list[str]) -> str:
    """The sentence on a setting that does not exist, with the nearest of `names`, or all where none is near."""
    near = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean '{near[0]}'?" if near else f"There are {', '.join(names)}."
    return f"There is no setting '{name}'. {hint}"


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return (kind,) if isinstance(kind, type) else get_args(kind)


def _is_float(kind: Any, value: Any) -> bool:
    return float in _alternatives(kind) and int not in _alternatives(kind) and type(value) is int


def _fits(kind: type, value: Any) -> bool:
    if kind is float:
        return is_finite(value)
    return type(value) is kind


def _named(message: str, values: Mapping[str, Any]) -> list[str]:
    """The settings that a message names."""
    words = message.replace(".", " ").replace(",", " ").split()
    return [name for name in values if name in words]
