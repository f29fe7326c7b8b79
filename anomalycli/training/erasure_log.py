"""A record of what erasing does in training: which segments of a video, epoch by epoch (Fig. 4)."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError, cause
from ..storage import whole


@dataclass(frozen=True)
class Erasure:
    """In `epoch` (from 1: how often the video has come) `segments` of the n_segments were erased."""

    epoch: int
    step: int
    video: str
    n_segments: int
    segments: tuple[int, ...]


def write_erasures(path: Path, erasures: Iterable[Erasure]) -> None:
    """A line a time that a video came; its segments are joined by spaces."""
    with whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "step", "video", "n_segments", "segments"))
        for row in erasures:
            writer.writerow((row.epoch, row.step, row.video, row.n_segments, " ".join(map(str, row.segments))))


def read_erasures(path: Path) -> list[Erasure]:
    """What `write_erasures` wrote. Raises UsageError where it did not."""
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
