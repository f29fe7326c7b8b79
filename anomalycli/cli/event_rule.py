"""Options of what counts as an event, and the rule that they make of a model's."""

from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .command import option

if TYPE_CHECKING:
    from ..events import EventRule

DURATION_OPTIONS = (
    option("--gap", type=float, show_default="the model's", help="Events closer than this many seconds become one."),
    option(
        "--shortest", type=float, show_default="the model's", help="Events shorter than this many seconds are dropped."
    ),
)
RULE_OPTIONS = (
    option("--threshold", type=float, show_default="the model's", help="Score at which an event begins."),
    option("--end-threshold", type=float, show_default="the model's", help="Score below which it ends."),
    *DURATION_OPTIONS,
)


def rule_of(rule: "EventRule", options: dict[str, Any]) -> "EventRule":
    """The event rule of the model with the options that were given. Raises UsageError for contradictory values."""
    try:
        return rule.changed(
            start_threshold=options["threshold"],
            end_threshold=options["end_threshold"],
            gap=options["gap"],
            shortest=options["shortest"],
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
