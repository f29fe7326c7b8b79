"""Keeps events in the database, and queues messages for webhooks."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .database import EventDatabase
from .messages import message, to_json
from .sources import FolderSource, Source, Stamp
from .tracking import News
from .watcher import Listener, WatchedStream


class EventStore(Listener):
    """Stores the news of events. What a full disk cannot take is lost, and reported once."""

    def __init__(self, database: EventDatabase, say: Callable[[str], None], targets: tuple[str, ...] = ()):
        self.database, self.say, self.targets = database, say, targets
        self._fault = ""

    def on_news(self, stream: WatchedStream, news: News) -> None:
        with self._storing():
            picture = stream.jpeg() if news.kind == "start" else None
            self.database.put(news.event, stream.recording, picture)
            if news.kind != "update":
                for target in self.targets:
                    self.database.push(target, to_json(message(news, stream.recording)))

    def tick(self) -> None:
        with self._storing():
            self.database.clean()

    def resume(self, source: Source) -> None:
        """Have a folder leave out the recordings that are scored, also by an earlier process."""
        if isinstance(source, FolderSource):
            folder = str(source.folder.resolve())
            with self._storing():
                source.since = self.database.watched_since(folder, source.since)
                source.read = self.database.scored_recordings(folder)
            source.scored = partial(self._scored, folder)

    def _scored(self, folder: str, path: Path, stamp: Stamp) -> None:
        with self._storing():
            self.database.note_scored(folder, path.name, stamp)

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
            self._fault = ""
        except sqlite3.Error as error:
            if str(error) != self._fault:
                self._fault = str(error)
                self.say(f"{self.database.path}: events cannot be stored ({error}).")
