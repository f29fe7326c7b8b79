"""Progress bars on stderr. Each context manager yields the callback that the library calls."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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

from .terminal import log, messages, say, shown


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
def loading(what: str = "Starting") -> Iterator[None]:
    """Shows `what` while slow libraries are imported, before anything can be counted.

    Python's search for unreachable objects is off in the meantime and never looks at what was imported: it finds
    nothing there, and takes a tenth of the time that torch's import takes.
    """
    with _progress() as progress:
        progress.add_task(what, total=None)
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            gc.enable()


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
def train_progress(steps: int, videos: str) -> Iterator[Callable]:
    """Yields `on_progress`: a bar on a terminal, a line at each validation elsewhere and for the record.

    videos: how many there are, in words.
    """
    say(f"{videos}, {steps} steps")
    with _progress(MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=steps)
        every = max(1, steps // 20)

        def on_progress(now) -> None:
            text = f"loss {now.loss:.3f}"
            text += "" if now.erased is None else f"  erased {now.erased:.0%}"
            text += "" if now.validation_ap is None else f"  validation AP {now.validation_ap:.3f}"
            progress.update(task, description=text, completed=now.step)
            if now.step % every == 0 or now.step == steps:
                say(f"step {now.step:>6}  {text}")

        yield on_progress


@contextmanager
def recipe_progress(videos: str) -> Iterator[Callable]:
    """Yields `on_progress(RecipeProgress)`: a bar with the time left on a terminal, a line per run elsewhere.

    videos: how many there are, in words.
    """
    say(videos)
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


@contextmanager
def compare_progress(rows, seeds: int) -> Iterator[tuple[Callable, Callable]]:
    """Yields `on_step(row, seed, step)`, and `on_result(result)`, which prints one line per run."""
    say(f"{len(rows)} rows, {seeds} seeds")
    with _progress(MofNCompleteColumn(), TextColumn("steps")) as progress:
        tasks = {}  # of the runs that are being trained

        def on_step(row, seed: int, step: int) -> None:
            run = (row.label, seed)
            if run not in tasks:
                tasks[run] = progress.add_task(f"{escape(row.label)}, seed {seed}", total=row.plan.config.steps)
            progress.update(tasks[run], completed=step)

        def on_result(result) -> None:
            if (task := tasks.pop((result.label, result.seed), None)) is not None:
                progress.remove_task(task)
            auc, ap = result.metrics["auc"], result.metrics["ap"]
            say(f"{result.label}, seed {result.seed}: AUC {auc:.4f}  AP {ap:.4f}  step {result.step}")

        yield on_step, on_result
