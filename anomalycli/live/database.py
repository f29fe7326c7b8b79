"""The events of all streams in a SQLite database that survives the end of its process, however that comes."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError, cause
from ..export.verdicts import VERDICTS
from ..storage import claim
from .messages import message
from .tracking import LiveEvent, News

VERSION = 1  # of the schema
SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE events (
  id TEXT PRIMARY KEY, stream TEXT NOT NULL, recording TEXT NOT NULL,
  start REAL NOT NULL, end REAL NOT NULL, peak REAL NOT NULL, score REAL NOT NULL,
  open INTEGER NOT NULL, final INTEGER NOT NULL, confirmed INTEGER NOT NULL, reason TEXT,
  picture BLOB, clip TEXT, verdict TEXT, note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX events_by_start ON events (start);
CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, body TEXT NOT NULL);
"""
FOLDERS = (  # scored_until: all recordings that were written until then are scored, or were there before
    "folders (path TEXT PRIMARY KEY, scored_until REAL NOT NULL)",
    "recordings (folder TEXT, name TEXT, bytes INTEGER, written REAL, noted REAL, PRIMARY KEY (folder, name))",
)
REJOIN = 60.0  # seconds after which an event that the end of the process interrupted is not continued
CLEAN_EVERY = 3600.0  # seconds
MOST_WAITING = 10_000  # messages of one target
COLUMNS = "id, stream, start, end, peak, score, open, final, confirmed, reason"


@dataclass(frozen=True)
class Retention:
    """How long events are kept: days, and megabytes of the whole database."""

    days: float = 90.0
    megabytes: float = 1024.0


