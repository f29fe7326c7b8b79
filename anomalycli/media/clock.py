"""When packets and frames are shown: one clock for a whole file, whatever its timestamps do on the way."""

from fractions import Fraction
from typing import Any

import numpy as np
from av.container import InputContainer

DISCONTINUOUS = 0x0200  # FFmpeg's AVFMT_TS_DISCONT: formats whose clock may jump
BACK = Fraction(1, 10)  # seconds; timestamps that jump back further begin a new part of a joined recording
BEGINNING = 1  # seconds; in other formats they jump back to the beginning, or are damaged
AHEAD = 10  # seconds; in broadcast formats, a jump ahead further than that is a new clock, not a pause


class PacketClock:
    """Corrects the timestamps of packets so that they run on where the file's own jump.

    The parts of a joined recording (`cat a.ts b.ts`) each begin with a clock of their own. Here each part begins when
    the one before has ended. All streams of a file move together, so `correct` is to be given the packets of picture
    and sound, in the order in which they lie in the file. The thresholds are those of the ffmpeg program.
    """

    def __init__(self, container: InputContainer):
        self.jumps = bool(container.format.flags & DISCONTINUOUS)
        self.shift = Fraction(0)  # seconds
        self.first: dict[int, Fraction] = {}  # of each stream, as the file has it
        self.last: dict[int, Fraction] = {}  # of each stream, corrected
        self.next: dict[int, Fraction] = {}

    def correct(self, packet: Any) -> None:
        """Move the timestamps of `packet` to where they belong."""
        if packet.dts is None:
            return
        base = packet.time_base
        read = packet.dts * base
        time = read + self.shift
        expected = self.next.get(packet.stream_index)
        is_beginning = read - self.first.setdefault(packet.stream_index, read) < BEGINNING
        if expected is not None:
            back = time + BACK < self.last[packet.stream_index] and (self.jumps or is_beginning)
            if back or (self.jumps and abs(time - expected) > AHEAD):
                self.shift += expected - time
                time = expected
        self.last[packet.stream_index] = time
        self.next[packet.stream_index] = time + (packet.duration or 0) * base
        if self.shift:
            ticks = round(self.shift / base)
            packet.dts += ticks
            if packet.pts is not None:
                packet.pts += ticks


class FrameTimes:
    """When the frames of a stream begin, in the order in which they are decoded: seconds on the file's clock.

    By their timestamps; by the packets' in AVI, whose packets have a place and no time of presentation; by their
    number in raw streams, which have neither. Times always increase: what has no time, or one that does not increase,
    follows the frame before at the stream's rate.
    """

    def __init__(self, rate: float, by: str):
        """`rate` is in frames per second; `by` is timestamp, packet or number."""
        self.rate, self.by = rate, by
        self.seconds: list[float] = []
        self.waiting: list[float] = []  # times of packets that have given no frame yet
        self.last_pts: int | None = None
        self.last_dts: int | None = None
        self.faults = [0, 0]  # of pts and dts: how often they did not increase

    def packet(self, packet: Any) -> None:
        """Take note of a packet that is about to be decoded."""
        if self.by == "packet" and packet.dts is not None:
            self.waiting.append(float(packet.dts * packet.time_base))

    def lost(self) -> None:
        """Take note that the last packet gives no frame."""
        if self.waiting:
            self.waiting.pop()

    def frame(self, frame: Any) -> None:
        """Append the time of the frame that was decoded next."""
        last = self.seconds[-1] if self.seconds else None
        time = None
        if self.by == "packet":
            while self.waiting and (time is None or (last is not None and time <= last)):
                time = self.waiting.pop(0)
        elif self.by == "timestamp":
            time = self._stamp(frame)
        if last is not None and (time is None or time <= last):
            time = last + 1 / self.rate
        self.seconds.append(0.0 if time is None else time)

    def _stamp(self, frame: Any) -> float | None:
        """The frame's own time, or its packet's where those are the more reliable ones in this stream."""
        if frame.dts is not None:
            self.faults[1] += self.last_dts is not None and frame.dts <= self.last_dts
            self.last_dts = frame.dts
        if frame.pts is not None:
            self.faults[0] += self.last_pts is not None and frame.pts <= self.last_pts
            self.last_pts = frame.pts
        stamp = frame.pts
        if stamp is None or (self.faults[0] > self.faults[1] and frame.dts is not None):
            stamp = frame.dts
        return None if stamp is None else float(stamp * frame.time_base)

    def array(self) -> np.ndarray:
        """float64 (n_frames,)."""
        return np.array(self.seconds, np.float64)
