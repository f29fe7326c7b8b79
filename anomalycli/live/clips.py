"""Files that show events: ordered when one begins, named and counted when they are complete."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import StorageError
from ..storage import check_writable
from .database import EventDatabase
from .messages import utc_time
from .tracking import LiveEvent, News
from .watcher import Listener, WatchedStream

LONGEST = 300.0  # seconds of one file
KEPT = 20.0  # seconds, beside the margin, that a stream holds: an event is found some clips after it began
PART = ".part"
OURS = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{16}\.(mp4|mkv)")  # names of files that may be deleted


@dataclass
class _Ordered:
    """A file on its way: of which stream and event; how long it is waited for after the event is final."""

    stream: WatchedStream
    event: LiveEvent
    ticks: int | None = None


@dataclass
class ClipSaver(Listener):
    """Has events written below `folder`, one file each, with `margin` seconds before and after.

    Beyond `megabytes` in all, the oldest files are deleted.
    """

    folder: Path
    say: Callable[[str], None]
    margin: float = 5.0
    megabytes: float = 10_240.0
    database: EventDatabase | None = None
    _ordered: dict[str, _Ordered] = field(default_factory=dict)  # by target

    def __post_init__(self) -> None:
        """Raises StorageError where nothing can be written."""
        check_writable(self.folder / "clip.mp4")
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_news(self, stream: WatchedStream, news: News) -> None:
        event, source = news.event, stream.reader.source
        target = str(self._target(event).absolute())
        if news.kind == "start":
            since, limit = event.start - self.margin, event.start + LONGEST
            with suppress(OSError):  # the process that writes says what is wrong
                Path(target).parent.mkdir(parents=True, exist_ok=True)
            if source.record({"record": target, "since": since, "limit": limit}):
                self._ordered[target] = _Ordered(stream, event)
            return
        target, ordered = next(
            ((name, one) for name, one in self._ordered.items() if one.event.id == event.id), (target, None)
        )
        if ordered is None:
            return
        ordered.event = event
        if news.kind == "final":
            ordered.ticks = 0
        until = None if event.is_open else event.end + self.margin
        source.record({"stop": target, "until": until})

    def tick(self) -> None:
        for target, ordered in list(self._ordered.items()):
            reader = ordered.stream.reader
            for recorded in [one for one in reader.recorded if one.target == target]:
                reader.recorded.remove(recorded)
                if recorded.fault:
                    self.say(f"{ordered.event.stream}: {recorded.fault}.")
                self._keep(target, recorded.suffix)
                break
            else:
                self._give_up(target, ordered)

    def close(self) -> None:
        """Keep what there is of files that are still being written."""
        for target in list(self._ordered):
            self._keep(target, "mp4")

    def _give_up(self, target: str, ordered: _Ordered) -> None:
        """Keep what there is of a file whose stream was cut, so that nobody tells when it is complete."""
        if ordered.ticks is None:
            return
        ordered.ticks += 1
        if not ordered.stream.reader.state.is_connected or ordered.ticks > 600:
            self._keep(target, "mp4")

    def _keep(self, target: str, suffix: str | None) -> None:
        ordered, part = self._ordered.pop(target), Path(target)
        if suffix is None or not part.exists():
            return
        try:
            path = part.rename(part.with_name(part.name.removesuffix(PART) + f".{suffix}"))
            if self.database:
                self.database.set_clip(ordered.event.id, str(path.relative_to(self.folder.absolute())))
            self._limit()
        except (OSError, StorageError) as error:
            self.say(f"{part}: a clip cannot be kept ({error}).")

    def _target(self, event: LiveEvent) -> Path:
        lane = re.sub(r"[^\w.-]+", "_", event.stream).strip(".") or "stream"
        moment = re.sub(r"[-:]|\.\d+", "", utc_time(event.start))
        return self.folder / lane / f"{moment}-{event.id}{PART}"

    def _limit(self) -> None:
        """Delete the oldest files beyond the limit."""
        files = sorted(
            (path for path in self.folder.glob("*/*") if OURS.fullmatch(path.name)), key=lambda path: path.name
        )
        sizes = [path.stat().st_size for path in files]
        total = sum(sizes)
        for path, size in zip(files[:-1], sizes, strict=False):
            if total <= self.megabytes * 2**20:
                return
            path.unlink(missing_ok=True)
            total -= size
