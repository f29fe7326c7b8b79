"""Review pages: one per video, and an index of several. Each is one file that makes no network requests.

The page of a two-hour video (180,000 frames) takes about a megabyte without the video. It contains the scores as
float32; its script draws them from a pyramid of minima and maxima.
"""

import base64
import hashlib
import io
import math
import mimetypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np
from PIL import Image

from ..media.timecode import clock, time_of_day
from ..names import readable
from ..result import Result
from ..storage import write_file
from ..version import __version__
from .base import MOST_PICTURES, Context, Intervals, check_embeddable
from .envelope import min_max
from .moments import moments
from .verdicts import VERDICTS
from .writers import rule_fields

MOST_INTERVALS = 20  # that a page names, in which nothing moves or nothing was computed
SPARK_WIDTH, SPARK_HEIGHT = 240, 40
CELLS, CELL_FRAMES = 16_384, 4  # most per video in the index; fewest frames of each


@dataclass(frozen=True)
class Page:
    """Data about a written page for the index.

    thumbnail: a data: address, where there is a video. curve: points of an SVG polyline. data: what the
    index's script knows of the video: names, event rule, events (start, end, score; seconds) and the
    highest score of each of at most CELLS equal stretches of time, 0 to 65535.
    """

    path: Path
    name: str
    thumbnail: str | None
    peak: float
    duration: str
    curve: str
    data: dict[str, Any]


def _milliseconds(times: np.ndarray) -> str:
    """Seconds as whole milliseconds: 32-bit integers, or doubles where these do not reach (49 days)."""
    numbers = (times * 1000).round()
    return _base64(numbers.astype("<u4" if numbers.max() < 1 << 32 else "<f8"))


class HTML:
    """The review page: video, score curve, events, and an adjustable threshold."""

    def render(self, result: Result, context: Context) -> str:
        frames = context.frames(result, moments(result, MOST_PICTURES))
        data = {
            **_identity(result, context),
            "fps": result.fps,
            "scores": _base64(result.scores.astype("<f4")),
            "times": None if result.times is None else _milliseconds(result.times),
            "rule": rule_fields(result.rule),
            "often": _often(result),
            "truth": context.truth,
            "start": _start(result),
            "thumbnails": {frame: _jpeg(picture) for frame, picture in frames.items()},
        }
        return (
            _environment()
            .get_template("report.html")
            .render(
                name=context.title,
                result=result,
                warning=result.warning and readable(result.warning),
                data=data,
                source=_source(context.player or context.video, context.path, context.embed) if context.video else None,
                embedded=context.embed,
                index=_link(context.index, context.path) if context.index else None,
                duration=clock(result.duration),
                recorded=_recorded(result),
                skipped=_skipped(result),
                version=__version__,
            )
        )


def _skipped(result: Result) -> list[str]:
    """Sentences on where the scores are not computed, none if they are everywhere."""
    kinds = (
        ("Nothing moved in {} of it; features are carried over from just before there: {}.", result.still),
        ("{} of it was not computed; its features are interpolated from the clips around it: {}.", result.interpolated),
    )
    return [words.format(*_where(result, intervals)) for words, intervals in kinds if intervals]


