"""Plots of scores: curve, threshold, events, and a video frame at each peak."""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from matplotlib.ticker import MaxNLocator
from sklearn.isotonic import isotonic_regression

from ..events import runs
from ..media.start_time import RecordingStart
from ..media.timecode import clock, time_of_day
from ..names import readable
from ..result import Result
from ..storage import write_file
from ..wording import number_or_no
from .base import PICTURES, Context, Intervals
from .envelope import min_max
from .lettering import lettered
from .time_axis import time_labels

GLIMPSES = 6  # most video frames above the curve, each as wide as its share
COLUMNS = 2000  # of the curve, two points each
INK, CURVE, EVENT, TRUTH, QUIET = "#22303c", "#2563a8", "#e4572e", "#15803d", "#8a97a3"


@dataclass(frozen=True)
class Curve:
    """Data of a plotted video: the beginning of each column, and its lowest and highest score.

    `begin`, `length` and intervals are in `unit`: time (seconds) or frame. truth: None where it is not known.
    threshold: None if events are not plotted. start: when the recording began, where that is known.
    """

    title: str
    begin: np.ndarray
    low: np.ndarray
    high: np.ndarray
    length: float
    events: Sequence[tuple[float, float]] = ()
    truth: Sequence[tuple[float, float]] | None = None
    threshold: float | None = None
    unit: str = "time"
    start: RecordingStart | None = None
    often: Sequence[tuple[float, str]] = ()


def curve_of(result: Result, truth: Intervals | None = None, title: str | None = None) -> Curve:
    """The curve of `result` over time, with its events and, where it is known, `truth`."""
    at = result.edges
    begin, low, high = min_max(result.scores, COLUMNS)
    return Curve(
        title=f"{title or readable(result.path.name)}   {number_or_no(len(result.events), 'event')}",
        begin=at[begin],
        low=low,
        high=high,
        length=result.duration,
        events=[(at[event.start], at[event.end]) for event in result.events],
        truth=None if truth is None else [(at[start], at[end]) for start, end in truth],
        threshold=result.rule.start_threshold,
        start=result.start,
        often=_often(result),
    )


def _often(result: Result) -> list[tuple[float, str]]:
    """Scores to mark, falling, and how often normal footage reaches them; empty without a calibration."""
    marks: list[tuple[float, str]] = []
    taken = [result.rule.start_threshold]
    for score, hours in reversed(result.calibration.reached if result.calibration else ()):
        decade = math.floor(math.log10(hours))
        if all(abs(score - other) >= 0.08 for other in taken) and f"{decade}" not in {mark[1] for mark in marks}:
            marks.append((score, f"{decade}"))
            taken.append(score)
    return [(score, str(result.once_in(score))) for score, _ in marks]


def curve_of_frames(name: str, scores: np.ndarray, truth: np.ndarray) -> Curve:
    """The curve of scores (n_frames,) over frames, with which of them are abnormal, bool (n_frames,)."""
    return Curve(name, *min_max(scores, COLUMNS), len(scores), truth=runs(truth), unit="frame")


@dataclass(frozen=True)
class Picture:
    """A writer of plots: the curve, the threshold, events shaded, and frames of the video at up to six peaks."""

    kind: str

    def render(self, result: Result, context: Context) -> bytes:
        curve = curve_of(result, context.truth, context.title)
        glimpses = context.frames(result, result.highlights(GLIMPSES))
        figure = Figure(figsize=(11, 5 if glimpses else 3.4), dpi=120, layout="constrained")
        grid = figure.add_gridspec(2 if glimpses else 1, height_ratios=[1, 2.4] if glimpses else [1])
        axes = figure.add_subplot(grid[-1])
        _draw_curve(axes, curve)
        if glimpses:
            _draw_glimpses(figure.add_subplot(grid[0]), axes, glimpses, result)
        title, font = lettered(curve.title, 110)
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold", parse_math=False, **font)
        return drawn(figure, self.kind, curve.title, described(curve))


