"""What Click lacks: help in sections, renamed options, options made from dataclasses, hints in errors."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from ..errors import AnomalyError, DamagedError
from .terminal import fault, note

LAST_SECTIONS = ("Machine", "Messages and configuration", "Options")


class Option(click.Option):
    """An option with `former` names, which still work: they are hidden, and their use is noted on stderr."""

    def __init__(self, *args: Any, former: str | tuple[str, ...] = (), section: str = "Options", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.former = (former,) if isinstance(former, str) else former
        self.section = section

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value in the option's type. Raises BadParameter for NaN and infinite numbers."""
        cast = super().type_cast_value(ctx, value)
        if isinstance(cast, float) and not math.isfinite(cast):
            raise click.BadParameter(f"{cast} is not a finite number.", ctx, self)
        return cast


class Command(click.Command):
    """A command whose help groups its options by section.

    `generated` returns more options. It is called when parameters are first needed, so that the modules it imports
    are not loaded for the help of the group. Errors of the library get the names of the options they are about.
    `after_interrupt` is what to tell the user after Ctrl-C.
    """

    def __init__(
        self,
        *args: Any,
        generated: Callable[[], list[Option]] | None = None,
        after_interrupt: str = "",
        **kwargs: Any,
    ):
        self._generated, self.after_interrupt = generated, after_interrupt
        super().__init__(*args, **kwargs)

    @property
    def params(self) -> list[click.Parameter]:
        """Arguments and options; the generated ones come last."""
        if self._generated:
            generated, self._generated = self._generated, None
            self._params += generated()
        return self._params

    @params.setter
    def params(self, params: list[click.Parameter]) -> None:
        self._params = params

    def former_names(self) -> dict[str, str]:
        """The present name of each option by its former name."""
        return {old: option.opts[-1] for option in self.params if isinstance(option, Option) for old in option.former}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse `args`, with former names of options replaced by the present ones."""
        present, renamed = self.former_names(), {}
        end = args.index("--") if "--" in args else len(args)
        for i, (name, equals, value) in enumerate(arg.partition("=") for arg in args[:end]):
            if name in present:
                renamed[name] = present[name]
                args[i] = f"{present[name]}{equals}{value}"
        rest = super().parse_args(ctx, args)
        for old, new in renamed.items():
            note_renamed(old, new)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An AnomalyError leaves with the options of its settings in its message."""
        check_current_folder()
        try:
            return super().invoke(ctx)
        except AnomalyError as error:
            for sentence in error.each if isinstance(error, DamagedError) else ():
                fault("failed", sentence)
            error.args = (with_hint(str(error), self.params, error.settings),)
            raise
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(self.after_interrupt) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each below the heading of its section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                # Click puts a default that is given as text into parentheses
                record = record[0], re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", record[1])
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for name in in_order(sections):
            with formatter.section(name):
                formatter.write_dl(sections[name])


def check_current_folder() -> None:
    """Raise AnomalyError where the current folder was deleted: libraries end the process there without a word."""
    try:
        Path.cwd()
    except OSError as error:
        raise AnomalyError("The current folder is not there any more. Change to another one.") from error


def option(*names: str, **settings: Any) -> Callable:
    """Decorate a command with an `Option`."""
    return click.option(*names, cls=Option, **settings)


def section(name: str, *options: Callable) -> Callable:
    """Decorate a command with `options` that its help shows under `name`."""

    def decorate(command: Callable) -> Callable:
        before = len(getattr(command, "__click_params__", ()))
        for decorator in reversed(options):
            command = decorator(command)
        for parameter in command.__click_params__[before:]:  # type: ignore[attr-defined]
            parameter.section = name
        return command

    return decorate


def in_order(sections: Iterable[str]) -> list[str]:
    """Names of sections in the order in which help shows them: what all commands share comes last."""
    return sorted(sections, key=lambda name: LAST_SECTIONS.index(name) if name in LAST_SECTIONS else -1)


def options_of(config: type, sections: Mapping[str, str], names: Mapping[str, str]) -> list[Option]:
    """An option for each annotated field of the dataclass `config`, without a default of its own.

    Fields are `Annotated[type, description]` or `Annotated[type, description, allowed values]`. `sections` gives a
    field's section, and "" that of the rest; a field whose section is empty gets no option. `names` gives the
    option of a field that is named otherwise than the field.
    """
    options = []
    hints = get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        title = sections.get(field.name, sections.get("", ""))
        if not title or not hasattr(hints[field.name], "__metadata__"):
            continue
        kind, description, *choices = get_args(hints[field.name])
        kind = next((part for part in get_args(kind) if part is not type(None)), kind)
        name = names.get(field.name, field.name.replace("_", "-"))
        flag = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
        options.append(
            Option(
                [flag, field.name],
                default=None,
                type=click.Choice(choices[0]) if choices else kind,
                show_default="none" if field.default is None else str(field.default),
                help=description,
                section=title,
                former=f"--{field.name.replace('_', '-')}" if field.name in names else (),
            )
        )
    return options


def with_hint(message: str, parameters: Iterable[click.Parameter], settings: Iterable[str]) -> str:
    """`message` with the options that set `settings` in parentheses before its full stop."""
    options = {parameter.name: parameter.opts[-1] for parameter in parameters if isinstance(parameter, click.Option)}
    named = [options[setting] for setting in settings if setting in options]
    return f"{message.removesuffix('.')} ({', '.join(named)})." if named else message


def note_renamed(old: str, new: str) -> None:
    """Say on stderr that an option has a new name."""
    note(f"{old} is now {new}; the former name will be removed in the next release.")


class PathName(click.Path):
    """A path, with a sentence for what is not one: nothing, or a number from a settings file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, (str, Path)) or value == "" or "\0" in str(value):
            self.fail(f"'{value}' is not a path.", param, ctx)
        return super().convert(value, param, ctx)


PATH = PathName(path_type=Path)
FILE = PathName(path_type=Path, exists=True, dir_okay=False)
FOLDER = PathName(path_type=Path, exists=True, file_okay=False)
OUTPUT_FILE = PathName(path_type=Path, dir_okay=False)
