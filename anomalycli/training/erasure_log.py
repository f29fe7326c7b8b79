"""A record of erasing during training: the erased segments of a video in each epoch (Fig. 4)."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..storage import atomic_write
from ..textfiles import read_table


@dataclass(frozen=True)
class Erasure:
    """Erased `segments` of the n_segments of a video in `epoch`, its number of occurrences so far, from 1."""

    epoch: int
    step: int
    video: str
    n_segments: int
    segments: tuple[int, ...]


def write_erasures(path: Path, erasures: Iterable[Erasure]) -> None:
    """Write one line per occurrence of a video in training; segment numbers are separated by spaces."""
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "step", "video", "n_segments", "segments"))
        for row in erasures:
            writer.writerow((row.epoch, row.step, row.video, row.n_segments, " ".join(map(str, row.segments))))


def read_erasures(path: Path) -> list[Erasure]:
    """Read a file from `write_erasures`. Raises UsageError if it is not one."""
    erasures = []
    for row in read_table(path, ("epoch", "step", "video", "n_segments", "segments")):
        epoch, step, n_segments = (row.integer(name) for name in ("epoch", "step", "n_segments"))
        segments = row["segments"].split()
        if not epoch or not all(segment.isdecimal() and int(segment) < n_segments for segment in segments):
            row.refuse(f"'{row['segments']}' are not segments of {n_segments}, or the epoch is not 1 or more.")
        erasures.append(Erasure(epoch, step, row["video"], n_segments, tuple(map(int, segments))))
    return erasures
