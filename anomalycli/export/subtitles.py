"""Events as subtitles, shown during each event."""

from collections.abc import Iterator

from ..events import Event
from ..media.timecode import subtitle_time
from ..result import Result
from .base import Context

NOTHING = 2.0  # seconds of the caption that says that there is no event


class SRT:
    """SubRip subtitles, one caption per event, or one that says there are none: an empty file is not valid SubRip."""

    def render(self, result: Result, context: Context) -> str:
        end = subtitle_time(min(result.duration, NOTHING), ",")
        return "\n".join(_cues(result, ",")) or f"1\n{subtitle_time(0, ',')} --> {end}\nNo events\n"


class VTT:
    """WebVTT (https://www.w3.org/TR/webvtt1/): the same as a <track> for browsers."""

    def render(self, result: Result, context: Context) -> str:
        return "\n".join(["WEBVTT\n", *_cues(result, ".")])


def caption(number: int, event: Event) -> str:
    """Text of the caption of an event; events are counted from 1."""
    return f"Event {number}, score {event.score:.2f}"


def _cues(result: Result, mark: str) -> Iterator[str]:
    for number, event in enumerate(result.events, 1):
        start, end = (subtitle_time(result.edges[frame], mark) for frame in (event.start, event.end))
        yield f"{number}\n{start} --> {end}\n{caption(number, event)}\n"
