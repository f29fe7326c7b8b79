"""Write the generated part of cli.md: `python docs/make_cli.py`."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from anomalycli.cli import cli

PAGE = Path(__file__).with_name("cli.md")
MARK = "<!-- from here on written by make_cli.py -->\n"


def reference() -> str:
    """Every command and option, as Markdown."""
    return "".join(_command(cli, "anomalycli"))


def _command(command: click.Command, name: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        arguments = [p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)]
        yield f"\n## {name}\n\n```\n{' '.join([name, '[OPTIONS]', *arguments])}\n```\n\n{_prose(command.help or '')}\n"
        sections: dict[str, list[str]] = {}
        for option in _options(command):
            sections.setdefault(getattr(option, "section", "Options"), []).append(_option(option))
        for section, options in sections.items():
            yield f"\n### {name}: {section.lower()}\n\n{''.join(options)}"
    else:
        for sub in command.commands.values():
            yield from _command(sub, f"{name} {sub.name}")


def _options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden]


def _option(option: click.Option) -> str:
    words = [option.opts[0]] if len(option.opts) == 1 else sorted(option.opts, key=len)
    kind = ""
    if isinstance(option.type, click.Choice):
        kind = " " + "|".join(option.type.choices)
    elif not option.is_flag:
        kind = f" {option.type.name.upper()}"
    default = ""
    if isinstance(option.show_default, str):
        default = f" Default: {option.show_default}."
    elif option.show_default and option.default is not None:
        default = f" Default: `{option.default}`."
    return f"- `{', '.join(words)}{kind}`: {option.help}{default}\n"


def _prose(text: str) -> str:
    """Click's help: a paragraph that begins with \\b keeps its lines."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        kept = part.startswith("\b\n")
        parts.append(f"```sh\n{_dedent(part[2:])}\n```" if kept else " ".join(part.split()))
    return "\n\n".join(parts)


def _dedent(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


if __name__ == "__main__":
    hand = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(hand + MARK + reference(), encoding="utf-8")
