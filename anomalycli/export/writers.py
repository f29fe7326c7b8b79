"""Results as tables, arrays and JSON: one small class per format."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..events import EventRule
from ..names import csv_cell, readable
from ..result import Result
from .base import Context

EVENT_COLUMNS = (
    *("event", "start", "end", "peak", "score", "start_time", "end_time", "peak_time"),
    *("start_at", "end_at", "peak_at"),
)
MARKS = ("start", "end", "peak")  # of an event


class FrameCSV:
    """One line per frame: frame (from 0), time (seconds), score, time of day (empty where it is not known).

    Where some features were carried over, there is one column more, still: 1 for frames of such clips. Where some were
    interpolated, there is one more, interpolated.
    """

    def render(self, result: Result, context: Context) -> str:
        marks = {name: _marked(intervals, len(result.scores)) for name, intervals in _skipped(result).items()}
        rows = (
            (frame, f"{time:.3f}", f"{score:.5f}", _iso(result, frame), *(mark[frame] for mark in marks.values()))
            for frame, (time, score) in enumerate(zip(result.edges[:-1], result.scores))
        )
        return _csv(("frame", "time", "score", "at", *marks), rows)


class FrameArray:
    """NumPy's .npy: float32 (n_frames,), the scores."""

    def render(self, result: Result, context: Context) -> bytes:
        file = io.BytesIO()
        np.save(file, result.scores, allow_pickle=False)
        return file.getvalue()


class WholeJSON:
    """One JSON object: the video, its events and the score of every frame, as `to_json` gives it."""

    def render(self, result: Result, context: Context) -> str:
        return to_json(result) + "\n"


class EventsJSON:
    """The same object without the frames' scores."""

    def render(self, result: Result, context: Context) -> str:
        return json.dumps(_valid(_summary(result)), indent=2) + "\n"


class EventsCSV:
    """One line per event: video, number, frames (half-open), peak, score; the same in seconds, and times of day."""

    def render(self, result: Result, context: Context) -> str:
        events = _summary(result)["events"]
        video = csv_cell(context.title)
        rows = ([video, number, *(event[name] for name in EVENT_COLUMNS[1:])] for number, event in enumerate(events, 1))
        return _csv(("video", *EVENT_COLUMNS), rows)


def to_json(result: Result) -> str:
    """One JSON object in one line; events have frames (half-open), seconds, and times of day.

    Times of day are in ISO 8601, and null where the start is not known, as are numbers that are not finite. Bytes in
    the video's name that are no text become U+FFFD.
    """
    scores = [round(float(score), 5) for score in result.scores]
    return json.dumps(_valid(_summary(result) | {"scores": scores}), allow_nan=False)


def rule_fields(rule: EventRule) -> dict[str, float]:
    """The rule under the names that it has in JSON and in pages."""
    return {"start": rule.start_threshold, "end": rule.end_threshold, "gap": rule.gap, "shortest": rule.shortest}


def _summary(result: Result) -> dict:
    return {
        "video": readable(str(result.path)),
        "n_frames": len(result.scores),
        "fps": result.fps,
        "duration": round(result.duration, 3),
        "recorded_at": _iso(result, 0),
        "recorded_at_source": result.start and result.start.source,
        "span": result.mode,  # the key that mode had up to version 0.1; kept for one release
        "mode": result.mode,
        "events": [
            dataclasses.asdict(event)
            | {"score": round(event.score, 5)}
            | {f"{name}_time": round(float(result.edges[getattr(event, name)]), 3) for name in MARKS}
            | {f"{name}_at": _iso(result, getattr(event, name)) for name in MARKS}
            | _in_normal_footage(result, event.score)
            for event in result.events
        ],
        "rule": rule_fields(result.rule),
        **_calibration(result),
        "warning": result.warning and readable(result.warning),
        "note": result.note and readable(result.note),
        **_skipped(result),
    }


def _skipped(result: Result) -> dict[str, list[list[int]]]:
    """Intervals of frames whose features were not computed, by the reason, if there are any."""
    found = {"still": result.still, "interpolated": result.interpolated}
    return {name: [list(interval) for interval in intervals] for name, intervals in found.items() if intervals}


def _marked(intervals: Sequence[Sequence[int]], n_frames: int) -> np.ndarray:
    """1 for the frames in these half-open intervals and 0 for the others, (n_frames,)."""
    marks = np.zeros(n_frames, np.int64)
    for start, end in intervals:
        marks[start:end] = 1
    return marks


def _in_normal_footage(result: Result, score: float) -> dict:
    """How often normal footage of the scene reaches a score: an empty object without a calibration."""
    often = result.once_in(score)
    return {"in_normal_footage": {"words": str(often)} | dataclasses.asdict(often)} if often else {}


def _calibration(result: Result) -> dict:
    """What the calibration promises, and how often the highest score occurs: empty without a calibration."""
    made = result.calibration
    if made is None:
        return {}
    names = ("target", "rate_bound", "hours", "extrapolated")
    facts = {"file": made.source and readable(str(made.source))} | {name: getattr(made, name) for name in names}
    return {"calibration": facts} | _in_normal_footage(result, float(result.scores.max()))


def _iso(result: Result, frame: int) -> str | None:
    """The time of day of a frame in ISO 8601 with its offset from UTC, `2023-05-12T03:00:14.000+02:00`."""
    moment = result.moment(frame)
    return moment.isoformat(timespec="milliseconds") if moment else None


def _valid(value):
    """The value with null for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _valid(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_valid(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()
