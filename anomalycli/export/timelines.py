"""Events as timelines for video editors."""

import dataclasses
from typing import Any

from ..errors import UsageError
from ..media.timecode import is_dropped, timecode, timeline_rate
from ..names import edl_name, readable
from ..result import Result
from .base import Context
from .subtitles import caption


class EDL:
    """CMX 3600 edit decision list: the events one after another, with a locator at each peak.

    The timeline has the standard rate nearest to the video's, 29.97 and 59.94 in drop-frame code; it
    starts at one hour. Time in the source counts from 0, whatever time code is recorded in it.
    """

    def render(self, result: Result, context: Context) -> str:
        rate = timeline_rate(result.fps)
        lines = [f"TITLE: {edl_name(context.title, 70)}"]
        lines.append("FCM: DROP FRAME" if is_dropped(rate) else "FCM: NON-DROP FRAME")
        record = round(3600 * (rate if is_dropped(rate) else round(rate)))
        for number, event in enumerate(result.events, 1):
            start, end, peak = (
                round(result.edges[frame] * float(rate)) for frame in (event.start, event.end, event.peak)
            )
            length = max(1, end - start)
            codes = (timecode(f, rate) for f in (start, start + length, record, record + length))
            lines += [
                f"{number:03}  AX       V     C        {' '.join(codes)}",
                f"* FROM CLIP NAME: {edl_name(result.path.name, 255)}",
                f"* LOC: {timecode(record + peak - start, rate)} RED     {caption(number, event)}",
            ]
            record += length
        return "\n".join(lines) + "\n"


class OTIO:
    """OpenTimelineIO (https://opentimelineio.readthedocs.io): one item per event, marked at its peak."""

    def __init__(self) -> None:
        try:
            import opentimelineio
        except ImportError as error:
            raise UsageError("otio files need OpenTimelineIO: pip install 'anomalycli[otio]'.") from error
        self._otio: Any = opentimelineio

    def render(self, result: Result, context: Context) -> str:
        otio, rate = self._otio, float(timeline_rate(result.fps))

        def at(frame: int):
            return otio.opentime.RationalTime(round(result.edges[frame] * rate), rate)

        def time_range(start: int, end: int):
            return otio.opentime.range_from_start_end_time(at(start), at(end))

        timeline = otio.schema.Timeline(readable(context.title))
        track = otio.schema.Track("events", kind=otio.schema.TrackKind.Video)
        timeline.tracks.append(track)
        for number, event in enumerate(result.events, 1):
            media = otio.schema.ExternalReference(
                result.path.absolute().as_uri(), available_range=time_range(0, len(result.scores))
            )
            item = otio.schema.Clip(caption(number, event), media, time_range(event.start, event.end))
            item.metadata["anomalycli"] = dataclasses.asdict(event)
            peak = otio.opentime.TimeRange(at(event.peak), otio.opentime.RationalTime(1, rate))
            item.markers.append(otio.schema.Marker("peak", peak, otio.schema.MarkerColor.RED))
            track.append(item)
        return timeline.to_json_string() + "\n"
