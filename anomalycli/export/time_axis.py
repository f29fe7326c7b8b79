"""The time axis of plots: seconds from the beginning, or times of day where the start is known."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ..media.start_time import RecordingStart
from ..media.timecode import clock

# seconds between labels
STEPS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def time_labels(length: float, most: int, start: RecordingStart | None = None) -> tuple[list[float], list[str], str]:
    """Places of about `most` labels on an axis of `length` seconds, what they say, and the name of the axis.

    No two labels are alike.
    """
    if start and length < most:  # tenths of a second make times of day longer
        most = max(1, most * 2 // 3)
    step = next((step for step in STEPS if step * most >= length), length / most)
    if start is None:
        places = _multiples(step, 0.0, length)
        return places, [_offset(place + 1e-6, step) for place in places], "time"
    first, last = start.at(0), start.at(length)
    since_midnight = (first - first.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    places = _multiples(step, since_midnight, length)
    label = _labeller(step)
    return places, [label(start.at(place + 1e-6)) for place in places], f"time of day, {days(first, last)}"


def days(first: datetime, last: datetime) -> str:
    """`12 May 2023`, or `12 May 2023 to 13 May 2023`."""
    one, other = (f"{moment.day} {moment:%b %Y}" for moment in (first, last))
    return one if one == other else f"{one} to {other}"


def _multiples(step: float, before: float, length: float) -> list[float]:
    """The places on an axis that are multiples of `step` when counted from `before` seconds earlier."""
    number = -int(-(before - 1e-6) // step)  # rounded up
    places = []
    while (place := number * step - before) <= length + 1e-6:
        places.append(min(max(place, 0.0), length))
        number += 1
    return places


def _labeller(step: float) -> Callable[[datetime], str]:
    if step >= 60 and step % 60 == 0:
        return lambda moment: f"{moment:%H:%M}"
    if step >= 1:
        return lambda moment: f"{moment:%H:%M:%S}"
    return lambda moment: f"{moment + timedelta(milliseconds=5):%H:%M:%S.%f}"[:10]


def _offset(seconds: float, step: float) -> str:
    return clock(seconds) if step >= 1 else f"{int(seconds // 60)}:{seconds % 60:04.1f}"
