"""Opening a file of the user's as a video, and as nothing else.

FFmpeg reads more than videos: playlists and lists of files that name others, patterns of pictures, addresses on the
network. None of these is opened here: only containers and streams that hold their pictures themselves.
"""

import re
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import VideoError

# Names of FFmpeg's demuxers. Not among them: hls, dash, concat, image2, imf, sdp, rtsp, lavfi, mlv, bluray and others
# that open what a file names.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg,ogg,mxf,nut,rm,dv,dhav,wtv,nsv,swf,gxf,lxf,nuv,pva,ty,"
    "amv,gif,ivf,yuv4mpegpipe,h261,h263,h264,hevc,vvc,evc,av1,obu,m4v,mpegvideo,mjpeg,mpjpeg,vc1,vc1test,cavsvideo,avs2,"
    "avs3,dirac,dnxhd"
)
SUBFILE = "subfile,,start,{start},end,{end},,:{path}"  # a part of a file, as FFmpeg names it
OPTIONS = {"protocol_whitelist": "file,subfile", "format_whitelist": FORMATS}
FASTEST = 1200  # frames per second; what is faster is a mistake of the container's
# Tags that are not UTF-8 are read by av from version 19 on; older ones raise UnicodeDecodeError unless told not to.
ANY_TAGS: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
NO_TIMESTAMPS = 0x0080  # FFmpeg's AVFMT_NOTIMESTAMPS
APPLE, CREATED = "com.apple.quicktime.creationdate", "creation_time"  # Apple's is local time with its offset
LATEST = 600.0  # seconds that the picture may begin after the sound; what is later is a mistake of the container's
ASF_PACKETS = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
LONGEST = 1 << 45  # bytes of a recording; longer ones are damaged numbers
MEDIA_BOXES = frozenset((b"moov", b"moof", b"mdat"))  # of MP4: pictures, and where they are
UNKNOWN_LENGTH = 0xFFFFFF00  # of an AVI file; what is longer is no length
INDEXED = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "avi"))  # their index has an entry for each packet
TIMED = frozenset(("matroska,webm", "flv", "asf"))  # their header says how long they are
_PLAYLIST = re.compile(rb"\s*(#EXTM3U|ffconcat|\[(playlist|reference)\]|<(\?xml|MPD|smil|asx)|v=0\r?\n)", re.IGNORECASE)


