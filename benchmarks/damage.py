"""Ways to damage a video file. The same bytes, way and seed give the same damaged bytes.

`WAYS` has them by name. Each takes the bytes of a file and a random generator, and returns the bytes of the damaged
file. Some overwrite bytes at random, some change what containers declare, and some split the file into packets and
reassemble them wrongly.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from packets import count_streams, one_frame, remux

# Numbers that containers and streams declare: what stands before the number, bytes between, bytes of the number.
PICTURE_SIZES = (
    *((b"tkhd", at, 4) for at in (76, 80)),  # MP4, QuickTime: the track
    *((entry, at, 2) for entry in (b"avc1", b"hev1", b"mp4v", b"av01", b"apcn", b"jpeg") for at in (24, 26)),
    *((mark, 0, n) for mark, n in ((b"\xb0\x81", 1), (b"\xba\x81", 1), (b"\xb0\x82", 2), (b"\xba\x82", 2))),  # Matroska
    *((b"avih", 36, 4), (b"avih", 40, 4), (b"strf", 8, 4), (b"strf", 12, 4)),  # AVI
    *((b"width\0", 0, 8), (b"height\0", 0, 8)),  # FLV
    *((b"\0\0\1\xb3", 0, 3), (b"\x9d\1\x2a", 0, 4), (b"\xff\xc0", 3, 4)),  # MPEG-1 and -2, VP8, JPEG
)
TIMES = (
    *((box, at, 4) for box in (b"mvhd", b"mdhd") for at in (12, 16)),  # MP4: ticks per second, duration
    *((b"tkhd", 20, 4), (b"stts", 8, 4), (b"stts", 12, 4), (b"ctts", 12, 4), (b"elst", 8, 4), (b"elst", 12, 4)),
    *((b"\x2a\xd7\xb1\x83", 0, 3), (b"\x44\x89\x88", 0, 8), (b"\x23\xe3\x83\x84", 0, 4)),  # Matroska: scale, durations
    *((b"avih", at, 4) for at in (4, 20)),  # AVI
    *((b"strh", at, 4) for at in (24, 28, 36)),  # AVI: scale, rate, length
    *((b"duration\0", 0, 8), (b"framerate\0", 0, 8)),  # FLV
)
TABLES = (  # how many entries an index has, how large the samples are and where they lie
    *((box, 4, 4) for box in (b"stts", b"stsc", b"stco", b"ctts", b"stss", b"elst", b"stsd")),
    *((b"stsz", 4, 4), (b"stsz", 8, 4), (b"stsz", 12, 4), (b"stco", 8, 4), (b"stsc", 12, 4)),
    *((b"idx1", 0, 4), (b"movi", -8, 4), (b"LIST", 0, 4), (b"\x1c\x53\xbb\x6b", 0, 2), (b"\x1f\x43\xb6\x75", 0, 4)),
)
INDEXES = (b"moov", b"\x16\x54\xae\x6b", b"hdrl", b"onMetaData", b"\0\0\1\xb3")  # Matroska's is Tracks


def truncated(video: bytes, rng: Generator) -> bytes:
    return video[: rng.integers(1, len(video))]


def tail_cut(video: bytes, rng: Generator) -> bytes:
    return video[: -rng.integers(1, max(2, len(video) // 20))]


def head_cut(video: bytes, rng: Generator) -> bytes:
    return video[rng.integers(1, max(2, len(video) // 4)) :]


def few_flips(video: bytes, rng: Generator) -> bytes:
    return _flip(video, rng, 0, len(video), rng.integers(1, 11))


def many_flips(video: bytes, rng: Generator) -> bytes:
    return _flip(video, rng, 0, len(video), len(video) // 200 + 1)


def header_flips(video: bytes, rng: Generator) -> bytes:
    return _flip(video, rng, *_header(video), rng.integers(1, 21))


def zeroed_header(video: bytes, rng: Generator) -> bytes:
    length = min(len(video), int(2 ** rng.uniform(4, 13)))
    return bytes(length) + video[length:]


def zeroed_middle(video: bytes, rng: Generator) -> bytes:
    start, end = sorted(rng.integers(len(video) // 10, len(video), 2))
    return video[:start] + bytes(end - start) + video[end:]


def noisy_middle(video: bytes, rng: Generator) -> bytes:
    start, end = sorted(rng.integers(len(video) // 10, len(video), 2))
    return video[:start] + rng.bytes(end - start) + video[end:]


def no_index(video: bytes, rng: Generator) -> bytes:
    start, end = _header(video)
    return video[: max(0, start - 4)] + video[end:]


def garbled_index(video: bytes, rng: Generator) -> bytes:
    start, end = _header(video)
    start += rng.integers(0, end - start)
    return video[:start] + rng.bytes(end - start) + video[end:]


def inserted_bytes(video: bytes, rng: Generator) -> bytes:
    at = rng.integers(len(video))
    return video[:at] + rng.bytes(rng.integers(1, 5000)) + video[at:]


def shuffled_blocks(video: bytes, rng: Generator) -> bytes:
    """Sectors in a wrong order, as after a disk failure or a faulty recovery."""
    blocks = [video[at : at + 512] for at in range(0, len(video), 512)]
    some = rng.choice(len(blocks), min(len(blocks), 8), replace=False)
    for at, other in zip(some, rng.permutation(some)):
        blocks[at] = video[512 * other : 512 * other + 512]
    return b"".join(blocks)


def twice(video: bytes, rng: Generator) -> bytes:
    return video + video[rng.integers(len(video)) :]


def huge_picture(video: bytes, rng: Generator) -> bytes:
    return _write_over(video, rng, PICTURE_SIZES)


def wrong_durations(video: bytes, rng: Generator) -> bytes:
    return _write_over(video, rng, TIMES)


def wrong_tables(video: bytes, rng: Generator) -> bytes:
    return _write_over(video, rng, TABLES)


def swapped_tracks(video: bytes, rng: Generator) -> bytes:
    """Swap video and sound; a file without sound is declared to have another codec."""

    def swap(packets):
        for packet in packets:
            packet.stream = 1 - packet.stream if packet.stream < 2 else packet.stream

    return remux(video, swap) if count_streams(video) > 1 else other_codec(video, rng)


def other_codec(video: bytes, rng: Generator) -> bytes:
    """Declare another codec and size for the video packets."""
    return remux(video, template=one_frame(str(rng.choice(["mpeg4", "libx264", "libx265", "libvpx-vp9"])), 352, 288))


def huge_parameters(video: bytes, rng: Generator) -> bytes:
    """Declare a picture size of 64 megapixels or more for the video packets."""
    return remux(video, template=one_frame("libx264", *((16384, 4096), (8192, 8192), (64, 16384))[rng.integers(3)]))


def other_container(video: bytes, rng: Generator) -> bytes:
    """Put the packets into another container than the file's suffix says."""
    return remux(video, container=str(rng.choice(["matroska", "mov", "avi", "mpegts", "flv", "nut"])))


