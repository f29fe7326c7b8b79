"""Settings of extraction, common to all engines."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..backbones import Extractor
from ..inputs import Input
from ..media.decoder import DecoderSettings
from .run_report import ExtractionOutcome, Shard

WORKERS = 2  # processes that decode


@dataclass(frozen=True)
class ExtractionSettings:
    """What a run writes and how.

    layout: npz, or what other programs read (features/layouts.py): xd or rtfm. overwrite: whether feature files that
    exist are made again. shard: the part of the inputs to process. workers: processes that decode while the network
    runs. decoder: how each of them reads, and its limits; a video that exceeds them fails, and no other does.
    """

    layout: str = "npz"
    overwrite: bool = False
    shard: Shard = field(default_factory=Shard)
    workers: int = WORKERS
    decoder: DecoderSettings = field(default_factory=DecoderSettings)


@dataclass(frozen=True)
class ExtractionProgress:
    """Progress of a run.

    clips and seconds: of video that went through the network. path: the input that the last clip belongs to. files
    and bytes: of the inputs that there are to do; files_done and bytes_done: of those, the part that is done.
    """

    path: Path
    clips: int
    seconds: float
    files: int
    files_done: int
    bytes: int
    bytes_done: float


OnProgress = Callable[[ExtractionProgress], None]


class Engine(Protocol):
    """Makes the files of `targets`, and yields each input's outcome as soon as it is known."""

    def __call__(
        self,
        targets: dict[Input, Path],
        extractor: Extractor,
        settings: ExtractionSettings,
        on_progress: OnProgress | None = None,
    ) -> Generator[ExtractionOutcome, None, None]: ...
