"""Pieces of a video as files of their own: what runs in the decoder's process.

A piece is copied from the last key frame before it, without encoding, where that gives a file that plays: the key frame
is decoded to check it, every packet gets a decoding time, and the result is opened again. Where it does not, and where
a piece is to begin and end at the frame, its frames are encoded anew. Frames are counted as everywhere else.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from . import CONTAINERS
from .demuxer import parts
from .encode import BROKEN, FULL, Pulse, encode, first_time, opened
from .messages import Piece

JUMP = 1.0  # seconds by which time stamps may go back within a stream whose frames are shown out of order
CHECKED = 100  # frames of a copy that are decoded to check it
KEYS = 3  # key frames that are tried before a piece is encoded anew


@dataclass(frozen=True)
class _Index:
    """The packets of the picture in their order: presentation times, seconds, NaN where there is none; key frames."""

    times: np.ndarray
    keys: np.ndarray
    begin: float  # time of the first frame that is shown
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # packet: where to seek, and where that arrives

    @property
    def is_steady(self) -> bool:
        """Whether every packet has a time and time never jumps back, as it does in recordings joined end to end."""
        if not len(self.times) or np.isnan(self.times).any():
            return False
        return bool((self.times - np.maximum.accumulate(self.times)).min() > -JUMP)


def cut(path: Path, pieces: list[Piece], exact: bool, pulse: Pulse, reader: str = "auto") -> list[str]:
    """Write each piece to its target; returns the suffixes that belong to them, of CONTAINERS.

    Raises VideoError where a piece can neither be copied nor encoded.
    """
    suffixes = {}
    if not exact:
        index = _index(path, pulse)
        for number, piece in enumerate(pieces if index.is_steady else ()):
            if suffix := _copied(path, piece, index, pulse):
                suffixes[number] = suffix
    left = [piece for number, piece in enumerate(pieces) if number not in suffixes]
    encode(path, left, pulse, reader)
    return [suffixes.get(number, "mp4") for number in range(len(pieces))]


def _index(path: Path, pulse: Pulse) -> _Index:
    times, keys, begin = [], [], 0.0
    if len(parts(path)) > 1:
        return _Index(np.array([np.nan]), np.array([False]), begin)
    with contextlib.suppress(*BROKEN):
        begin = first_time(path)
        with opened(path) as (container, stream):
            for packet in container.demux(stream):
                pulse()
                if packet.size:
                    times.append(np.nan if packet.pts is None else float(packet.pts * packet.time_base))
                    keys.append(packet.is_keyframe)
    return _Index(np.array(times, np.float64), np.array(keys, bool), begin)


def _copied(path: Path, piece: Piece, index: _Index, pulse: Pulse) -> str | None:
    """Copy the piece's packets; returns the suffix of the container that took them, or None where none did."""
    start, end = index.begin + piece.edges[0], index.begin + piece.edges[-1]
    keys = np.flatnonzero(index.keys & (index.times <= start + 1e-6))[::-1][:KEYS].tolist()
    _find_places(path, index, keys)
    for first in keys:
        if not _is_decodable(path, index, first, pulse):
            continue
        for suffix, container in CONTAINERS.items():
            try:
                _copy(_Copy(path, piece.target, container, index, first, end), pulse)
                if _plays(Path(piece.target), pulse):
                    return suffix
            except BROKEN as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise
    return None


@dataclass(frozen=True)
class _Copy:
    """From packet `first`, a key frame, to the time `end`, in seconds on the file's own clock."""

    path: Path
    target: str
    container: str
    index: _Index
    first: int
    end: float


def _copy(job: _Copy, pulse: Pulse) -> None:
    """Copy the packets of the picture, and those of the sound beside them."""
    times, begin = job.index.times, job.index.times[job.first]
    numbers = np.arange(len(times))
    last = numbers[times < job.end].max()  # behind it in the file are frames that others before it may need
    taken = numbers[(numbers >= job.first) & (numbers <= last) & (times >= begin)]
    decoded_at = dict(zip(taken.tolist(), _decoding_times(times[taken]).tolist(), strict=True))
    with opened(job.path) as (source, picture), av.open(job.target, "w", format=job.container) as output:
        sound = source.streams.best("audio")
        streams = [picture] if sound is None else [picture, sound]
        copies = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in streams}
        for number, packet in _numbered(source, streams, job.index, job.first):
            pulse()
            if packet.stream is picture:
                if number > taken[-1]:
                    break
                if number not in decoded_at:
                    continue
                packet.pts = round((times[number] - begin) / packet.time_base)
                packet.dts = min(round((decoded_at[number] - begin) / packet.time_base), packet.pts)
            else:
                if packet.pts is None or not begin <= packet.pts * packet.time_base < job.end:
                    continue
                packet.pts = packet.dts = packet.pts - round(begin / packet.time_base)
            packet.stream = copies[packet.stream.index]
            output.mux(packet)


def _numbered(source: Any, streams: list[Any], index: _Index, first: int) -> Iterator[tuple[int, Any]]:
    """Packets from a place at or before packet `first` of the picture, which is streams[0].

    Each comes with the number of the picture's packet that it is or follows.
    """
    picture = streams[0]
    number = -1
    if at := index.places.get(first):
        number = at[1] - 1
        source.seek(at[0], stream=picture)
    for packet in source.demux(streams):
        if packet.size:
            number += packet.stream is picture
            yield number, packet


def _find_places(path: Path, index: _Index, numbers: list[int]) -> None:
    """Note in `index.places` how each of these packets can be reached by seeking, where seeking can be trusted."""
    if len(np.unique(index.times)) < len(index.times):
        return
    for number in numbers:
        with contextlib.suppress(*BROKEN), opened(path) as (container, stream):
            place = int((index.times[number] - 1.0) / stream.time_base)
            container.seek(place, stream=stream)
            packet = next(packet for packet in container.demux(stream) if packet.size)
            distances = np.abs(index.times - float(packet.pts * packet.time_base))
            arrived = int(distances.argmin())
            if distances[arrived] < 1e-6 and arrived <= number:
                index.places[number] = place, arrived


def _plays(target: Path, pulse: Pulse) -> bool:
    """Whether the file has frames that can be decoded, each shown after the one before: not all containers say when."""
    times = []
    with opened(target) as (container, stream), contextlib.suppress(*BROKEN):  # where the video itself is damaged
        for frame in islice(container.decode(stream), CHECKED):
            pulse()
            times.append(frame.time)
    return bool(times) and None not in times and all(a < b for a, b in pairwise(times))


def _decoding_times(times: np.ndarray) -> np.ndarray:
    """When packets with these presentation times, in their order, are decoded: ascending, and never later."""
    ascending = np.sort(times)
    return ascending - max(0.0, float((ascending - times).max()))


def _is_decodable(path: Path, index: _Index, number: int, pulse: Pulse) -> bool:
    """Whether the packet of this number gives a whole frame to a decoder that has seen nothing before it."""
    with contextlib.suppress(*BROKEN), opened(path) as (container, stream):
        decoder: Any = av.CodecContext.create(stream.codec_context.name, "r")
        decoder.extradata = stream.codec_context.extradata
        for at, packet in _numbered(container, [stream], index, number):
            pulse()
            if at == number:
                frames = [*decoder.decode(packet), *decoder.decode(None)]
                return any(not frame.is_corrupt for frame in frames)
    return False
