"""A picture of one result: the curve, the threshold, the events and a glimpse of each peak."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import ConnectionPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .score import Result
from .terminal import clock
from .video import Video

GLIMPSES = 6  # most pictures above the curve
INK, CURVE, EVENT, QUIET = "#22303c", "#2563a8", "#e4572e", "#8a97a3"


def plot_result(result: Result, path: Path, video: Path | None = None) -> None:
    """Draw `result` to `path` (PNG); pictures come from `video`, where there is one."""
    peaks = _peaks(result)
    glimpses = Video(video, short_side=180).grab(peaks) if video else {}
    figure = Figure(figsize=(11, 5.2 if glimpses else 3.4), dpi=120, layout="constrained")
    grid = GridSpec(2 if glimpses else 1, max(1, len(glimpses)), figure, height_ratios=[1.15, 2] if glimpses else [1])
    curve = figure.add_subplot(grid[-1, :])
    _draw_curve(curve, result)
    for column, (frame, picture) in enumerate(sorted(glimpses.items())):
        _draw_glimpse(figure.add_subplot(grid[0, column]), curve, picture, frame, result)
    figure.suptitle(_title(result), x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_curve(axes, result: Result) -> None:
    time, scores = _min_max(result)
    for event in result.events:
        axes.axvspan(event.start / result.fps, event.end / result.fps, color=EVENT, alpha=0.16, lw=0)
    axes.fill_between(time, scores, color=CURVE, alpha=0.18, lw=0)
    axes.plot(time, scores, color=CURVE, lw=1.6, solid_joinstyle="round")
    axes.axhline(result.rule.start, color=EVENT, lw=1, ls=(0, (5, 4)))
    axes.annotate(
        f"threshold {result.rule.start:g}",
        (1, result.rule.start),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        color=EVENT,
        fontsize=9,
    )
    axes.set(xlim=(0, result.duration), ylim=(0, 1.04), ylabel="anomaly score", xlabel="time")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, steps=[1, 1.5, 2, 3, 6, 10], min_n_ticks=3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(round(seconds))))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.grid(axis="y", color=QUIET, alpha=0.25)


def _draw_glimpse(axes, curve, picture: np.ndarray, frame: int, result: Result) -> None:
    time, score = frame / result.fps, result.scores[frame]
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


def _peaks(result: Result) -> list[int]:
    """Frames worth a look: the peaks of the strongest events, or the highest frame where there are none."""
    strongest = sorted(result.events, key=lambda event: -event.score)[:GLIMPSES]
    return sorted(event.peak for event in strongest) or [int(result.scores.argmax())]


def _min_max(result: Result, columns: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """At most two points a column of the picture: no peak is lost, however long the video."""
    n = len(result.scores)
    time = np.arange(n) / result.fps
    if n <= 2 * columns:
        return time, result.scores
    starts = np.arange(columns) * n // columns
    low, high = (reduce.reduceat(result.scores, starts) for reduce in (np.minimum, np.maximum))
    return np.repeat(time[starts], 2), np.stack((low, high), 1).ravel()


def _title(result: Result) -> str:
    count = len(result.events)
    return f"{result.path.name}   {count or 'no'} event{'' if count == 1 else 's'}"
