"""Opening a stream: a URL, a device, a file that grows, or a pipe. What runs in the decoder's process.

A URL may lead on (playlists, redirects), and to the network only. A file or a pipe leads nowhere.
"""

import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from ..errors import VideoError, cause
from .containers import ANY_TAGS, FORMATS
from .messages import SILENCE, StreamPlace

PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtsp,rtsps,rtmp,rtmps,srt,crypto"  # none opens a file
NETWORK_FORMATS = f"{FORMATS},hls,dash,rtsp,rtp,rtp_mpegts,sdp,aac,mp3"
ALONE = {"format_whitelist": FORMATS, "protocol_whitelist": ""}  # opens nothing that the stream names
ANALYSED = 3_000_000  # microseconds of a network stream that are read to find its tracks
ANALYSED_OF_FILE = 1_000_000  # of a file that grows: what is not written yet is waited for
PLAYLISTS = ("hls", "dash")
DEVICES = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
POLL = 0.1  # seconds between looks at a file that may have grown
PULSE = 1.0  # seconds of waiting after which the parent hears that this process is alive


def open_stream(place: StreamPlace, pulse: Callable[[], None]) -> tuple[InputContainer, "GrowingFile | None"]:
    """The container of a stream, and its file if that may still grow. Raises VideoError with the reason."""
    try:
        if place.kind == "growing":
            file = GrowingFile(Path(place.place), place, pulse)
            soon = {"analyzeduration": str(ANALYSED_OF_FILE)} if place.idle else {}
            container = _open(file, options=ALONE | soon)
            file.is_opened()
            return container, file
        if place.kind == "pipe":
            pipe = Pipe(int(place.place), place, pulse)
            return _open(pipe, options=ALONE), None
        timeout = (place.timeout, place.timeout)
        if place.kind == "device":
            return _open(place.place, format=DEVICES.get(sys.platform, "v4l2"), timeout=timeout), None
        _resolve(place)
        options = {
            "protocol_whitelist": PROTOCOLS,
            "format_whitelist": NETWORK_FORMATS,
            "analyzeduration": str(ANALYSED),
            "rtsp_flags": "prefer_tcp",  # over UDP, lost packets are damage; other protocols ignore it
        }
        return _open(place.place, options=options, timeout=timeout), None
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise VideoError(f"{place.shown}: {reason(error, place)}.") from error


def reason(error: BaseException, place: StreamPlace) -> str:
    """Why a stream cannot be opened or read further, in words."""
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return "it refuses access: the user name or the password is wrong or missing"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "the server has nothing at this address (404)"
    if isinstance(error, ConnectionRefusedError):
        return "nothing answers at this address and port (connection refused)"
    if isinstance(error, av.error.ExitError | TimeoutError):
        return f"{SILENCE} {place.timeout:g} s"
    if isinstance(error, av.error.InvalidDataError) and place.kind == "growing" and place.idle == 0:
        return "not a video that can be read"
    if isinstance(error, av.error.InvalidDataError) and place.kind in ("growing", "pipe"):
        return (
            "no video that can be read while it is written. MPEG-TS, Matroska, FLV and fragmented MP4 can; an "
            "ordinary MP4 only once it is complete"
        )
    if isinstance(error, av.error.ArgumentError):
        return "no stream of video (its format is not one that is read here)"
    if place.kind == "url" and getattr(error, "errno", None) in (errno.EIO, errno.ECONNRESET, errno.EPIPE):
        return f"the connection ended or broke ({cause(error)})"
    return f"it cannot be read ({cause(error)})"


def has_end(container: InputContainer, place: StreamPlace) -> bool:
    """Whether a URL names a video that is complete: a file on a server, or a playlist to which nothing is added.

    Cameras may state a length too, so a file must have a size; FFmpeg knows a playlist's length only where it ends.
    That of MPEG-TS it finds only if the server lets it look at the end.
    """
    is_web = urlsplit(place.place).scheme.lower() in ("http", "https") and place.kind == "url"
    form = container.format.name
    has_length = bool(container.duration) or form == "mpegts"
    size = container.size or 0  # where it is unknown, PyAV 19 has none, and versions before it a negative number
    return is_web and has_length and (form in PLAYLISTS or size > 0)


def _open(place: Any, **settings: Any) -> InputContainer:
    return av.open(place, **ANY_TAGS, **settings)


def _resolve(place: StreamPlace) -> None:
    """Raise VideoError where the host of a URL has no address: FFmpeg says "input/output error" of it."""
    parts = urlsplit(place.place)
    if parts.hostname and not parts.hostname.startswith("@"):
        try:
            socket.getaddrinfo(parts.hostname, None)
        except (OSError, UnicodeError) as error:
            raise VideoError(f"{place.shown}: there is no host '{parts.hostname}', or no network.") from error


class GrowingFile:
    """A file for FFmpeg that ends only when it has not changed for `idle` seconds.

    A demuxer that meets an end in the middle of a packet would lose it. Only one that looks at what comes later meets
    the present end. So does that of MPEG-TS where it goes back while it opens the file: it reads on to the end to find
    out how long the file is now.
    """

    def __init__(self, path: Path, place: StreamPlace, pulse: Callable[[], None]):
        self.idle, self.pulse = place.idle, pulse
        try:
            self.file: BinaryIO = path.open("rb", buffering=0)  # type: ignore[assignment]
        except FileNotFoundError as error:
            raise VideoError(f"{place.shown}: there is no such file.") from error
        self._is_opening, self._looks_ahead = True, False
        self._is_transport = False  # MPEG-TS
        self._read_to = 0  # where reading in order has come
        self._stamp: tuple[int, float] | None = None  # size and time of the file when its end was reached
        self._since = 0.0  # since when they are these, on the monotonic clock

    def read(self, size: int) -> bytes:
        """At least one byte, or none at the end of the file."""
        while not (data := self.file.read(size)) and not (self._looks_ahead or self.is_complete()):
            self.pulse()
            time.sleep(POLL)
        if self._read_to == 0:
            self._is_transport = data[:1] == b"G"
        if not self._looks_ahead:
            self._read_to = max(self._read_to, self.file.tell())
        return data

    def is_complete(self) -> bool:
        """Whether the file has not changed for a while. Its time counts only when it is first seen: clocks differ."""
        stat = os.fstat(self.file.fileno())
        stamp = stat.st_size, stat.st_mtime
        if self._stamp is None:
            self._since = time.monotonic() - max(0.0, time.time() - stat.st_mtime)
        elif stamp != self._stamp:
            self._since = time.monotonic()
        self._stamp = stamp
        return time.monotonic() - self._since >= self.idle

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        after = self.file.seek(offset, whence)
        self._looks_ahead = after > self._read_to  # not a return from a look at the end, which asks for the length
        self._looks_ahead |= self._is_opening and self._is_transport and after < self._read_to
        return after

    def is_opened(self) -> None:
        """Note that the demuxer knows what it is, and reads in order from now on."""
        self._is_opening = False
        self._looks_ahead = self.file.tell() > self._read_to

    def tell(self) -> int:
        return self.file.tell()


class Pipe:
    """A pipe for FFmpeg. Raises TimeoutError where nothing comes for `timeout` seconds."""

    def __init__(self, number: int, place: StreamPlace, pulse: Callable[[], None]):
        self.number, self.timeout, self.pulse = number, place.timeout, pulse

    def read(self, size: int) -> bytes:
        """At least one byte, or none at the end."""
        began = time.monotonic()
        while not select.select([self.number], [], [], PULSE)[0]:
            self.pulse()
            if time.monotonic() - began > self.timeout:
                raise TimeoutError
        return os.read(self.number, size)
