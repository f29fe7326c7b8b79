"""Settings of training, from presets and options."""

from rich.markup import escape

from ..errors import UsageError
from .terminal import say


def preset_of(name: str | None) -> dict:
    from ..training.recipes import PRESETS

    if name is not None and name not in PRESETS:
        raise UsageError(f"There is no preset '{name}': give {', '.join(PRESETS)}.")
    return dict(PRESETS[name]) if name else {}


def say_warnings(bags) -> None:
    for warning in bags.warnings:
        say(f"[yellow]note[/]  {escape(warning)}")
