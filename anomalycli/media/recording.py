"""Parts of a stream as files, copied from packets that are held in memory: what runs in the decoder's process."""

import contextlib
import json
import queue
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from ..errors import cause
from . import CONTAINERS
from .messages import Recorded

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}  # an MP4 that plays wherever it breaks off
MOST_BYTES = 64 << 20  # that are held
FAULTS = (av.error.FFmpegError, OSError, ValueError, TypeError, IndexError)


@dataclass
class _Held:
    """A packet as it was read: its content and times, and when it was taken."""

    content: bytes
    stream: Any
    pts: int | None
    dts: int
    duration: int
    time_base: Fraction
    is_key: bool
    taken_at: float


@dataclass
class _Recording:
    """A file that is being written. until: when it ends; limit: when it ends at the latest."""

    target: str
    limit: float
    until: float | None = None
    output: Any = None
    suffix: str = ""
    copies: dict[int, Any] = field(default_factory=dict)
    begin: Fraction | None = None  # seconds on the stream's clock
    last: dict[int, int] = field(default_factory=dict)  # decoding times that were written


class Recorder:
    """Holds the last `kept` seconds of a stream, and writes what `orders` (lines of JSON) ask for.

    An order is {"record": target, "since": t, "limit": t}, and later {"stop": target, "until": t or null}; times are
    seconds since 1970. A file begins at the key frame before `since`.
    """

    def __init__(self, video: Any, sound: Any, kept: float, orders: "queue.SimpleQueue[bytes]"):
        self.video, self.sound, self.kept, self.orders = video, sound, kept, orders
        self._held: deque[_Held] = deque()
        self._bytes = 0
        self._active: dict[str, _Recording] = {}
        self._done: list[Recorded] = []

    def __call__(self, packet: Any, taken_at: float) -> None:
        """Hold a packet, and write it to the recordings that it belongs to."""
        if packet.dts is None or packet.time_base is None:
            return
        held = _Held(
            content=bytes(packet),
            stream=packet.stream,
            pts=packet.pts,
            dts=packet.dts,
            duration=packet.duration or 0,
            time_base=packet.time_base,
            is_key=bool(packet.is_keyframe) and packet.stream is self.video,
            taken_at=taken_at,
        )
        self._held.append(held)
        self._bytes += len(held.content)
        for recording in list(self._active.values()):
            if held.taken_at > min(recording.limit, recording.until or recording.limit):
                self._finish(recording)
            else:
                self._write(recording, held)
        if held.is_key:
            self._trim(taken_at)
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._held.popleft().content)
        self._obey()

    def done(self) -> Iterator[Recorded]:
        """Yield the recordings that are complete since the last call."""
        done, self._done = self._done, []
        yield from done

    def close(self) -> None:
        """Complete all recordings."""
        self._obey()
        for recording in list(self._active.values()):
            self._finish(recording)

    def _trim(self, now: float) -> None:
        """Forget what lies before the key frame that a recording of now could begin at."""
        keys = [number for number, held in enumerate(self._held) if held.is_key and held.taken_at <= now - self.kept]
        for _ in range(keys[-1] if keys else 0):
            self._bytes -= len(self._held.popleft().content)

    def _obey(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                order = json.loads(self.orders.get_nowait())
                if "record" in order:
                    self._begin(order["record"], order["since"], order["limit"])
                elif recording := self._active.get(order.get("stop", "")):
                    recording.until = order["until"]

    def _begin(self, target: str, since: float, limit: float) -> None:
        recording = self._active[target] = _Recording(target, limit)
        held = list(self._held)
        keys = [number for number, one in enumerate(held) if one.is_key]
        before = [number for number in keys if held[number].taken_at <= since] or keys[:1]
        for one in held[before[-1] :] if before else ():
            if target in self._active:
                self._write(recording, one)

    def _write(self, recording: _Recording, held: _Held) -> None:
        try:
            if recording.output is None:
                if not held.is_key:
                    return
                self._open(recording)
                recording.begin = held.dts * held.time_base
            assert recording.begin is not None
            number, shift = held.stream.index, round(recording.begin / held.time_base)
            dts = held.dts - shift
            if dts <= recording.last.get(number, -1):  # before the beginning, or again
                return
            recording.last[number] = dts
            packet = av.Packet(held.content)
            packet.time_base, packet.dts, packet.duration = held.time_base, dts, held.duration
            packet.pts = dts if held.pts is None else max(dts, held.pts - shift)
            packet.is_keyframe = held.is_key or held.stream is not self.video
            packet.stream = recording.copies[number]
            recording.output.mux(packet)
        except FAULTS as error:
            self._finish(recording, f"a clip cannot be written ({cause(error)})")

    def _open(self, recording: _Recording) -> None:
        """Open the file in the first container that can hold the streams. Raises FAULTS where none can."""
        streams = [self.video] if self.sound is None else [self.video, self.sound]
        for suffix, container in CONTAINERS.items():
            options = FRAGMENTS if container == "mp4" else {}
            try:
                output = av.open(recording.target, "w", format=container, options=options)
                recording.copies = {one.index: output.add_stream_from_template(one, opaque=True) for one in streams}
                output.start_encoding()
            except FAULTS:
                if suffix == [*CONTAINERS][-1]:
                    raise
                continue
            recording.output, recording.suffix = output, suffix
            return

    def _finish(self, recording: _Recording, fault: str | None = None) -> None:
        self._active.pop(recording.target, None)
        if recording.output is None:
            fault = fault or "a clip has no key frame to begin at"
        else:
            try:
                recording.output.close()
            except FAULTS as error:
                fault = fault or f"a clip cannot be written ({cause(error)})"
        is_there = Path(recording.target).exists()
        self._done.append(Recorded(recording.target, recording.suffix if is_there else None, fault))
