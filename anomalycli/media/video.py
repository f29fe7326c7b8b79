"""Video files as consecutive clips.

PyAV reads them. On request, decord reads files of the common containers whose packets are in order; where it stops,
PyAV continues at the very same frame. Both scale with the same libswscale filter, so a frame of an intact file does not
depend on its reader.
"""

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import VideoError, cause
from .clock import FrameTimes
from .containers import (
    clock_zero,
    creation_time,
    declared_frames,
    frame_rate,
    open_container,
    promised_end,
    timed_by,
    video_stream,
)
from .demuxer import Demuxer, frames_of
from .picture import Scaler, scaled_size, shown_size, turning
from .selection import Doubt, Needed, Selection

EVERY = range(sys.maxsize)  # clip
SEAM = 2  # packets before the seam of a joined recording that the demuxer marks as damaged, and are not


class Video:
    """One video file, read once from front to back.

    `width` and `height` are those of the picture as it is shown: rotation and pixel shape applied.
    With `short_side`, frames come scaled to `size` = (width, height): the short side as asked, both
    sides rounded to a multiple of `multiple`, nothing cropped.

    `n_frames` is the number of frames read so far, `n_declared` what the container promises (None
    where it does not say). After the last clip, `damage` tells what could not be decoded, if anything.
    `reader` is auto, decord or pyav: decord gives decord the files that suit it; with auto and pyav, PyAV reads all.
    `on_progress` is called with each packet and frame.

    Raises VideoError where the file has no frame that can be read.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        short_side: int | None = None,
        multiple: int = 1,
        *,
        reader: str = "auto",
        on_progress: Callable[[], None] = lambda: None,
    ):
        self.path, self.reader, self.on_progress = Path(path), reader, on_progress
        self.n_frames = 0
        self.damage: str | None = None
        self._times = np.empty(0)
        self._bad: list[float | None] = []  # when the packets that cannot be decoded would be shown
        self._broken: str | None = None  # what ended the file before its time
        self._n_packets, self._is_short = 0, False
        try:
            with open_container(self.path) as container:
                stream = video_stream(container, self.path)
                self.n_declared = declared_frames(container, stream, self.path)
                frame = self._first_frame(container, stream)
                self.fps = frame_rate(container, stream)
                self._format = container.format.name
                self._timed_by = timed_by(container)
                self._container_start = container.start_time
                self._promised = promised_end(container, stream)
                self.creation_time = creation_time(container, stream)
                self._n_streams = len(container.streams.video)
                pixel_shape = stream.sample_aspect_ratio
        except (av.error.FFmpegError, ValueError, IndexError) as error:
            raise VideoError(f"{self.path}: not a video that can be read ({cause(error)}).") from error
        self._turning = turning(frame)
        self.width, self.height = shown_size(frame, pixel_shape, self._turning)
        self.size = scaled_size(self.width, self.height, short_side, multiple)

    def clips(
        self, length: int, taken: tuple[int, ...] | None = None, numbers: Sequence[int] = EVERY
    ) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (n_taken, height, width, 3), RGB, of `length` consecutive frames each.

        `taken` are the numbers of those frames of a clip that are given, ascending from 0; None gives all. `numbers`
        are those of the clips that are given, ascending; reading ends with the last of them. Frames that are not given
        are not scaled, and not decoded where no other frame needs them (`selection`). A last clip that is not full
        repeats its last frame.
        """
        taken = taken or tuple(range(length))
        clip = np.empty((len(taken), self.size[1], self.size[0], 3), np.uint8)
        given, scaled = 0, None  # frames that the clip has; what gives the frame that was decoded last
        wanted = iter(numbers)
        following = next(wanted, None)
        with closing(self._scalable(_needed(length, taken, numbers))) as frames:
            for scaled in frames if following is not None else ():
                number, place = divmod(self.n_frames - 1, length)
                if number != following:
                    continue
                if given < len(taken) and place == taken[given]:
                    clip[given], given = scaled(), given + 1
                if place == length - 1:
                    yield clip
                    clip, given, following = np.empty_like(clip), 0, next(wanted, None)
                    if following is None:
                        return
        if scaled and self.n_frames % length and self.n_frames // length == following:
            clip[given:] = scaled()
            yield clip
        self._check()

    def frames(self) -> Iterator[np.ndarray]:
        """Yield every frame, uint8 (height, width, 3), RGB, counting them in `n_frames`."""
        self._start()
        if not (yield from self._decord_frames()):
            for scaled in self._behind(self.n_frames):
                yield scaled()
        self._check()

    def grab(self, numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number, frame) of the frames of these numbers, ascending, as far as the video has them.

        They are counted from the beginning, as `frames` counts them: no container's index is trusted to find them.
        """
        wanted = set(numbers)
        if not wanted:
            return
        for number, scaled in enumerate(self._scalable()):
            if number in wanted:
                yield number, scaled()
            if number >= max(wanted):
                return

    def _scalable(self, needed: Needed | None = None) -> Generator[Callable[[], np.ndarray], None, None]:
        """Every frame, as a function that scales it: call it for those `needed` and the last frame alone."""
        if self.reader == "decord":
            yield from (partial(np.asarray, frame) for frame in self.frames())
            return
        try:
            yield from self._pyav_frames(needed)
        except Doubt:
            yield from self._behind(self.n_frames)

    def _behind(self, given: int) -> Iterator[Callable[[], np.ndarray]]:
        """All frames behind the first `given`, which another reading gave."""
        for scaled in self._pyav_frames():
            if self.n_frames > given:
                yield scaled
        if missing := max(0, given - self.n_frames):  # what the other reading made of damaged packets
            beyond = (self._times[-1:] if self.n_frames else 0.0) + np.arange(1, missing + 1) / self.fps
            self._times, self.n_frames = np.concatenate((self._times, beyond)), given

    def clip_ends(self, length: int) -> np.ndarray:
        """When each clip of `length` frames that was read ends, in seconds on the file's own clock: float64 (n_clips,).

        That is when the frame after its last begins; beyond the last frame, frames are 1/fps apart.
        """
        times = self._times
        n_needed = -(-self.n_frames // length) * length + 1
        beyond = times[-1] + np.arange(1, n_needed - len(times) + 1) / self.fps
        return np.concatenate((times, beyond))[length::length]

    def frame_times(self) -> np.ndarray | None:
        """When each frame that was read begins, on the clock of a player: float64 (n_frames,), seconds.

        That clock begins with the first track of the file: where sound is first, the first frame is later than 0.
        None where frames follow one another at `fps` from 0 on (to less than half a frame).
        """
        begin = clock_zero(self._container_start, float(self._times[0]), self.fps)
        times = self._times - begin
        steady = np.abs(times * self.fps - np.arange(self.n_frames)).max() < 0.5
        return None if steady else times

    @property
    def n_lost(self) -> int | None:
        """Frames that damage took, as far as the container says how many there should be; None where it does not."""
        if self.damage is None:
            return 0
        return max(0, self.n_declared - self.n_frames) if self.n_declared else None

    def _start(self) -> None:
        """Forget what an earlier reading found."""
        self.n_frames, self.damage, self._times = 0, None, np.empty(0)
        self._bad, self._broken, self._n_packets, self._is_short = [], None, 0, False

    def _check(self) -> None:
        """Say what was damaged. Raises VideoError if not one frame was read."""
        parts = [self._broken] if self._broken else []
        if self._bad:
            at = next((time for time in self._bad if time is not None), None)
            zero = (self._container_start or 0) / av.time_base
            place = "" if at is None else f", the first at {max(0.0, at - zero):.1f} s"
            are = "is" if len(self._bad) == 1 else "are"
            parts.append(f"{len(self._bad)} of {self._n_packets} packets {are} damaged{place}")
        if self._ends_early():
            parts.append("the stream ends early")
        self.damage = "; ".join(parts) or None
        if self.n_frames == 0:
            raise VideoError(f"{self.path}: not one frame can be decoded ({self.damage or 'the decoder gives none'}).")

    def _ends_early(self) -> bool:
        if self._is_short:
            return True
        end = self._times[-1] if self.n_frames else 0.0
        return self._promised is not None and end < self._promised - 1

    def _decord_frames(self) -> Generator[np.ndarray, None, bool]:
        """Frames as far as decord gets, where the file suits it; returns whether those were all."""
        if self.reader != "decord" or self._n_streams != 1 or self._turning:
            return False
        from . import decord_reader  # its library takes a tenth of a decoder's start

        packets = Demuxer(self.path, self.on_progress)
        times = decord_reader.packet_times(packets, self._timed_by) if decord_reader.suits(self._format) else None
        if times is None or len(times) != (self.n_declared or len(times)):
            return False
        for frame in decord_reader.frames(self.path, self.size):
            self.n_frames += 1
            yield frame
        self._times = times[: self.n_frames]
        return self.n_frames == len(times)

    def _pyav_frames(self, needed: Needed | None = None) -> Iterator[Callable[[], np.ndarray]]:
        """All frames from the beginning, each as a function that scales it; `n_frames` counts them anew.

        What cannot be decoded is left out and counted. Frames that are not `needed` may come undecoded; raises Doubt
        where all must be decoded.
        """
        self._start()
        scaler = Scaler(self.size, self._turning)
        times, packets = FrameTimes(self.fps, self._timed_by), Demuxer(self.path, self.on_progress)
        selection = Selection(needed, self._format)
        doubtful = 0  # the last packet that was marked as damaged and could be decoded
        try:
            for packet, is_joint in selection.packets(packets):
                if is_joint and doubtful and self._n_packets - doubtful < SEAM:
                    self._bad.pop()
                self._n_packets += packet.size > 0
                times.packet(packet)
                if (frames := self._decoded(packet, times)) is None:
                    selection.failed()
                    continue
                if packet.is_corrupt:
                    doubtful = self._n_packets
                for frame in selection.in_order(frames):
                    times.frame(frame)
                    self.n_frames += 1
                    yield partial(scaler, frame)
            selection.check_end()
        finally:
            self._times, self._broken, self._is_short = times.array(), packets.broken, packets.is_short

    def _first_frame(self, container: Any, stream: Any) -> av.VideoFrame:
        """The first frame that can be decoded. Raises VideoError if there is none."""
        why = "it has none"
        for packet in container.demux(stream):
            self.on_progress()
            try:
                for frame in frames_of(packet):
                    return frame
            except av.error.FFmpegError as error:
                why = cause(error)
        raise VideoError(f"{self.path}: not one frame can be decoded ({why}).")

    def _decoded(self, packet: Any, times: FrameTimes) -> list[Any] | None:
        """The frames that a packet gives; None, and a note of it, where it cannot be decoded."""
        frames: list[Any] | None = None
        try:
            frames = frames_of(packet)
        except av.error.FFmpegError:
            times.lost()
        if frames is None or packet.is_corrupt:
            stamp = packet.dts if packet.pts is None else packet.pts
            self._bad.append(None if stamp is None else float(stamp * packet.time_base))
        self.on_progress()
        return frames


def _needed(length: int, taken: Sequence[int], numbers: Sequence[int]) -> Needed | None:
    """Whether the frame of a number is one of those `taken` of a clip of these `numbers`; None where all are."""
    if len(taken) == length and numbers == EVERY:
        return None
    chosen = numbers if isinstance(numbers, range) else frozenset(numbers)
    return lambda number: number % length in taken and number // length in chosen
