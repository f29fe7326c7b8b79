"""Export formats: the contract of a writer, all writers by name, and the one function that writes.

This module imports nothing heavy, so that the command line can name the formats without loading any of them.
"""

import importlib
import re
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import UsageError, VideoError, cause
from ..names import readable
from ..storage import write_file

if TYPE_CHECKING:
    import numpy as np

    from ..media.decoder import Decoder
    from ..result import Result

GROUP = "anomalycli.writers"  # entry points of other packages: NAME = package.module:Class
PICTURES = ("png", "svg", "pdf")
BUILT_IN = {
    "csv": ".writers:FrameCSV",
    "npy": ".writers:FrameArray",
    "json": ".writers:WholeJSON",
    "events.csv": ".writers:EventsCSV",
    "events.json": ".writers:EventsJSON",
    "srt": ".subtitles:SRT",
    "vtt": ".subtitles:VTT",
    "edl": ".timelines:EDL",
    "otio": ".timelines:OTIO",
    "html": ".report:HTML",
    "png": ".plot:PNG",
    "svg": ".plot:SVG",
    "pdf": ".plot:PDF",
}
SHORT_SIDE = 180  # pixels of pictures from a video, in pages and plots
EMBED_LIMIT = 200 << 20  # bytes of a video in its page; browsers give up on pages much larger
MOST_PICTURES = 60  # of one video: at the peaks of its strongest events

Intervals = Sequence[tuple[int, int]]  # frames, half-open


@dataclass
class Context:
    """What a writer may use beside the result.

    path: the file to write. title: the displayed name of the video. video: the file that pages and plots show, or
    None. truth: ground truth to show, or None if unknown. embed: store the video in its page. label: the name of the
    video in labels.csv, if that is not its file name without suffix. index: the page of all videos. failure: why frames
    could not be read, once they were requested. decoder: the process that reads them; a new one if None. player: the
    file that pages play, if not `video`.
    """

    path: Path
    title: str
    video: Path | None = None
    truth: Intervals | None = None
    embed: bool = False
    label: str = ""
    index: Path | None = None
    failure: str = ""
    decoder: "Decoder | None" = None
    player: Path | None = None
    _frames: "dict[int, np.ndarray]" = field(default_factory=dict, repr=False)

    def frames(self, result: "Result", numbers: Collection[int]) -> "dict[int, np.ndarray]":
        """Pictures of these frames by number, uint8 (height, width, 3), as far as the video has them.

        The frames that built-in writers need are read together, so that several formats take one pass. If they
        cannot be read, none are returned and `failure` holds the reason.
        """
        if self.video is None or self.failure:
            return {}
        if missing := set(numbers) - self._frames.keys():
            from ..media.decoder import Decoder
            from .moments import moments

            missing |= set(moments(result, MOST_PICTURES))
            try:
                with ExitStack() as stack:
                    decoder = self.decoder or stack.enter_context(Decoder())
                    self._frames.update(decoder.grab(self.video, missing, SHORT_SIDE))
            except VideoError as error:
                self.failure = f"No pictures of the video can be shown: {error}"
                return {}
        return {number: self._frames[number] for number in sorted(numbers) if number in self._frames}


class Writer(Protocol):
    """An export format. It is instantiated once, without arguments, before any video is read.

    This raises UsageError if a package that it needs is not installed. The name under which the format is registered
    follows the name of the video in the file name.
    """

    def render(self, result: "Result", context: Context) -> str | bytes:
        """Content of the file for one video; text is written as UTF-8.

        Raises AnomalyError if this file cannot be made for this video; other files and videos are not affected.
        """
        ...


def formats() -> tuple[str, ...]:
    """Names of all formats: the built-in ones, then those of other packages."""
    return (*BUILT_IN, *(name for name in sorted(_others()) if name not in BUILT_IN))


def load_writer(name: str) -> Writer:
    """The writer of a format. Raises UsageError where there is none or it cannot be loaded."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module, __package__), attribute)()
    point = _others().get(name)
    if point is None:
        raise UsageError(f"There is no format '{name}': choose from {', '.join(formats())}.")
    try:
        return point.load()()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"The format '{name}' ({point.value}) cannot be loaded: {cause(error)}.") from error


def write_output(
    result: "Result",
    base: Path,
    name: str,
    video: Path | None = None,
    truth: Intervals | None = None,
    embed: bool = False,
) -> Path:
    """Write `result` atomically to `base` + "." + `name` and return the path.

    `name` is one of `formats()`. `video`, `truth` and `embed` are as in `Context`.

    Raises UsageError where there is no such format, StorageError where the file cannot be written.
    """
    context = Context(output_path(base, name), readable(result.path.name), video, truth, embed)
    return write_file(context.path, load_writer(name).render(result, context))


def check_embeddable(video: Path) -> None:
    """Raises VideoError if a video is too large for a page."""
    size = video.stat().st_size if video.exists() else 0
    if size > EMBED_LIMIT:
        raise VideoError(
            f"{video}: at {size >> 20} MB it is too large to embed into its page (the most is {EMBED_LIMIT >> 20} MB). "
            "Keep the video beside the page instead."
        )


def output_path(base: Path, name: str) -> Path:
    """Path of the file of format `name`."""
    return base.with_name(f"{base.name}.{name}")


def _others() -> dict[str, EntryPoint]:
    """Entry points of other packages by name; names that cannot end a file's name are ignored."""
    return {point.name: point for point in entry_points(group=GROUP) if re.fullmatch(r"\w[\w.-]*", point.name)}
