"""Cameras of live_soak.py: loops of real videos over HTTP, each picture with its number and a mark of the truth."""

import contextlib
import csv
import json
import select
import socket
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

VARIANTS = {"a": ((160, 120), 25), "b": ((200, 150), 15)}  # size and frames per second, as the videos are encoded
BITS = 16  # of a frame's number
UPTIME = 20 * 3600.0  # of the cameras at the start: their timestamps wrap after 26.5 hours
FRAME = np.dtype(
    [("steady", "f8"), ("wall", "f8"), ("number", "i4"), ("mark", "u1"), ("sent", "u1")], align=False
)  # of the log


def area(picture: np.ndarray, first: int, n: int = 1):
    """The places of squares in the upper edge, by the size of the picture: (..., H, W, 3) -> mean of their middles."""
    width = picture.shape[-2]
    square = width / 20
    left, right = round(square * (first + 0.25)), round(square * (first + n - 0.25))
    return picture[..., round(square * 0.25) : max(round(square * 0.75), 1), left : max(right, left + 1), :]


def number_of(picture: np.ndarray) -> int:
    """The number that is burnt into a picture."""
    return sum((area(picture, bit).mean() > 127) << bit for bit in range(BITS))


def encoded(folder: Path, target: Path, variant: str, seconds: float, skip: int) -> Path:
    """A loop of videos of the folder, normal and abnormal in turn, numbered and marked, as MPEG-TS."""
    if target.exists():
        return target
    truth = read_truth(folder / "ground_truth.csv")
    (width, height), fps = VARIANTS[variant]
    fights, normal = (sorted(folder.glob(f"{kind}_*.mp4"))[skip:] for kind in ("fight", "normal"))
    part = target.with_suffix(".part")
    square, n = width // 20, 0
    with av.open(str(part), "w", format="mpegts") as out:
        options = {"g": str(fps), "bf": "0", "preset": "veryfast", "sc_threshold": "0", "crf": "30"}
        stream = out.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for path in [path for pair in zip(normal, fights, strict=True) for path in pair]:
            with av.open(str(path)) as source:
                rate, first = float(source.streams.video[0].average_rate), n
                for number, frame in enumerate(source.decode(video=0)):
                    while n < seconds * fps and (n - first) * rate <= number * fps:
                        picture = frame.to_ndarray(format="rgb24", width=width, height=height)
                        for bit in range(BITS):
                            picture[:square, bit * square : (bit + 1) * square] = 255 * (n >> bit & 1)
                        is_event = any(first <= number < last for first, last in truth.get(path.stem, ()))
                        picture[:square, BITS * square : (BITS + 4) * square] = 255 * is_event
                        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                        n += 1
            if n >= seconds * fps:
                break
        out.mux(stream.encode())
    part.rename(target)
    return target


def read_truth(path: Path) -> dict[str, list[tuple[int, int]]]:
    """The events of each video, half-open intervals of frames."""
    truth: dict[str, list[tuple[int, int]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if row["start"]:
                truth.setdefault(row["video"], []).append((int(row["start"]), int(row["end"])))
    return truth


class Sink:
    """A file for the muxer."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)


@dataclass
class Loop:
    """The packets of one variant. marks: whether each frame shows an event."""

    path: Path
    fps: float
    packets: list[bytes] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    marks: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        kept = self.path.with_suffix(".marks")
        self.source = av.open(str(self.path))  # stays open: the stream belongs to it
        self.template = self.source.streams.video[0]
        for packet in self.source.demux(video=0):
            if packet.size:
                self.packets.append(bytes(packet))
                self.keys.append(bool(packet.is_keyframe))
            if not kept.exists():
                self.marks += map(is_marked, packet.decode())
        if kept.exists():
            self.marks = json.loads(kept.read_text())
        kept.write_text(json.dumps(self.marks))
        assert len(self.marks) == len(self.packets)


def is_marked(frame: av.VideoFrame) -> bool:
    """Whether the mark of an event is in a picture."""
    return bool(area(frame.to_ndarray(format="rgb24"), BITS + 1, 2).mean() > 127)


class Camera:
    """One camera: where it is in its loop, and who looks at it. due: when its next frame is taken, steady clock."""

    def __init__(self, number: int, loops: dict[str, Loop], log: Path):
        self.number, self.loops, self.variant = number, loops, "a"
        self.at, self.due = 0, 0.0
        self.socket: socket.socket | None = None
        self.begun = 0.0  # system time at which it was connected
        self.log = log.open("ab", buffering=1 << 16)

    @property
    def loop(self) -> Loop:
        return self.loops[self.variant]

    def is_calm(self, seconds: float = 4.0) -> bool:
        """Whether no event is near."""
        some = int(seconds * self.loop.fps)
        marks = self.loop.marks
        return not any(marks[(self.at + i) % len(marks)] for i in range(-some, some))

    def change(self, variant: str) -> None:
        """Go on with another size and frame rate."""
        if variant != self.variant:
            self.at = int(self.at * self.loops[variant].fps / self.loop.fps)
            self.variant = variant
            self.at %= len(self.loop.packets)

    def connect(self, connection: socket.socket, now: float) -> None:
        """Begin to send, with the next key frame, at once."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n")
        while not self.loop.keys[self.at]:
            self.at = (self.at + 1) % len(self.loop.packets)
        self.sink, self.socket, self.begun = Sink(), connection, now
        self.out = av.open(self.sink, "w", format="mpegts", options={"flush_packets": "1"})
        self.stream = self.out.add_stream_from_template(self.loop.template)

    def step(self, offset: float) -> None:
        """Take a frame, and send it to whoever looks."""
        loop, sent = self.loop, False
        if self.socket:
            packet = av.Packet(loop.packets[self.at])
            packet.stream, packet.time_base = self.stream, Fraction(1, 90_000)
            packet.pts = packet.dts = round((self.due + UPTIME) * 90_000)
            packet.duration, packet.is_keyframe = round(90_000 / loop.fps), loop.keys[self.at]
            self.out.mux(packet)
            content, self.sink.content = self.sink.content, bytearray()
            try:
                self.socket.sendall(content)
                sent = True
            except OSError:
                self.cut()
        self.log.write(struct.pack("ddiBB", self.due, self.due + offset, self.at, loop.marks[self.at], sent))
        self.at, self.due = (self.at + 1) % len(loop.packets), self.due + 1 / loop.fps

    def is_left(self) -> bool:
        """Whether who looked has gone."""
        if self.socket and select.select([self.socket], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                if self.socket.recv(1000):
                    return False
            return True
        return False

    def cut(self, hard: bool = False) -> None:
        """End the connection; `hard` drops what is on its way."""
        if self.socket:
            if hard:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()
        self.socket = None