def dropped_packets(video: bytes, rng: Generator) -> bytes:
    share = rng.uniform(0.05, 0.9)
    return remux(video, lambda packets: [packet for packet in packets if rng.random() > share])


def no_key_frames(video: bytes, rng: Generator) -> bytes:
    return remux(
        video, lambda packets: [packet for packet in packets if packet.stream or not packet.key] or packets[1:]
    )


def repeated_packets(video: bytes, rng: Generator) -> bytes:
    def repeat(packets):
        for packet in packets:
            if rng.random() < 0.3:
                packet.data *= int(rng.integers(2, 6))

    return remux(video, repeat)


def exchanged_packets(video: bytes, rng: Generator) -> bytes:
    def exchange(packets):
        data = [packet.data for packet in packets]
        for packet, at in zip(packets, rng.permutation(len(data))):
            if rng.random() < 0.3:
                packet.data = data[at]

    return remux(video, exchange)


def cut_packets(video: bytes, rng: Generator) -> bytes:
    def cut(packets):
        for packet in packets:
            if rng.random() < 0.2:
                packet.data = packet.data[: rng.integers(0, len(packet.data) + 1)]

    return remux(video, cut)


def noisy_packets(video: bytes, rng: Generator) -> bytes:
    """Flip bytes in the packets and leave the container intact, so that the decoder gets all of them."""

    def flip(packets):
        for packet in packets:
            if packet.data and rng.random() < 0.5:
                packet.data = _flip(packet.data, rng, 0, len(packet.data), rng.integers(1, 9))

    return remux(video, flip)


def leaping_times(video: bytes, rng: Generator) -> bytes:
    """Let timestamps jump by random amounts."""

    def leap(packets):
        offset = int(rng.choice([0, -(10**6), -(2**31), 2**32, 2**40]))
        for packet in packets:
            if rng.random() < 0.2:
                offset += int(10 ** rng.uniform(1, 9))
            packet.dts += offset
            packet.pts = packet.dts + int(10 ** rng.uniform(0, 6))

    return remux(video, leap)


def empty(video: bytes, rng: Generator) -> bytes:
    return b""


def text(video: bytes, rng: Generator) -> bytes:
    return b"The recorder was out of order on that day.\n" * int(rng.integers(1, 2000))


def noise(video: bytes, rng: Generator) -> bytes:
    return rng.bytes(len(video))


WAYS: dict[str, Callable[[bytes, Generator], bytes]] = {
    way.__name__: way
    for way in (
        *(truncated, tail_cut, head_cut, few_flips, many_flips, header_flips, zeroed_header, zeroed_middle),
        *(noisy_middle, no_index, garbled_index, inserted_bytes, shuffled_blocks, twice),
        *(huge_picture, wrong_durations, wrong_tables),
        *(swapped_tracks, other_codec, huge_parameters, other_container, dropped_packets, no_key_frames),
        *(repeated_packets, exchanged_packets, cut_packets, noisy_packets, leaping_times),
        *(empty, text, noise),
    )
}


def damaged(video: bytes, way: str, *seed: int) -> bytes:
    """`video`, damaged in one of WAYS."""
    return WAYS[way](video, np.random.default_rng(seed))


def _flip(data: bytes, rng: Generator, start: int, end: int, count: int) -> bytes:
    """`data` with `count` bits flipped between `start` and `end`."""
    flipped = bytearray(data)
    for at in rng.integers(start, end, count):
        flipped[at] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def _header(video: bytes) -> tuple[int, int]:
    """The range of bytes that describes the file: the index of an MP4, or 2 KiB."""
    start = next((at for at in map(video.find, INDEXES) if at >= 0), 0)
    length = int.from_bytes(video[start - 4 : start], "big") - 4 if video[start : start + 4] == b"moov" else 2048
    return start, min(len(video), start + length)


def _write_over(video: bytes, rng: Generator, numbers) -> bytes:
    """Set one to three of `numbers` in the file to extreme values: 0, all bits, the sign bit, all other bits."""
    found = [(at + len(mark) + skip, size) for mark, skip, size in numbers if (at := video.find(mark)) >= 0]
    if not found:
        return header_flips(video, rng)
    broken = bytearray(video)
    for i in rng.choice(len(found), min(len(found), rng.integers(1, 4)), replace=False):
        at, size = found[i]
        extremes = (bytes(size), b"\xff" * size, b"\x80" + bytes(size - 1), b"\x7f" + b"\xff" * (size - 1))
        broken[at : at + size] = extremes[rng.integers(4)]
    return bytes(broken)
