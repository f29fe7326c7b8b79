"""Scores several streams with one network, clip by clip, and passes scores and news of events to listeners."""

import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image

from ..errors import UsageError
from ..events import EventRule
from ..extraction.batching import clip_format
from ..inference import score_bags
from ..media.messages import StreamClip
from ..score import Scorer
from .sources import Source
from .stream import StreamReader, Waiting
from .tracking import EventTracker, LiveEvent, News
from .window import Scores, ScoreWindow

QUALITY = 80  # of JPEG pictures
IDLE = 0.5  # seconds between looks for streams that are over, when nothing arrives
GONE = 30.0  # seconds without a picture after which events end and scoring begins anew
PER_CORE = 4  # streams whose decoders get a core: several times what 720p at 25 frames/s takes
TELL_EVERY = 60.0  # seconds between sentences on being behind


class Listener:
    """Receives scores of streams and news of their events. Subclasses override what they need.

    One thread calls the methods, in order; they must not wait long.
    """

    def on_scores(self, stream: "WatchedStream", scores: Scores) -> None:
        """New scores of a stream."""

    def on_news(self, stream: "WatchedStream", news: News) -> None:
        """News of an event."""

    def tick(self) -> None:
        """Called at least once per second."""


@dataclass
class WatchedStream:
    """A stream with its scores and events. picture: the newest, uint8 (height, width, 3)."""

    reader: StreamReader
    window: ScoreWindow
    tracker: EventTracker
    recording: str = ""
    picture: np.ndarray | None = None
    scores: Scores | None = None
    features: np.ndarray | None = None  # of the last clip that was computed
    is_fresh: bool = False  # whether that is the last one that was not still
    n_frames: int = 0  # that were scored in a row
    still: list[tuple[int, int]] = field(
        default_factory=list
    )  # frames of still clips since the last call of `on_scores`
    is_still: bool = False  # whether the newest clip is
    last_at: float | None = None  # when the last frame of its window was taken
    lag: float = 0.0  # seconds from the newest frame that was scored to now; 0 of what is read as fast as it can be
    told_behind_at: float = -np.inf
    skipped_before: int = 0

    @property
    def name(self) -> str:
        return self.reader.name

    def append(self, clip: StreamClip) -> None:
        """Add a clip to the window, with the newest features."""
        assert self.features is not None
        self.window.add(self.features, clip.times)
        self.last_at, end = float(clip.times[-1]), self.n_frames + len(clip.times)
        state = self.reader.state
        self.is_still = clip.is_still and self.is_fresh
        if self.is_still:
            state.still += 1
            self.still.append((self.n_frames, end))
        elif clip.is_still:  # the clip that it is like was skipped
            state.skipped += 1
        self.n_frames = end

    def jpeg(self) -> bytes | None:
        """The newest picture as a JPEG file."""
        if self.picture is None:
            return None
        file = io.BytesIO()
        Image.fromarray(self.picture).save(file, "JPEG", quality=QUALITY)
        return file.getvalue()


@dataclass
class Batch:
    """Entries that were taken from the streams at once, in order. Not all of them have a clip with frames."""

    entries: list[tuple[WatchedStream, Waiting]] = field(default_factory=list)

    def clips(self) -> list[np.ndarray]:
        return [entry.frames for _, entry in self.entries if entry.frames is not None]


def _follows(times: np.ndarray, before: float) -> bool:
    """Whether a clip follows a frame without a long gap, measured by its own frame rate too."""
    apart = (times[-1] - times[0]) / max(1, len(times) - 1)
    return bool(0 <= times[0] - before < max(GONE, 2 * apart))


