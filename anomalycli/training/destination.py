"""Where a checkpoint is written, and what may not be replaced there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint import ModelInfo, is_checkpoint, load_model
from ..errors import UsageError
from ..storage import check_writable


@dataclass(frozen=True)
class Destination:
    """The checkpoint to write, as fp16 with `half`. An existing run is resumed, overwritten, or an error."""

    path: Path
    half: bool = False
    resume: bool = False
    overwrite: bool = False

    def beside(self, ending: str) -> Path:
        """A file beside the checkpoint."""
        return self.path.with_name(self.path.name + ending)

    def check(self) -> None:
        """Raise UsageError if a checkpoint or the state of an interrupted run would be replaced without being asked.

        Also raises UsageError if anything else than a checkpoint would be replaced, asked or not, and StorageError if
        the checkpoint cannot be written.
        """
        check_writable(self.path)
        check_writable(self.beside(".1.state"))  # the longest name of what a run keeps until it ends
        if self.path.exists() and self.path.stat().st_size and not is_checkpoint(self.path):
            raise UsageError(f"{self.path}: it is not a model, and is not overwritten. Name another file.", "output")
        self.check_left(self.beside(".state"))
        if self.path.exists() and not (self.resume or self.overwrite):
            raise UsageError(f"{self.path} exists. Overwrite it, or name another file.", "overwrite", "output")

    def check_left(self, *states: Path) -> None:
        """Raise UsageError where one of these files is there, to be neither resumed nor overwritten."""
        if not (self.resume or self.overwrite):
            for state in filter(Path.exists, states):
                message = f"{state}: an interrupted run left this state. Resume or overwrite it."
                raise UsageError(message, "resume", "overwrite")

    def check_finished(self, has_state: bool, is_same: Callable[[ModelInfo], bool]) -> None:
        """Raise UsageError where there is no state to resume from, and the checkpoint is not that of the same run."""
        if not self.resume or self.overwrite or has_state or not self.path.exists() or not self.path.stat().st_size:
            return
        if not is_same(load_model(self.path)[1]):
            raise UsageError(
                f"{self.path}: it is of a run with other settings or data that ended, so nothing is there to resume. "
                "Overwrite it, or name another file.",
                "overwrite",
                "output",
            )