PNG, SVG, PDF = (partial(Picture, kind) for kind in PICTURES)


def plot_sheet(curves: Sequence[Curve], path: Path, shared: bool = False) -> None:
    """Draw several curves on one sheet: PNG, SVG or PDF, by the suffix of `path`."""
    write_file(path, sheet_of(curves, path.suffix[1:].lower(), shared))


def sheet_of(curves: Sequence[Curve], kind: str, shared: bool = False) -> bytes:
    """A picture of this kind, one of PICTURES, of several curves, two side by side, in the order of titles (Fig. 5).

    `shared`: all curves have the same axis, as long as the longest needs.
    """
    curves = sorted(curves, key=lambda curve: _natural(curve.title))
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(5.5 * columns, 0.4 + 1.9 * rows), dpi=150, layout="constrained")
    longest = max(curve.length for curve in curves)
    for number, curve in enumerate(curves):
        axes = figure.add_subplot(rows, columns, number + 1)
        _draw_curve(axes, curve, 6, longest if shared else curve.length)
        title, font = lettered(curve.title, 60)
        axes.set_title(title, loc="left", color=INK, fontsize=10, fontweight="bold", parse_math=False, **font)
        if number < len(curves) - columns and curve.start is None:
            axes.set(xlabel="")
        if number % columns:
            axes.set(ylabel="")
    words = "\n".join(f"{curve.title}: {described(curve)}" for curve in curves)
    return drawn(figure, kind, f"Anomaly scores of {len(curves)} videos", words)


def described(curve: Curve) -> str:
    """A description of the curve for readers who cannot see it."""
    at: Callable[[float], str] = clock if curve.unit == "time" else "{:.0f}".format
    if start := curve.start:
        at = lambda seconds: time_of_day(start.at(seconds))  # noqa: E731
    peak = int(curve.high.argmax())
    unit = " frames" if curve.unit == "frame" else ""
    highest = f"highest {curve.high[peak]:.2f} at {at(curve.begin[peak])}"
    length = clock(curve.length) if curve.unit == "time" else at(curve.length)
    words = [f"Anomaly score from 0 to 1 over {length}{unit}, {highest}."]
    for name, intervals in (("Events", curve.events), ("Ground truth", curve.truth)):
        if intervals:
            words.append(f"{name}: {', '.join(f'{at(start)} to {at(end)}' for start, end in intervals)}.")
    if curve.often:
        words.append(f"Normal footage reaches {', '.join(f'{score:.2f} {often}' for score, often in curve.often)}.")
    return " ".join(words)


def save(figure: Figure, path: Path, title: str, description: str) -> None:
    """Write the figure atomically, in the format of the path's suffix."""
    write_file(path, drawn(figure, path.suffix[1:].lower(), title, description))


