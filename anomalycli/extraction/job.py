"""Video files in, feature files out."""

import dataclasses
import errno
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones.base import Extractor
from ..backbones.int8 import Judge
from ..backbones.vggish import LENGTH, SECONDS
from ..checkpoint import bundled_judge
from ..data.labels import FILE, label_videos, write_labels
from ..errors import FeatureError, StorageError, UsageError, VideoError
from ..features.files import AUDIO_DIM, Features
from ..features.layouts import check_format, load_made, save, target
from ..inputs import Input, find_inputs
from ..media.decoder import MEMORY, STALL, Facts, Reader, SoundFacts
from ..media.prefetch import feed
from ..media.video import CLIP_LENGTH, SUFFIXES
from ..storage import place
from ..version import __version__
from .run_report import Account, Outcome, Shard
from .spool import Rows, beside

WORKERS = 2  # processes that decode
WAITING = 4  # batches' worth of clips, of several picture sizes, that may wait for others of their size
SPREAD = 10  # videos that the clips which calibrate int8 come from
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


def make(
    targets: dict[Input, Path],
    extractor: Extractor,
    *,
    layout: str,
    workers: int,
    stall: float,
    memory: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> Generator[Outcome, None, None]:
    """Make the files of `targets` on this machine, one after another: the engine of `extract`, and see there."""
    readers = [Reader(stall, memory) for _ in range(min(workers, len(targets)))]

    def read(reader: Reader, item: Input) -> Iterator[_Video | _Piece]:
        video = _Video(item.path, extractor, targets[item])
        yield video
        yield from _pieces(reader, item.path, extractor, skip=video.n_before)

    with closing(feed(targets, read, readers)) as pieces:
        yield from _make(targets, pieces, extractor, layout, on_progress)


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
    engine: Callable[..., Generator[Outcome, None, None]] = make,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[Outcome]:
    """Write OUTPUT/name.npz for each video in `paths` (files and folders), yielding each one's outcome.

    OUTPUT is a folder, or a URL as `place` knows them.

    `layout` is npz, or what other programs read (formats.py): xd or rtfm. Labels that stand beside the
    videos are carried along as OUTPUT/labels.csv; OUTPUT/report.json says what became of each input. A
    feature file of the same source and settings is kept. `shard` takes a part of the inputs only.

    `workers` processes decode while the network works; one that takes more than `memory` MB, or makes
    no progress for `stall` seconds, costs its file and no other. `engine` makes the files that are not
    there: `make` does it here, `cluster.engine` elsewhere. `on_note` hears what came of
    calibrating, at int8.

    Raises VideoError where there is no video, UsageError, before any work, where labels
    contradict each other or OUTPUT holds features made with other settings (unless `overwrite`),
    and StorageError where OUTPUT has no room left.
    """
    folders, output = [Path(path) for path in paths], place(output)
    every = find_inputs(folders, SUFFIXES)
    if not every:
        raise VideoError(f"{', '.join(map(str, folders))}: there is no video in it.")
    check_format(layout, extractor.kind.audio)
    inputs = [item for item in every if shard.has(item.name)]
    targets = {item: target(output, item.name, layout) for item in inputs}
    if output / shard.report in targets.values():
        raise UsageError("A video named 'report' and the report of the run would be one file: rename the video.")
    note = calibrate([item.path for item in inputs], extractor)
    if note and on_note:
        on_note(note)
    kept = {} if overwrite else {item: _kept(item, targets[item], extractor) for item in inputs}
    there = {item: outcome for item, outcome in kept.items() if outcome}
    _carry_labels(folders, every, output)
    with Account(output, shard) as account:
        for item, outcome in there.items():
            beside(targets[item]).unlink(missing_ok=True)  # of a run that was killed at the very end
            yield account.add(outcome)
        todo = {item: path for item, path in targets.items() if item not in there}
        how = {"layout": layout, "workers": workers, "stall": stall, "memory": memory, "on_progress": on_progress}
        with closing(engine(todo, extractor, **how)) as outcomes:
            for outcome in outcomes:
                yield account.add(outcome)


def calibrate(paths: Sequence[Path], extractor: Extractor, judge: Judge | None = None) -> str | None:
    """Calibrate an extractor that needs it on the first clips of several of these videos.

    Returns a sentence on the result, or None if nothing was to be done. Skips videos that cannot be read. `judge`
    gives features scores, which int8 must not change: that of the bundled model if it knows these features.
    """
    if not extractor.calibration_clips or not paths:
        return None
    each = -(-extractor.calibration_clips // min(len(paths), SPREAD))
    clips: list[np.ndarray] = []
    with Reader() as reader:
        for path in paths:
            with suppress(VideoError):
                some = reader.clips(path, extractor.size, extractor.multiple)
                clips += islice(some, min(each, extractor.calibration_clips - len(clips)))
            if len(clips) == extractor.calibration_clips:
                break
    return extractor.calibrate(clips, judge or bundled_judge(extractor.kind))


def extract_video(
    path: Path, extractor: Extractor, on_clips: OnClips | None = None, reader: Reader | None = None
) -> Features:
    """The features of one video. Raises VideoError where it has no readable frame."""
    calibrate([path], extractor)
    with ExitStack() as stack:
        reader = reader or stack.enter_context(Reader())
        video, batches = _Video(path, extractor), _Batches(extractor)
        for piece in _pieces(reader, path, extractor):
            batches.take(video, piece)
            if on_clips and len(video.visual):
                on_clips(path, len(video.visual), video.n_clips)
        batches.flush()
        return video.features(extractor)


@dataclass(frozen=True)
class _Clip:
    frames: np.ndarray  # uint8 (16, height, width, 3)
    n_clips: int | None  # of the video, as far as its container says
    fps: float


_Piece = _Clip | np.ndarray | SoundFacts | Facts


def _pieces(reader: Reader, path: Path, extractor: Extractor, skip: int = 0) -> Iterator[_Piece]:
    """All there is to know of a video: its clips but the first `skip`; windows of its sound, (n, LENGTH), and
    their facts; its facts."""
    for frames in reader.clips(path, extractor.size, extractor.multiple, skip):
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
    """One video on its way to features, which are kept beside `target` until that is written, where it is not a URL:
    a run that was stopped may have left some. Raises VideoError where the file is not there."""

    def __init__(self, path: Path, extractor: Extractor, target: Path | None = None):
        self.path = path
        try:
            self.stat = path.stat()
        except FileNotFoundError as error:
            raise VideoError(f"{path}: there is no such file.") from error
        except OSError as error:
            raise VideoError(f"{path}: it cannot be opened ({error.strerror}).") from error
        self.visual = self._rows(extractor, target) if isinstance(target, Path) else Rows()  # (n_crops, D) a clip
        self.audio: Rows | None = None  # (128,) a window
        self.n_clips: int | None = None
        self.n_before = self.n_taken = len(self.visual)
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

    def _rows(self, extractor: Extractor, target: Path) -> Rows:
        identity = {
            "kind": dataclasses.asdict(extractor.kind),
            "crops": extractor.crops,
            "precision": extractor.precision,
            "source": [self.stat.st_size, self.stat.st_mtime],
        }
        try:
            return Rows(beside(target), identity)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise _no_room(target, error) from error
            return Rows()  # that the folder cannot be written is told where the features are

    def features(self, extractor: Extractor) -> Features:
        facts = self.facts
        assert facts
        audio = None
        if extractor.vggish:
            audio = np.zeros((len(self.visual), AUDIO_DIM), np.float32)
            if self.audio:
                audio[: len(self.audio)] = self.audio.array()
        return Features(
            visual=self.visual.array(),
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
            tool=f"anomalycli {__version__}",
        )


class _Batches:
    """Clips on their way through the network: those of one picture size together, whichever videos they are of."""

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
            video.audio = video.audio or Rows()
            _append(video.audio, extract_sound(piece, self.extractor))

    def drop(self, video: _Video) -> None:
        """Nothing waits any more of a video that has failed."""
        waiting = {shape: [pair for pair in same if pair[0] is not video] for shape, same in self.waiting.items()}
        self.waiting = {shape: same for shape, same in waiting.items() if same}

    def flush(self) -> None:
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
        raise _no_room(rows.path or Path(tempfile.gettempdir()), error) from error


def extract_sound(windows: np.ndarray, extractor: Extractor) -> np.ndarray:
    """(n, LENGTH), NaN where there is no sound -> float32 (n, 128), zeros for windows without any."""
    assert extractor.vggish
    rows = extractor.vggish(np.nan_to_num(windows)).cpu().numpy()
    rows[np.isnan(windows).all(1)] = 0
    return rows


def _make(
    targets: dict[Input, Path],
    pieces: Iterator[tuple[Input, Any]],
    extractor: Extractor,
    layout: str,
    on_progress: Callable[[Progress], None] | None,
) -> Iterator[Outcome]:
    """Take the pieces of all videos as they come, and save each video once it is whole."""
    batches = _Batches(extractor)
    videos: dict[Input, _Video] = {}  # those on their way
    sizes = {item: size_of(item.path) for item in targets}
    every_byte, bytes_behind, files_behind = sum(sizes.values()), 0, 0
    clips, seconds = 0, 0.0

    def ended(item: Input, outcome: Outcome) -> Outcome:
        nonlocal bytes_behind, files_behind
        bytes_behind, files_behind = bytes_behind + sizes[item], files_behind + 1
        videos.pop(item, None)
        return outcome

    def finished() -> Iterator[Outcome]:
        for item in [item for item, video in videos.items() if video.is_whole]:
            yield ended(item, _saved(item, videos[item], targets[item], extractor, layout))

    for item, piece in pieces:
        if isinstance(piece, _Video):
            videos[item] = piece
            continue
        if isinstance(piece, VideoError):
            if item in videos:
                batches.drop(videos[item])
                videos[item].visual.discard()
            yield ended(item, Outcome(item.path, "failed", str(piece)))
            continue
        batches.take(videos[item], piece)
        if isinstance(piece, _Clip):
            clips, seconds = clips + 1, seconds + CLIP_LENGTH / piece.fps
            if on_progress:
                on_the_way = sum(video.share * sizes[other] for other, video in videos.items())
                files = len(targets), files_behind
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
            raise _no_room(path, error) from error
        return Outcome(item.path, "failed", str(error))  # its rows stay
    video.visual.discard()
    return _outcome(item, features, "done", video.n_before)


def _no_room(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: it cannot be written ({error.strerror}). What is there is whole: make room, and the same command "
        "goes on."
    )


def _outcome(item: Input, features: Features, status: str, n_before: int = 0) -> Outcome:
    if features.damage and status == "done":
        status = "partial"
    before = f"its first {n_before} clips in a run that was stopped" if n_before else None
    note = "; ".join(filter(None, (before, features.sound_missing))) or None
    return Outcome(item.path, status, features.warning, note, features.n_frames, features.duration)


def size_of(path: Path) -> int:
    """Bytes; 0 where it cannot be told."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _kept(item: Input, target: Path, extractor: Extractor) -> Outcome | None:
    """Where features are there, whole, and of this very video. UsageError if made with other settings."""
    if not target.exists():
        return None
    try:
        features = load_made(target)
        stat = item.path.stat()
    except (FeatureError, OSError):
        return None
    difference = features.kind.difference(extractor.kind)
    for setting in ("crops", "precision"):
        before, now = getattr(features, setting), getattr(extractor, setting)
        if before != now:
            difference = difference or (setting, before, now)
    if difference:
        setting, before, now = difference
        raise UsageError(
            f"{target} was made with {setting} {before}, and this run has {now}: "
            "give --overwrite to make it again, or another --output."
        )
    same = (features.source_bytes, features.source_mtime) == (stat.st_size, stat.st_mtime)
    return _outcome(item, features, "skipped") if same else None


def _carry_labels(paths: list[Path], inputs: list[Input], output: Path) -> None:
    labels: dict[str, int] = {}
    for folder in {path if path.is_dir() else path.parent for path in paths}:
        names = [item.name for item in inputs if item.path.is_relative_to(folder.absolute())]
        labels |= label_videos(names, folder)
    if labels:
        write_labels(output / FILE, labels)
