"""Pages to look at results in: one a video, and an index of many. Each is one file that asks for nothing.

A page of two hours (180,000 frames) weighs about a megabyte without the video: the scores go into
it as float32, and its script draws them from a pyramid of minima and maxima.
"""

import base64
import dataclasses
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

from ..errors import UsageError
from ..media.decoder import Decoder
from ..media.timecode import clock
from ..score import Result
from ..storage import write_whole
from ..version import __version__
from .envelope import min_max

THUMBNAILS = 60  # most of them on a page, of the strongest events
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


def write_report(
    result: Result,
    path: Path,
    video: Path | None = None,
    truth: Sequence[tuple[int, int]] | None = None,
    embed: bool = False,
) -> Page:
    """Write the page of one result to `path`.

    `video` is what it plays, by its place relative to the page, or, with `embed`, out of the page
    itself. `truth`, half-open frame intervals, is drawn along the curve.

    Raises UsageError where the video is too large to embed.
    """
    name = _text(result.path.name)
    frames = {}
    if video:
        with Decoder() as decoder:
            frames = decoder.grab(video, result.highlights(THUMBNAILS), short_side=160)
    thumbnails = {frame: _jpeg(picture) for frame, picture in frames.items()}
    data = {
        "name": name,
        "fps": result.fps,
        "scores": _base64(result.scores.astype("<f4")),
        "times": None if result.times is None else _base64((result.times * 1000).round().astype("<u4")),
        "rule": dataclasses.asdict(result.rule),
        "truth": truth,
        "thumbnails": thumbnails,
    }
    page = _environment().get_template("report.html")
    content = page.render(
        name=name,
        result=result,
        data=data,
        source=_source(video, path, embed) if video else None,
        duration=clock(result.duration),
        version=__version__,
    )
    write_whole(path, content)
    highest = sorted(thumbnails, key=lambda frame: result.scores[frame])
    return Page(
        path,
        name,
        thumbnails[highest[-1]] if highest else None,
        float(result.scores.max()),
        clock(result.duration),
        _spark_line(result.scores),
        [_spark_span(event.start, event.end, result) for event in result.events],
    )


def write_index(pages: Sequence[Page], path: Path, failures: Sequence[str] = ()) -> None:
    """Write a page that leads to all others, the highest peak score first, and names what failed."""
    rows = [(page, _link(page.path, path)) for page in sorted(pages, key=lambda page: -page.peak)]
    template = _environment().get_template("index.html")
    failures = [_text(failure) for failure in failures]
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
        raise UsageError(
            f"{video}: at {size >> 20} MB it is too large to embed (the most is {EMBED_LIMIT >> 20}); "
            "leave out --embed and keep the video beside the page."
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


def _spark_span(start: int, end: int, result: Result) -> tuple[float, float]:
    """Left edge and width."""
    scale = SPARK_WIDTH / len(result.scores)
    return round(start * scale, 1), round(max((end - start) * scale, 1), 1)


def _jpeg(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=72)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _text(name: str) -> str:
    """A file name that may hold bytes which are no text."""
    return os.fsencode(name).decode(errors="replace")
