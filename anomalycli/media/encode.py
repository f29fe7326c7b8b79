"""Frames of a video encoded anew as MP4 files: what runs in the decoder's process."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import VideoError, cause
from .containers import clock_zero, open_container, video_stream
from .messages import Piece
from .video import Video

ENCODERS = ("libx264", "mpeg4")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)  # errors of the disk, not of the streams
CODING = {"crf": "18", "preset": "veryfast"}
PROXY_SIDE, PROXY_EVERY = 360, 5.0  # pixels of the short side; seconds between frames that nothing happens in
PROXY_CODING = {"crf": "28", "preset": "veryfast", "g": "50"}  # key frames near one another, to seek
CLOCK = 90_000  # ticks per second of what is written
SOUNDS = ("aac", "mp3", "mp3float", "ac3", "alac")  # codecs that MP4 holds and players know
# what PyAV raises for broken streams
BROKEN = (av.error.FFmpegError, ValueError, IndexError, StopIteration, VideoError)
Pulse = Callable[[], None]
Intervals = list[tuple[int, int]]  # frames, half-open


def encode(path: Path, pieces: list[Piece], pulse: Pulse, reader: str = "auto") -> None:
    """Write the frames of each piece to its target, an MP4 file, in one pass over the video, by `reader`.

    Raises VideoError where none of the frames of a piece can be read.
    """
    if not pieces:
        return
    with _named(f"{path}: an event cannot be cut out"):
        writers = _written(Video(path, reader=reader, on_progress=pulse), pieces)
    if None in writers:
        raise VideoError(f"{path}: an event cannot be cut out: none of its frames can be read.")


def encode_proxy(path: Path, piece: Piece, kept: Intervals, pulse: Pulse, reader: str = "auto") -> None:
    """Write a small copy of the video to the target of `piece`, which is all of it, with the same times.

    Of frames outside of the intervals `kept`, one is written every few seconds. Raises VideoError if it cannot be read.
    """
    writer = None
    try:
        with _named(f"{path}: no small copy can be made"):
            video = Video(path, PROXY_SIDE, 2, reader=reader, on_progress=pulse)
            inside = np.zeros(piece.end, bool)
            for start, end in kept:
                inside[start:end] = True
            shown = -PROXY_EVERY
            for number, frame in enumerate(islice(video.frames(), piece.end)):
                at = piece.edges[number]
                if inside[number] or at - shown >= PROXY_EVERY or number == piece.end - 1:
                    writer = writer or _Encoded(path, piece, frame, PROXY_CODING)
                    writer.add(number, frame)
                    shown = at
    finally:
        if writer:
            writer.close()


@contextlib.contextmanager
def _named(fault: str) -> Iterator[None]:
    """Raise VideoError with `fault` and the cause where a stream is broken; errors of the disk stay as they are."""
    try:
        yield
    except BROKEN as error:
        if isinstance(error, VideoError) or (isinstance(error, OSError) and error.errno in FULL):
            raise
        raise VideoError(f"{fault} ({cause(error)}).") from error


def _written(video: Video, pieces: list[Piece]) -> "list[_Encoded | None]":
    """The writer of each piece; None for pieces of which no frame was read."""
    writers: list[_Encoded | None] = [None] * len(pieces)
    last = max(piece.end for piece in pieces)
    try:
        for number, frame in enumerate(islice(video.frames(), last)):
            for at, piece in enumerate(pieces):
                if piece.start <= number < piece.end:
                    writers[at] = writers[at] or _Encoded(video.path, piece, frame)
                    writers[at].add(number, frame)  # type: ignore[union-attr]
                elif number >= piece.end and (writer := writers[at]):
                    writer.close()
    finally:
        for writer in writers:
            if writer:
                writer.close()
    return writers


class _Encoded:
    """A piece that is being written: its frames as H.264 or MPEG-4, its sound copied where MP4 can hold it."""

    def __init__(self, path: Path, piece: Piece, frame: np.ndarray, coding: dict[str, str] | None = None):
        self.piece = piece
        self.is_open = True
        self.output = av.open(piece.target, "w", format="mp4")
        step = (piece.edges[-1] - piece.edges[0]) / (piece.end - piece.start)
        rate = Fraction(min(max(1 / max(step, 1e-3), 1), 1000)).limit_denominator(1001)
        self.stream: Any = self.output.add_stream(_encoder(), rate=rate)
        self.stream.height, self.stream.width = (max(2, side // 2 * 2) for side in frame.shape[:2])
        self.stream.pix_fmt = "yuv420p"
        if self.stream.codec_context.name == "libx264":
            self.stream.options = coding or CODING
        else:
            self.stream.bit_rate = 8_000_000
        self.stream.codec_context.time_base = Fraction(1, CLOCK)
        self.sound = _Sound(path, self.output, (piece.edges[0], piece.edges[-1]))

    def add(self, number: int, frame: np.ndarray) -> None:
        """Encode frame `number` of the video, uint8 (height, width, 3)."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
        picture = picture.reformat(self.stream.width, self.stream.height, "yuv420p")
        picture.pts = round((self.piece.edges[number - self.piece.start] - self.piece.edges[0]) * CLOCK)
        picture.time_base = Fraction(1, CLOCK)
        self.output.mux(self.stream.encode(picture))

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.output.mux(self.stream.encode())
            self.sound.copy()
            self.output.close()


class _Sound:
    """The sound of a piece, copied packet by packet; none where MP4 cannot hold it."""

    def __init__(self, path: Path, output: Any, seconds: tuple[float, float]):
        self.path, self.output, self.seconds = path, output, seconds
        self.stream = None
        with contextlib.suppress(*BROKEN), open_container(path) as source:
            best = source.streams.best("audio")
            if best is not None and best.codec_context.name in SOUNDS:
                self.stream = output.add_stream_from_template(best, opaque=True)

    def copy(self) -> None:
        if self.stream is None:
            return
        with contextlib.suppress(*BROKEN):
            begin = first_time(self.path)
            start, end = (begin + seconds for seconds in self.seconds)
            with open_container(self.path) as source:
                for packet in source.demux(source.streams.best("audio")):
                    if packet.pts is None or not start <= packet.pts * packet.time_base < end:
                        continue
                    packet.pts = packet.dts = packet.pts - round(start / packet.time_base)
                    packet.stream = self.stream
                    self.output.mux(packet)


def _encoder() -> str:
    return next(name for name in ENCODERS if name in av.codecs_available)


def first_time(path: Path) -> float:
    """The beginning of the clock of `Video.frame_times`, in seconds on the file's own."""
    with opened(path) as (container, stream):
        first = float(next(container.decode(stream)).time or 0.0)
        start = None if container.format.name == "avi" else container.start_time
        return clock_zero(start, first, float(stream.average_rate or 25))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its stream of pictures."""
    with open_container(path) as container:
        yield container, video_stream(container, path)
