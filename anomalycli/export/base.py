"""Export formats: the contract of a writer, all writers by name, and the one function that writes.

This module imports nothing heavy, so that the command line can name the formats without loading any of them.
"""

import importlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import UsageError, VideoError, cause
from ..names import readable
from ..storage import write_whole

if TYPE_CHECKING:
    import numpy as np

    from ..score import Result

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
MOST_PICTURES = 60  # of one video: at the peaks of its strongest events

Intervals = Sequence[tuple[int, int]]  # frames, half-open


@dataclass
class Context:
    """What a writer may use beside the result.

    path: the file to be written. title: the video's name for people. video: the file that pages and plots show, or
    None. truth: ground truth to draw, or None where it is not known. embed: put the video into its page. label: what
    labels.csv calls the video, where that is not its file's name without suffix. index: the page of all videos.
    failure: why there are no frames, once they were asked for and cannot be read.
    """

    path: Path
    title: str
    video: Path | None = None
    truth: Intervals | None = None
    embed: bool = False
    label: str = ""
    index: Path | None = None
    failure: str = ""
    _frames: "dict[int, np.ndarray]" = field(default_factory=dict, repr=False)

    def frames(self, result: "Result", numbers: Collection[int]) -> "dict[int, np.ndarray]":
        """Pictures of these frames by number, uint8 (height, width, 3), as far as the video has them.

        Frames that any built-in writer needs are read together, so that several formats cost one pass. Where they
        cannot be read, `failure` says why, and there are none.
        """
        if self.video is None or self.failure:
            return {}
        if missing := set(numbers) - self._frames.keys():
            from ..media.decoder import Decoder
            from .moments import moments

            missing |= set(moments(result, MOST_PICTURES))
            try:
                with Decoder() as decoder:
                    self._frames.update(decoder.grab(self.video, missing, SHORT_SIDE))
            except VideoError as error:
                self.failure = f"No pictures of the video can be shown: {error}"
                return {}
        return {number: self._frames[number] for number in sorted(numbers) if number in self._frames}


class Writer(Protocol):
    """An export format. It is made once, without arguments, before any video is read.

    Making it raises UsageError where something that it needs is not installed. The name of the format, under which it
    is registered, is what follows the video's name in the file's name.
    """

    def render(self, result: "Result", context: Context) -> str | bytes:
        """Content of the file for one video; text is written as UTF-8.

        Raises AnomalyError where this video has no such file. That fails this file and nothing else.
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
    """Write `result` to `base` + "." + `name`, whole or not at all; return the path.

    `name` is one of `formats()`. `video`, `truth` and `embed` are as in `Context`.

    Raises UsageError where there is no such format, StorageError where the file cannot be written.
    """
    context = Context(output_path(base, name), readable(result.path.name), video, truth, embed)
    return write_whole(context.path, load_writer(name).render(result, context))


def output_path(base: Path, name: str) -> Path:
    """Where the format `name` of a result goes."""
    return base.with_name(f"{base.name}.{name}")


def _others() -> dict[str, EntryPoint]:
    """Entry points of other packages by name; names that cannot end a file's name are ignored."""
    return {point.name: point for point in entry_points(group=GROUP) if re.fullmatch(r"\w[\w.-]*", point.name)}
