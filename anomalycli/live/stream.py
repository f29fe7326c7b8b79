"""One stream from its source to clips that wait to be scored: reconnects, and skips clips where scoring is behind."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import VideoError
from ..media.messages import SILENCE, ClipFormat, Recorded, StreamClip
from .redaction import redact
from .sources import Break, Fault, Message, Source

WAITING = 8  # clips of a stream that may wait to be scored
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before a stream is opened again; doubled each time
SILENCES = 3  # times in a row that a stream is silent before its first full clip, after which a hint is given
LONGER_TIMEOUT = "If its frames are that far apart, choose a longer timeout."
FROZEN = 60.0  # seconds without any change in the picture after which a sentence says so


@dataclass
class Waiting:
    """A clip that waits, or a break. frames: None where the clip is skipped or still; its times are kept."""

    clip: StreamClip | None = None
    break_: Break | None = None
    frames: np.ndarray | None = None


@dataclass
class StreamState:
    """What is known of a stream, for status and metrics."""

    is_connected: bool = False
    is_over: bool = False
    frames: int = 0
    clips: int = 0
    skipped: int = 0
    still: int = 0  # clips that took the features of the one before
    damaged: int = 0
    reconnects: int = 0
    fps: float = 0.0
    last_at: float | None = None  # when the newest frame was taken
    lost_at: float | None = None
    fault: str | None = None  # the last one, while it lasts


@dataclass
class StreamReader:
    """Reads a source in a thread of its own.

    `say` is called with sentences about it; `arrived` is set with each clip. `pause` waits for seconds or until the
    reader is closed, and returns whether it is.
    """

    source: Source
    form: ClipFormat
    say: Callable[[str], None]
    arrived: threading.Event
    pause: Callable[[float], bool] | None = None
    clock: Callable[[], float] = time.time
    state: StreamState = field(default_factory=StreamState)

    def __post_init__(self) -> None:
        self.name = self.source.name
        self.recorded: list[Recorded] = []  # recordings that are complete, for whoever ordered them
        self._waiting: deque[Waiting] = deque()
        self._change = threading.Condition()
        self._closed = threading.Event()
        self._wait = FIRST_WAIT
        self._silences = 0
        self._stride = 1  # every `_stride`-th of the clips that wait is scored
        self._frozen_since: float | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"stream {self.name}")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop reading; waits for the thread."""
        self._closed.set()
        with self._change:
            self._change.notify_all()
        self.source.close()
        if self._thread.ident:
            self._thread.join(5)

    def take(self) -> list[Waiting]:
        """All that waits, in order."""
        with self._change:
            taken = list(self._waiting)
            self._waiting.clear()
            self._stride = 1
            self._change.notify_all()
        return taken

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def _run(self) -> None:
        while not self._closed.is_set():
            fault = None
            try:
                for message in self.source.messages(self.form):
                    self._take_in(message)
                    if self._closed.is_set():
                        return
            except VideoError as error:
                fault = redact(str(error))
            if self._closed.is_set():
                return
            if not self.source.lasts:
                if fault:
                    self.say(f"{fault} {LONGER_TIMEOUT}" if SILENCE in fault else fault)
                self.state.is_over, self.state.is_connected, self.state.fault = True, False, fault
                self.arrived.set()
                return
            self._count_silence(fault or "")
            self._lost(fault or f"{self.name} ({self.source.shown}): the stream ended.")
            if self.pause(self._wait) if self.pause else self._closed.wait(self._wait):
                return
            self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _count_silence(self, fault: str) -> None:
        """Say once that frames may come too seldom for the timeout."""
        self._silences = self._silences + 1 if SILENCE in fault else 0
        if self._silences == SILENCES:
            times = f"opened {SILENCES} times, and silent each time before {self.form.length} frames had come"
            self.say(f"{self.name}: {times}. {LONGER_TIMEOUT}")

    def _lost(self, fault: str) -> None:
        state = self.state
        if state.fault != fault:
            again = f"Trying again every {LONGEST_WAIT:g} s or sooner."
            self.say(f"{fault} {again}")
        if state.is_connected or state.lost_at is None:
            state.lost_at = self.clock()
        state.fault, state.is_connected = fault, False
        self.arrived.set()

    def _take_in(self, message: Message) -> None:
        if isinstance(message, Fault):
            self.say(redact(message.sentence))
            return
        if isinstance(message, Recorded):
            with self._change:
                self.recorded.append(message)
            return
        if isinstance(message, Break):
            self._put(Waiting(break_=message))
            return
        self._note(message)
        self._put(Waiting(message, frames=None if message.is_still else message.frames))

    def _note(self, clip: StreamClip) -> None:
        state = self.state
        if not state.is_connected:
            if state.lost_at is not None:
                state.reconnects += 1
                self.say(f"{self.name}: back after {max(0.0, clip.times[0] - state.lost_at):.0f} s.")
            state.is_connected, state.fault, self._wait = True, None, FIRST_WAIT
        if len(clip.times) == self.form.length:
            self._silences = 0
        state.clips, state.frames = state.clips + 1, state.frames + len(clip.times)
        state.damaged, state.fps = state.damaged + clip.damaged, clip.fps
        state.last_at = state.lost_at = float(clip.times[-1])
        self._watch_frozen(clip)

    def _watch_frozen(self, clip: StreamClip) -> None:
        """Say once that the picture does not change at all, not even by noise."""
        if not clip.is_frozen:
            if self._frozen_since == -np.inf:
                self.say(f"{self.name}: the picture changes again.")
            self._frozen_since = None
        elif self._frozen_since is None:
            self._frozen_since = float(clip.times[0])
        elif clip.times[-1] - self._frozen_since >= FROZEN and self._frozen_since > 0:
            self.say(f"{self.name}: the picture has not changed for {FROZEN:g} s. The camera may be frozen.")
            self._frozen_since = -np.inf

    def _put(self, entry: Waiting) -> None:
        with self._change:
            if self.source.is_live:
                self._thin_out(entry)
            else:
                while len(self._waiting) >= WAITING and not self._closed.is_set():
                    self._change.wait(1.0)
            self._waiting.append(entry)
        self.arrived.set()

    def _thin_out(self, entry: Waiting) -> None:
        """Skip clips where too many wait: all but every second one, then every fourth, evenly over what waits."""
        if len(self._waiting) >= WAITING * self._stride:
            self._stride *= 2
        for number, other in enumerate([*self._waiting, entry]):
            if number % self._stride and other.frames is not None:
                other.frames = None
                self.state.skipped += 1