def _where(result: Result, intervals: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """How long intervals of frames are together, and where they are."""
    seconds = sum(float(result.edges[end] - result.edges[start]) for start, end in intervals)
    times = [tuple(clock(float(result.edges[frame])) for frame in interval) for interval in intervals[:MOST_INTERVALS]]
    more = f" and {len(intervals) - MOST_INTERVALS} more" if len(intervals) > MOST_INTERVALS else ""
    return clock(seconds), ", ".join(f"{start}\N{EN DASH}{end}" for start, end in times) + more


def page_of(result: Result, context: Context) -> Page:
    """The page of a result as the index shows it."""
    frames = context.frames(result, result.highlights(1))
    return Page(
        path=context.path,
        name=context.title,
        thumbnail=_jpeg(next(iter(frames.values()))) if frames else None,
        peak=float(result.scores.max()),
        duration=clock(result.duration),
        curve=_spark_line(result.scores),
        data={
            **_identity(result, context),
            "duration": round(result.duration, 3),
            "camera": camera_of(context.title),
            "start": _start(result),
            "rule": rule_fields(result.rule),
            "events": [
                (round(float(result.edges[event.start]), 3), round(float(result.edges[event.end]), 3), event.score)
                for event in result.events
            ],
            "cells": _base64(_cells(result)),
        },
    )


def write_report(
    result: Result,
    path: Path,
    video: Path | None = None,
    truth: Intervals | None = None,
    embed: bool = False,
    index: Path | None = None,
) -> Page:
    """Write the page of one result to `path`.

    `video` is played from its path relative to the page or, with `embed`, from the page itself. `truth`, half-open
    frame intervals, is shown along the curve. The page links to `index`.

    Raises VideoError if the video is too large to embed.
    """
    context = Context(path, readable(result.path.name), video, truth, embed, index=index)
    write_file(path, HTML().render(result, context))
    return page_of(result, context)


def index_of(pages: Sequence[Page], path: Path, failures: Sequence[str] = ()) -> str:
    """A page at `path` that links to all others, the highest peak score first, and names what failed."""
    rows = [(page, _link(page.path, path)) for page in sorted(pages, key=lambda page: -page.peak)]
    return (
        _environment()
        .get_template("index.html")
        .render(
            rows=rows,
            timed=any(page.data["start"] for page, _ in rows),
            data={"pages": [page.data | {"link": link, "peak": page.peak} for page, link in rows]},
            failures=[readable(failure) for failure in failures],
            width=SPARK_WIDTH,
            height=SPARK_HEIGHT,
            version=__version__,
        )
    )


def _identity(result: Result, context: Context) -> dict[str, str]:
    """Names of a video: displayed, in labels.csv, and as the key of its verdicts, which depends on its path only."""
    key = hashlib.sha256(os.fsencode(result.path.absolute())).hexdigest()[:16]
    return {"name": context.title, "video": readable(context.label or result.path.stem), "key": key}


def camera_of(title: str) -> str:
    """The name of the camera of a video: its folder, or its name before a date or the number of a part."""
    folder, _, name = title.rpartition("/")
    stem = name.rsplit(".", 1)[0]
    return folder or re.sub(r"[-_ .]*(\d{4}[-_.]?\d\d[-_.]?\d\d.*|\d+)$", "", stem) or stem


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("anomalycli.export"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["verdicts"] = VERDICTS
    return environment


def _source(video: Path, page: Path, embed: bool) -> str:
    if not embed:
        return _link(video, page)
    check_embeddable(video)
    kind = mimetypes.guess_type(video.name)[0] or "video/mp4"
    return f"data:{kind};base64,{base64.b64encode(video.read_bytes()).decode()}"


def _link(target: Path, page: Path) -> str:
    try:
        return quote(os.fsencode(Path(os.path.relpath(target, page.parent)).as_posix()))
    except ValueError:  # another drive
        return target.absolute().as_uri()


def _spark_line(scores: np.ndarray) -> str:
    _, _, high = min_max(scores, SPARK_WIDTH)
    x = (np.arange(len(high)) + 0.5) * SPARK_WIDTH / len(high)
    return " ".join(f"{x:.1f},{SPARK_HEIGHT * (1 - y):.1f}" for x, y in zip(x, high))


def _cells(result: Result) -> np.ndarray:
    """The highest score of each of at most CELLS equal stretches of time, uint16 (n_cells,) from 0 to 65535."""
    n_cells = max(1, min(CELLS, len(result.scores) // CELL_FRAMES))
    starts = np.searchsorted(result.edges[:-1], np.arange(n_cells) * result.duration / n_cells - 1e-6)
    high = np.maximum.reduceat(result.scores, np.minimum(starts, len(result.scores) - 1))
    return (np.clip(high, 0, 1) * 65535).round().astype("<u2")


def _jpeg(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=72)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _start(result: Result) -> list[tuple[float, int, int]] | None:
    """Local times: from which second on (seconds), what it is or would be at 0 (ms), and its offset from UTC (minutes).

    One entry, or more where clocks are changed during the recording. None where the start is not known.
    """
    if result.start is None:
        return None
    milliseconds = round(result.start.instant.timestamp() * 1000)
    return [
        (begin, milliseconds + minutes * 60_000, minutes) for begin, minutes in result.start.offsets(result.duration)
    ]


def _recorded(result: Result) -> str:
    """From when to when, in words; "" where that is not known."""
    if result.start is None:
        return ""
    first, last = result.start.at(0), result.start.at(result.duration)
    zone = result.start.zone.key if result.start.zone else f"UTC{first:%z}"
    day = f"{first.day} {first:%b %Y}"
    return f"{day}, {time_of_day(first, day=False)} to {time_of_day(last, day=first.date() != last.date())} ({zone})"


def _often(result: Result) -> list[tuple[float, str]]:
    """Scores from which on normal footage is as rare as the words say, rising; empty without a calibration."""
    if result.calibration is None:
        return []
    scores = [0.0, *(score for score, _ in result.calibration.reached)]
    words = [(score, str(result.once_in(score))) for score in (*scores, math.nextafter(scores[-1], 2))]
    return [one for one, before in zip(words, [(0.0, ""), *words]) if one[1] != before[1]]
