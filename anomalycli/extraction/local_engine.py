"""Extraction in this process: several decoders feed one network."""

import dataclasses
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import Extractor
from ..errors import AnomalyError, VideoError
from ..features.files import Features, load_features
from ..features.layouts import save
from ..inputs import Input
from ..media.decoder import Decoder
from ..media.messages import DecodedClip
from ..media.prefetch import feed
from .batching import ClipBatches, Message, VideoInProgress
from .run_report import ExtractionOutcome
from .settings import ExtractionProgress, ExtractionSettings, OnProgress
from .spool import NO_ROOM, no_room

OnClips = Callable[[Path, int, int | None], None]  # path, clips done, clips in all (None: not known)


def extract_here(
    targets: dict[Input, Path],
    extractor: Extractor,
    settings: ExtractionSettings,
    on_progress: OnProgress | None = None,
) -> Generator[ExtractionOutcome, None, None]:
    """Make the files of `targets` on this machine. An engine for `extract`."""
    decoders = [Decoder(settings.decoder) for _ in range(min(settings.workers, len(targets)))]

    def read(decoder: Decoder, item: Input) -> Iterator[VideoInProgress | Message]:
        video = VideoInProgress(item.path, extractor, targets[item])
        yield video
        yield from video.messages(decoder)

    with closing(feed(targets, read, decoders)) as messages:
        yield from LocalRun(targets, extractor, settings.layout, on_progress).outcomes(messages)


def extract_video(
    path: Path,
    extractor: Extractor,
    on_clips: OnClips | None = None,
    decoder: Decoder | None = None,
    target: Path | None = None,
) -> Features:
    """The features of one video. The extractor is calibrated.

    With `target`, they are saved there, and what an interrupted run left beside it is used.

    Raises VideoError if no frame can be read or the features are not those of the video, StorageError if `target`
    cannot be written.
    """
    video = VideoInProgress(path, extractor, target)
    _compute(video, extractor, on_clips, decoder)
    return _saved(video.features(extractor), video, target)


def refine_video(
    features: Features,
    only: tuple[int, ...],
    path: Path,
    extractor: Extractor,
    on_clips: OnClips | None = None,
    decoder: Decoder | None = None,
    target: Path | None = None,
) -> Features:
    """The features of a video of which those of the clips `only` were interpolated, with these computed.

    The others stay as they are. For the rest see `extract_video`.
    """
    video = VideoInProgress(path, extractor, target, only)
    _compute(video, extractor, on_clips, decoder)
    visual = np.array(features.visual)
    visual[list(only)] = video.visual.array()
    interpolated = tuple(sorted({*features.interpolated}.difference(only)))
    return _saved(dataclasses.replace(features, visual=visual, interpolated=interpolated), video, target)


def _compute(video: VideoInProgress, extractor: Extractor, on_clips: OnClips | None, decoder: Decoder | None) -> None:
    with ExitStack() as stack:
        decoder, batches = decoder or stack.enter_context(Decoder()), ClipBatches(extractor)
        try:
            for message in video.messages(decoder):
                batches.take(video, message)
                if on_clips and len(video.visual):
                    on_clips(video.path, len(video.visual), video.n_clips)
            batches.flush()
            if fault := video.fault():
                raise VideoError(f"{video.path}: {fault}. Repeat the command to read it again.")
        except VideoError:
            video.visual.discard()
            raise


def _saved(features: Features, video: VideoInProgress, target: Path | None) -> Features:
    if target:
        features.save(target)
        video.visual.discard()
    return features


def kept_features(cache: Path, video: Path, extractor: Extractor) -> Features | None:
    """The features in `cache`, or None where they are not there, not whole, or not of this video and extractor."""
    try:
        features, stat = load_features(cache), video.stat()
    except (AnomalyError, OSError):
        return None
    ours = extractor.kind, extractor.crops, extractor.precision, stat.st_size, stat.st_mtime
    theirs = features.kind, features.crops, features.precision, features.source_bytes, features.source_mtime
    if features.still and not extractor.still:
        return None
    if not {*range(0, len(features.visual), extractor.every)}.isdisjoint(features.interpolated):
        return None
    return dataclasses.replace(features, source=video.name) if ours == theirs else None


