"""Results for people: tables on stdout, and summaries on stderr."""

import json
import os
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ..media.timecode import clock, time_of_day
from .terminal import say, shown

SPARK, WIDE = 24, 100  # columns of a sparkline, and of a terminal with room for it
UNBOUNDED = 1000  # columns of tables that are not on a terminal
NARROW = 72  # columns below which each video has lines of its own instead of a row


def summary_row(result) -> dict[str, str]:
    """Cells of the summary table for a result, by column."""
    from ..export.envelope import sparkline  # numpy, which --help does without

    peak = int(result.scores.argmax())
    events, day = [], None
    for event in result.events:
        span = f"{clock(result.edges[event.start])}-{clock(result.edges[event.end])}"
        if (start := result.moment(event.start)) and (end := result.moment(event.end)):
            span = f"{time_of_day(start, day=start.date() != day)}-{time_of_day(end, day=False)}"
            day = start.date()
        events.append(f"{span} [dim]{event.score:.2f}[/]")
    often = result.once_in(result.scores[peak])
    return {
        "video": shown(result.path.name),
        "duration": clock(result.duration),
        "scores": sparkline(result.scores, SPARK),
        "peak": f"{result.scores[peak]:.2f}",
        **({"normal footage": str(often)} if often else {}),
        "at": time_of(result, peak),
        "mode": result.mode,
        "events": "  ".join(events) or "[dim]none[/]",
    }


def time_of(result, frame: int) -> str:
    """The time of day of a frame, or its time in the video where the start of the recording is not known."""
    moment = result.moment(frame)
    return time_of_day(moment) if moment else clock(result.edges[frame])


def failed_row() -> dict[str, str]:
    """Cells of the summary table for an input that could not be scored."""
    return {"video": "", "duration": "", "scores": "", "peak": "", "at": "", "mode": "", "events": "[red]failed[/]"}


def print_summary(rows: list[dict[str, str]]) -> None:
    """Print the table of scored videos, made of `summary_row`s."""
    console = _results()
    if console.width < NARROW:
        for row in rows:
            peak = f"  {row['peak']} at {row['at']}" if row["peak"] else ""
            console.print(f"[bold]{row['video']}[/]{peak}", overflow="fold")
            console.print(Padding(row["events"], (0, 0, 0, 2)), overflow="fold")
        return
    drawn = WIDE <= console.width < UNBOUNDED and console.encoding.startswith("utf")
    longest = max(rows, key=len)  # some columns are of some videos alone
    columns = [column for column in longest if column != "scores" or drawn]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in ("duration", "peak", "at") else "left")
    for row in rows:
        table.add_row(*(row.get(column, "") for column in columns))
    console.print(table)


def print_counts(report: Path) -> None:
    """Print the counts of a run's report.json."""
    content = json.loads(report.read_text(encoding="utf-8"))
    counts = ", ".join(f"{n} {status}" for status, n in content["counts"].items() if n) or "nothing to do"
    speed = f"; {clock(content['video_seconds'])} of video in {clock(content['wall_seconds'])}"
    say(f"{report.parent}: {counts}" + (speed if content["video_seconds"] else ""))
    if content["video_seconds"]:
        say(f"{content['times_real_time']:.1f} times real time; the outcome of each video is in {report}")


def print_weights(items) -> None:
    """Print each published file of weights: path, size, licence, hash and source."""
    console = Console(highlight=False, soft_wrap=True)
    for item in items:
        here = f"[green]{escape(str(item.path))}[/]" if item.path.exists() else "not downloaded"
        size = f"{item.size / 1e6:.0f} MB, " if item.size else ""
        console.print(f"[bold]{item.name}[/]: {here}")
        console.print(f"    {item.what}")
        console.print(f"    {size}{item.licence}, sha256 {item.sha256 or 'not published'}")
        console.print(f"    {item.url}")
        console.print(f"    {item.source}")


def print_recipe(info, videos: str, advice: str) -> None:
    """What the recipe chose, and how good it is on new videos. videos: how many there are, in words."""
    record = info.training
    say(f"Chosen: {record.recipe}")
    if record.video_auc is not None:
        auc, low, high = (f"{value:.2f}" for value in (record.video_auc, record.video_auc_low, record.video_auc_high))
        measured = f"video AUC {auc} ({low}-{high}) on held-out videos, {record.folds} folds"
    else:
        measured = "not measured on held-out videos"
    say(f"{measured}; {videos}; {advice}")


def print_evaluation(evaluation, report: dict) -> None:
    """A table of the metrics; `report` has what they were measured on."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("frames of")
    for column in ("AUC", "AP", "auc(recall, precision)", "false alarms"):
        table.add_column(column, justify="right")
    metrics, intervals = evaluation.metrics, evaluation.intervals

    def cell(value: float | None, interval: tuple[float, float] | None = None) -> str:
        if value is None:
            return "-"
        return f"{value:.4f}" + (f" [dim]{interval[0]:.4f}-{interval[1]:.4f}[/]" if interval else "")

    everything = ("auc", "ap", "pr_auc")
    abnormal = ("abnormal_auc", "abnormal_ap", "abnormal_pr_auc")
    table.add_row("all videos", *(cell(getattr(metrics, name), intervals.get(name)) for name in everything), "-")
    table.add_row("abnormal videos", *(cell(getattr(metrics, name)) for name in abnormal), "-")
    table.add_row("normal videos", "-", "-", "-", cell(metrics.false_alarms))
    _results().print(table)
    n_frames = sum(video.n_frames for video in evaluation.videos)
    videos = f"{len(evaluation.videos)} of {report['test_videos']} videos"
    total = f" ({report['total']})" if report["total"] else ""
    say(f"{videos}, {n_frames:,} frames{total}; checkpoint: {report['checkpoint'] or 'not said'}")
    say(f"Scores are {report['scores_to_frames']} over frames; annotated intervals are {report['annotated_interval']}.")


def print_comparison(table: list[dict]) -> None:
    """Print the table of a comparison, one row per method."""
    from ..experiments.table import COLUMNS, mean_and_spread

    def grid(names: list[str]) -> Table:
        made = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("method", "seeds", "checkpoint"):
            made.add_column(column, overflow="fold")
        for name in names:
            made.add_column(COLUMNS[name], justify="right", overflow="fold")
        for line in table:
            cells = [mean_and_spread(line[name], line[f"{name}_std"]) for name in names]
            made.add_row(escape(line["method"]), str(line["seeds"]), line["checkpoint"], *cells)
        return made

    console, names = _results(), list(COLUMNS)
    if console.measure(grid(names), options=console.options.update(width=UNBOUNDED)).maximum <= console.width:
        console.print(grid(names))
    else:  # two metrics at a time, which 80 columns hold
        for pair in zip(names[::2], names[1::2], strict=True):
            console.print(grid([*pair]))


def _results() -> Console:
    """Stdout for tables: as wide as they are where it is a file or a pipe, unless COLUMNS says how wide."""
    console = Console(highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = UNBOUNDED
    return console