def open_container(path: Path, part: str | None = None) -> InputContainer:
    """The file at `path`, opened, or a part of it by SUBFILE.

    Raises VideoError if it is missing, empty or a playlist, and av's errors if it is not a video.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            next(path.iterdir(), None)  # OSError if it may not be listed, which is why it stands for its videos
            raise VideoError(f"{path}: a folder without a video.")
        if not stat.S_ISREG(mode):
            raise VideoError(f"{path}: a pipe or a device, not a file. Save the video to a file first.")
        with path.open("rb") as file:
            begin = file.read(64)
    except FileNotFoundError as error:
        raise VideoError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise VideoError(f"{path}: it cannot be opened ({error.strerror}).") from error
    if not begin:
        raise VideoError(f"{path}: the file is empty.")
    if _PLAYLIST.match(begin.removeprefix(b"\xef\xbb\xbf")):
        raise VideoError(f"{path}: a playlist and not a video. Name the files that it lists.")
    try:
        return av.open(part or url(path), options=OPTIONS, **ANY_TAGS)
    except av.error.ArgumentError as error:  # what the list of formats leaves out
        raise VideoError(f"{path}: not a video that can be read (its format is not one of videos).") from error
    except av.error.InvalidDataError as error:
        if not _lacks_index(path):
            raise
        raise VideoError(
            f"{path}: not a video that can be read: its index is missing, as in a recording that was cut off or is "
            "still being written. Read it when it is complete, or repair it."
        ) from error


def url(path: Path) -> str:
    """An absolute path, so that no name is taken for an option or a protocol."""
    return str(path.absolute())


def video_stream(container: InputContainer, path: Path | str) -> VideoStream:
    """The stream of pictures that a player shows; errors name `path`.

    Raises VideoError if there is none, only a cover picture, or no decoder for it.
    """
    best = container.streams.best("video")
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if moving:
        shown: VideoStream = best if best in moving else moving[0]  # type: ignore[assignment]
        if shown.codec_context is None:
            raise VideoError(f"{path}: not one frame can be decoded (decoder not found).")
        return shown
    only = "a cover picture and no video" if best else "no picture, only other tracks"
    raise VideoError(f"{path}: the file has {only}.")


def has_timestamps(container: InputContainer) -> bool:
    """Whether the container says when its frames are shown: raw streams do not."""
    return not container.format.flags & NO_TIMESTAMPS


def timed_by(container: InputContainer) -> str:
    """What says when frames are shown, as `clock.FrameTimes` takes it: packet for AVI, else timestamp or number."""
    if container.format.name == "avi":
        return "packet"
    return "timestamp" if has_timestamps(container) else "number"


def creation_time(container: InputContainer, stream: VideoStream) -> str | None:
    """When the file says that it was recorded, as it is written there; None where it does not say."""
    for metadata, name in ((container.metadata, APPLE), (container.metadata, CREATED), (stream.metadata, CREATED)):
        if text := metadata.get(name):
            return text
    return None


def clock_zero(start: int | None, first: float, rate: float) -> float:
    """Where a player's clock begins: with the first track, or with the first frame, at `first`, where no other matters.

    `start` is the container's start_time, in microseconds; `first` and what is returned are seconds on the file's own
    clock; `rate` is in frames per second.
    """
    if start is None:
        return first
    begin = start / av.time_base
    return begin if 0.5 / rate <= first - begin <= LATEST else first


def declared_frames(container: InputContainer, stream: VideoStream, path: Path) -> int | None:
    """How many frames the index of a container that was just opened has; None where it has none.

    Frames that an edit list leaves out, and entries without data, do not count.
    """
    if container.format.name not in INDEXED or not stream.frames:
        return None  # the index of a fragmented MP4 grows while it is read
    if container.format.name == "avi" and is_cut_off(container, path):
        return None
    return sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries) or None


def promised_end(container: InputContainer, stream: VideoStream) -> float | None:
    """When the video ends by its header, in seconds on the file's clock, if the header says so of the video alone."""
    if container.format.name not in TIMED:
        return None
    ends = [container.duration / av.time_base] if container.duration and len(container.streams) == 1 else []
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag and container.format.name == "matroska,webm":
        ends.append(3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]))
    return min(ends, default=None)


def frame_rate(container: Any, stream: Any) -> float:
    """Frames per second: the container's word, or the stream's own where the container has no times."""
    rates = [stream.average_rate, stream.guessed_rate, stream.codec_context.framerate]
    if not has_timestamps(container):
        rates.reverse()
    return float(next((rate for rate in rates if rate and 0 < rate <= FASTEST), Fraction(25)))


def is_cut_off(container: InputContainer, path: Path) -> bool:
    """Whether a file is shorter than it says: the last box of MP4, the whole of AVI, the packets of ASF (.wmv).

    What cameras and players append to an MP4 is often no box, or none that matters: it does not count.
    """
    if container.format.name not in (*INDEXED, "asf"):
        return False
    size = path.stat().st_size
    with path.open("rb") as file:
        if container.format.name == "avi":
            length = int.from_bytes(file.read(8)[4:], "little")
            return size < length < UNKNOWN_LENGTH
        if container.format.name == "asf":  # a header, the packets, and maybe indexes: each an id, its length, content
            at = int.from_bytes(file.read(24)[16:], "little")
            file.seek(min(at, size))
            packets = file.read(24)
            return packets[:16] == ASF_PACKETS and size < at + int.from_bytes(packets[16:], "little") < LONGEST
    kind, length, left = [(b"", 0, 0), *_boxes(path)][-1]
    return length > left and kind in MEDIA_BOXES


def _lacks_index(path: Path) -> bool:
    """Whether a file that cannot be read is an MP4 as recorders leave it before they write its index, the last box."""
    kinds = [kind for kind, _, _ in _boxes(path)]
    return kinds[:1] == [b"ftyp"] and b"moov" not in kinds


def _boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an MP4: kind, length by its header, and bytes from there to the end of the file.

    The last one may be longer than that. A box to the end of the file, whose length is 0, and a wrong length end it.
    """
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            yield kind, length, size - at
            if length < 8:
                return
            at += length
