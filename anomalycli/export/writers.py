"""Results as files and text for other programs: one tiny class a format, found by its suffix."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..events import Event
from ..media.timecode import is_dropped, subtitle_time, timecode, timeline_rate
from ..score import Result
from ..storage import write_whole


class Writer:
    """A format: `suffix` is its name and what follows a result's; `render` gives the file's content."""

    suffix: str

    def render(self, result: Result) -> str | bytes:
        raise NotImplementedError


class FrameCSV(Writer):
    """A line a frame: frame (from 0), time (seconds), score."""

    suffix = "csv"

    def render(self, result: Result) -> str:
        rows = (
            (frame, f"{time:.3f}", f"{score:.5f}")
            for frame, (time, score) in enumerate(zip(result.edges[:-1], result.scores))
        )
        return _csv(("frame", "time", "score"), rows)


class FrameArray(Writer):
    """NumPy's .npy: float32 (n_frames,), the scores."""

    suffix = "npy"

    def render(self, result: Result) -> bytes:
        file = io.BytesIO()
        np.save(file, result.scores, allow_pickle=False)
        return file.getvalue()


class WholeJSON(Writer):
    """One JSON object: the video, its events and the score of every frame, as `--json` prints it."""

    suffix = "json"

    def render(self, result: Result) -> str:
        return to_json(result) + "\n"


class EventsJSON(Writer):
    """The same object without the frames' scores."""

    suffix = "events.json"

    def render(self, result: Result) -> str:
        return json.dumps(_summary(result), indent=2) + "\n"


class EventsCSV(Writer):
    """A line an event: its number, frames (half-open) and peak frame, score, and the same in seconds."""

    suffix = "events.csv"

    def render(self, result: Result) -> str:
        names = ("event", "start", "end", "peak", "score", "start_time", "end_time", "peak_time")
        rows = ({"event": n} | event for n, event in enumerate(_summary(result)["events"], 1))
        return _csv(names, ([row[name] for name in names] for row in rows))


class SRT(Writer):
    """SubRip subtitles: a caption while an event lasts."""

    suffix = "srt"

    def render(self, result: Result) -> str:
        cues = (f"{n}\n{times}\n{text}\n" for n, times, text in _cues(result, ","))
        return "\n".join(cues)


class VTT(Writer):
    """WebVTT (https://www.w3.org/TR/webvtt1/): the same, as browsers take it for a <track>."""

    suffix = "vtt"

    def render(self, result: Result) -> str:
        return "\n".join(["WEBVTT\n", *(f"{n}\n{times}\n{text}\n" for n, times, text in _cues(result, "."))])


class EDL(Writer):
    """CMX 3600 edit decision list: the events one after another, with a locator at each peak.

    The timeline has the standard rate nearest to the video's, 29.97 and 59.94 in drop-frame code; it
    starts at one hour. Time in the source counts from 0, whatever time code is recorded in it.
    """

    suffix = "edl"

    def render(self, result: Result) -> str:
        rate = timeline_rate(result.fps)
        name = " ".join(result.path.name.split())
        lines = [f"TITLE: {name[:70]}"]
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
                f"* FROM CLIP NAME: {name}",
                f"* LOC: {timecode(record + peak - start, rate)} RED     {_caption(number, event)}",
            ]
            record += length
        return "\n".join(lines) + "\n"


class OTIO(Writer):
    """OpenTimelineIO (https://opentimelineio.readthedocs.io): a clip an event, marked at its peak."""

    suffix = "otio"

    def render(self, result: Result) -> str:
        try:
            import opentimelineio as otio
        except ImportError as error:
            raise UsageError("otio files need OpenTimelineIO: pip install 'anomalycli[otio]'.") from error
        rate = float(timeline_rate(result.fps))

        def at(frame: int) -> otio.opentime.RationalTime:
            return otio.opentime.RationalTime(round(result.edges[frame] * rate), rate)

        def span(start: int, end: int) -> otio.opentime.TimeRange:
            return otio.opentime.range_from_start_end_time(at(start), at(end))

        timeline = otio.schema.Timeline(result.path.name)
        track = otio.schema.Track("events", kind=otio.schema.TrackKind.Video)
        timeline.tracks.append(track)
        for number, event in enumerate(result.events, 1):
            media = otio.schema.ExternalReference(
                result.path.absolute().as_uri(), available_range=span(0, len(result.scores))
            )
            clip = otio.schema.Clip(_caption(number, event), media, span(event.start, event.end))
            clip.metadata["anomalycli"] = dataclasses.asdict(event)
            peak = otio.opentime.TimeRange(at(event.peak), otio.opentime.RationalTime(1, rate))
            clip.markers.append(otio.schema.Marker("peak", peak, otio.schema.MarkerColor.RED))
            track.append(clip)
        return timeline.to_json_string() + "\n"


WRITERS = {
    writer.suffix: writer() for writer in (FrameCSV, FrameArray, WholeJSON, EventsCSV, EventsJSON, SRT, VTT, EDL, OTIO)
}


def write(result: Result, base: Path, suffix: str) -> Path:
    """Write `result` to `base` + "." + `suffix` in the format of that name, whole or not at all."""
    content = WRITERS[suffix].render(result)
    return write_whole(base.with_name(f"{base.name}.{suffix}"), content)


def to_json(result: Result) -> str:
    """One JSON object in one line; events have frames (half-open) and seconds."""
    return json.dumps(_summary(result) | {"scores": [round(float(score), 5) for score in result.scores]})


def _summary(result: Result) -> dict:
    return {
        "video": str(result.path),
        "n_frames": len(result.scores),
        "fps": result.fps,
        "duration": round(result.duration, 3),
        "span": result.span,
        "events": [
            dataclasses.asdict(event)
            | {"score": round(event.score, 5)}
            | {f"{name}_time": round(float(result.edges[getattr(event, name)]), 3) for name in ("start", "end", "peak")}
            for event in result.events
        ],
        "rule": dataclasses.asdict(result.rule),
        "warning": result.warning,
        "note": result.note,
    }


def _csv(header, rows) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


def _cues(result: Result, mark: str):
    for number, event in enumerate(result.events, 1):
        start, end = (subtitle_time(result.edges[frame], mark) for frame in (event.start, event.end))
        yield number, f"{start} --> {end}", _caption(number, event)


def _caption(number: int, event: Event) -> str:
    return f"Event {number}, score {event.score:.2f}"
