"""The sound track of a video as windows of 16 kHz mono samples, placed on the clock of the picture.

PyAV alone reads it, packet by packet: memory stays flat however long the file is, every frame comes
with its time, and what cannot be decoded is a gap. (decord holds a whole track in memory, has no
times, and gives up a damaged one.) Resampling is FFmpeg's libswresample.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import VideoError, cause
from .containers import open_container
from .demuxer import Demuxer

RATE = 16_000  # Hz
JITTER = RATE // 20  # samples by which times may be off, from rounding in the container, without being a gap


class Sound:
    """The sound of one file, read once from front to back.

    Several tracks: the one that FFmpeg holds for the best. Several channels: their mean.

    `track` says which track it is (None: there is none). After the last window, `damage` tells what
    of it could not be decoded, if anything, and `missing`, in words, how much sound was not there.
    """

    def __init__(self, path: str | os.PathLike, on_progress: Callable[[], None] = lambda: None):
        self.path, self.on_progress = Path(path), on_progress
        self.track: str | None = None
        self.damage: str | None = None
        self.missing: str | None = None
        try:
            with open_container(self.path) as container:
                stream: Any = container.streams.best("audio")
                if stream:
                    n_tracks = len(container.streams.audio)
                    self.track = f"{stream.codec_context.name}, {stream.rate} Hz, {stream.layout.name}"
                    if n_tracks > 1:
                        self.track += f", stream {stream.index}, the best of {n_tracks} sound tracks"
        except (av.error.FFmpegError, VideoError) as error:
            self.damage = cause(error)

    def windows(self, starts: np.ndarray, length: int) -> Iterator[np.ndarray]:
        """Yield float32 (length,) for each of `starts` (n,), in [-1, 1], NaN where there is no sound.

        `starts` are seconds on the file's own clock, ascending; `length` is in samples.
        """
        first = np.round(np.asarray(starts) * RATE).astype(np.int64)
        given, heard = 0, 0
        buffer, at = np.empty(0, np.float32), int(first[0])  # buffer[0] is sample number `at`
        for begin, samples in self._samples(at, lambda: int(first[given])):  # noqa: B023  (the present value is meant)
            if begin > at + len(buffer):
                buffer, at = buffer[:0], begin
            buffer = np.concatenate((buffer, samples))
            while given < len(first) and first[given] + length <= at + len(buffer):
                window = buffer[first[given] - at :][:length]
                given, heard = given + 1, heard + (not np.isnan(window).all())
                yield window
            if given == len(first):
                break
            gone = min(first[given] - at, len(buffer))
            buffer, at = buffer[gone:], at + int(gone)
        for start in first[given:]:
            window = np.full(length, np.nan, np.float32)
            rest = buffer[start - at :][:length] if start - at < len(buffer) else buffer[:0]
            window[: len(rest)] = rest
            heard += not np.isnan(window).all()
            yield window
        self.missing = self._missing(len(first), heard)

    def _missing(self, n_windows: int, n_heard: int) -> str | None:
        if self.track is None:
            return "there is no sound track" if self.damage is None else f"no sound can be read ({self.damage})"
        silent = n_windows - n_heard
        parts = [f"{silent} of {n_windows} clips have no sound"] * (silent > 0)
        parts += [f"the sound track is damaged ({self.damage})"] * (self.damage is not None)
        return ", ".join(parts) or None

    def _samples(self, begin: int, wanted: Callable[[], int]) -> Iterator[tuple[int, np.ndarray]]:
        """Mono samples from number `begin` on, float32, NaN where the track has none, each with its first number.

        Of a gap, what lies before the sample that is `wanted` next is left out: damaged times make gaps of years.
        """
        at, steady = begin, None  # next sample to give; where the next frame begins if the clock is steady
        for frame in self._frames():
            mono = frame.to_ndarray().mean(0, dtype=np.float32)
            place = steady if frame.pts is None else round(frame.time * RATE)
            if place is not None and steady is not None and abs(place - steady) <= JITTER:
                place = steady
            steady = (place or 0) + len(mono)
            while (at := max(at, min(wanted(), steady - len(mono)))) < steady - len(mono):
                gap = min(steady - len(mono) - at, RATE)
                yield at, np.full(gap, np.nan, np.float32)
                at += gap
            if at < steady:
                yield at, mono[at - steady :]
                at = steady

    def _frames(self) -> Iterator["av.AudioFrame"]:
        """Frames at 16 kHz, float, with all channels; what cannot be decoded is left out and noted."""
        if self.track is None:
            return
        resampler: Any = None
        source = None
        try:
            packets = Demuxer(self.path, self.on_progress)
            for packet in packets:
                if packet.stream is not packets.sound:
                    continue
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as error:
                    self.damage = cause(error)
                    continue
                for frame in frames:
                    if source != (frame.format.name, frame.layout.name, frame.sample_rate):
                        source = frame.format.name, frame.layout.name, frame.sample_rate
                        resampler = av.AudioResampler("fltp", rate=RATE)
                    yield from resampler.resample(frame)
            self.damage = self.damage or packets.broken
            if resampler is not None:
                yield from resampler.resample(None)
        except (av.error.FFmpegError, ValueError) as error:
            self.damage = cause(error)
