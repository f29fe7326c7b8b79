"""Reading with decord: only files of which it is beyond doubt that it gives the frames that PyAV gives."""

import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from .containers import url
from .demuxer import Demuxer

try:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    # How often decord asks a broken stream for one more frame before it gives up (10240 by default).
    os.environ.setdefault("DECORD_EOF_RETRY_MAX", "128")
except ImportError:  # no wheel for this platform
    decord = None

# Its FFmpeg is old and follows playlists: it is given only what PyAV has found to be one of these.
FORMATS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"))
NO_REPEATS = 1e-9  # share of frames that it may repeat in place of some that it cannot decode, before it gives up


def suits(container: str) -> bool:
    """Whether decord may read a file at all; `container` is FFmpeg's name of its format."""
    return decord is not None and container in FORMATS


def packet_times(packets: Demuxer, by: str) -> np.ndarray | None:
    """The times of the frames by the packets alone, ascending: float64 (n_packets,). `by` is that of `FrameTimes`.

    None unless the first packet is a key frame, each is whole and shown, has a time of its own, and none is missing:
    then the order of the frames is beyond doubt, and a reader that gives as many frames gives the same ones.
    """
    times: list[float] = []
    try:
        for packet in packets:
            if packet.stream is not packets.video or not packet.size:
                continue
            stamp = packet.dts if by == "packet" else packet.pts
            if stamp is None or packet.is_discard or packet.is_corrupt or not (times or packet.is_keyframe):
                return None
            times.append(float(stamp * packet.time_base))
    except av.error.FFmpegError:
        return None
    if not times or len(set(times)) < len(times) or packets.broken or packets.is_short:
        return None
    return np.sort(np.array(times, np.float64))


def frames(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Frames as far as decord gets, uint8 (height, width, 3), scaled to `size` = (width, height)."""
    width, height = size
    try:
        reader = decord.VideoReader(url(path), width=width, height=height, num_threads=1, fault_tol=NO_REPEATS)
        for _ in range(len(reader)):
            frame = reader.next().asnumpy()
            if frame.shape != (height, width, 3):
                return
            yield frame
    except (RuntimeError, StopIteration, UnicodeError, decord.DECORDError, decord.DECORDLimitReachedError):
        return  # UnicodeError: a name that is not text
