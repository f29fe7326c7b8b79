"""Run clips of several videos through the network together, and collect the features of each video."""

import dataclasses
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..backbones import Extractor
from ..backbones.vggish import LENGTH, SECONDS
from ..errors import VideoError
from ..features.files import AUDIO_DIM, Features
from ..features.interpolation import filled
from ..media.decoder import Decoder
from ..media.messages import ClipFormat, DecodedClip, SoundFacts, SoundWindows, VideoFacts
from ..version import __version__
from .spool import NO_ROOM, Rows, beside, no_room

CHECKED = 256  # clips whose features are looked through at once
WAITING = 4  # batches of clips, of several picture sizes, that may wait for more clips of their size

Message = DecodedClip | SoundWindows | SoundFacts | VideoFacts


def clip_format(extractor: Extractor) -> ClipFormat:
    """The format of clips for this extractor."""
    frames = extractor.kind.clip_length, extractor.size, extractor.multiple, extractor.frames_taken
    return ClipFormat(*frames, extractor.still, extractor.every)


class VideoInProgress:
    """A video whose features are being computed.

    The rows that are computed are kept beside `target` until that is written, if it is not a URL: an interrupted run
    may have left some. only: the numbers of the clips to compute, if not those that the extractor is set to, without
    sound. Raises VideoError if the file is not there.
    """

    def __init__(
        self, path: Path, extractor: Extractor, target: Path | None = None, only: tuple[int, ...] | None = None
    ):
        self.path, self.form, self.has_sound = path, clip_format(extractor), extractor.vggish and only is None
        if only is not None:
            self.form = dataclasses.replace(self.form, still=False, only=only)
        try:
            self.stat = path.stat()
        except FileNotFoundError as error:
            raise VideoError(f"{path}: there is no such file.") from error
        except OSError as error:
            raise VideoError(f"{path}: it cannot be opened ({error.strerror}).") from error
        if stat.S_ISFIFO(self.stat.st_mode):  # the decoder's process may not see it: <(...) of a shell
            raise VideoError(f"{path}: a pipe or a device, not a file. Save the video to a file first.")
        self.visual = self._rows(extractor, target) if isinstance(target, Path) else Rows()  # (n_crops, D) per clip
        self.audio: Rows | None = None  # (128,) per window
        self.n_clips: int | None = None
        self.n_before = self.n_taken = len(self.visual)
        self.fps = 0.0
        self.facts: VideoFacts | None = None
        self.sound = SoundFacts(None, None)

    @property
    def is_whole(self) -> bool:
        """Whether the features of all clips are computed."""
        return self.facts is not None and len(self.visual) == self.n_taken

    @property
    def share(self) -> float:
        """The share that is done, from 0 to 1, by the length that the container states."""
        return min(1.0, len(self.visual) / self.n_clips) if self.n_clips else 0.0

    def _rows(self, extractor: Extractor, target: Path) -> Rows:
        identity = extractor.identity() | {"source": [self.stat.st_size, self.stat.st_mtime]}
        identity |= {} if self.form.only is None else {"only": self.form.only}
        try:
            return Rows(beside(target), identity, extractor.kind.dim)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room(target, error) from error
            return Rows()  # that the folder cannot be written is said when the features are

    def messages(self, decoder: Decoder) -> Iterator[Message]:
        """All that is needed of the video, its facts last. Clips that an earlier run computed are left out.

        Raises VideoError if not one frame can be read.
        """
        facts = None
        for message in decoder.clips(self.path, self.form, self.n_before):
            if isinstance(message, VideoFacts):
                facts = message
            else:
                yield message
        assert facts
        if self.has_sound:
            try:
                yield from decoder.windows(self.path, facts.ends - SECONDS, LENGTH)
            except VideoError as error:
                yield SoundFacts(None, f"no sound can be read ({error})")
        yield facts

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of the clips that are computed, of a video that is whole."""
        assert self.facts
        return list(self.form.numbers(-(-self.facts.n_frames // self.form.length)))

    def fault(self) -> str | None:
        """What is wrong with the features of a video that is whole, as a clause; None where nothing is."""
        assert self.facts
        expected = len(self.numbers)
        if len(self.visual) != expected:
            return f"{len(self.visual)} clips have features, where {self.facts.n_frames} frames make {expected} clips"
        parts = np.array_split(self.visual.array(), max(1, expected // CHECKED))
        return None if all(np.isfinite(part).all() for part in parts) else "some of its features are not finite numbers"

    def features(self, extractor: Extractor) -> Features:
        """The features of the video, once it is whole."""
        facts, numbers = self.facts, self.numbers
        assert facts
        n_clips = -(-facts.n_frames // self.form.length)
        every_clip = len(numbers) == n_clips
        audio = None
        if self.has_sound:
            audio = np.zeros((n_clips, AUDIO_DIM), np.float32)
            if self.audio:
                audio[: len(self.audio)] = self.audio.array()
        return Features(
            visual=self.visual.array() if every_clip else filled(self.visual.array(), numbers, n_clips),
            audio=audio,
            kind=extractor.kind,
            n_frames=facts.n_frames,
            fps=facts.fps,
            times=facts.times,
            source=self.path.name,
            source_bytes=self.stat.st_size,
            source_mtime=self.stat.st_mtime,
            precision=extractor.precision,
            crops=extractor.crops,
            sound_track=self.sound.track,
            sound_missing=self.sound.missing,
            damage=facts.damage,
            lost=facts.lost,
            creation_time=facts.creation_time,
            still=facts.still,
            interpolated=() if every_clip else tuple(sorted({*range(n_clips)}.difference(numbers))),
            tool=f"anomalycli {__version__}",
        )


class ClipBatches:
    """Batches of clips with the same picture size, from any of the videos."""

    def __init__(self, extractor: Extractor):
        self.extractor = extractor
        self.waiting: dict[tuple[int, ...], list[tuple[VideoInProgress, np.ndarray]]] = {}

    def take(self, video: VideoInProgress, message: Message) -> None:
        """Process one message of a video. Raises StorageError if there is no space for its features."""
        if isinstance(message, DecodedClip):
            video.n_clips, video.fps = message.n_clips, message.fps
            video.n_taken += 1
            if message.is_still:
                self._carry_over(video)
                return
            same = self.waiting.setdefault(message.frames.shape, [])
            same.append((video, message.frames))
            if len(same) == self.extractor.batch:
                self._run(message.frames.shape)
            elif sum(map(len, self.waiting.values())) >= WAITING * self.extractor.batch:
                self._run(next(iter(self.waiting)))
        elif isinstance(message, SoundWindows):
            video.audio = video.audio or Rows()
            _append(video.audio, sound_features(message.samples, self.extractor))
        elif isinstance(message, SoundFacts):
            video.sound = message
        else:
            video.facts = message

    def _carry_over(self, video: VideoInProgress) -> None:
        """Give a clip of `video` the features of the one before it."""
        for shape in [shape for shape, same in self.waiting.items() if any(other is video for other, _ in same)]:
            self._run(shape)
        _append(video.visual, video.visual.array()[-1:])

    def drop(self, video: VideoInProgress) -> None:
        """Discard the clips of a failed video."""
        waiting = {shape: [pair for pair in same if pair[0] is not video] for shape, same in self.waiting.items()}
        self.waiting = {shape: same for shape, same in waiting.items() if same}

    def flush(self) -> None:
        """Run all waiting clips."""
        for shape in list(self.waiting):
            self._run(shape)

    def _run(self, shape: tuple[int, ...]) -> None:
        videos, clips = zip(*self.waiting.pop(shape), strict=True)
        for video, rows in zip(videos, np.split(self.extractor(list(clips)), len(clips)), strict=True):
            _append(video.visual, rows)


def _append(rows: Rows, more: np.ndarray) -> None:
    try:
        rows.extend(more)
    except OSError as error:
        raise no_room(rows.path or Path(tempfile.gettempdir()), error) from error


def sound_features(windows: np.ndarray, extractor: Extractor) -> np.ndarray:
    """(n, LENGTH), NaN where there is no sound -> float32 (n, 128), zeros for windows without any."""
    assert extractor.vggish
    rows = extractor.vggish(np.nan_to_num(windows)).cpu().numpy()
    rows[np.isnan(windows).all(1)] = 0
    return rows
