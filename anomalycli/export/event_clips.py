"""Events cut out of a video, as files of their own."""

import os
from pathlib import Path

import av

from ..errors import VideoError, cause
from ..score import Result
from ..storage import whole
from .records import Record


def cut_events(result: Result, base: Path, margin: float = 1.0, record: Record | None = None) -> list[Path]:
    """Write each event, with `margin` seconds before and after, to `base`.event1.mp4 and so on.

    The streams are copied as they are, sound too, so an event clip begins at the key frame before the
    margin. What an MP4 file cannot hold is put into a Matroska file (.mkv) instead. `record` notes each file.

    Raises VideoError where the video cannot be cut, StorageError where a clip cannot be written.
    """
    paths = []
    for number, event in enumerate(result.events, 1):
        start = max(0.0, result.edges[event.start] - margin)
        end = result.edges[event.end] + margin
        try:
            paths.append(_cut(result.path, base.with_name(f"{base.name}.event{number}"), (start, end), record))
        except (av.error.FFmpegError, ValueError) as error:
            raise VideoError(f"{result.path}: event {number} cannot be cut out ({cause(error)}).") from error
    return paths


def _cut(video: Path, base: Path, interval: tuple[float, float], record: Record | None) -> Path:
    for suffix, container in ((".mp4", "mp4"), (".mkv", "matroska")):
        path = base.with_name(base.name + suffix)
        try:
            with whole(path) as partial:
                _copy(video, partial, container, *interval)
                if record:
                    record.expect(path, partial)
            return path
        except (av.error.FFmpegError, ValueError):
            if suffix == ".mkv":
                raise
    raise AssertionError


def _copy(video: Path, target: Path, container: str, start: float, end: float) -> None:
    """Copy the packets from the key frame before `start` to `end`, seconds from the first frame."""
    with av.open(os.fspath(video.absolute())) as source, av.open(os.fspath(target), "w", format=container) as output:
        picture = source.streams.best("video")
        if picture is None or picture.time_base is None:
            raise ValueError("it has no picture")
        sound = source.streams.best("audio")
        streams = [picture] if sound is None else [picture, sound]
        begin = (picture.start_time or 0) * picture.time_base
        source.seek(int((start + begin) / picture.time_base), stream=picture)
        copies = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in streams}
        first = None  # seconds; the key frame that the event clip begins with
        ended = set()
        for packet in source.demux(streams):
            if packet.dts is None or packet.stream.index in ended:
                continue
            time = packet.dts * packet.time_base
            if first is None:
                if packet.stream is not picture:
                    continue
                first = time if packet.pts is None else packet.pts * packet.time_base
            if time - begin >= end:
                ended.add(packet.stream.index)
                if len(ended) == len(streams):
                    break
                continue
            shift = int(first / packet.time_base)
            packet.dts -= shift
            if packet.pts is not None:
                packet.pts -= shift
            packet.stream = copies[packet.stream.index]
            output.mux(packet)
