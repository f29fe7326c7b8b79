"""Options that say when recordings began, and words on where their times of day come from."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from ..errors import UsageError
from ..media.start_time import CREATION_TIMES, StartRule, read_time, read_zone
from ..wording import number_of
from .command import option, section
from .terminal import say

_options = section(
    "Time of day",
    option("--start", help="When the recording began, such as '2023-05-12 03:00:14'; for one input."),
    option(
        "--start-pattern",
        show_default="those of common recorders and phones",
        help="Where names have the time: 'cam*_%d-%m-%Y_%H.%M', for example. Codes as in strftime; * is any text.",
    ),
    option(
        "--creation-time",
        type=click.Choice(CREATION_TIMES),
        default=CREATION_TIMES[0],
        show_default=True,
        help="How the file's creation time is read where its name has no time: formats define it as UTC, many cameras "
        "write local time, and converted files may have that of the conversion.",
    ),
    option(
        "--timezone",
        show_default="this computer's",
        help="Zone of local times and of the times that are shown, such as Europe/Berlin.",
    ),
)


def start_options(command: Callable) -> Callable:
    """Options that make the argument `start_rule` of a command a StartRule."""

    @_options
    @functools.wraps(command)
    def run(start: str | None, start_pattern: str | None, creation_time: str, timezone: str | None, **others: Any):
        given = None if start is None else read_time(start)
        if start is not None and given is None:
            raise UsageError(f"'{start}' is not a time. Give one such as 2023-05-12 03:00:14.", "start")
        zone = None if timezone is None else read_zone(timezone)
        return command(start_rule=StartRule(given, start_pattern, zone, creation_time), **others)

    return run


def check_one_input(rule: StartRule, n_inputs: int) -> None:
    """Raise UsageError where the start of one recording is given for several inputs."""
    if rule.given and n_inputs > 1:
        raise UsageError(
            f"The start of one recording is given, and there are {n_inputs} inputs. Name one, or use names.",
            "start",
            "start_pattern",
        )


def say_sources(sources: Counter[str], rule: StartRule) -> None:
    """Print where the times of day are from: `sources` counts the videos by the source of their start."""
    zone = rule.zone.key if rule.zone else "this computer's time zone"
    for source, count in sources.most_common():
        say(f"Times of day of {number_of(count, 'video')}: from {source}, in {zone}")
