"""Outcomes of the inputs of a run, and OUTPUT/report.json."""

import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AnomalyError, UsageError, cause
from ..features import schema
from ..storage import write_file

REPORT = "report.json"
VERSION = 1
STATUSES = ("done", "skipped", "partial", "failed")


@dataclass(frozen=True)
class ExtractionOutcome:
    """Outcome of one input. status: done, skipped (was there already), partial (damaged), failed.

    reason: why it is not whole, also for one that was skipped. note: what else is worth knowing, such as missing sound.
    frames and seconds: the length that its features cover.
    """

    path: Path
    status: str
    reason: str | None = None
    note: str | None = None
    frames: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Shard:
    """Part `number` of `of`, counted from 1. The names of inputs decide which part they belong to."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, words: str) -> "Shard":
        """I/N. Raises UsageError where that is not a part of a whole."""
        match = re.fullmatch(r"(\d+)/(\d+)", words)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"A shard is I/N with I from 1 to N, not '{words}'.", "shard")
        return cls(int(match[1]), int(match[2]))

    def has(self, name: str) -> bool:
        """Whether the input of this name belongs to the shard."""
        return zlib.crc32(name.encode(errors="surrogateescape")) % self.of == self.number - 1

    @property
    def report(self) -> str:
        """Name of its report."""
        return REPORT if self.of == 1 else f"report.{self.number}-of-{self.of}.json"


class RunReport:
    """Collects outcomes, and writes the report when the run ends, however it ends.

    When the reports of all shards exist, they are merged into one. `on_note` is called with a sentence about a report
    that cannot be read.
    """

    def __init__(self, output: Path, shard: Shard = Shard(), on_note: Callable[[str], None] | None = None):
        self.output, self.shard, self.on_note = output, shard, on_note
        self.outcomes: list[ExtractionOutcome] = []

    def __enter__(self) -> "RunReport":
        self.begin = time.monotonic()
        return self

    def add(self, outcome: ExtractionOutcome) -> ExtractionOutcome:
        """Record an outcome, and return it."""
        self.outcomes.append(outcome)
        return outcome

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        files = [vars(outcome) | {"path": str(outcome.path)} for outcome in self.outcomes]
        wall = time.monotonic() - self.begin
        report = summed([{"files": files, "wall_seconds": wall, "complete": kind is None}])
        try:
            write_file(self.output / self.shard.report, json.dumps(report, indent=1) + "\n")
            self._merge()
        except OSError:
            if kind is None:  # otherwise the error that ended the run is reported
                raise

    def _merge(self) -> None:
        parts = [self.output / Shard(number + 1, self.shard.of).report for number in range(self.shard.of)]
        if self.shard.of == 1 or not all(part.exists() for part in parts):
            return
        try:
            whole = summed([read_report(part) for part in parts])
        except ReportError as error:
            if self.on_note:
                self.on_note(f"{error} {self.output / REPORT} is written once that part of the run was repeated.")
            return
        write_file(self.output / REPORT, json.dumps(whole, indent=1) + "\n")


class ReportError(AnomalyError):
    """A file that is not a report of extraction, or is damaged."""


def read_report(path: Path) -> dict:
    """The report at `path`. Raises ReportError if it is not a report."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: not a report of extraction ({cause(error)}).") from error
    if not _is_report(report):
        raise ReportError(f"{path}: not a report of extraction.")
    return report


def _is_report(report: Any) -> bool:
    number = schema.number(0)
    if not isinstance(report, dict) or not isinstance(report.get("complete"), bool):
        return False
    files = report.get("files")
    return (
        number(report.get("wall_seconds"))
        and isinstance(files, list)
        and all(
            isinstance(file, dict)
            and isinstance(file.get("path"), str)
            and file.get("status") in STATUSES
            and number(file.get("seconds"))
            for file in files
        )
    )


def summed(reports: list[dict]) -> dict:
    """One report of several.

    It has the version, counts by status, seconds of video that were extracted, seconds on the clock (of the longest),
    their ratio, whether all runs were complete, and the files.
    """
    files = sorted((file for report in reports for file in report["files"]), key=lambda file: file["path"])
    counts = Counter(file["status"] for file in files)
    video = sum(file["seconds"] for file in files if file["status"] in ("done", "partial"))
    wall = max(report["wall_seconds"] for report in reports)
    return {
        "version": VERSION,
        "counts": {status: counts[status] for status in STATUSES},
        "video_seconds": video,
        "wall_seconds": wall,
        "times_real_time": video / wall if wall else 0.0,
        "complete": all(report["complete"] for report in reports),
        "files": files,
    }
