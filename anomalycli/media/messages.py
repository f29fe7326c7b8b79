"""Requests to the decoder's process and its answers: one class per kind of message."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ALIVE: dict[str, Any] = {}  # the answer of a process that reads, and has nothing to give yet


@dataclass(frozen=True)
class ClipFormat:
    """The form in which a backbone takes clips.

    length: frames per clip. short_side: of the picture, in pixels; None keeps the size. multiple: both sides are
    rounded to a multiple of it. taken: the numbers of those frames of a clip that are needed, ascending from 0;
    None takes all. The others are decoded, and neither scaled nor sent. still: clips that `StillClips` calls still
    come without frames. every: only clips number 0, `every`, 2 `every` and so on come. only: no clips but those of
    these numbers come, ascending; then the video is read up to the last of them. A stream gives all of its clips.
    """

    length: int
    short_side: int | None = None
    multiple: int = 1
    taken: tuple[int, ...] | None = None
    still: bool = False
    every: int = 1
    only: tuple[int, ...] | None = None

    def numbers(self, n_clips: int = sys.maxsize) -> Sequence[int]:
        """The numbers of the clips that come of a video of `n_clips`, ascending."""
        return range(0, n_clips, self.every) if self.only is None else self.only


@dataclass(frozen=True)
class Piece:
    """A part of a video to write to a file of its own.

    target: the file. start: number of the first frame. edges: when its frames begin and the last one ends, in seconds
    from the first frame of the video: (n_frames + 1,).
    """

    target: str
    start: int
    edges: tuple[float, ...]

    @property
    def end(self) -> int:
        """Number of the frame after the last."""
        return self.start + len(self.edges) - 1


@dataclass(frozen=True)
class DecodedClip:
    """One clip of a video: uint8 (n_taken, height, width, 3), RGB; no frames if it is still and that was asked for.

    n_clips: clips that come of the whole video, as far as its container says. fps: frames per second.
    """

    frames: np.ndarray
    n_clips: int | None
    fps: float

    @property
    def is_still(self) -> bool:
        """Whether nothing moves in it that did not in the last clip with frames."""
        return not len(self.frames)


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video once all of it was read.

    times: when each frame begins, in seconds, float64 (n_frames,), or None where frames follow one another at `fps`.
    ends: when each clip ends, in seconds on the file's own clock, float64 (n_clips,). damage: what could not be
    decoded, or None. lost: how many frames damage took, None where that is not known. creation_time: as the container
    has it, None where it has none. still: numbers of the clips that came without frames.
    """

    n_frames: int
    fps: float
    times: np.ndarray | None
    ends: np.ndarray
    damage: str | None
    lost: int | None
    creation_time: str | None = None
    still: tuple[int, ...] = ()


SILENCE = "no data for"  # the beginning of the reason why a stream that sent nothing for its timeout is lost


@dataclass(frozen=True)
class StreamPlace:
    """A stream to read while it runs, and how.

    kind: url, device, growing (a file) or pipe. place: the URL, the device, the path, or the number of the pipe's file
    descriptor. shown: what messages call it, without credentials. timeout: seconds without data after which it counts
    as lost. idle: seconds without growth after which a growing file is complete. kept: seconds of packets that are
    held in memory for recordings.
    """

    kind: str
    place: str
    shown: str
    timeout: float = 20.0
    idle: float = 10.0
    kept: float = 0.0


@dataclass(frozen=True)
class StreamClip:
    """One clip of a stream: uint8 (n_taken, height, width, 3), RGB; no frames if it is still and that was asked for.

    times: when each of its frames was taken, seconds since 1970, float64 (n_frames,): fewer than the length of a clip
    where the stream or its picture size ended, and the last frame is repeated. fps: frames per second that are stated.
    damaged: packets in it that could not be decoded. is_frozen: whether no pixel has changed since the clip before.
    """

    frames: np.ndarray
    times: np.ndarray
    fps: float
    damaged: int
    is_frozen: bool = False

    @property
    def is_still(self) -> bool:
        """Whether nothing moves in it that did not in the last clip with frames."""
        return not len(self.frames)


@dataclass(frozen=True)
class Recorded:
    """A recording of a stream that is complete.

    suffix: the one that belongs to the file, None where there is no file. fault: what went wrong, if anything.
    """

    target: str
    suffix: str | None
    fault: str | None = None


@dataclass(frozen=True)
class SoundWindows:
    """Some consecutive windows of a sound track: float32 (n, length), NaN where there is no sound."""

    samples: np.ndarray


@dataclass(frozen=True)
class SoundFacts:
    """What is known of a sound track once all of it was read.

    track: which track it is, None where there is none. missing: in words, how much sound was not there.
    """

    track: str | None
    missing: str | None
