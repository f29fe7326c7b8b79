"""A record of erasing during training: the erased segments of a video in each epoch (Fig. 4)."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError, cause
from ..storage import whole


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
    with whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "step", "video", "n_segments", "segments"))
        for row in erasures:
            writer.writerow((row.epoch, row.step, row.video, row.n_segments, " ".join(map(str, row.segments))))


def read_erasures(path: Path) -> list[Erasure]:
    """Read a file from `write_erasures`. Raises UsageError if it is not one."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                Erasure(
                    int(row["epoch"]),
                    int(row["step"]),
                    row["video"],
                    int(row["n_segments"]),
                    tuple(map(int, row["segments"].split())),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: not a record of erasing ({cause(error)}).") from error