class Watcher:
    """Watches sources until they are over or it is stopped.

    `rule` is the model's own where it is None. `say` is called with sentences. `clock` gives seconds since 1970;
    `pause` waits before a stream is opened again, see StreamReader.

    Raises UsageError where the model cannot score streams.
    """

    def __init__(
        self,
        scorer: Scorer,
        listeners: Sequence[Listener],
        rule: EventRule | None = None,
        say: Callable[[str], None] = lambda sentence: None,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], bool] | None = None,
    ):
        if scorer.info.kind.audio:
            raise UsageError("The model needs sound, and streams are scored by their pictures alone.", "model")
        self.scorer, self.listeners, self.say, self.clock = scorer, listeners, say, clock
        self.pause = pause
        self.rule = rule or scorer.info.events
        self.form = clip_format(scorer.extractor)
        if scorer.extractor.calibration_clips:
            raise UsageError(
                "int8 needs a calibration, which streams cannot give: score a recording of these cameras at int8 once.",
                "precision",
            )
        self.streams: dict[str, WatchedStream] = {}
        self.arrived = threading.Event()
        self._stopped = False

    def add(self, source: Source, rule: EventRule | None = None, before: LiveEvent | None = None) -> WatchedStream:
        """Begin to watch a source. `before` is an event that a restart interrupted."""
        reader = StreamReader(source, self.form, self.say, self.arrived, self.pause, self.clock)
        window = ScoreWindow(self.scorer.info.settings.segments, self.form.length)
        stream = WatchedStream(reader, window, EventTracker(source.name, rule or self.rule, before))
        self.streams[source.name] = stream
        self._share_cores()
        reader.start()
        return stream

    def _share_cores(self) -> None:
        """Leave a core to the decoders of each few streams; the variable OMP_NUM_THREADS goes before."""
        if self.scorer.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, (os.cpu_count() or 1) - len(self.streams) // PER_CORE))

    def remove(self, name: str) -> None:
        """Stop to watch a source; its events end."""
        stream = self.streams.pop(name)
        stream.reader.close()
        self._finish(stream, "no longer watched")

    def run(self) -> None:
        """Watch until all streams are over or `stop` is called; then all events end."""
        try:
            while not (self._stopped or self.is_over):
                self.step()
        finally:
            for stream in self.streams.values():
                stream.reader.close()
        self.close()

    @property
    def is_over(self) -> bool:
        """Whether no stream has or will have anything to score."""
        readers = [stream.reader for stream in self.streams.values()]
        return all(reader.state.is_over and not reader.has_waiting for reader in readers)

    def stop(self) -> None:
        """Have `run` end soon; may be called by a signal handler."""
        self._stopped = True
        self.arrived.set()

    def close(self) -> None:
        """Stop reading and end all events."""
        for stream in self.streams.values():
            stream.reader.close()
        for stream in self.streams.values():
            self._finish(stream, None if stream.reader.state.is_over else "the watch was stopped")

    def step(self) -> bool:
        """Score what has arrived, after waiting for it a moment; returns whether there was anything."""
        if not any(stream.reader.has_waiting for stream in self.streams.values()):
            self.arrived.wait(IDLE)
        self.arrived.clear()
        batch = Batch([(stream, entry) for stream in self.streams.values() for entry in stream.reader.take()])
        self._score(batch)
        for stream in self.streams.values():
            self._look_after(stream)
        for listener in self.listeners:
            listener.tick()
        return bool(batch.entries)

    def _score(self, batch: Batch) -> None:
        features = iter(self._features(batch.clips()))
        changed: dict[str, WatchedStream] = {}
        for stream, entry in batch.entries:
            if entry.break_:
                self._score_heads(list(changed.values()))
                changed = {}
                self._finish(stream, None)
                stream.recording = entry.break_.title
                if entry.break_.passed:
                    entry.break_.passed()
                continue
            clip = entry.clip
            assert clip
            if stream.last_at is not None and not _follows(clip.times, stream.last_at):
                self._score_heads([changed.pop(stream.name)] if stream.name in changed else [])
                self._finish(stream, "the stream was interrupted")
            if entry.frames is not None:
                stream.features, stream.picture = next(features), entry.frames[-1]
            if not clip.is_still:
                stream.is_fresh = entry.frames is not None
            if stream.is_fresh or stream.window.n:  # a clip that is skipped, or still, counts as the one before
                stream.append(clip)
                changed[stream.name] = stream
        self._score_heads(list(changed.values()))

    def _features(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        """(n_crops, D) of each clip; clips of one size run together."""
        result: list[np.ndarray] = [np.empty(0)] * len(clips)
        for shape in {clip.shape for clip in clips}:
            same = [number for number, clip in enumerate(clips) if clip.shape == shape]
            for number, features in zip(same, self.scorer.extractor([clips[i] for i in same]), strict=True):
                result[number] = features
        return result

    def _score_heads(self, streams: list[WatchedStream]) -> None:
        """Score the windows of all these streams together, and tell what is new."""
        if not streams:
            return
        bags = [stream.window.bags() for stream in streams]
        together = np.concatenate(bags).transpose(0, 2, 1, 3)  # (n_bags, n_crops, T, D)
        scores = score_bags(self.scorer.model, together, self.scorer.device)
        edges = np.cumsum([len(some) for some in bags])[:-1]
        for stream, some in zip(streams, np.split(scores, edges), strict=True):
            stream.scores = stream.window.take(some)
            stream.lag = self.clock() - float(stream.scores.times[-1]) if stream.reader.source.is_live else 0.0
            for listener in self.listeners:
                listener.on_scores(stream, stream.scores)
            stream.still = []
            self._tell(stream, stream.tracker.update(stream.scores, stream.reader.state.fps))

    def _look_after(self, stream: WatchedStream) -> None:
        """End the events of a stream that is gone, and say where scoring is behind."""
        state, now = stream.reader.state, self.clock()
        is_gone = not state.is_connected and state.lost_at is not None and now - state.lost_at > GONE
        if stream.scores is not None and not stream.reader.has_waiting:
            if state.is_over:
                self._finish(stream, None)
            elif is_gone and stream.reader.source.is_live:
                self._finish(stream, "the stream was lost")
        skipped = state.skipped - stream.skipped_before
        if skipped and now - stream.told_behind_at >= TELL_EVERY:
            self.say(
                f"{stream.name}: scoring is behind by {stream.lag:.0f} s; "
                f"{skipped} of {state.clips} clips were skipped since the last such message. "
                "Watch fewer streams, or lower their frame rate."
            )
            stream.told_behind_at, stream.skipped_before = now, state.skipped

    def _finish(self, stream: WatchedStream, reason: str | None) -> None:
        """End all events of a stream, whose scores are final with that, and begin its scores anew."""
        if last := stream.scores:
            left = Scores(last.start + last.n_final, last.scores[last.n_final :], last.times[last.n_final :], 0)
            for listener in self.listeners:
                listener.on_scores(stream, replace(left, n_final=len(left.scores)))
        self._tell(stream, stream.tracker.finish(reason, stream.reader.state.fps or 25.0))
        stream.tracker = EventTracker(stream.name, stream.tracker.rule)
        stream.window = ScoreWindow(stream.window.length, stream.window.clip_length)
        stream.scores = stream.last_at = None
        stream.n_frames, stream.is_still = 0, False

    def _tell(self, stream: WatchedStream, news: list[News]) -> None:
        for each in news:
            for listener in self.listeners:
                listener.on_news(stream, each)
