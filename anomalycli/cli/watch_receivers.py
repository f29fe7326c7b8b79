"""Where `watch` sends what it finds, from its options."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from ..live.board import Board
    from ..live.database import EventDatabase
    from ..live.event_store import EventStore
    from ..live.mqtt import Mqtt
    from ..live.sources import Source
    from ..live.tracking import LiveEvent
    from ..live.watcher import Listener, WatchedStream


@dataclass
class Receivers:
    """The listeners of a watcher. unfinished: events that an earlier process left open, by stream."""

    listeners: "list[Listener]"
    unfinished: "dict[str, LiveEvent]" = field(default_factory=dict)
    store: "EventStore | None" = None
    shows: "list[Board | Mqtt]" = field(default_factory=list)  # those that show all streams: page and broker

    def resume(self, source: "Source") -> None:
        """Have a source resume where an earlier process stopped, as far as the database records it."""
        if self.store:
            self.store.resume(source)

    def show(self, stream: "WatchedStream") -> None:
        """Show a stream before its first clip."""
        for each in self.shows:
            each.watch(stream)

    def forget(self, name: str) -> None:
        """Show a stream no longer."""
        for each in self.shows:
            each.forget(name)


def receivers_of(options: dict[str, Any], tell: Callable[[str], None], stack: ExitStack) -> Receivers:
    """The listeners that the options name. `tell` prints a sentence; `stack` closes what needs to be closed."""
    from ..live.clips import ClipSaver
    from ..live.database import EventDatabase, Retention
    from ..live.event_store import EventStore
    from ..live.lines import Lines
    from ..live.mqtt import Mqtt
    from ..live.webhooks import Webhooks, checked, target_of

    receivers = Receivers([Lines(click.echo, options["thumbnails"], options["scores"])])
    urls, path, database = tuple(map(checked, options["webhooks"])), options["database"], None
    if urls and not path:
        raise UsageError("Messages to webhooks wait in a database: name a file for it.", "database")
    if path:
        database = EventDatabase(path, Retention(options["keep_days"], options["keep_mb"]))
        stack.callback(database.close)
        receivers.store = EventStore(database, tell, tuple(map(target_of, urls)))
        receivers.listeners.append(receivers.store)
        receivers.unfinished = database.unfinished()
    if folder := options["save_clips"]:
        saver = ClipSaver(folder, tell, options["margin"], options["clips_mb"], database)
        stack.callback(saver.close)
        receivers.listeners.append(saver)
    if options["serve"]:
        receivers.shows.append(serve(options["serve"], database, tell, stack))
    if options["mqtt"]:
        broker = Mqtt(options["mqtt"], tell)
        stack.callback(broker.close)
        broker.start()
        receivers.shows.append(broker)
    receivers.listeners += receivers.shows
    if database and urls:
        hooks = Webhooks(database, urls, tell, os.environ.get("ANOMALYCLI_WEBHOOK_SECRET"))
        stack.callback(hooks.close)
        hooks.start()
    return receivers


def serve(address: str, database: "EventDatabase | None", tell: Callable[[str], None], stack: ExitStack) -> "Board":
    """Serve the page at this address; returns the board that it shows."""
    from ..live.board import Board
    from ..live.server import LiveServer

    board = Board()
    server = LiveServer(address, board, database, os.environ.get("ANOMALYCLI_TOKEN"))
    stack.callback(server.close)
    server.start()
    tell(f"The page is at {server.url}" + ("" if server.is_local else "?token=…, with the token that you set."))
    return board
