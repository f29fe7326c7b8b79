"""Video files as consecutive clips.

decord reads. Where it cannot (AV1, no duration in the header, damage), PyAV goes on at the very
same frame. Both scale through the same libswscale filter, so a frame does not depend on its reader.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import av
import numpy as np

from ..errors import VideoError, cause

try:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    # How often decord asks a broken stream for one more frame before it gives up (10240 by default).
    os.environ.setdefault("DECORD_EOF_RETRY_MAX", "128")
except ImportError:  # no wheel for this platform
    decord = None

SUFFIXES = frozenset(
    (".3gp", ".asf", ".avi", ".dav", ".flv", ".h264", ".h265", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4")
    + (".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv")
)
DECORD_BYTES = 32 << 20  # size of a file beyond which PyAV reads it, in flat memory
MAX_ASPECT = 4  # longer pictures are squeezed to this ratio, so that a freak size cannot fill the memory

# libavfilter's rotations, by the angle that PyAV reports (counter-clockwise, degrees)
_ROTATIONS = {0: [], 90: [("transpose", "cclock")], 180: [("hflip", ""), ("vflip", "")], 270: [("transpose", "clock")]}


class Video:
    """One video file, read once from front to back.

    `width` and `height` are those of the picture as it is shown: rotation and pixel shape applied.
    With `short_side`, frames come scaled to `size` = (width, height): the short side as asked, both
    sides rounded to a multiple of `multiple`, nothing cropped.

    `n_frames` is the number of frames read so far, `n_declared` what the container promises (None
    where it does not say). After the last clip, `damage` tells what stopped the decoder early, if
    anything did. Without `with_decord`, PyAV reads it all; the frames are the same.

    Raises VideoError where the file has no frame that can be read.
    """

    def __init__(
        self, path: str | os.PathLike, short_side: int | None = None, multiple: int = 1, *, with_decord: bool = True
    ):
        self.path = Path(path)
        self.n_frames = 0
        self.damage: str | None = None
        if not self.path.exists():
            raise VideoError(f"{self.path}: there is no such file.")
        if self.path.stat().st_size == 0:
            raise VideoError(f"{self.path}: the file is empty.")
        try:
            with av.open(_url(self.path)) as container:
                stream = _video_stream(container, self.path)
                frame = next(container.decode(stream))
                rate = stream.average_rate or stream.guessed_rate or Fraction(25)
                self.n_declared = stream.frames or None
                self._container = container.format.name
                self._with_decord = with_decord and self._suits_decord()
                self._promised = None if self.n_declared else _promised_seconds(container, stream)
        except (av.error.FFmpegError, StopIteration, ValueError) as error:
            raise VideoError(f"{self.path}: not a video that can be read ({cause(error)}).") from error
        width, height = frame.width, frame.height
        if pixel_shape := stream.sample_aspect_ratio:
            width = max(1, round(width * pixel_shape))
        self.rotation = frame.rotation % 360
        self.width, self.height = (height, width) if self.rotation % 180 else (width, height)
        self.fps = float(rate)
        self.size = scaled_size(self.width, self.height, short_side, multiple)

    def clips(self, length: int, taken: tuple[int, ...] | None = None) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (n_taken, height, width, 3), RGB, of `length` consecutive frames each.

        `taken` are the numbers of those frames of a clip that are given, ascending from 0; None gives all. A last
        clip that is not full repeats its last frame.
        """
        if taken is not None:
            yield from self._some_of_each_clip(length, taken)
            return
        clip = np.empty((length, self.size[1], self.size[0], 3), np.uint8)
        at = 0
        for frame in self.frames():
            clip[at] = frame
            at += 1
            if at == length:
                yield clip
                clip, at = np.empty_like(clip), 0
        if at:
            clip[at:] = clip[at - 1]
            yield clip

    def _some_of_each_clip(self, length: int, taken: tuple[int, ...]) -> Iterator[np.ndarray]:
        """`clips` without scaling the frames that are not taken: decord scales all, so PyAV alone reads."""
        clip = np.empty((len(taken), self.size[1], self.size[0], 3), np.uint8)
        given, scaled = 0, None  # frames that the clip has; what gives the frame that was decoded last
        self._begin()
        for scaled in self._pyav_frames():
            place = (self.n_frames - 1) % length
            if given < len(taken) and place == taken[given]:
                clip[given], given = scaled(), given + 1
            if place == length - 1:
                yield clip
                clip, given = np.empty_like(clip), 0
        if scaled and self.n_frames % length:
            clip[given:] = scaled()
            yield clip
        self._end()

    def frames(self) -> Iterator[np.ndarray]:
        """Yield every frame, uint8 (height, width, 3), RGB, counting them in `n_frames`."""
        self._begin()
        if not (yield from self._decord_frames()):
            for scaled in self._pyav_frames(skip=self.n_frames):
                yield scaled()
        self._end()

    def grab(self, numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number, frame) of the frames of these numbers, ascending, as far as the video has them.

        They are counted from the beginning, as `frames` counts them: no container's index is trusted to find them.
        """
        wanted = set(numbers)
        last = max(wanted, default=-1)
        self._begin()
        for number, scaled in enumerate(islice(self._pyav_frames(), last + 1)):
            if number in wanted:
                yield number, scaled()
        if last >= 0:
            self._end()

    def _begin(self) -> None:
        self.n_frames, self.damage, self._seconds = 0, None, 0.0

    def _end(self) -> None:
        """Check that everything was there. Raises VideoError if nothing was."""
        if self.n_frames == 0:
            raise VideoError(f"{self.path}: not one frame can be decoded ({self.damage}).")
        few = self.n_declared and self.n_frames < self.n_declared
        if (
            few and self.n_declared and self._container == "avi"
        ):  # it counts frames that the recorder dropped, too: the time tells
            few = self._seconds < (self.n_declared - 1.5) / self.fps
        short = self._promised and self._seconds < self._promised - 1
        if self.damage is None and (few or short):
            self.damage = "the stream ends early"

    def clip_ends(self, length: int) -> np.ndarray:
        """When each clip of `length` frames that was read ends, in seconds on the file's own clock: float64 (n_clips,).

        That is when the frame after its last begins, by the stream's timestamps; where those do not
        account for every frame, and beyond the last frame, frames are 1/fps apart.
        """
        n_needed = -(-self.n_frames // length) * length + 1
        times = self._timestamps()
        if not self._accounts(times):
            times = (times[0] if len(times) else 0.0) + np.arange(self.n_frames) / self.fps
        times = times[:n_needed]
        beyond = times[-1] + np.arange(1, n_needed - len(times) + 1) / self.fps
        return np.concatenate((times, beyond))[length::length]

    def frame_times(self) -> np.ndarray | None:
        """When each frame that was read begins, in seconds from the first: float64 (n_frames,).

        None where frames follow one another at `fps` (to less than half a frame), and where the
        stream's timestamps do not account for every frame.
        """
        times = self._timestamps()
        if not self._accounts(times) or not self.n_frames:
            return None
        times = times[: self.n_frames] - times[0]
        steady = np.abs(times * self.fps - np.arange(self.n_frames)).max() < 0.5
        return None if steady else times

    def _accounts(self, times: np.ndarray) -> bool:
        return len(times) == self.n_frames or bool(self.damage and len(times) > self.n_frames)

    def _timestamps(self) -> np.ndarray:
        """When the frames begin, in the order they are shown, without decoding them: seconds, float64."""
        times = []
        with contextlib.suppress(av.error.FFmpegError, IndexError), av.open(_url(self.path)) as container:
            for packet in container.demux(_video_stream(container, self.path)):
                if packet.pts is not None and not packet.is_discard:
                    times.append(float(packet.pts * packet.time_base))
        return np.sort(np.array(times, np.float64))

    @property
    def n_lost(self) -> int | None:
        """Frames that the container promises and damage took; None where it does not say how many."""
        if self.damage is None:
            return 0
        return max(0, self.n_declared - self.n_frames) if self.n_declared else None

    def _suits_decord(self) -> bool:
        """It seeks past the first frames of a transport stream, and holds the packets of a whole file."""
        return decord is not None and self._container != "mpegts" and self.path.stat().st_size <= DECORD_BYTES

    def _decord_frames(self) -> Generator[np.ndarray, None, bool]:
        """Frames as far as decord gets; returns whether those were all that the file promises."""
        if not self._with_decord:
            return False
        width, height = self.size
        try:
            reader = decord.VideoReader(_url(self.path), width=width, height=height, num_threads=1)
            for _ in range(len(reader)):
                frame = reader.next().asnumpy()
                if frame.shape != (height, width, 3):
                    return False
                self.n_frames += 1
                yield frame
        except (RuntimeError, StopIteration, UnicodeError, decord.DECORDError):  # Unicode: a name that is not
            return False
        self._seconds = float(reader.get_frame_timestamp(self.n_frames - 1)[1]) if self.n_frames else 0.0
        return self.n_frames == (self.n_declared or len(reader))

    def _pyav_frames(self, skip: int = 0) -> Iterator[Callable[[], np.ndarray]]:
        """Frames from number `skip` on, each as a function that scales it."""
        try:
            with av.open(_url(self.path)) as container:
                stream = _video_stream(container, self.path)
                source = None
                for frame in islice(container.decode(stream), skip, None):
                    if source != (frame.width, frame.height, frame.format.name):
                        source = frame.width, frame.height, frame.format.name
                        graph = self._filter_graph(stream, frame)
                    self.n_frames += 1
                    self._seconds = frame.time or 0.0
                    yield partial(_filtered, graph, frame)
        except av.error.FFmpegError as error:
            self.damage = cause(error)
        except IndexError:  # PyAV's, where damage looks like the beginning of one more stream
            self.damage = "a stream that was not declared begins"

    def _filter_graph(self, stream, frame) -> "av.filter.Graph":
        graph = av.filter.Graph()
        width, height = self.size
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format.name, time_base=stream.time_base
            ),
            *(graph.add(name, args) for name, args in _ROTATIONS.get(self.rotation, [])),
            graph.add("scale", f"{width}:{height}:flags=bilinear"),  # decord's flags
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        return graph


def _filtered(graph: "av.filter.Graph", frame: "av.VideoFrame") -> np.ndarray:
    graph.push(frame)
    return graph.pull().to_ndarray()


def scaled_size(width: int, height: int, short_side: int | None, multiple: int = 1) -> tuple[int, int]:
    """(width, height) scaled so that the short side is `short_side`, each rounded to `multiple`."""
    if short_side is None:
        return width, height
    scale = short_side / min(width, height)
    longest = short_side * MAX_ASPECT

    def rounded(side: int) -> int:
        return max(multiple, round(min(side * scale, longest) / multiple) * multiple)

    return rounded(width), rounded(height)


def _video_stream(container, path: Path):
    stream = container.streams.best("video")
    if stream is None:
        raise VideoError(f"{path}: the file has no picture, only other tracks.")
    return stream


def _promised_seconds(container, stream) -> float | None:
    """How long the picture lasts as the container has it, where that can be told from the sound's length."""
    if "DURATION" in stream.metadata:  # Matroska: h:mm:ss.fraction
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _url(path: Path) -> str:
    """An absolute path, so that no name is taken for an option or a protocol."""
    return str(path.absolute())
