"""Pages for people: one per video, and an index of several. Each is one file that makes no network requests.

A page of two hours (180,000 frames) weighs about a megabyte without the video: the scores go into
it as float32, and its script draws them from a pyramid of minima and maxima.
"""

import base64
import hashlib
import io
import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2
import numpy as np
from PIL import Image

from ..errors import VideoError
from ..events import EventRule
from ..media.timecode import clock
from ..names import readable
from ..score import Result
from ..storage import write_whole
from ..version import __version__
from .base import MOST_PICTURES, Context, Intervals
from .envelope import min_max
from .moments import moments

SPARK_WIDTH, SPARK_HEIGHT = 240, 40
EMBED_LIMIT = 200 << 20  # bytes; browsers give up on pages much larger


@dataclass(frozen=True)
class Page:
    """A page that was written, as the index shows it.

    thumbnail: a data: address, where there is a video. curve: points of an SVG polyline. events: left
    edge and width of each, in the same units.
    """

    path: Path
    name: str
    thumbnail: str | None
    peak: float
    duration: str
    curve: str
    events: list[tuple[float, float]]


class HTML:
    """The report page: the video, the curve of scores, the events, and a threshold to move."""

    def render(self, result: Result, context: Context) -> str:
        frames = context.frames(result, moments(result, MOST_PICTURES))
        data = {
            "name": context.title,
            "video": readable(context.label or result.path.stem),
            "key": key_of(result),
            "fps": result.fps,
            "scores": _base64(result.scores.astype("<f4")),
            "times": None if result.times is None else _base64((result.times * 1000).round().astype("<u4")),
            "rule": _rule(result.rule),
            "truth": context.truth,
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
                source=_source(context.video, context.path, context.embed) if context.video else None,
                embedded=context.embed,
                duration=clock(result.duration),
                version=__version__,
            )
        )


def page_of(result: Result, context: Context) -> Page:
    """The page of a result as the index shows it."""
    frames = context.frames(result, result.highlights(1))
    return Page(
        context.path,
        context.title,
        _jpeg(next(iter(frames.values()))) if frames else None,
        float(result.scores.max()),
        clock(result.duration),
        _spark_line(result.scores),
        [_spark_interval(event.start, event.end, result) for event in result.events],
    )


def write_report(
    result: Result,
    path: Path,
    video: Path | None = None,
    truth: Intervals | None = None,
    embed: bool = False,
) -> Page:
    """Write the page of one result to `path`.

    `video` is what it plays, by its place relative to the page, or, with `embed`, out of the page
    itself. `truth`, half-open frame intervals, is drawn along the curve.

    Raises VideoError where the video is too large to embed.
    """
    context = Context(path, readable(result.path.name), video, truth, embed)
    write_whole(path, HTML().render(result, context))
    return page_of(result, context)


def key_of(result: Result) -> str:
    """What verdicts on a video are kept under: the same for the same file, whatever its scores."""
    return hashlib.sha256(os.fsencode(result.path.absolute())).hexdigest()[:16]


def write_index(pages: Sequence[Page], path: Path, failures: Sequence[str] = ()) -> None:
    """Write a page that links to all others, the highest peak score first, and names what failed."""
    rows = [(page, _link(page.path, path)) for page in sorted(pages, key=lambda page: -page.peak)]
    template = _environment().get_template("index.html")
    failures = [readable(failure) for failure in failures]
    size = {"width": SPARK_WIDTH, "height": SPARK_HEIGHT}
    write_whole(path, template.render(rows=rows, failures=failures, version=__version__, **size))


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("anomalycli.export"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def _source(video: Path, page: Path, embed: bool) -> str:
    if not embed:
        return _link(video, page)
    if (size := video.stat().st_size) > EMBED_LIMIT:
        raise VideoError(
            f"{video}: at {size >> 20} MB it is too large to embed into its page (the most is {EMBED_LIMIT >> 20} MB). "
            "Keep the video beside the page instead."
        )
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


def _spark_interval(start: int, end: int, result: Result) -> tuple[float, float]:
    """Left edge and width."""
    scale = SPARK_WIDTH / len(result.scores)
    return round(start * scale, 1), round(max((end - start) * scale, 1), 1)


def _jpeg(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=72)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _rule(rule: EventRule) -> dict[str, float]:
    """The rule under the names that the page's script has for it."""
    return {"start": rule.start_threshold, "end": rule.end_threshold, "gap": rule.gap, "shortest": rule.shortest}
