"""Files of a command that has one result for all its inputs: only those that an earlier run wrote are replaced."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..names import readable
from ..storage import check_writable
from .base import PICTURES
from .records import Record


@dataclass(frozen=True)
class ResultFiles:
    """The files of `command` in `folder`."""

    folder: Path
    command: str
    names: tuple[str, ...]

    def check(self, overwrite: bool) -> None:
        """Raise StorageError if one cannot be written, UsageError if one is another's and not to be replaced."""
        record = self._record()
        for path in self._paths():
            check_writable(path)
            if not overwrite and os.path.lexists(path) and not record.owns(path):
                raise UsageError(
                    f"{readable(str(path))}: {self.command} did not write this file, or it was changed since. Name "
                    "another folder, or overwrite it.",
                    "output",
                    "overwrite",
                )

    def keep(self) -> None:
        """Record that those of the files that exist were written by this command."""
        record = self._record()
        for path in self._paths():
            if path.exists():
                record.expect(path, path)

    def _record(self) -> Record:
        return Record.of(self.folder / self.command, None)

    def _paths(self) -> Iterable[Path]:
        return (self.folder / name for name in self.names)


def files_of_evaluation(folder: Path, is_drawn: bool) -> ResultFiles:
    """The metrics and curves of an evaluation; `is_drawn`: and a sheet of some videos."""
    pictures = [f"{name}.{kind}" for name in ("curves", *["sheet"] * is_drawn) for kind in PICTURES]
    return ResultFiles(folder, "evaluate", ("videos.csv", "metrics.json", *pictures))


def files_of_comparison(folder: Path, swept: Iterable[str]) -> ResultFiles:
    """The table and the plots of a comparison, also along each setting that is swept."""
    plots = [f"{prefix}{metric}" for prefix in ("", *(f"{name}-" for name in swept)) for metric in ("auc", "ap")]
    pictures = (f"{plot}.{kind}" for plot in plots for kind in PICTURES)
    return ResultFiles(folder, "compare", ("table.md", "table.csv", "table.json", *pictures))
