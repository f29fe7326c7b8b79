"""Output to the terminal: messages and progress on stderr, tables on stdout."""

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from ..errors import UsageError
from ..media.timecode import clock
from ..names import readable

messages = Console(stderr=True, highlight=False, soft_wrap=True)
log = logging.getLogger("anomalycli")
log.addHandler(logging.NullHandler())  # without any, Python writes errors to stderr a second time
SPARK, WIDE = 24, 100  # columns of a sparkline, and of a terminal that has room for it


def say(markup: str) -> None:
    """Print one line to stderr, unless -q was given, and log it."""
    text = line(markup)
    messages.print(text)
    log.info(text.plain)


def complain(markup: str) -> None:
    """Print one line about an error to stderr, with -q too, and log it."""
    text = line(markup)
    (Console(stderr=True, highlight=False, soft_wrap=True) if messages.quiet else messages).print(text)
    log.error(text.plain)


def line(markup: str) -> Text:
    """`markup` as one line: names of files in it cannot break the line or send escape sequences to the terminal."""
    return Text.from_markup(readable(markup))


def shown(name: object) -> str:
    """The name of a file as markup for tables and progress bars."""
    return escape(readable(str(name)))


def replace_what_cannot_be_encoded() -> None:
    """Let stdout and stderr print a question mark for characters that their encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def set_up_messages(quiet: bool = False, verbose: bool = False, log_file: Path | None = None) -> None:
    """Silence `say`, print the debug messages of modules, or log all messages to a file.

    Raises UsageError for a log file that cannot be written.
    """
    if quiet:
        messages.quiet = True
    if verbose:
        handler = _ToTerminal()
        handler.addFilter(lambda record: record.levelno == logging.DEBUG)  # other levels are printed by say
        _listen(handler, "%(message)s")
    if log_file:
        try:
            _listen(logging.FileHandler(log_file, encoding="utf-8"), "%(asctime)s %(levelname)s %(message)s")
        except OSError as error:
            raise UsageError(f"{log_file}: the log cannot be written there ({error.strerror}).") from error


class _ToTerminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        messages.print(escape(self.format(record)), style="dim")


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = readable(record.message)
        return super().formatMessage(record)


def _listen(handler: logging.Handler, form: str) -> None:
    handler.setFormatter(_OneLine(form))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)


def summary_row(result) -> dict[str, str]:
    """Cells of the summary table for a result, by column."""
    from ..export.envelope import sparkline  # numpy, which --help does without

    peak = int(result.scores.argmax())
    events = [
        f"{clock(result.edges[event.start])}-{clock(result.edges[event.end])} [dim]{event.score:.2f}[/]"
        for event in result.events
    ]
    return {
        "video": shown(result.path.name),
        "duration": clock(result.duration),
        "scores": sparkline(result.scores, SPARK),
        "peak": f"{result.scores[peak]:.2f}",
        "at": clock(result.edges[peak]),
        "mode": result.mode,
        "events": "  ".join(events) or "[dim]none[/]",
    }


def print_summary(rows: list[dict[str, str]]) -> None:
    """Print the table of scored videos, made of `summary_row`s."""
    console = Console(highlight=False)
    drawn = console.width >= WIDE and console.encoding.startswith("utf")
    columns = [column for column in rows[0] if column != "scores" or drawn]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in ("duration", "peak", "at") else "left")
    for row in rows:
        table.add_row(*(row[column] for column in columns))
    console.print(table)


def print_weights(items) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for item in items:
        here = f"[green]{escape(str(item.path))}[/]" if item.path.exists() else "not downloaded"
        size = f"{item.size / 1e6:.0f} MB, " if item.size else ""
        console.print(f"[bold]{item.name}[/]: {here}")
        console.print(f"    {item.what}")
        console.print(f"    {size}{item.licence}, sha256 {item.sha256 or 'not published'}")
        console.print(f"    {item.url}")
        console.print(f"    {item.source}")


def _progress(*columns: ProgressColumn) -> Progress:
    """A description, a bar and `columns`, removed at the end. Silent with -q and when stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=messages,
        transient=True,
        disable=messages.quiet or not messages.is_terminal,
    )


@contextmanager
def clip_progress() -> Iterator[Callable]:
    """Yields `on_clips(path, done, total)`."""
    with _progress(MofNCompleteColumn(), TextColumn("clips"), TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=None)

        def on_clips(path: Path, done: int, total: int | None) -> None:
            progress.update(task, description=shown(path.name), completed=done, total=total)

        yield on_clips


@contextmanager
def extract_progress() -> Iterator[Callable]:
    """Yields `on_progress(ExtractionProgress)`: how much of the files, by their size, and how fast."""
    speed = TextColumn("{task.fields[clips]:.1f} clips/s  {task.fields[times]:.1f} x real time")
    with _progress(TaskProgressColumn(), speed, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=None, clips=0.0, times=0.0)
        begin = time.monotonic()

        def on_progress(now) -> None:
            elapsed = max(time.monotonic() - begin, 1e-6)
            progress.update(
                task,
                description=f"{shown(now.path.name)}  {now.files_done} of {now.files}",
                completed=now.bytes_done,
                total=now.bytes,
                clips=now.clips / elapsed,
                times=now.seconds / elapsed,
            )

        yield on_progress


