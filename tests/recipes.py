"""Recipes for odd videos: written with PyAV, 96x64, frame i in the grey 3i, 25 frames per second."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25


def encode(path: Path, n=50, codec="libx264", rate=RATE, begin=0.0, sound=0.0, paint=None, options=None, **how) -> Path:
    """`n` frames, the first at `begin` seconds, and `sound` seconds of silence. `how` is given to av.open."""
    with av.open(str(path), "w", **how) as out:
        default = {"preset": "ultrafast", "crf": "12", "g": "10", "bf": "2"} if codec == "libx264" else {"g": "10"}
        stream = out.add_stream(codec, rate=rate, options=default if options is None else options)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuv420p" if codec == "libx264" else stream.codec_context.codec.video_formats[0].name
        track = out.add_stream("aac", rate=48000, layout="mono") if sound else None
        packets = []
        for i in range(n):
            picture = paint(i) if paint else np.full((64, 96, 3), 3 * i % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i + round(begin * rate), Fraction(1, rate)
            packets += stream.encode(frame)
        packets += stream.encode()
        for at in range(0, round(sound * 48000), 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 48000, at
            packets += track.encode(frame)
        packets += track.encode() if track else []
        for packet in packets:
            out.mux(packet)
    return path


def noise(i: int) -> np.ndarray:
    """A picture that no other resembles and no encoder makes small."""
    return np.random.default_rng(i).integers(0, 255, (64, 96, 3), np.uint8)


def trim(source: Path, target: Path, begin: float, seconds: float) -> Path:
    """Copy packets from the key frame before `begin`, as `ffmpeg -ss -c copy` does: an edit list hides those before."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = container.streams.video[0]
        shift = int(begin / stream.time_base)
        container.seek(shift, stream=stream)
        copy = out.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.dts is None or packet.pts * packet.time_base >= begin + seconds:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            out.mux(packet)
    return target


def packets_of(path: Path) -> list[tuple[int, int]]:
    """Where each packet of the picture lies: (position, size) in bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def zero(path: Path, numbers) -> Path:
    """Write zeros over the packets of these numbers."""
    content = bytearray(path.read_bytes())
    places = packets_of(path)
    for number in numbers:
        position, size = places[number]
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    return path