def drawn(figure: Figure, kind: str, title: str, description: str) -> bytes:
    """The figure as a file of this kind, one of PICTURES: the same bytes for the same figure.

    PDF has TrueType fonts, which journals ask for; SVG has text as text, and a title and a description that screen
    readers find. Title and description are in the metadata of all kinds.
    """
    file = io.BytesIO()
    metadata: dict[str, dict] = {
        "png": {"Title": title, "Description": description},
        "svg": {"Title": title, "Description": description, "Date": None},
        "pdf": {"Title": title, "Subject": description, "CreationDate": None},
    }
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "anomalycli"}):
        figure.savefig(file, format=kind, metadata=metadata[kind])
    content = file.getvalue()
    if kind == "svg":
        content = content.replace(b"<svg ", b'<svg role="img" ', 1)
        content = content.replace(b"</title>", f"</title>\n <desc>{escape(description)}</desc>".encode(), 1)
    return content


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names as people do: 2 before 10."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _draw_curve(axes, curve: Curve, labels: int = 12, length: float | None = None) -> None:
    """`labels`: most of them along the axis, which is `length` long; None: as the curve."""
    length = length or curve.length
    for start, end in curve.events:
        axes.axvspan(start, end, color=EVENT, alpha=0.16, lw=0)
    if curve.truth is not None:
        axes.broken_barh([(start, end - start) for start, end in curve.truth], (1.03, 0.06), color=TRUTH, lw=0)
        if curve.threshold is None:  # there are no event shades that it would cover
            for start, end in curve.truth:
                axes.axvspan(start, end, color=TRUTH, alpha=0.1, lw=0)
        _annotate(axes, "ground truth" if curve.truth else "truth: normal", 1.06, TRUTH)
    begin, low, high = (
        np.append(values, last)  # the last column reaches to the end
        for values, last in ((curve.begin, curve.length), (curve.low, curve.low[-1]), (curve.high, curve.high[-1]))
    )
    axes.fill_between(begin, high, color=CURVE, alpha=0.18, lw=0)
    axes.plot(
        np.repeat(begin, 2),
        np.stack((low, high), 1).ravel(),
        color=CURVE,
        lw=1.6 if len(curve.begin) < COLUMNS else 0.8,
        solid_joinstyle="round",
    )
    if curve.threshold is not None:
        axes.axhline(curve.threshold, color=EVENT, lw=1, ls=(0, (5, 4)))
        _annotate(axes, f"threshold {curve.threshold:.3g}", curve.threshold, EVENT)
    for score, words in curve.often:
        _annotate(axes, words, score, QUIET)
    axes.set(xlim=(0, length), ylim=(-0.03, 1.04 if curve.truth is None else 1.09))  # a curve at 0 stays in sight
    axes.set(xlabel=curve.unit, ylabel="anomaly score", yticks=np.linspace(0, 1, 6))
    if curve.unit == "time":
        places, texts, name = time_labels(length, labels, curve.start)
        axes.set_xticks(places, texts)
        axes.set_xlabel(name)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(labels, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.grid(axis="y", color=QUIET, alpha=0.25)


def _annotate(axes, text: str, height: float, colour: str) -> None:
    """Write `text` to the right of the curve."""
    axes.annotate(
        text,
        (1, height),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=colour,
        annotation_clip=False,
    )


def _draw_glimpses(strip, axes, glimpses: dict[int, np.ndarray], result: Result) -> None:
    """Draw frames (by number, in order) into `strip`, each as near to its place above `axes` as the others allow."""
    strip.set_axis_off()
    times = result.edges[list(glimpses)]
    width = 1 / GLIMPSES
    room = width * np.arange(len(glimpses))  # taken by those to the left
    lefts = room + isotonic_regression(
        times / result.duration - width / 2 - room, y_min=0, y_max=1 - width * len(glimpses)
    )
    for left, time, (frame, picture) in zip(lefts, times, glimpses.items(), strict=True):
        score = result.scores[frame]
        colour = EVENT if any(event.start <= frame < event.end for event in result.events) else QUIET
        glimpse = strip.inset_axes((left + 0.03 * width, 0.05, 0.94 * width, 0.95))
        glimpse.imshow(picture)
        glimpse.set(xticks=[], yticks=[], anchor="S")
        when = time_of_day(moment, day=False) if (moment := result.moment(frame)) else clock(time)
        glimpse.set_title(f"{when}   {score:.2f}", fontsize=10, color=INK)
        glimpse.spines[:].set(color=colour, linewidth=2)
        line = ConnectionPatch((0.5, 0), (time, 1), glimpse.transAxes, axes.get_xaxis_transform(), color=colour, lw=0.8)
        line.set_in_layout(False)
        axes.figure.add_artist(line)
        axes.plot([time, time], [score, axes.get_ylim()[1]], color=colour, lw=0.8)
        axes.plot([time], [score], "o", color=colour, ms=4)
