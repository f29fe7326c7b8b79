"""Selective decoding: frames that are not needed, and that no other frame refers to, stay undecoded.

H.264 marks the packets of frames that no other frame refers to, most of them B-frames. Which frame a packet gives,
counted in the order in which they are shown, follows from the timestamps of the packets around it. All other frames
come out of the decoder bit by bit as if every packet had been decoded. Where anything about a file is unusual, every
packet is decoded.
"""

import heapq
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .demuxer import Demuxer

FORMATS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"))  # each packet of these has timestamps
FIRST = 8  # frames that are decoded in any case, to see that each packet gives one frame
WAITING = 64  # packets that may wait until their number is known
UNKNOWN, LAST = -(1 << 63), (1 << 63) - 1  # timestamps
SLICE, HARMLESS = 1, frozenset((6, 9, 12))  # types of H.264's NAL units: messages, delimiters and filler are harmless
_ILLEGAL = re.compile(rb"\0\0[\0-\2]")  # never occurs within a NAL unit; damage by zeros does

Needed = Callable[[int], bool]


class Doubt(Exception):
    """The frames can only be identified by decoding every packet."""


@dataclass(order=True)
class Undecoded:
    """A frame that was left undecoded, or was announced by a packet and has not come yet; with its packet's times."""

    pts: int
    dts: int | None = field(compare=False)
    time_base: Fraction = field(compare=False)
    is_left_out: bool = field(compare=False)


class Selection:
    """Chooses the packets of one reading of a file that need no decoding.

    needed: whether the frame of a number, counted from 0 as they are shown, is needed; None needs all. Packets are
    looked at ahead of the decoder.

    Its methods raise Doubt where packets were left undecoded, and then something is unusual.
    """

    def __init__(self, needed: Needed | None, container_format: str):
        self._needed = needed
        self._is_on = needed is not None and container_format in FORMATS
        self._length_size = 0  # bytes that say how long a NAL unit is
        self._waiting: deque[tuple[Any, bool]] = deque()
        self._numbers: dict[int, int] = {}  # of the frames of waiting packets, by pts
        self._unnumbered: list[int] = []  # heap of the pts of the other waiting packets
        self._n_numbered, self._first_pts, self._last_pts, self._last_dts = 0, UNKNOWN, UNKNOWN, UNKNOWN
        self._has_ended = self._has_failed = self._leaves_out = False
        self._announced: list[Undecoded] = []  # heap of the frames of packets that went to the decoder

    def failed(self) -> None:
        """Take note that the last packet is damaged: what a decoder makes of those behind it depends on all before."""
        self._is_on, self._has_failed = False, True

    def _give_up(self) -> None:
        if self._leaves_out:
            raise Doubt
        self._is_on = False

    def packets(self, demuxer: Demuxer) -> Iterator[tuple[Any, bool]]:
        """Yield the packets of the picture, to be decoded one by one, and whether they are the first of a joined part.

        The decoder is set to leave a packet undecoded where it need not be decoded.
        """
        for packet in demuxer:
            if packet.stream is not demuxer.video:
                continue
            self._waiting.append((packet, demuxer.joint))
            if self._is_on:
                self._number(packet)
            while self._waiting and self._is_ready(self._waiting[0][0]):
                next_one, is_joint = self._waiting.popleft()
                if self._has_failed and next_one.size:
                    self._give_up()
                if next_one.is_corrupt:
                    self.failed()
                self._instruct(next_one)
                yield next_one, is_joint

    def in_order(self, frames: list[Any]) -> Iterator[Any]:
        """Yield frames that were decoded, and before each those that were left out and are shown earlier."""
        for frame in frames:
            if self._is_on and (frame.interlaced_frame or frame.is_corrupt):  # a packet may be half a frame
                self._give_up()
            while self._announced and (frame.pts is None or self._announced[0].pts < frame.pts):
                announced = heapq.heappop(self._announced)
                if announced.is_left_out:
                    yield announced
                elif self._is_on:
                    self._give_up()
            if self._announced and self._announced[0].pts == frame.pts:
                heapq.heappop(self._announced)
            elif self._is_on:
                self._give_up()
            yield frame

    def check_end(self) -> None:
        """Raises Doubt where frames are missing at the end."""
        if any(self._is_on or frame.is_left_out for frame in self._announced):
            self._give_up()

    def _is_ready(self, packet: Any) -> bool:
        return not self._is_on or self._has_ended or packet.pts in self._numbers

    def _number(self, packet: Any) -> None:
        """Find the numbers of frames: all of those that are shown before any later packet's can be."""
        if not packet.size:
            self._has_ended, self._last_dts = True, LAST
        elif self._is_usual(packet):
            heapq.heappush(self._unnumbered, packet.pts)
            self._last_dts = self._last_dts if packet.dts is None else packet.dts
        else:
            self._give_up()
        while self._unnumbered and self._unnumbered[0] <= self._last_dts:
            pts = heapq.heappop(self._unnumbered)
            if pts == self._last_pts:
                self._give_up()
            self._numbers[pts], self._last_pts = self._n_numbered, pts
            self._n_numbered += 1
        if not packet.size:  # the last frame is needed where a clip is not full
            self._numbers.pop(self._last_pts, None)

    def _is_usual(self, packet: Any) -> bool:
        """Whether the packet is one of a plain H.264 file, behind others of that kind."""
        if not self._length_size:
            context = packet.stream.codec_context
            head = context.extradata or b""
            if context.name != "h264" or len(head) < 7 or head[0] != 1 or not packet.is_keyframe:
                return False
            self._length_size = (head[4] & 3) + 1
            self._first_pts = packet.pts
        (_, is_joint), pts, dts = self._waiting[-1], packet.pts, packet.dts
        if pts is None or packet.is_discard or is_joint or self._has_ended or len(self._waiting) > WAITING:
            return False
        is_in_order = self._last_dts == UNKNOWN if dts is None else self._last_dts < dts <= pts
        return is_in_order and pts >= max(self._first_pts, self._last_pts)

    def _instruct(self, packet: Any) -> None:
        """Tell the decoder whether to decode the packet that comes next."""
        number = self._numbers.pop(packet.pts, 0)
        leave_out = self._is_on and number >= FIRST and not self._needed(number)  # type: ignore[misc]
        leave_out = leave_out and is_disposable(packet, self._length_size)
        self._leaves_out |= leave_out
        if self._is_on and packet.size:
            heapq.heappush(self._announced, Undecoded(packet.pts, packet.dts, packet.time_base, leave_out))
        if self._length_size:
            packet.stream.codec_context.skip_frame = "NONREF" if leave_out else "DEFAULT"


