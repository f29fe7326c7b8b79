"""What people see in the terminal: words and progress on stderr, tables on stdout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

words = Console(stderr=True, highlight=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss from an hour on."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def print_summary(results) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("video", "duration", "peak", "at", "span", "events"):
        table.add_column(column, overflow="fold", justify="right" if column in ("duration", "peak", "at") else "left")
    for result in results:
        peak = int(result.scores.argmax())
        events = [
            f"{clock(event.start / result.fps)}-{clock(event.end / result.fps)} [dim]{event.score:.2f}[/]"
            for event in result.events
        ]
        table.add_row(
            escape(result.path.name),
            clock(result.duration),
            f"{result.scores[peak]:.2f}",
            clock(peak / result.fps),
            result.span,
            "  ".join(events) or "[dim]none[/]",
        )
    Console(highlight=False).print(table)


@contextmanager
def clip_progress() -> Iterator[tuple[Callable, Callable]]:
    """Yields `on_clips(path, done, total)`, and `say(markup)` that prints above the bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("clips"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=words, transient=True, disable=not words.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def on_clips(path: Path, done: int, total: int | None) -> None:
            progress.update(task, description=escape(path.name), completed=done, total=total)

        yield on_clips, words.print


@contextmanager
def train_progress(steps: int, n_videos: int) -> Iterator[Callable]:
    """Yields `on_progress`: a bar on a terminal, a line at each validation elsewhere and for the record."""
    words.print(f"{n_videos} videos, {steps} steps")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=words, transient=True, disable=not words.is_terminal) as progress:
        task = progress.add_task("", total=steps)
        every = max(1, steps // 20)

        def on_progress(now) -> None:
            ap = "-" if now.validation_ap is None else f"{now.validation_ap:.3f}"
            text = f"loss {now.loss:.3f}  erased {now.erased:.0%}  validation AP {ap}"
            progress.update(task, description=text, completed=now.step)
            if now.step % every == 0 or now.step == steps:
                words.print(f"step {now.step:>6}  {text}")

        yield on_progress


def print_evaluation(evaluation, checkpoint: str | None) -> None:
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
    words.print(f"{len(evaluation.videos)} videos, {n_frames:,} frames; checkpoint: {checkpoint or 'not said'}")


@contextmanager
def compare_progress(rows, seeds: int) -> Iterator[tuple[Callable, Callable]]:
    """Yields `on_step(entry, seed, step)`, and `say(outcome)`, a line a run."""
    words.print(f"{len(rows)} rows, {seeds} seeds")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
    with Progress(*columns, console=words, transient=True, disable=not words.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def on_step(entry, seed: int, step: int) -> None:
            text = f"{escape(entry.label)}, seed {seed}"
            progress.update(task, description=text, completed=step, total=entry.config.steps)

        def say(outcome) -> None:
            auc, ap = outcome.metrics["auc"], outcome.metrics["ap"]
            words.print(
                f"{escape(outcome.label)}, seed {outcome.seed}: AUC {auc:.4f}  AP {ap:.4f}  step {outcome.step}"
            )

        yield on_step, say


def print_comparison(table: list[dict]) -> None:
    from .compare import COLUMNS, mean_and_spread

    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "seeds", "checkpoint"):
        grid.add_column(column)
    for column in COLUMNS.values():
        grid.add_column(column, justify="right")
    for line in table:
        cells = [mean_and_spread(line[name], line[f"{name}_std"]) for name in COLUMNS]
        grid.add_row(escape(line["method"]), str(line["seeds"]), line["checkpoint"], *cells)
    Console(highlight=False).print(grid)
