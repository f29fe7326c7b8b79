"""Pictures of results: the curve, the threshold, the events and a glimpse of each peak."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import ConnectionPatch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from .curve import min_max
from .score import Result
from .terminal import clock
from .video import Video
from .whole import whole

GLIMPSES = 6  # most pictures above the curve
COLUMNS = 2000  # of the curve, two points each
STEPS = (0.5, 1, 2, 3, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # seconds between labels
SUFFIXES = ("png", "svg", "pdf")
Spans = Sequence[tuple[int, int]]  # frames, half-open
INK, CURVE, EVENT, TRUTH, QUIET = "#22303c", "#2563a8", "#e4572e", "#15803d", "#8a97a3"


def plot_result(result: Result, path: Path, video: Path | None = None, truth: Spans | None = None) -> None:
    """Draw `result` to `path` (PNG, SVG or PDF, by its suffix).

    Pictures come from `video`, where there is one; `truth`, where it is known, is drawn along the top.
    """
    peaks = result.highlights(GLIMPSES)
    glimpses = Video(video, short_side=180).grab(peaks) if video else {}
    figure = Figure(figsize=(11, 5.2 if glimpses else 3.4), dpi=120, layout="constrained")
    grid = GridSpec(2 if glimpses else 1, max(1, len(glimpses)), figure, height_ratios=[1.15, 2] if glimpses else [1])
    curve = figure.add_subplot(grid[-1, :])
    _draw_curve(curve, result, truth)
    for column, (frame, picture) in enumerate(sorted(glimpses.items())):
        _draw_glimpse(figure.add_subplot(grid[0, column]), curve, picture, frame, result)
    figure.suptitle(_title(result), x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold", parse_math=False)
    _save(figure, path)


def plot_sheet(results: Sequence[Result], path: Path, truths: Sequence[Spans | None] | None = None) -> None:
    """Draw the curves of several results on one sheet, two side by side, in the order given."""
    columns = min(2, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(5.5 * columns, 0.4 + 1.9 * rows), dpi=150, layout="constrained")
    for number, result in enumerate(results):
        axes = figure.add_subplot(rows, columns, number + 1)
        _draw_curve(axes, result, truths[number] if truths else None, labels=6)
        axes.set_title(_title(result), loc="left", color=INK, fontsize=10, fontweight="bold", parse_math=False)
        axes.set(xlabel="" if number < len(results) - columns else "time")
        axes.set(ylabel="" if number % columns else "anomaly score")
    _save(figure, path)


def _draw_curve(axes, result: Result, truth: Spans | None, labels: int = 12) -> None:
    starts, low, high = min_max(result.scores, COLUMNS)
    time = result.edges[starts]
    beside = {
        "xycoords": ("axes fraction", "data"),
        "xytext": (4, 0),
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 8,
        "annotation_clip": False,
    }
    for event in result.events:
        axes.axvspan(result.edges[event.start], result.edges[event.end], color=EVENT, alpha=0.16, lw=0)
    if truth is not None:
        bars = [(result.edges[start], result.edges[end] - result.edges[start]) for start, end in truth]
        axes.broken_barh(bars, (1.03, 0.06), color=TRUTH, lw=0)
        axes.annotate(
            "ground truth" if truth else "truth: normal",
            (1, 1.06),
            color=TRUTH,
            **beside,
        )
    axes.fill_between(time, high, color=CURVE, alpha=0.18, lw=0)
    axes.plot(
        np.repeat(time, 2),
        np.stack((low, high), 1).ravel(),
        color=CURVE,
        lw=1.6 if len(result.scores) <= COLUMNS else 0.8,
        solid_joinstyle="round",
    )
    axes.axhline(result.rule.start, color=EVENT, lw=1, ls=(0, (5, 4)))
    axes.annotate(
        f"threshold {result.rule.start:g}",
        (1, result.rule.start),
        color=EVENT,
        **beside,
    )
    axes.set(
        xlim=(0, result.duration), ylim=(0, 1.04 if truth is None else 1.09), ylabel="anomaly score", xlabel="time"
    )
    axes.set_yticks(np.linspace(0, 1, 6))
    step = next((step for step in STEPS if step * labels >= result.duration), result.duration / labels)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds + 1e-6)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.grid(axis="y", color=QUIET, alpha=0.25)


def _draw_glimpse(axes, curve, picture: np.ndarray, frame: int, result: Result) -> None:
    time, score = result.edges[frame], result.scores[frame]
    inside = any(event.start <= frame < event.end for event in result.events)
    colour = EVENT if inside else QUIET
    axes.imshow(picture)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{clock(time)}   {score:.2f}", fontsize=10, color=INK)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)
    line = ConnectionPatch(
        (0.5, 0), (time, score), coordsA="axes fraction", coordsB="data", axesA=axes, axesB=curve, color=colour, lw=0.8
    )
    line.set_in_layout(False)
    axes.figure.add_artist(line)
    curve.plot([time], [score], "o", color=colour, ms=4)


def _save(figure: Figure, path: Path) -> None:
    with whole(path) as partial:
        figure.savefig(partial, format=path.suffix[1:].lower())


def _title(result: Result) -> str:
    count = len(result.events)
    return f"{result.path.name}   {count or 'no'} event{'' if count == 1 else 's'}"
