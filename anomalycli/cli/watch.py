"""The command `watch`: score streams while they run, and print events as they happen."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import INTERRUPTED, UsageError
from .command import OUTPUT_FILE, PATH, Command, option, section, with_hint
from .event_rule import RULE_OPTIONS, rule_of
from .exits import finish
from .options import device_options, still_option, talk_options, use_reader, weights_option
from .settings_file import CONFIG
from .terminal import say
from .watch_receivers import receivers_of

if TYPE_CHECKING:
    from ..calibration import Calibration
    from ..events import EventRule
    from ..live.cameras import CameraFile
    from ..live.sources import Source
    from ..live.watcher import Watcher
    from ..score import Scorer

ABOVE_0 = click.FloatRange(min=0, min_open=True)


@click.command(cls=Command, no_args_is_help=True)
@click.argument("sources", nargs=-1)
@section(
    "What to watch, with which model",
    option("--model", type=PATH, show_default="fights", help="Model file, or a bundled model: fights, or fights-mc3."),
    weights_option,
    option(
        "--timeout",
        type=click.FloatRange(min=1),
        default=20.0,
        show_default=True,
        help="Seconds without data after which a stream counts as lost and is opened again.",
    ),
    option(
        "--idle",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        help="Seconds after which a file that does not grow counts as complete.",
    ),
    still_option,
)
@section(
    "What to print",
    option("--thumbnails", is_flag=True, help="Add a picture to each `start`, as a data: URL."),
    option("--scores", is_flag=True, help="Print a line per clip too: the provisional score, and scores now final."),
)
@section(
    "Where events are kept and sent",
    option("--database", type=OUTPUT_FILE, help="SQLite file in which events are kept; created if it is not there."),
    option("--keep-days", type=ABOVE_0, default=90.0, show_default=True, help="Days that events are kept in it."),
    option("--keep-mb", type=ABOVE_0, default=1024.0, show_default=True, help="Size at which the oldest are deleted."),
    option(
        "--webhook",
        "webhooks",
        multiple=True,
        help="URL that gets each start, end and final state of an event as JSON. Messages wait in --database while it "
        "is away; the variable ANOMALYCLI_WEBHOOK_SECRET signs them.  [repeatable]",
    ),
)
@section(
    "Home automation",
    option(
        "--mqtt",
        envvar="ANOMALYCLI_MQTT",
        help="Broker that gets events, mqtt://user:password@host:1883, as Home Assistant finds them by itself (extra: "
        "pip install 'anomalycli[mqtt]'). Also read from the variable ANOMALYCLI_MQTT.",
    ),
)
@section(
    "Clips of events",
    option("--save-clips", type=PATH, help="Folder to which events are saved as videos, not encoded again."),
    option(
        "--margin",
        type=click.FloatRange(min=0, max=60),
        default=5.0,
        show_default=True,
        help="Seconds before and after an event.",
    ),
    option(
        "--clips-mb", type=ABOVE_0, default=10_240.0, show_default=True, help="Size at which the oldest are deleted."
    ),
)
@section(
    "A page",
    option(
        "--serve",
        help="Serve a page of all streams at this address, such as 127.0.0.1:8765, with /healthz and /metrics "
        "(extra: pip install 'anomalycli[live]'). Addresses that other machines reach need the variable "
        "ANOMALYCLI_TOKEN.",
    ),
)
@section(
    "What counts as an event",
    *RULE_OPTIONS,
    option(
        "--calibration",
        "calibrations",
        multiple=True,
        metavar="[NAME=]FILE",
        help="Thresholds of a scene, made by calibrate, for the stream of this name or for all.  [repeatable]",
    ),
)
@device_options
@talk_options
def watch(sources, model, weights, timeout, idle, still, device, precision, reader, **options) -> None:
    """Score SOURCES while they run, and print events.

    Events are lines of JSON.

    \b
      anomalycli watch rtsp://user:password@camera/stream
      anomalycli watch gate=rtsp://10.0.0.8/1 yard=http://10.0.0.9/video
      anomalycli watch recordings/
      ffmpeg -i ... -f mpegts - | anomalycli watch -

    SOURCES are URLs (rtsp, http, https, udp, srt, rtmp; HLS too), webcams (/dev/video0), files that still grow, folders
    that receive recordings, or - for a pipe. NAME=SOURCE gives a source a name. --config FILE watches the cameras of a
    TOML file too, its tables [cameras.NAME]; SIGHUP has it read again. Ctrl-C ends open events, and stops.
    """
    from ..live.cameras import CameraFile, read_cameras
    from ..live.clips import KEPT
    from ..live.sources import Waits, find_sources
    from ..live.watcher import Watcher
    from ..score import Scorer, Skip

    use_reader(reader)
    waits = Waits(timeout, idle, options["margin"] + KEPT if options["save_clips"] else 0.0)
    config = click.get_current_context().meta.get(CONFIG)
    found = find_sources(sources, waits)
    if not found and not (config and read_cameras(config)):
        raise UsageError("Name a source, such as rtsp://camera/stream, or cameras in a file.", "config")
    scorer = Scorer.load(model, device, precision, weights, skip=Skip(still=still == "auto"))
    rules = Rules(scorer, rule_of(scorer.info.events, options), options["calibrations"], found)
    with contextlib.ExitStack() as stack:
        receivers = receivers_of(options, tell, stack)
        watcher = Watcher(scorer, receivers.listeners, rules.default, tell)
        cameras = None
        if config:
            cameras = CameraFile(config, waits, tell, rules.check, receivers.show, receivers.forget, receivers.resume)
        signals = stack.enter_context(handled_signals(watcher, cameras))
        for source in found:
            receivers.resume(source)
            receivers.show(watcher.add(source, rules.of(source.name), receivers.unfinished.pop(source.name, None)))
        if cameras:
            receivers.listeners.append(cameras)
            cameras.start(watcher, receivers.unfinished)
        tell(f"Watching {', '.join(watcher.streams)}.")
        watcher.run()
    if signals:
        click.get_current_context().exit(INTERRUPTED if signal.SIGINT in signals else 0)
    states = [stream.reader.state for stream in watcher.streams.values()]
    finish(failed=sum(state.fault is not None for state in states), done=sum(state.clips > 0 for state in states))


def tell(sentence: str) -> None:
    """Print a sentence about a stream."""
    from ..live.stream import LONGER_TIMEOUT

    settings = ["timeout"] if sentence.endswith(LONGER_TIMEOUT) else []
    say(with_hint(sentence, watch.params, settings))


class Rules:
    """The event rules of streams: those of their calibrations, else `default`.

    Raises UsageError for a calibration of another model, and for the name of no stream.
    """

    def __init__(self, scorer: "Scorer", default: "EventRule", words: tuple[str, ...], found: "list[Source]"):
        from ..calibration import load

        self.scorer = scorer
        self.rules: dict[str, EventRule] = {}
        names = {source.name for source in found}
        for word in words:
            name, equals, path = word.partition("=")
            if Path(word).exists() or not equals:
                name, path = "", word
            if name and name not in names:
                raise UsageError(f"{word}: no stream is named '{name}'.", "calibrations")
            if name in self.rules:
                which = f"the stream '{name}'" if name else "all streams"
                raise UsageError(
                    f"{word}: another calibration is for {which}. Write NAME=FILE for each.", "calibrations"
                )
            calibration = load(Path(path))
            self.check(calibration)
            self.rules[name] = calibration.rule
        self.default = self.rules.pop("", default)

    def check(self, calibration: "Calibration") -> None:
        """Raise UsageError for a calibration of another model, or of a mode that streams cannot have."""
        mode = calibration.scored_by.mode
        calibration.check(self.scorer.scored_by("window" if mode == "video" else mode))

    def of(self, name: str) -> "EventRule":
        """The rule of the stream of this name."""
        return self.rules.get(name, self.default)


@contextlib.contextmanager
def handled_signals(watcher: "Watcher", cameras: "CameraFile | None") -> Iterator[list[int]]:
    """Stop the watcher at SIGINT and SIGTERM, read cameras again at SIGHUP; yields the list of signals that stop."""
    came: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        came.append(number)
        watcher.stop()

    handlers: dict[int, Any] = {signal.SIGINT: stop, signal.SIGTERM: stop}
    if cameras and hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = lambda *_: cameras.reload()
    before = {}
    try:
        with contextlib.suppress(ValueError):  # not the main thread
            before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
