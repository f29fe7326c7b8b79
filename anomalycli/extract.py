"""Video files in, feature files out."""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .account import Account, Outcome, Shard
from .backbones import Extractor
from .errors import FeatureError, StorageError, UsageError, VideoError
from .features import AUDIO_DIM, Features
from .feeding import feed
from .formats import check_format, load_made, save, target
from .inputs import Input, find_inputs
from .labels import FILE, label_videos, write_labels
from .reading import MEMORY, STALL, Facts, Reader, SoundFacts
from .vggish import LENGTH, SECONDS
from .video import CLIP_LENGTH, SUFFIXES

WORKERS = 2  # processes that decode
WAITING = 4  # batches' worth of clips, of several picture sizes, that may wait for others of their size
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

OnClips = Callable[[Path, int, int | None], None]  # path, clips done, clips in all (None: not known)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: clips and seconds of video that went through the network, and the input that
    the last of them is of; of the inputs that there are to do, their number and size, and the part done."""

    path: Path
    clips: int
    seconds: float
    files: int
    files_done: int
    bytes: int
    bytes_done: float


def extract(
    paths: Iterable[str | Path],
    output: str | Path,
    extractor: Extractor,
    *,
    layout: str = "npz",
    overwrite: bool = False,
    shard: Shard = Shard(),
    workers: int = WORKERS,
    stall: float = STALL,
    memory: int = MEMORY,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[Outcome]:
    """Write OUTPUT/name.npz for each video in `paths` (files and folders), yielding each one's outcome.

    `layout` is npz, or what other programs read (formats.py): xd or rtfm. Labels that stand beside the
    videos are carried along as OUTPUT/labels.csv; OUTPUT/report.json says what became of each input. A
    feature file of the same source and settings is kept. `shard` takes a part of the inputs only.

    `workers` processes decode while the network works; one that takes more than `memory` MB, or makes
    no progress for `stall` seconds, costs its file and no other.

    Raises VideoError where there is no video, UsageError, before any work, where labels
    contradict each other or OUTPUT holds features made with other settings (unless `overwrite`),
    and StorageError where OUTPUT has no room left.
    """
    folders, output = [Path(path) for path in paths], Path(output)
    every = find_inputs(folders, SUFFIXES)
    if not every:
        raise VideoError(f"{', '.join(map(str, folders))}: there is no video in it.")
    check_format(layout, extractor.kind.audio)
    inputs = [item for item in every if shard.has(item.name)]
    targets = {item: target(output, item.name, layout) for item in inputs}
    if output / shard.report in targets.values():
        raise UsageError("A video named 'report' and the report of the run would be one file: rename the video.")
    there = {} if overwrite else {item: made for item in inputs if (made := _made(item, targets[item], extractor))}
    _carry_labels(folders, every, output)
    with Account(output, shard) as account:
        for item, features in there.items():
            yield account.add(_outcome(item, features, "skipped"))
        todo = [item for item in inputs if item not in there]
        readers = [Reader(stall, memory) for _ in range(min(workers, len(todo)))]
        with closing(feed(todo, lambda reader, item: _pieces(reader, item.path, extractor), readers)) as pieces:
            for outcome in _make(todo, pieces, targets, extractor, layout, on_progress):
                yield account.add(outcome)


def extract_video(
    path: Path, extractor: Extractor, on_clips: OnClips | None = None, reader: Reader | None = None
) -> Features:
    """The features of one video. Raises VideoError where it has no readable frame."""
    with ExitStack() as stack:
        reader = reader or stack.enter_context(Reader())
        video, batches = _Video(path), _Batches(extractor)
        for piece in _pieces(reader, path, extractor):
            batches.take(video, piece)
            if on_clips and video.visual:
                on_clips(path, len(video.visual), video.n_clips)
        batches.flush()
        return video.features(extractor)


@dataclass(frozen=True)
class _Clip:
    frames: np.ndarray  # uint8 (16, height, width, 3)
    n_clips: int | None  # of the video, as far as its container says
    fps: float


_Piece = _Clip | np.ndarray | SoundFacts | Facts


def _pieces(reader: Reader, path: Path, extractor: Extractor) -> Iterator[_Piece]:
    """All there is to know of a video: its clips; windows of its sound, (n, LENGTH), and their facts; its facts."""
    for frames in reader.clips(path, extractor.size, extractor.multiple):
        yield _Clip(frames, reader.n_clips, reader.fps)
    facts = reader.facts
    assert facts
    if extractor.vggish:
        try:
            yield from reader.windows(path, facts.ends - SECONDS, LENGTH)
            assert reader.sound
            yield reader.sound
        except VideoError as error:
            yield SoundFacts(None, f"no sound can be read ({error})")
    yield facts


class _Video:
    """One video on its way to features."""

    def __init__(self, path: Path):
        self.path = path
        self.visual: list[np.ndarray] = []  # (n_crops, D) a clip
        self.audio: list[np.ndarray] = []  # (n, 128) a block of windows
        self.n_clips: int | None = None
        self.n_taken = 0
        self.fps = 0.0
        self.facts: Facts | None = None
        self.sound = SoundFacts(None, None)

    @property
    def is_whole(self) -> bool:
        return self.facts is not None and len(self.visual) == self.n_taken

    @property
    def share(self) -> float:
        """How much of it is done, as far as its container says how long it is."""
        return min(1.0, len(self.visual) / self.n_clips) if self.n_clips else 0.0

    def features(self, extractor: Extractor) -> Features:
        facts, stat = self.facts, self.path.stat()
        assert facts
        audio = None
        if extractor.vggish:
            audio = np.zeros((len(self.visual), AUDIO_DIM), np.float32)
            if self.audio:
                heard = np.concatenate(self.audio)
                audio[: len(heard)] = heard
        return Features(
            visual=np.stack(self.visual),
            audio=audio,
            kind=extractor.kind,
            n_frames=facts.n_frames,
            fps=facts.fps,
            times=facts.times,
            source=self.path.name,
            source_bytes=stat.st_size,
            source_mtime=stat.st_mtime,
            precision=extractor.precision,
            crops=extractor.crops,
            sound_track=self.sound.track,
            sound_missing=self.sound.missing,
            damage=facts.damage,
            lost=facts.lost,
            tool=f"anomalycli {__version__}",
        )


class _Batches:
    """Clips on their way through the network: those of one picture size together, whichever videos they are of.

    A batch always has `extractor.batch` clips, short ones filled up: so what a clip's features are does
    not depend, to the last bit, on what else was there to do.
    """

    def __init__(self, extractor: Extractor):
        self.extractor = extractor
        self.waiting: dict[tuple[int, ...], list[tuple[_Video, np.ndarray]]] = {}

    def take(self, video: _Video, piece: _Piece) -> None:
        if isinstance(piece, _Clip):
            video.n_clips, video.fps = piece.n_clips, piece.fps
            video.n_taken += 1
            same = self.waiting.setdefault(piece.frames.shape, [])
            same.append((video, piece.frames))
            if len(same) == self.extractor.batch:
                self._run(piece.frames.shape)
            elif sum(map(len, self.waiting.values())) >= WAITING * self.extractor.batch:
                self._run(next(iter(self.waiting)))
        elif isinstance(piece, SoundFacts):
            video.sound = piece
        elif isinstance(piece, Facts):
            video.facts = piece
        else:
            video.audio.append(extract_sound(piece, self.extractor))

    def flush(self) -> None:
        for shape in list(self.waiting):
            self._run(shape)

    def _run(self, shape: tuple[int, ...]) -> None:
        videos, clips = zip(*self.waiting.pop(shape), strict=True)
        filling = [clips[-1]] * (self.extractor.batch - len(clips))
        for video, row in zip(videos, self.extractor([*clips, *filling]), strict=False):
            video.visual.append(row)


def extract_sound(windows: np.ndarray, extractor: Extractor) -> np.ndarray:
    """(n, LENGTH), NaN where there is no sound -> float32 (n, 128), zeros for windows without any."""
    assert extractor.vggish
    rows = extractor.vggish(np.nan_to_num(windows)).cpu().numpy()
    rows[np.isnan(windows).all(1)] = 0
    return rows


def _make(
    todo: list[Input],
    pieces: Iterator[tuple[Input, Any]],
    targets: dict[Input, Path],
    extractor: Extractor,
    layout: str,
    on_progress: Callable[[Progress], None] | None,
) -> Iterator[Outcome]:
    """Take the pieces of all videos as they come, and save each video once it is whole."""
    batches = _Batches(extractor)
    videos: dict[Input, _Video] = {}  # those on their way
    sizes = {item: _size(item.path) for item in todo}
    every_byte, bytes_behind, files_behind = sum(sizes.values()), 0, 0
    clips, seconds = 0, 0.0

    def end(item: Input) -> _Video:
        nonlocal bytes_behind, files_behind
        bytes_behind, files_behind = bytes_behind + sizes[item], files_behind + 1
        return videos.pop(item)

    def finished() -> Iterator[Outcome]:
        for item in [item for item, video in videos.items() if video.is_whole]:
            yield _saved(item, end(item), targets[item], extractor, layout)

    for item, piece in pieces:
        if item not in videos:
            videos[item] = _Video(item.path)
        if isinstance(piece, VideoError):
            end(item)
            yield Outcome(item.path, "failed", str(piece))
            continue
        batches.take(videos[item], piece)
        if isinstance(piece, _Clip):
            clips, seconds = clips + 1, seconds + CLIP_LENGTH / piece.fps
            if on_progress:
                on_the_way = sum(video.share * sizes[other] for other, video in videos.items())
                files = len(todo), files_behind
                on_progress(Progress(item.path, clips, seconds, *files, every_byte, bytes_behind + on_the_way))
        yield from finished()
    batches.flush()
    yield from finished()


def _saved(item: Input, video: _Video, path: Path, extractor: Extractor, layout: str) -> Outcome:
    try:
        features = video.features(extractor)
        save(features, path, layout)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageError(
                f"{path}: it cannot be written ({error.strerror}). What is there is whole: make room, and the same "
                "command goes on."
            ) from error
        return Outcome(item.path, "failed", str(error))
    return _outcome(item, features, "done")


def _outcome(item: Input, features: Features, status: str) -> Outcome:
    if features.damage and status == "done":
        status = "partial"
    return Outcome(item.path, status, features.warning, features.sound_missing, features.n_frames, features.duration)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _made(item: Input, target: Path, extractor: Extractor) -> Features | None:
    """The features that are there, whole, and of this very video. UsageError if made with other settings."""
    if not target.exists():
        return None
    try:
        features = load_made(target)
        stat = item.path.stat()
    except (FeatureError, OSError):
        return None
    difference = features.kind.difference(extractor.kind)
    if features.crops != extractor.crops:
        difference = difference or ("crops", features.crops, extractor.crops)
    if difference:
        setting, before, now = difference
        raise UsageError(
            f"{target} was made with {setting} {before}, and this run has {now}: "
            "give --overwrite to make it again, or another --output."
        )
    return features if (features.source_bytes, features.source_mtime) == (stat.st_size, stat.st_mtime) else None


def _carry_labels(paths: list[Path], inputs: list[Input], output: Path) -> None:
    labels: dict[str, int] = {}
    for folder in {path if path.is_dir() else path.parent for path in paths}:
        names = [item.name for item in inputs if item.path.is_relative_to(folder.absolute())]
        labels |= label_videos(names, folder)
    if labels:
        write_labels(output / FILE, labels)
