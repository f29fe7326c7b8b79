"""Where clips come from while they happen: network streams, devices, files that grow, folders, a pipe."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ..errors import UsageError, VideoError
from ..media import VIDEO_SUFFIXES
from ..media.messages import ClipFormat, Recorded, StreamClip, StreamPlace
from ..media.stream_decoder import StreamDecoder
from .redaction import redact

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "rtp", "srt", "rtmp", "rtmps", "tcp")
LOOK = 1.0  # seconds between looks into a folder


@dataclass(frozen=True)
class Break:
    """What comes next does not follow what came before: another recording, named `title`.

    `passed` is called once all that came before is scored, and its events have ended.
    """

    title: str = ""
    passed: Callable[[], None] | None = None


@dataclass(frozen=True)
class Fault:
    """One recording of several that cannot be read, as a sentence; the others are."""

    sentence: str


Message = StreamClip | Recorded | Break | Fault
Stamp = tuple[int, float]  # size of a file, and when it was written, seconds since 1970


class Source(Protocol):
    """One stream. `messages` is called again after it raised a VideoError, and after it ended where `lasts`."""

    name: str
    shown: str  # what it is, without credentials

    @property
    def is_live(self) -> bool:
        """Whether its frames do not wait: what is not taken in time is lost."""

    @property
    def lasts(self) -> bool:
        """Whether its end is a fault, or at least not the last that comes."""

    def messages(self, form: ClipFormat) -> Iterator[Message]:
        """Yield clips as they happen, and breaks before what does not follow. Raises VideoError if it breaks."""

    def record(self, order: dict[str, Any]) -> bool:
        """Have a part of the stream written to a file, see media/recording.py; False where that cannot be."""

    def close(self) -> None:
        """Stop reading, from any thread: `messages` ends."""


@dataclass(frozen=True)
class Waits:
    """How long a source is waited for.

    timeout: seconds without data after which a stream is lost. idle: seconds after which a file that does not grow is
    complete. kept: seconds of video that are held for clips of events.
    """

    timeout: float = 20.0
    idle: float = 10.0
    kept: float = 0.0


class StreamSource:
    """A network stream, a device, a pipe, or a file that grows.

    A URL may also name a video that is complete: it is read as a file is, without haste and once.
    """

    def __init__(self, name: str, kind: str, place: str, waits: Waits = Waits()):
        self.name, self.shown = name, name if kind == "pipe" else redact(place)
        label = name if self.shown == name else f"{name} ({self.shown})"
        self.place = StreamPlace(kind, place, label, waits.timeout, waits.idle, waits.kept)
        self._decoder: StreamDecoder | None = None
        self._closed = False

    @property
    def is_live(self) -> bool:
        has_end = self._decoder is not None and self._decoder.has_end
        return self.place.kind in ("url", "device") and not has_end

    lasts = is_live

    def messages(self, form: ClipFormat) -> Iterator[Message]:
        self._decoder = StreamDecoder(self.place)
        if self._closed:
            return
        yield from self._decoder.clips(form)

    def record(self, order: dict[str, Any]) -> bool:
        decoder = self._decoder
        if decoder and self.place.kept:
            decoder.order(order)
        return bool(decoder and self.place.kept)

    def close(self) -> None:
        self._closed = True
        if self._decoder:
            self._decoder.close()


class FolderSource:
    """A folder that receives recordings: each is read once it is complete, in the order of their times.

    Those that were complete at `since` (seconds since 1970) are left out, and those that are `read` already, by their
    name: size and time of each. `scored` is called with each file, its size and time once it is scored, or cannot be
    read.
    """

    is_live, lasts = False, True

    def __init__(
        self,
        name: str,
        folder: Path,
        waits: Waits = Waits(),
        since: float | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.name, self.folder, self.shown, self.waits = name, folder, str(folder), waits
        self.since = now() if since is None else since
        self.now, self.sleep = now, sleep
        self.scored: Callable[[Path, Stamp], None] = lambda path, stamp: None
        self.read: dict[str, Stamp] = {}
        self._file: StreamSource | None = None
        self._closed = False

    def messages(self, form: ClipFormat) -> Iterator[Message]:
        while not self._closed:
            for path, stamp in self._complete():
                self.read[path.name] = stamp
                yield Break(path.name)
                self._file = StreamSource(self.name, "growing", str(path), Waits(self.waits.timeout, 0.0))
                try:
                    yield from self._file.messages(form)
                except VideoError as error:
                    if not self._closed:
                        yield Fault(str(error))
                if self._closed:  # perhaps in the middle of it
                    return
                yield Break(passed=partial(self.scored, path, stamp))
            self.sleep(LOOK)

    def _complete(self) -> list[tuple[Path, Stamp]]:
        """Recordings that were not read yet and have not grown for a while, the oldest first; size and time of each."""
        try:
            paths = [path for path in self.folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
        except OSError as error:
            raise VideoError(f"{self.folder}: the folder cannot be listed ({error.strerror}).") from error
        stamps = {path: _stamp(path) for path in paths}
        found = [
            (path, stamp)
            for path, stamp in stamps.items()
            if self.since < stamp[1] <= self.now() - self.waits.idle and self.read.get(path.name) != stamp
        ]
        return sorted(found, key=lambda one: (one[1][1], one[0]))

    def record(self, order: dict[str, Any]) -> bool:
        return False  # the recording itself is there

    def close(self) -> None:
        self._closed = True
        if self._file:
            self._file.close()


def find_sources(words: Iterable[str], waits: Waits = Waits()) -> list[Source]:
    """Sources from words as a shell user writes them: [NAME=]URL, FILE, FOLDER, DEVICE or -.

    Raises UsageError for other words, and for two sources of one name.
    """
    sources: list[Source] = []
    for word in words:
        source = make_source(word, waits)
        if any(other.name == source.name for other in sources):
            raise UsageError(f"Two sources are named '{source.name}'. Write NAME=SOURCE to name them.")
        sources.append(source)
    return sources


def make_source(word: str, waits: Waits = Waits(), name: str | None = None) -> Source:
    """The source that a word names. Raises UsageError for a word that names none."""
    if name is None and not os.path.lexists(word) and (match := re.match(r"([\w .-]{1,60})=(.+)", word, re.DOTALL)):
        name, word = match[1].strip(), match[2]
    if word == "-":
        return StreamSource(name or "pipe", "pipe", str(os.dup(0)), waits)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", word):
        host = _host(word)
        return StreamSource(name or host, "url", word, waits)
    if not word:
        raise UsageError("A source is empty: name a URL, a device, a file or a folder.")
    path = Path(word)
    if re.fullmatch(r"/dev/video\d+|(video|audio)=.+", word) or path.is_char_device():
        return StreamSource(name or path.name, "device", word, waits)
    if path.is_dir():
        return FolderSource(name or path.resolve().name, path, waits)
    if path.exists():
        return StreamSource(name or path.stem, "growing", word, waits)
    raise UsageError(
        f"{redact(word)}: there is no such file or folder, and it is not a URL (such as rtsp://camera/stream)."
    )


def _host(url: str) -> str:
    """The name of a URL's source: its host. Raises UsageError for a scheme that is not read."""
    try:
        parts = urlsplit(redact(url))
        host = parts.hostname or "stream"
    except ValueError as error:
        raise UsageError(f"{redact(url)}: not a URL that can be read.") from error
    if parts.scheme.lower() not in SCHEMES:
        raise UsageError(f"{redact(url)}: URLs of {parts.scheme} are not read; {', '.join(SCHEMES)} are.")
    if not parts.hostname and parts.scheme.lower() in ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps"):
        raise UsageError(f"{redact(url)}: a URL without the name of a host.")
    return host


def _stamp(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError:
        return 0, float("inf")  # gone in the meantime
    return stat.st_size, stat.st_mtime