class EventDatabase:
    """The database at `path`, created if it is not there. May be used by several threads.

    Raises UsageError if the file is something else, of a newer version, or used by another process.
    """

    def __init__(self, path: Path, retention: Retention = Retention(), now: Callable[[], float] = time.time):
        self.path, self.retention, self.now = path, retention, now
        self._lock = threading.RLock()
        self._cleaned_at = -float("inf")
        try:
            lock = claim(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise UsageError(f"{path}: the database cannot be written there ({cause(error)}).", "database") from error
        if lock is None:
            raise UsageError(f"{path}: another process writes this database. Choose another one.", "database")
        self._claim = lock
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._set_up()
        except sqlite3.Error as error:
            raise self._refused(f"not a database that can be used ({error}).") from error

    def _set_up(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (n_tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > VERSION or (n_tables and not version):
            whose = "written by a newer version" if version else "a database of something else"
            raise self._refused(f"{whose}. Choose another file.")
        if not version:
            self._connection.executescript(f"{SCHEMA} PRAGMA user_version = {VERSION};")
        for table in FOLDERS:
            self._run(f"CREATE TABLE IF NOT EXISTS {table}")
        self._connection.execute("PRAGMA synchronous = NORMAL")  # with WAL, safe against the end of the process

    def _refused(self, why: str) -> UsageError:
        """The error for a file that is not used. Nothing stays beside it."""
        self.close()
        Path(self._claim.name).unlink(missing_ok=True)
        return UsageError(f"{self.path}: {why}", "database")

    def close(self) -> None:
        """Close the file; the process may open another one."""
        with self._lock:
            with contextlib.suppress(AttributeError):
                self._connection.close()
            self._claim.close()

    def put(self, event: LiveEvent, recording: str = "", picture: bytes | None = None) -> None:
        """Store the present state of an event."""
        values = (event.id, event.stream, recording, event.start, event.end, event.peak, event.score)
        flags = (event.is_open, event.is_final, event.is_confirmed, event.reason, picture)
        self._run(
            "INSERT INTO events"
            " (id, stream, recording, start, end, peak, score, open, final, confirmed, reason, picture) VALUES ("
            "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET start = excluded.start,"
            " end = excluded.end, peak = excluded.peak, score = excluded.score, open = excluded.open,"
            " final = excluded.final, confirmed = excluded.confirmed, reason = excluded.reason,"
            " picture = coalesce(excluded.picture, picture)",
            values + flags,
        )

    def unfinished(self) -> dict[str, LiveEvent]:
        """Events of streams that the end of an earlier process interrupted just now; older ones are ended."""
        going_on: dict[str, LiveEvent] = {}
        for row in self._run(f"SELECT {COLUMNS} FROM events WHERE NOT final ORDER BY start"):
            event: LiveEvent | None = _event(row)
            assert event
            before = going_on.get(event.stream)
            if event.is_open and self.now() - event.end < REJOIN:
                going_on[event.stream] = event
                event = before
            if event:
                self.put(replace(event, is_open=False, is_final=True, reason="interrupted"))
        return going_on

    def events(self, most: int = 200, stream: str | None = None) -> list[dict[str, Any]]:
        """The newest events, as messages have them, with verdict, note and clip."""
        where = "WHERE stream = ?" if stream else ""
        rows = self._run(
            f"SELECT {COLUMNS}, recording, verdict, note, clip, picture IS NOT NULL FROM events {where}"
            " ORDER BY start DESC LIMIT ?",
            (*([stream] if stream else []), most),
        )
        found = []
        for row in rows:
            event = _event(row)
            more = {"verdict": row[11], "note": row[12] or None, "clip": row[13], "picture": bool(row[14]) or None}
            found.append(message(News("stored", event), row[10], **more))
        return found

    def picture(self, number: str) -> bytes | None:
        """The picture of an event, JPEG."""
        rows = self._run("SELECT picture FROM events WHERE id = ?", (number,))
        return rows[0][0] if rows else None

    def judge(self, number: str, verdict: str | None, note: str) -> bool:
        """Store a verdict on an event; returns whether there is one of that id. Raises ValueError for another word."""
        if verdict not in (None, *VERDICTS):
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}")
        with self._lock:
            done = self._connection.execute(
                "UPDATE events SET verdict = ?, note = ? WHERE id = ?", (verdict, note[:1000], number)
            )
            return done.rowcount > 0

    def set_clip(self, number: str, clip: str) -> None:
        """Note the file that shows an event."""
        self._run("UPDATE events SET clip = ? WHERE id = ?", (clip, number))

    def watched_since(self, folder: str, since: float) -> float:
        """The time until which recordings of a folder are left out; `since`, noted now, where none was noted."""
        self._run("INSERT OR IGNORE INTO folders VALUES (?, ?)", (folder, since))
        return self._run("SELECT scored_until FROM folders WHERE path = ?", (folder,))[0][0]

    def scored_recordings(self, folder: str) -> dict[str, tuple[int, float]]:
        """Size and time of each recording of a folder that is scored, by its name."""
        rows = self._run("SELECT name, bytes, written FROM recordings WHERE folder = ?", (folder,))
        return {name: (size, written) for name, size, written in rows}

    def note_scored(self, folder: str, name: str, stamp: tuple[int, float]) -> None:
        """Note that a recording of this size and time is scored."""
        self._run("INSERT OR REPLACE INTO recordings VALUES (?, ?, ?, ?, ?)", (folder, name, *stamp, self.now()))

    def push(self, target: str, body: str) -> None:
        """Queue a message for a target; beyond MOST_WAITING the oldest ones are dropped."""
        with self._lock:
            self._run("INSERT INTO outbox (target, body) VALUES (?, ?)", (target, body))
            self._run(
                "DELETE FROM outbox WHERE target = ?"
                " AND number <= (SELECT max(number) FROM outbox WHERE target = ?) - ?",
                (target, target, MOST_WAITING),
            )

    def first(self, target: str) -> tuple[int, str] | None:
        """Number and body of the oldest message that waits for a target."""
        rows = self._run("SELECT number, body FROM outbox WHERE target = ? ORDER BY number LIMIT 1", (target,))
        return rows[0] if rows else None

    def pop(self, number: int) -> None:
        """Drop a message that was delivered."""
        self._run("DELETE FROM outbox WHERE number = ?", (number,))

    def n_waiting(self) -> int:
        """Messages in the queue."""
        return self._run("SELECT count(*) FROM outbox")[0][0]

    def clean(self) -> None:
        """Delete what is older, or more, than is to be kept; does something once an hour."""
        if self.now() - self._cleaned_at < CLEAN_EVERY:
            return
        self._cleaned_at = self.now()
        with self._lock:
            oldest = self.now() - 86_400 * self.retention.days
            self._run("DELETE FROM events WHERE final AND end < ?", (oldest,))
            forgotten = "SELECT max(written) FROM recordings WHERE folder = path AND noted < ?"
            self._run(f"UPDATE folders SET scored_until = max(scored_until, coalesce(({forgotten}), 0))", (oldest,))
            self._run("DELETE FROM recordings WHERE noted < ?", (oldest,))
            while self._bytes() > self.retention.megabytes * 2**20:
                some = (
                    "SELECT id FROM events WHERE final ORDER BY start LIMIT max(1, (SELECT count(*) FROM events) / 10)"
                )
                if not self._run(f"DELETE FROM events WHERE id IN ({some}) RETURNING id"):
                    break
            # as a script: execute would take the first step of it alone
            self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")

    def _bytes(self) -> int:
        pages, free, size = (
            self._run(f"PRAGMA {what}")[0][0] for what in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _run(self, statement: str, values: tuple = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()


def _event(row: tuple) -> LiveEvent:
    """The event of a row that begins with COLUMNS."""
    number, stream, start, end, peak, score, is_open, is_final, is_confirmed, reason = row[:10]
    flags = bool(is_open), bool(is_final), bool(is_confirmed)
    return LiveEvent(number, stream, start, end, peak, score, *flags, reason)
