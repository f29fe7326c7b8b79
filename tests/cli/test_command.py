"""What the command line adds to Click: former names of options, options from dataclasses, hints in errors."""

from dataclasses import dataclass
from typing import Annotated

import click
import pytest
from click.testing import CliRunner

from anomalycli.cli import cli
from anomalycli.cli.command import Command, option, options_of
from anomalycli.errors import UsageError

FORMER = [
    ("score", "--span", "--mode"),
    ("score", "--truth", "--ground-truth"),
    ("evaluate", "--span", "--mode"),
    ("evaluate", "--sheet", "--draw"),
    ("evaluate", "--vggish", "--audio-features"),
    ("compare", "--vggish", "--audio-features"),
    ("train", "--vggish", "--audio-features"),
    ("train", "--threshold", "--delta"),
    ("train", "--crops", "--crop-policy"),
    ("train", "--validation-truth", "--validation-ground-truth"),
]


@pytest.mark.parametrize(("command", "old", "new"), FORMER)
def test_former_names_are_accepted_and_hidden(command, old, new):
    assert cli.commands[command].former_names()[old] == new
    words = {word for parameter in cli.commands[command].params for word in parameter.opts}
    assert new in words and old not in words


def command_of(body, *decorators, **settings):
    for decorator in reversed(decorators):
        body = decorator(body)
    return click.command("try", cls=Command, **settings)(body)


@pytest.mark.parametrize("words", [["--old", "3"], ["--old=3"]])
def test_a_former_name_sets_the_option_and_is_noted(words):
    command = command_of(lambda **values: click.echo(values), option("--new", former="--old", type=int))
    done = CliRunner().invoke(command, words)
    assert done.stdout == "{'new': 3}\n"
    assert "--old is now --new" in done.stderr
    assert "--old" not in CliRunner().invoke(command, ["--new", "3"]).stderr
    assert "--old" not in CliRunner().invoke(command, ["--help"]).stdout


def test_what_follows_two_dashes_is_no_option():
    command = command_of(
        lambda **values: click.echo(values), click.argument("word"), option("--new", former="--old", type=int)
    )
    assert "'--old'" in CliRunner().invoke(command, ["--", "--old"]).stdout


@dataclass
class Settings:
    size: Annotated[int, "Pixels."] = 3
    rate: Annotated[float | None, "Per second."] = None
    kind: Annotated[str, "Which.", ("a", "b")] = "a"
    inner: int = 0


def test_fields_become_options_with_their_description_default_and_values():
    command = command_of(
        lambda **values: click.echo(values),
        generated=lambda: options_of(Settings, {"": "Some", "rate": "Other"}, {"size": "how-big"}),
    )
    assert CliRunner().invoke(command, ["--how-big", "5"]).stdout == "{'size': 5, 'rate': None, 'kind': None}\n"
    assert CliRunner().invoke(command, ["--size", "5"]).stdout == "{'size': 5, 'rate': None, 'kind': None}\n"
    told = CliRunner().invoke(command, ["--help"]).stdout
    assert "Some:\n  --how-big INTEGER  Pixels.  [default: 3]\n  --kind [a|b]" in told
    assert "Other:\n  --rate FLOAT  Per second.  [default: none]" in told
    assert "inner" not in told
    assert CliRunner().invoke(command, ["--kind", "c"]).exit_code == 2


def test_errors_of_the_library_get_the_options_that_they_are_about():
    def refuse(**_values):
        raise UsageError("It is too small.", "size", "unknown", "kind")

    command = command_of(refuse, option("--how-big", "size"), option("-k", "--kind"))
    error = CliRunner().invoke(command, []).exception
    assert str(error) == "It is too small (--how-big, --kind)."
    assert isinstance(error, UsageError) and error.exit_code == 2