def print_counts(report: Path) -> None:
    """Print the counts of a run's report.json."""
    content = json.loads(report.read_text(encoding="utf-8"))
    counts = ", ".join(f"{n} {status}" for status, n in content["counts"].items() if n) or "nothing to do"
    speed = f"; {clock(content['video_seconds'])} of video in {clock(content['wall_seconds'])}"
    say(f"{escape(str(report.parent))}: {counts}" + (speed if content["video_seconds"] else ""))
    if content["video_seconds"]:
        say(f"{content['times_real_time']:.1f} times real time; the outcome of each video is in {escape(str(report))}")


@contextmanager
def byte_progress() -> Iterator[Callable]:
    """Yields `on_bytes(name, done, total)` for downloads; the bar shows once there is one."""
    with _progress(DownloadColumn(), TransferSpeedColumn()) as progress:
        tasks = {}

        def on_bytes(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name)
            progress.update(tasks[name], completed=done, total=total)

        yield on_bytes


@contextmanager
def train_progress(steps: int, n_videos: int) -> Iterator[Callable]:
    """Yields `on_progress`: a bar on a terminal, a line at each validation elsewhere and for the record."""
    say(f"{n_videos} videos, {steps} steps")
    with _progress(MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=steps)
        every = max(1, steps // 20)

        def on_progress(now) -> None:
            ap = "-" if now.validation_ap is None else f"{now.validation_ap:.3f}"
            text = f"loss {now.loss:.3f}  erased {now.erased:.0%}  validation AP {ap}"
            progress.update(task, description=text, completed=now.step)
            if now.step % every == 0 or now.step == steps:
                say(f"step {now.step:>6}  {text}")

        yield on_progress


@contextmanager
def recipe_progress(n_videos: int) -> Iterator[Callable]:
    """Yields `on_progress(RecipeProgress)`: a bar with the time left on a terminal, a line per run elsewhere."""
    say(f"{n_videos} videos")
    with _progress(TaskProgressColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=None)
        doing = ""

        def on_progress(now) -> None:
            nonlocal doing
            if now.doing != doing:
                doing = now.doing
                log.debug(doing)
            progress.update(task, description=escape(now.doing), completed=now.done, total=now.total)

        yield on_progress


def print_recipe(info, advice: str) -> None:
    """What the recipe chose, and how good it is on videos that it has not seen."""
    record = info.training
    say(escape(f"Chosen: {record.recipe}"))
    n_videos = record.abnormal_videos + record.normal_videos
    if record.video_auc is not None:
        auc, low, high = (f"{value:.2f}" for value in (record.video_auc, record.video_auc_low, record.video_auc_high))
        measured = f"video AUC {auc} ({low}-{high}) on held-out videos, {record.folds} folds"
    else:
        measured = "not measured on held-out videos"
    say(f"{measured}; {n_videos} videos; {advice}")


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
    Console(highlight=False).print(table)
    n_frames = sum(video.n_frames for video in evaluation.videos)
    videos = f"{len(evaluation.videos)} of {report['test_videos']} videos"
    total = f" ({report['total']})" if report["total"] else ""
    say(f"{videos}, {n_frames:,} frames{total}; checkpoint: {report['checkpoint'] or 'not said'}")
    say(f"Scores are {report['scores_to_frames']} over frames; annotated intervals are {report['annotated_interval']}.")


@contextmanager
def compare_progress(rows, seeds: int) -> Iterator[tuple[Callable, Callable]]:
    """Yields `on_step(row, seed, step)`, and `on_result(result)`, which prints one line per run."""
    say(f"{len(rows)} rows, {seeds} seeds")
    with _progress(MofNCompleteColumn(), TextColumn("steps")) as progress:
        task = progress.add_task("", total=None)

        def on_step(row, seed: int, step: int) -> None:
            text = f"{escape(row.label)}, seed {seed}"
            progress.update(task, description=text, completed=step, total=row.plan.config.steps)

        def on_result(result) -> None:
            auc, ap = result.metrics["auc"], result.metrics["ap"]
            say(f"{escape(result.label)}, seed {result.seed}: AUC {auc:.4f}  AP {ap:.4f}  step {result.step}")

        yield on_step, on_result


def print_comparison(table: list[dict]) -> None:
    from ..experiments.table import COLUMNS, mean_and_spread

    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "seeds", "checkpoint"):
        grid.add_column(column)
    for column in COLUMNS.values():
        grid.add_column(column, justify="right")
    for line in table:
        cells = [mean_and_spread(line[name], line[f"{name}_std"]) for name in COLUMNS]
        grid.add_row(escape(line["method"]), str(line["seeds"]), line["checkpoint"], *cells)
    Console(highlight=False).print(grid)
