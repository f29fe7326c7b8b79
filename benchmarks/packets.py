"""Take video files apart into packets, and put packets into files again."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import av


@dataclass
class Packet:
    """A packet without its file."""

    stream: int
    data: bytes
    pts: int | None
    dts: int
    key: bool


def count_streams(video: bytes) -> int:
    """The number of tracks in a video."""
    with av.open(io.BytesIO(video)) as container:
        return len(container.streams)


def remux(
    video: bytes,
    change: Callable[[list[Packet]], list[Packet] | None] = lambda packets: None,
    template: bytes | None = None,
    container: str | None = None,
) -> bytes:
    """The packets of `video` in a new file.

    change: changes the packets, or returns others. template: a video whose first stream declares the codec and the size
    of the picture. container: of the new file, that of `video` without it, and Matroska where it refuses the streams.
    Packets that it refuses are left out.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(av.open(io.BytesIO(video)))
        streams = list(source.streams)
        packets = [
            Packet(packet.stream.index, bytes(packet), packet.pts, packet.dts, packet.is_keyframe)
            for packet in source.demux()
            if packet.dts is not None
        ]
        packets = change(packets) or packets
        if template:
            streams[0] = stack.enter_context(av.open(io.BytesIO(template))).streams[0]
        for name in (container or source.format.name.split(",")[0], "matroska"):
            file = io.BytesIO()
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                _mux(file, name, streams, source.streams, packets)
            if len(file.getvalue()) > 1000:
                break
    return file.getvalue()


def _mux(file: io.BytesIO, name: str, streams, sources, packets: list[Packet]) -> None:
    with av.open(file, "w", format=name, container_options={"fflags": "bitexact"}) as output:
        targets = [output.add_stream_from_template(stream, opaque=True) for stream in streams]
        for packet in packets:
            made = av.Packet(packet.data)
            made.stream, made.time_base = targets[packet.stream], sources[packet.stream].time_base
            made.pts, made.dts, made.is_keyframe = packet.pts, packet.dts, packet.key
            with contextlib.suppress(av.error.FFmpegError, ValueError, OverflowError):
                output.mux(made)


@cache
def one_frame(codec: str, width: int, height: int) -> bytes:
    """A Matroska file with one black frame."""
    file = io.BytesIO()
    quiet = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "ultrafast"}}
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream(codec, rate=25, options=quiet.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        output.mux(stream.encode(av.VideoFrame(width, height, "yuv420p")))
        output.mux(stream.encode())
    return file.getvalue()
