"""A stream as consecutive clips while it runs: what is read in the decoder's process."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import VideoError
from .clock import FrameTimes, PacketClock
from .containers import frame_rate, timed_by, video_stream
from .demuxer import end_of, frames_of
from .messages import ClipFormat, StreamClip, StreamPlace
from .open_stream import GrowingFile, has_end, open_stream, reason
from .picture import Scaler, scaled_size, shown_size, turning
from .still import StillClips

STEP = 2.0  # seconds by which the system's clock may move away from a steady one before it counts as set anew
LATE = 2.0  # seconds by which a frame may come late before the stream's clock counts as stopped in between
OPENING = 5.0  # seconds that FFmpeg may take to open a stream whose frames come all the while
RECENT = 9  # pictures that come in at least half the time in which they were taken: what came before is read
HELD, MOST_HELD = 5.0, 1000  # seconds and packets of a stream that are held at most until then
SLEW = 0.02  # seconds per second by which the clock of a stream is set back while its frames come early


class Stream:
    """One stream, read from where it is until it ends. `pulse` is called with each packet.

    Raises VideoError where it cannot be opened or has no picture.
    """

    def __init__(self, place: StreamPlace, form: ClipFormat, pulse: Callable[[], None]):
        self.place, self.form, self.pulse = place, form, pulse
        self.wall = WallClock()
        self.container, self.file = open_stream(place, pulse)
        try:
            self.video = video_stream(self.container, place.shown)
        except VideoError:
            self.container.close()
            raise
        self.video.codec_context.thread_count = 1  # streams share the cores; more threads cost each a sixth more
        self.fps = frame_rate(self.container, self.video)
        self.has_end = has_end(self.container, place)
        self.sound = self.container.streams.best("audio")
        self.damaged = 0  # packets since the last clip
        self.broken: str | None = None  # what ended the stream

    def clips(self, on_packet: Callable[[Any, float], None] | None = None) -> Iterator[StreamClip]:
        """Yield clips until the stream ends. `on_packet` gets each packet, of sound too, and when it was taken.

        Raises VideoError if the stream breaks, or gives no picture.
        """
        shape, finish = self.video.sample_aspect_ratio, _Finish(self.form)
        clip, n_clips = _Clip(self.form, shape), 0
        try:
            for frame, taken_at in self._frames(on_packet):
                if clip.n_frames and not clip.takes(frame):
                    yield finish(clip, self.fps, self._damage())
                    n_clips += 1
                    clip = _Clip(self.form, shape)
                clip.add(frame, taken_at)
                if clip.n_frames == self.form.length:
                    yield finish(clip, self.fps, self._damage())
                    n_clips += 1
                    clip = _Clip(self.form, shape, clip)
            if clip.n_frames:
                yield finish(clip, self.fps, self._damage())
                n_clips += 1
        finally:
            self.container.close()
        if self.broken:
            raise VideoError(f"{self.place.shown}: {self.broken}.")
        if not n_clips:
            raise VideoError(f"{self.place.shown}: the stream ended before its first picture.")

    def _damage(self) -> int:
        damaged, self.damaged = self.damaged, 0
        return damaged

    def _frames(self, on_packet: Callable[[Any, float], None] | None) -> Iterator[tuple[Any, float]]:
        """Each frame, and when it was taken, in seconds since 1970."""
        times = FrameTimes(self.fps, timed_by(self.container))
        clock, wall = PacketClock(self.container), self.wall
        wall.start = _known_start(self.file, self.container, self.place)
        wall.known = wall.start is not None
        packets = self._packets(with_sound=on_packet is not None)
        for packet in packets if wall.known or times.by != "timestamp" else self._placed(packets):
            clock.correct(packet)
            if on_packet and packet.size:
                on_packet(packet, wall.of_packet(packet))
            if packet.stream is not self.video:
                continue
            times.packet(packet)
            if wall.start is None and times.by == "timestamp" and packet.pts is not None:
                wall.begin_at_opening(float(packet.pts * packet.time_base))
            try:
                frames = frames_of(packet)
            except av.error.FFmpegError:
                times.lost()
                self.damaged += 1
                continue
            self.damaged += bool(packet.is_corrupt)
            for frame in frames:
                times.frame(frame)
                del times.seconds[:-1]  # all that is needed of weeks
                if wall.was_set():
                    self.broken = "the system's clock was set, so it is opened again"
                    return
                yield frame, wall(times.seconds[-1])

    def _placed(self, packets: Iterator[Any]) -> Iterator[Any]:
        """The packets. The first ones are held until they do not come faster than they were taken.

        FFmpeg reads on while it finds out what a stream is, and cameras have pictures in store, so what comes at once
        was taken before. No picture comes before it was taken: the one that came soonest says when.
        """
        held: list[Any] = []
        came: list[tuple[float, float]] = []  # when a picture came, on the steady clock, and its timestamp
        for packet in packets:
            held.append(packet)
            if len(held) == MOST_HELD:
                break
            if packet.stream is self.video and packet.pts is not None:
                came.append((time.monotonic(), float(packet.pts * packet.time_base)))
                (then, before), (now, seconds) = came[-RECENT:][0], came[-1]
                is_long = seconds - came[0][1] > HELD
                if (is_long or len(came) >= RECENT) and now - then >= (seconds - before) / 2:
                    self.wall.begin(*min(came, key=lambda one: one[0] - one[1]), seconds)
                    break
                if is_long:
                    break
        yield from held
        yield from packets

    def _packets(self, with_sound: bool) -> Iterator[Any]:
        streams = [self.video, self.sound] if with_sound and self.sound else [self.video]
        try:
            for packet in self.container.demux(*streams):
                self.pulse()
                yield packet
        except (av.error.FFmpegError, OSError, IndexError) as error:
            is_new_track = isinstance(error, IndexError)
            self.broken = "a track that was not announced begins" if is_new_track else reason(error, self.place)
            yield end_of(self.video)


class _Clip:
    """A clip on its way; its picture size is that of its first frame."""

    def __init__(self, form: ClipFormat, pixel_shape: Any, before: "_Clip | None" = None):
        self.form, self.pixel_shape, self.taken = form, pixel_shape, form.taken or tuple(range(form.length))
        self.scaler: Scaler | None = before.scaler if before else None
        self.source: tuple[int, int] | None = before.source if before else None  # size of the stream's own frames
        self.times: list[float] = []
        self.given = 0
        self.last: Any = None

    @property
    def n_frames(self) -> int:
        return len(self.times)

    def takes(self, frame: Any) -> bool:
        """Whether the frame has the size of those before."""
        return self.source == (frame.width, frame.height)

    def add(self, frame: Any, taken_at: float) -> None:
        if self.scaler is None or not self.takes(frame):
            self.source, self.scaler = (frame.width, frame.height), _scaler(frame, self.pixel_shape, self.form)
        if not self.times:
            width, height = self.scaler.size
            self.frames = np.empty((len(self.taken), height, width, 3), np.uint8)
        if self.given < len(self.taken) and self.n_frames == self.taken[self.given]:
            self.frames[self.given], self.given = self.scaler(frame), self.given + 1
        self.times.append(taken_at)
        self.last = frame

    def filled(self) -> np.ndarray:
        """The frames that are taken; where the clip is not full, its last frame is repeated."""
        if self.given < len(self.taken):
            assert self.scaler
            self.frames[self.given :] = self.scaler(self.last)
        return self.frames


class _Finish:
    """Makes messages of the clips of a stream, one after another."""

    def __init__(self, form: ClipFormat):
        self.still = StillClips() if form.still else None
        self.last: np.ndarray | None = None  # the last picture of the clip before

    def __call__(self, clip: _Clip, fps: float, damaged: int) -> StreamClip:
        frames = clip.filled()
        is_frozen = self.last is not None and all(np.array_equal(frame, self.last) for frame in frames)
        self.last = frames[-1]
        if self.still and self.still(frames):
            frames = frames[:0]
        return StreamClip(frames, np.array(clip.times), fps, damaged, is_frozen)


class WallClock:
    """When frames were taken, by the system's clock and their timestamps: seconds since 1970.

    Timestamps say how far frames are apart, and their arrival where they begin. Where no arrival was seen, the first
    one was taken when the stream was opened. That one is not always shown: cameras may begin between two key frames.
    `start` is when the frame of timestamp 0 was taken; it is `known` of files.
    """

    def __init__(self) -> None:
        self.start: float | None = None
        self.known = False
        self.opened = time.monotonic()
        self.offset = time.time() - self.opened
        self.last, self.seconds = -np.inf, 0.0
        self.held = -np.inf  # timestamp of the last frame that waited until `start` was known

    def was_set(self) -> bool:
        """Whether the system's clock was set since."""
        return not self.known and abs(time.time() - time.monotonic() - self.offset) > STEP

    def of_packet(self, packet: Any) -> float:
        """When a packet was taken, which has not been decoded yet."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if self.start is None or stamp is None:
            return time.time()
        return self.start + float(stamp * packet.time_base)

    def begin(self, came: float, seconds: float, held: float) -> None:
        """Take note that the frame of timestamp `seconds` came at `came`, on the steady clock; those to `held` wait."""
        self.start, self.seconds, self.held = came + self.offset - seconds, seconds, held

    def begin_at_opening(self, seconds: float) -> None:
        """Take note of the timestamp of the first frame, where no arrival was seen."""
        now = time.monotonic()
        self.begin(now if now > self.opened + OPENING else self.opened, seconds, seconds)

    def __call__(self, seconds: float) -> float:
        if not self.known:
            now = time.monotonic() + self.offset
            if self.start is None:
                self.begin_at_opening(seconds)
            elif seconds > self.held and now > self.start + seconds + LATE:
                self.start = now - seconds
            else:  # what a camera had in store came at once, and the first frame was older than it seemed
                ahead = max(0.0, self.start + seconds - now)
                self.start -= min(ahead, SLEW * max(0.0, seconds - self.seconds))
            self.seconds = seconds
        assert self.start is not None
        self.last = max(self.start + seconds, self.last + 1e-4)
        return self.last


def _scaler(frame: Any, pixel_shape: Any, form: ClipFormat) -> Scaler:
    turned = turning(frame)
    width, height = shown_size(frame, pixel_shape, turned)
    return Scaler(scaled_size(width, height, form.short_side, form.multiple), turned)


def _known_start(file: GrowingFile | None, container: Any, place: StreamPlace) -> float | None:
    """When timestamp 0 of a file was taken: it was written last when its last frame was; None for all else."""
    if file is None or not container.duration:
        return None
    begin = (container.start_time or 0) / av.time_base
    return Path(place.place).stat().st_mtime - container.duration / av.time_base - begin
