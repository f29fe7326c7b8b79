"""The file of --config: settings that become the defaults of a command's options."""

import difflib
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..settings import is_finite
from ..textfiles import CAMERAS, read_toml
from .command import Command, note_renamed

CONFIG = "anomalycli.config"  # where the context of a command has the path of --config


def read_settings(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Make the settings of a TOML file the defaults of this command.

    They are named as the options are, with _ or -, at the top of the file or in a table that is named
    as the command, which comes before the top. Raises UsageError for a file that cannot be read, for a setting or
    a table that does not exist, and for a value of a type that the option does not take.
    """
    if path is None:
        return
    ctx.meta[CONFIG] = path
    settings = _of_command(ctx, path, read_toml(path))
    flags = {
        word.strip("-").replace("-", "_"): parameter
        for parameter in ctx.command.params
        for word in parameter.opts
        if isinstance(parameter, click.Option) and parameter.expose_value
    }
    former = ctx.command.former_names() if isinstance(ctx.command, Command) else {}
    defaults: dict[str, Any] = {}
    for name, value in settings.items():
        old = "--" + name.replace("_", "-")
        if old in former:
            note_renamed(name, former[old].strip("-"))
        key = former.get(old, old).strip("-").replace("-", "_")
        if key not in flags:
            near = difflib.get_close_matches(key, flags, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"`anomalycli {ctx.command.name} --help` lists them."
            raise UsageError(f"{path}: there is no setting '{name}'. {hint}")
        several = flags[key].multiple
        values = value if several and isinstance(value, list) else [value]
        for each in values:
            _check_value(f"{path}: '{name}'", flags[key], each)
        defaults[str(flags[key].name)] = values if several else value
    ctx.default_map = defaults


def _check_value(place: str, flag: click.Option, value: Any) -> None:
    """Raise UsageError for a value of a settings file that no option can have."""
    if isinstance(value, (list, dict)):
        what = "takes single values" if flag.multiple else "takes one value"
        raise UsageError(f"{place} {what}, not a {'list' if isinstance(value, list) else 'table'}.")
    if isinstance(value, bool) and not flag.is_flag:
        raise UsageError(f"{place} takes a value, not true or false.")
    is_text = isinstance(value, str)
    if flag.is_flag and not isinstance(value, (bool, str)):
        raise UsageError(f"{place} takes true or false, not {value}.")
    if isinstance(flag.type, click.types.IntParamType) and not (is_text or (is_finite(value) and value == int(value))):
        raise UsageError(f"{place} takes a whole number, not {value}.")
    if isinstance(flag.type, click.types.FloatParamType) and not (is_text or is_finite(value)):
        raise UsageError(f"{place} takes a number, not {value}.")
    if isinstance(flag.type, (click.types.IntParamType, click.types.FloatParamType, click.Choice)):
        try:
            flag.type.convert(value, flag, None)
        except click.BadParameter as error:
            raise UsageError(f"{place}: {error.message}") from error


def _of_command(ctx: click.Context, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What a file says at its top and in the table of this command. Raises UsageError for a table of none."""
    tables = {name: table for name, table in settings.items() if isinstance(table, dict)}
    root = ctx.find_root().command
    commands = [*root.commands, CAMERAS] if isinstance(root, click.Group) else [str(ctx.command.name), CAMERAS]
    for name in tables:
        if name not in commands:
            near = difflib.get_close_matches(name, commands, 1)
            hint = f"Did you mean [{near[0]}]?" if near else f"Tables are named as commands: {', '.join(commands)}."
            raise UsageError(f"{path}: there is no command for the table [{name}]. {hint}")
    top = {name: value for name, value in settings.items() if name not in tables}
    both = [top, tables.get(str(ctx.command.name), {})]
    for part in both:
        spelt = [name.replace("_", "-") for name in part]
        if twice := [name for name in spelt if spelt.count(name) > 1]:
            raise UsageError(f"{path}: '{twice[0]}' is set twice, with - and with _.")
    return {name.replace("_", "-"): value for part in both for name, value in part.items()}
