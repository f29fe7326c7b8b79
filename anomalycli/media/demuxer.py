"""The packets of a file, as far as it can be read, on one clock."""

import errno
import mmap
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from ..errors import VideoError, cause
from .clock import PacketClock
from .containers import INDEXED, SUBFILE, is_cut_off, open_container, url, video_stream

RETRIES = 100  # new beginnings of a demuxer after streams that were not declared
_FLV_HEADER = re.compile(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0\0\0\0")


def parts(path: Path) -> list[str | None]:
    """Where each part of a joined FLV file is, of which FFmpeg reads the first alone; [None], the whole, for others."""
    with path.open("rb") as file:
        if file.read(4) != b"FLV\x01":
            return [None]
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            starts = [match.start() for match in _FLV_HEADER.finditer(content)]
            edges = [*starts, len(content)]
    if len(starts) < 2 or starts[0]:
        return [None]
    return [SUBFILE.format(start=start, end=end, path=url(path)) for start, end in pairwise(edges)]


def frames_of(packet: Any) -> list[Any]:
    """The frames that a packet gives.

    Raises FFmpegError where it cannot be decoded, MemoryError where there is no memory for it or for threads.
    """
    try:
        return list(packet.decode())
    except av.error.FFmpegError as error:
        if error.errno in (errno.ENOMEM, errno.EAGAIN):
            raise MemoryError from error
        raise
    except ValueError as error:  # PyAV's, once the decoder could not be opened
        raise av.error.DecoderNotFoundError(0, "decoder not found") from error


def end_of(stream: Any) -> av.Packet:
    """The empty packet that makes the decoder of a stream give what it holds."""
    end = av.Packet()
    end.stream, end.time_base = stream, stream.time_base
    return end


class Demuxer:
    """The packets of picture and sound of one file, in the order in which they lie there.

    `video` and `sound` are the streams of the part that is being read; sound is None where there is none. `broken`
    says what ended the file before its time, once it was read, and `is_short` whether its index promises more.
    """

    def __init__(self, path: Path, on_progress: Callable[[], None] = lambda: None):
        self.path, self.on_progress = path, on_progress
        self.video: Any = None
        self.sound: Any = None
        self.broken: str | None = None
        self.is_short = False
        self.joint = False  # whether the packet that was given last is the first of another part

    def __iter__(self) -> Iterator[Any]:
        """Yield packets, and at the end of each part the empty ones that make decoders give what they hold."""
        clock = None
        for place in parts(self.path):
            with open_container(self.path, place) as container:
                self.video = _stream_or_none(container, self.path)
                self.sound = container.streams.best("audio")
                clock = clock or PacketClock(container)
                n_packets = 0
                for packet in self._packets(container):
                    shift = clock.shift
                    clock.correct(packet)
                    self.joint = clock.shift != shift
                    n_packets += packet.stream is self.video and packet.size > 0
                    yield packet
                if self.video is not None and container.format.name in INDEXED:
                    entries = self.video.index_entries
                    if n_packets < len(entries):
                        self.is_short = n_packets < sum(entry.size > 0 for entry in entries)
                self.is_short |= self.video is not None and is_cut_off(container, self.path)

    def _packets(self, container: Any) -> Iterator[Any]:
        streams = [stream for stream in (self.video, self.sound) if stream is not None]
        for _ in range(RETRIES if streams else 0):
            try:
                for packet in container.demux(*streams):
                    self.on_progress()
                    yield packet
                return
            except av.error.FFmpegError as error:
                self.broken = cause(error)
                break
            except IndexError:  # PyAV's, where damage looks like the beginning of one more stream
                self.broken = "a stream that was not declared begins"
        yield from map(end_of, streams)


def _stream_or_none(container: Any, path: Path) -> Any:
    try:
        return video_stream(container, path)
    except VideoError:
        return None
