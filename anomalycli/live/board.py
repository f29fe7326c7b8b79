"""What a page, a health check and metrics show: the present state of all streams."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .messages import message, utc_time
from .tracking import News
from .watcher import Listener, WatchedStream
from .window import Scores

SHOWN = 300.0  # seconds of the curve
EVERY = 16  # frames per point of it
MOST_EVENTS = 200  # that are remembered without a database
STUCK = 60.0  # seconds without a sign of the scoring thread after which it counts as stuck


@dataclass
class _Lane:
    """A stream as it is shown. points: time and score that are final; provisional: those that are not."""

    stream: WatchedStream
    recording: str = ""
    points: deque[tuple[float, float]] = field(default_factory=deque)
    provisional: list[tuple[float, float]] = field(default_factory=list)
    open_events: set[str] = field(default_factory=set)
    events: int = 0


class Board(Listener):
    """Follows all streams. Its methods may be called by any thread."""

    def __init__(self, now: Callable[[], float] = time.time):
        self.now = now
        self._lanes: dict[str, _Lane] = {}
        self._recent: dict[str, dict[str, Any]] = {}  # events by id, the newest last
        self._pictures: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._ticked_at = now()
        self.version = 0  # grows with each change of an event

    def on_scores(self, stream: WatchedStream, scores: Scores) -> None:
        with self._lock:
            lane = self._lane(stream)
            if lane.recording != stream.recording:  # another clock
                lane.points.clear()
                lane.recording = stream.recording
            pairs = [(float(t), float(s)) for t, s in zip(scores.times[::EVERY], scores.scores[::EVERY], strict=True)]
            n_final = -(-scores.n_final // EVERY)
            lane.points.extend(pairs[:n_final])
            lane.provisional = pairs[n_final:]
            newest = pairs[-1][0] if pairs else 0.0
            while lane.points and lane.points[0][0] < newest - SHOWN:
                lane.points.popleft()

    def on_news(self, stream: WatchedStream, news: News) -> None:
        with self._lock:
            lane, number = self._lane(stream), news.event.id
            lane.events += news.kind == "start"
            (lane.open_events.add if news.event.is_open else lane.open_events.discard)(number)
            if news.kind == "start":
                self._pictures[number] = stream.jpeg() or b""
            before = self._recent.pop(number, {})
            kept = {name: before[name] for name in ("verdict", "note") if name in before}
            self._recent[number] = message(news, stream.recording, **kept, picture=True)
            while len(self._recent) > MOST_EVENTS:
                self._pictures.pop(oldest := next(iter(self._recent)), None)
                del self._recent[oldest]
            self.version += 1

    def tick(self) -> None:
        self._ticked_at = self.now()

    def forget(self, name: str) -> None:
        """Show a stream no longer."""
        with self._lock:
            self._lanes.pop(name, None)

    def watch(self, stream: WatchedStream) -> None:
        """Show a stream before its first clip."""
        with self._lock:
            self._lane(stream)

    def _lane(self, stream: WatchedStream) -> _Lane:
        lane = self._lanes.setdefault(stream.name, _Lane(stream))
        lane.stream = stream
        return lane

    def streams(self) -> list[dict[str, Any]]:
        """The state of each stream."""
        with self._lock:
            return [_state(lane, self.now()) for lane in self._lanes.values()]

    def events(self) -> list[dict[str, Any]]:
        """The newest events, the newest first."""
        with self._lock:
            return list(reversed(self._recent.values()))

    def event_picture(self, number: str) -> bytes | None:
        """The picture of an event, JPEG."""
        with self._lock:
            return self._pictures.get(number)

    def judge(self, number: str, verdict: str | None, note: str) -> bool:
        """Remember a verdict; returns whether there is such an event."""
        with self._lock:
            event = self._recent.get(number)
            if event is not None:
                event.update(verdict=verdict, note=note)
                self.version += 1
            return event is not None

    def picture(self, name: str) -> bytes | None:
        """The newest picture of a stream, JPEG."""
        with self._lock:
            lane = self._lanes.get(name)
        return lane.stream.jpeg() if lane else None

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether clips are being scored, and what a health check says."""
        silent = self.now() - self._ticked_at
        streams = self.streams()
        connected = sum(stream["connected"] for stream in streams)
        is_well = silent < STUCK
        words = "ok" if is_well else f"nothing was scored for {silent:.0f} s"
        return is_well, {"status": words, "streams": len(streams), "connected": connected}

    def metrics(self, waiting: int = 0) -> str:
        """Prometheus text."""
        streams = self.streams()
        lines = []
        for name, (kind, key, text) in METRICS.items():
            lines += [f"# HELP anomalycli_{name} {text}", f"# TYPE anomalycli_{name} {kind}"]
            for stream in streams:
                label = stream["name"].replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
                lines.append(f'anomalycli_{name}{{stream="{label}"}} {float(stream[key] or 0):.10g}')
        lines += ["# TYPE anomalycli_messages_waiting gauge", f"anomalycli_messages_waiting {waiting}"]
        return "\n".join(lines) + "\n"


METRICS = {
    "connected": ("gauge", "connected", "Whether the stream gives pictures."),
    "frames_total": ("counter", "frames", "Frames decoded."),
    "clips_skipped_total": ("counter", "skipped", "Clips that were not scored because scoring was behind."),
    "clips_still_total": ("counter", "still_clips", "Clips in which nothing moved, carried over from the one before."),
    "packets_damaged_total": ("counter", "damaged", "Packets that could not be decoded."),
    "reconnects_total": ("counter", "reconnects", "Times that the stream was opened again."),
    "events_total": ("counter", "events", "Events that began."),
    "events_open": ("gauge", "open", "Events that have not ended."),
    "lag_seconds": ("gauge", "lag", "Seconds from the newest scored frame of a camera to its score."),
    "score": ("gauge", "score", "The newest score."),
}


def _state(lane: _Lane, now: float) -> dict[str, Any]:
    stream, state = lane.stream, lane.stream.reader.state
    newest = lane.provisional or lane.points
    if newest and not stream.reader.source.is_live:
        now = newest[-1][0]
    return {
        "name": stream.name,
        "source": stream.reader.source.shown,
        "connected": state.is_connected,
        "over": state.is_over,
        "fault": state.fault,
        "fps": round(state.fps, 2),
        "frames": state.frames,
        "skipped": state.skipped,
        "still_clips": state.still,
        "still": stream.is_still,
        "damaged": state.damaged,
        "reconnects": state.reconnects,
        "lag": round(stream.lag, 2),
        "at": utc_time(state.last_at) if state.last_at else None,
        "threshold": stream.tracker.rule.start_threshold,
        "events": lane.events,
        "open": len(lane.open_events),
        "score": round(newest[-1][1], 4) if newest else None,
        "ago": [round(now - at, 1) for at, _ in (*lane.points, *lane.provisional)],
        "curve": [round(score, 3) for _, score in (*lane.points, *lane.provisional)],
        "final": len(lane.points),
    }