class LocalRun:
    """Takes the messages of all videos as they come, and saves each video once it is whole."""

    def __init__(self, targets: dict[Input, Path], extractor: Extractor, layout: str, on_progress: OnProgress | None):
        self.targets, self.extractor, self.layout = targets, extractor, layout
        self.on_progress = on_progress
        self.batches = ClipBatches(extractor)
        self.videos: dict[Input, VideoInProgress] = {}  # those on their way
        self.sizes = {item: size_of(item.path) for item in targets}
        self.bytes = sum(self.sizes.values())
        self.clips, self.seconds, self.files_done, self.bytes_done = 0, 0.0, 0, 0

    def outcomes(self, messages: Iterator[tuple[Input, Any]]) -> Iterator[ExtractionOutcome]:
        """Yield the outcome of each input as soon as it is known. `messages` are those of `feed`."""
        for item, message in messages:
            if isinstance(message, VideoInProgress):
                self.videos[item] = message
                continue
            if isinstance(message, VideoError):
                yield self._failed(item, message)
                continue
            self.batches.take(self.videos[item], message)
            if isinstance(message, DecodedClip):
                self._report(item, message)
            yield from self._finished()
        self.batches.flush()
        yield from self._finished()

    def _report(self, item: Input, clip: DecodedClip) -> None:
        self.clips, self.seconds = self.clips + 1, self.seconds + self.extractor.kind.clip_length / clip.fps
        if self.on_progress:
            on_the_way = sum(video.share * self.sizes[other] for other, video in self.videos.items())
            progress = ExtractionProgress(
                path=item.path,
                clips=self.clips,
                seconds=self.seconds,
                files=len(self.targets),
                files_done=self.files_done,
                bytes=self.bytes,
                bytes_done=self.bytes_done + on_the_way,
            )
            self.on_progress(progress)

    def _finished(self) -> Iterator[ExtractionOutcome]:
        for item in [item for item, video in self.videos.items() if video.is_whole]:
            yield self._ended(item, self._saved(item))

    def _failed(self, item: Input, error: VideoError) -> ExtractionOutcome:
        if item in self.videos:
            self.batches.drop(self.videos[item])
            self.videos[item].visual.discard()
        return self._ended(item, ExtractionOutcome(item.path, "failed", str(error)))

    def _ended(self, item: Input, outcome: ExtractionOutcome) -> ExtractionOutcome:
        self.bytes_done, self.files_done = self.bytes_done + self.sizes[item], self.files_done + 1
        self.videos.pop(item, None)
        return outcome

    def _saved(self, item: Input) -> ExtractionOutcome:
        video, path = self.videos[item], self.targets[item]
        if fault := video.fault():
            video.visual.discard()
            return ExtractionOutcome(
                item.path, "failed", f"{item.path}: {fault}. Repeat the command to extract it again."
            )
        try:
            features = video.features(self.extractor)
            save(features, path, self.layout)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room(path, error) from error
            return ExtractionOutcome(item.path, "failed", str(error))  # its rows stay
        video.visual.discard()
        return outcome_of(item, features, "done", video.n_before)


def outcome_of(item: Input, features: Features, status: str, n_before: int = 0) -> ExtractionOutcome:
    """The outcome of an input whose features are there; `n_before` of its clips were computed by an earlier run."""
    if features.damage and status == "done":
        status = "partial"
    before = f"its first {n_before} clips in a run that was stopped" if n_before else None
    note = "; ".join(filter(None, (before, features.sound_missing))) or None
    return ExtractionOutcome(item.path, status, features.warning, note, features.n_frames, features.duration)


def size_of(path: Path) -> int:
    """The size of a file in bytes, 0 if unknown."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
