"""What `score` prints while it works: its progress, the outcome of each video, and a summary."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress, TextColumn

from ..errors import AnomalyError
from ..inputs import Input
from ..media.timecode import clock
from ..wording import number_of, number_or_no
from .tables import failed_row, summary_row, time_of
from .terminal import messages, say, shown

if TYPE_CHECKING:
    from ..export.outputs import Scored
    from ..media.decoder import Decoder

EVERY = 60.0  # seconds between lines where there is no terminal
SURE = 5.0  # seconds of work after which the speed is known well enough to be said
LONG = 600.0  # seconds; runs that take longer are announced


@dataclass
class Tally:
    """Outcomes of the inputs so far. written: files by what their names end with. sources: those of times of day."""

    rows: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    scored: int = 0
    partial: int = 0
    failed: int = 0
    events: int = 0
    with_events: int = 0

    def add(self, scored: "Scored") -> None:
        """Count an input. Its result is not kept: those of many long videos would fill the memory."""
        self.written += scored.written
        result, title = scored.result, {"video": shown(scored.title)}
        if result is None:
            self.failed += 1
            self.rows.append((-1.0, failed_row() | title))
            return
        self.scored += 1
        self.partial += bool(result.warning)
        self.events += len(result.events)
        self.with_events += bool(result.events)
        self.sources.update([result.start.source] if result.start else [])
        self.rows.append((float(result.scores.max()), summary_row(result) | title))

    def sorted_rows(self) -> list[dict[str, str]]:
        """Rows of the table, the highest peak first and failures last."""
        return [row for _, row in sorted(self.rows, key=lambda pair: -pair[0])]

    def sentence(self, speed: float | None) -> str:
        """The summary; `speed` is in seconds of video per second, None where no video was read."""
        parts = [f"{self.scored} scored"]
        if self.partial:
            parts.append(f"{self.partial} of them partial")
        if self.failed:
            parts.append(f"{self.failed} failed")
        found = number_or_no(self.events, "event")
        parts.append(f"{found} in {number_of(self.with_events, 'video')}" if self.events else found)
        if speed is not None:
            parts.append(f"{speed:.1f} times real time")
        return ", ".join(parts)


class ScoreProgress:
    """The progress of a run. `on_clips` is called while a video is read, `finished` with the outcome of each.

    durations: seconds of each video, None where the file does not say.
    """

    def __init__(self, inputs: list[Input], durations: dict[Path, float | None], bar: Progress):
        self.inputs, self.durations, self.bar = inputs, durations, bar
        self.tally = Tally()
        self.begin = self.said = time.monotonic()
        self.task = bar.add_task(f"0/{len(inputs)}", total=None)
        self.done = 0  # inputs
        self.read = 0.0  # seconds of video that were read, in all
        self.position = 0.0  # of them, in the current video
        self.is_announced = False

    def on_clips(self, path: Path, done: int, total: int | None) -> None:
        """Show how far the video at `path` is."""
        duration = self.durations.get(path)
        position = duration * min(1.0, done / total) if duration and total else 0.0
        self.read += position - self.position
        self.position = position
        where = f"{clock(position)} of {clock(duration)}" if position and duration else f"{done} clips"
        left = self.left()
        words = [f"{self.done + 1}/{len(self.inputs)} {path.name} {where}"]
        words += [number_or_no(self.tally.events, "event")] if self.done else []
        words += [f"{rough(left)} left in all"] if left is not None else []
        self.bar.update(self.task, description=shown(", ".join(words)))
        now = time.monotonic()
        if left is not None and not self.is_announced:
            self.is_announced = True
            if left > LONG:
                total_time = rough(left + now - self.begin)
                say(f"{clock(sum(filter(None, self.durations.values())))} of video: about {total_time} on this machine")
        if not messages.is_terminal and now - self.said >= EVERY:
            self.said = now
            say(", ".join(words))

    def left(self) -> float | None:
        """Seconds until the end, None while that cannot be said: videos that were scored before take no time."""
        elapsed = time.monotonic() - self.begin
        known = [duration for duration in self.durations.values() if duration]
        if elapsed < SURE or not self.read or not known:
            return None
        mean = sum(known) / len(known)
        ahead = sum(self.durations.get(item.path) or mean for item in self.inputs[self.done + 1 :])
        here = (self.durations.get(self.inputs[self.done].path) or mean) - self.position
        return (ahead + max(0.0, here)) * elapsed / self.read

    def finished(self, scored: "Scored") -> None:
        """Count an input, and print its outcome in one line if it is one of several."""
        result = scored.result
        if result is not None and self.position:
            self.read += result.duration - self.position
        self.position = 0.0
        self.done += 1
        self.tally.add(scored)
        self.bar.update(self.task, description=f"{self.done}/{len(self.inputs)}")
        if result is not None and len(self.inputs) > 1:
            peak = int(result.scores.argmax())
            found = f"{number_or_no(len(result.events), 'event')}, highest score {result.scores[peak]:.2f}"
            say(f"{self.done}/{len(self.inputs)} {scored.title}: {found} at {time_of(result, peak)}")

    def sentence(self) -> str:
        """The summary of the run."""
        elapsed = time.monotonic() - self.begin
        return self.tally.sentence(self.read / elapsed if self.read else None)


@contextmanager
def score_progress(inputs: list[Input], durations: dict[Path, float | None]) -> Iterator[ScoreProgress]:
    """Yields a ScoreProgress: one line that changes on a terminal, plain lines elsewhere."""
    with Progress(
        TextColumn("{task.description}"),
        console=messages,
        transient=True,
        disable=messages.quiet or not messages.is_terminal,
    ) as bar:
        yield ScoreProgress(inputs, durations, bar)


def durations_of(inputs: list[Input], decoder: "Decoder | None") -> dict[Path, float | None]:
    """Seconds of each video by its header; None where that does not say, and where the file cannot be read."""
    durations: dict[Path, float | None] = {}
    for item in inputs if decoder else ():
        try:
            durations[item.path] = decoder.duration(item.path)  # type: ignore[union-attr]
        except AnomalyError:  # said when the video is scored
            durations[item.path] = None
    return durations


def rough(seconds: float) -> str:
    """A time that is estimated: `40 s`, `25 min`, `1 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