def is_disposable(packet: Any, length_size: int) -> bool:
    """Whether no other frame refers to that of an H.264 packet, and the packet shows no damage.

    length_size: bytes of the length before each NAL unit.
    """
    data, at, last_slice = memoryview(packet), 0, -1
    while at + length_size < len(data):
        begin = at + length_size
        at = begin + int.from_bytes(data[at:begin], "big")
        kind = data[begin]  # and the upper bits, which are 0 if no other frame refers to it
        if at > len(data) or at < begin + 2 or _ILLEGAL.search(data[begin:at]):
            return False
        if kind == SLICE:
            first_block, slice_type = _numbers(data[begin + 1 : min(at, begin + 9)], 2)
            if slice_type not in (0, 1, 5, 6) or first_block <= last_slice or (last_slice < 0 < first_block):
                return False
            last_slice = first_block
        elif kind not in HARMLESS:
            return False
    return at == len(data) and last_slice >= 0


def _numbers(data: memoryview, n: int) -> list[int]:
    """The first `n` numbers of a slice's header, in Exp-Golomb code (H.264, 9.1); -1 where there are none."""
    bits = "".join(f"{byte:08b}" for byte in data)
    numbers, at = [], 0
    for _ in range(n):
        one = bits.find("1", at)
        end = 2 * one - at + 1
        numbers.append(int(bits[one:end], 2) - 1 if one >= 0 and end <= len(bits) else -1)
        at = end
    return numbers
