"""Video files in, feature files out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from . import __version__
from .audio import Sound
from .backbones import Extractor
from .errors import AnomalyError, FeatureError, UsageError, VideoError
from .features import Features
from .formats import check_format, load_made, save, target
from .inputs import Input, find_inputs
from .labels import FILE, label_videos, write_labels
from .vggish import LENGTH, SECONDS, VGGish
from .video import CLIP_LENGTH, SUFFIXES, Video

BATCH = 4  # clips that go through the network at once
SOUND_BATCH = 32  # windows of sound that do
SPREAD = 10  # videos that the clips which calibrate int8 come from

OnClips = Callable[[Path, int, int | None], None]  # path, clips done, clips in all (None: not known)


@dataclass(frozen=True)
class Outcome:
    """What became of one input. status: done, skipped (was there already), partial (damaged), failed.

    reason: why it is partial or failed. note: what else is worth knowing, such as missing sound.
    """

    path: Path
    status: str
    reason: str | None = None
    note: str | None = None


def extract(
    paths: Iterable[str | Path],
    output: str | Path,
    extractor: Extractor,
    *,
    layout: str = "npz",
    overwrite: bool = False,
    on_clips: OnClips | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[Outcome]:
    """Write OUTPUT/name.npz for each video in `paths` (files and folders), yielding each one's outcome.

    `layout` is npz, or what other programs read (formats.py): xd or rtfm.
    Labels that stand beside the videos are carried along as OUTPUT/labels.csv. A feature file of
    the same source and settings is kept. `on_note` hears what came of calibrating, at int8.

    Raises VideoError where there is no video, and UsageError, before any work, where labels
    contradict each other or OUTPUT holds features made with other settings (unless `overwrite`).
    """
    folders, output = [Path(path) for path in paths], Path(output)
    inputs = find_inputs(folders, SUFFIXES)
    if not inputs:
        raise VideoError(f"{', '.join(map(str, folders))}: there is no video in it.")
    check_format(layout, extractor.kind.audio)
    targets = {item: target(output, item.name, layout) for item in inputs}
    there = set() if overwrite else {item for item in inputs if _is_done(item, targets[item], extractor)}
    _carry_labels(folders, inputs, output)
    note = calibrate([item.path for item in inputs if item not in there], extractor)
    if note and on_note:
        on_note(note)
    for item in inputs:
        if item in there:
            yield Outcome(item.path, "skipped")
            continue
        try:
            features = extract_video(item.path, extractor, on_clips)
            save(features, targets[item], layout)
        except (AnomalyError, OSError) as error:
            yield Outcome(item.path, "failed", str(error))
        else:
            status = "partial" if features.damage else "done"
            yield Outcome(item.path, status, features.warning, features.sound_missing)


def calibrate(paths: Sequence[Path], extractor: Extractor) -> str | None:
    """Ready an extractor that wants clips with the first ones of several of these videos.

    Returns a sentence on what came of it, or None where nothing was to be done. Videos that cannot
    be read are passed over.
    """
    if not extractor.wanted or not paths:
        return None
    each = -(-extractor.wanted // min(len(paths), SPREAD))
    clips: list[np.ndarray] = []
    for path in paths:
        with suppress(VideoError):
            video = Video(path, extractor.size, extractor.multiple)
            clips += islice(video.clips(), min(each, extractor.wanted - len(clips)))
        if len(clips) == extractor.wanted:
            break
    return extractor.calibrate(clips)


def extract_video(path: Path, extractor: Extractor, on_clips: OnClips | None = None) -> Features:
    """The features of one video. Raises VideoError where it has no readable frame."""
    calibrate([path], extractor)
    video = Video(path, extractor.size, extractor.multiple)
    n_clips = -(-video.n_declared // CLIP_LENGTH) if video.n_declared else None
    rows: list[np.ndarray] = []
    batch: list[np.ndarray] = []

    def flush() -> None:
        if batch:
            rows.append(extractor(batch))
            batch.clear()
            if on_clips:
                on_clips(path, sum(map(len, rows)), n_clips)

    for clip in video.clips():
        batch.append(clip)
        if len(batch) == BATCH:
            flush()
    flush()
    audio, sound = None, None
    if extractor.vggish:
        sound = Sound(path)
        audio = extract_sound(sound, video.clip_ends(), extractor.vggish)
    stat = path.stat()
    return Features(
        visual=np.concatenate(rows),
        audio=audio,
        kind=extractor.kind,
        n_frames=video.n_frames,
        fps=video.fps,
        times=video.frame_times(),
        source=path.name,
        source_bytes=stat.st_size,
        source_mtime=stat.st_mtime,
        precision=extractor.precision,
        crops=extractor.crops,
        sound_track=sound.track if sound else None,
        sound_missing=sound.missing if sound else None,
        damage=video.damage,
        lost=video.n_lost,
        tool=f"anomalycli {__version__}",
    )


def extract_sound(sound: Sound, ends: np.ndarray, vggish: VGGish) -> np.ndarray:
    """float32 (n_clips, 128): clip i has the window that ends with it, at `ends`[i] seconds; zeros without sound."""
    rows = []
    windows = sound.windows(ends - SECONDS, LENGTH)
    while some := list(islice(windows, SOUND_BATCH)):
        batch = np.stack(some)
        row = vggish(np.nan_to_num(batch)).cpu().numpy()
        row[np.isnan(batch).all(1)] = 0
        rows.append(row)
    return np.concatenate(rows)


def _is_done(item: Input, target: Path, extractor: Extractor) -> bool:
    """Whether the feature file is there, whole, and of this very video. UsageError if made otherwise."""
    if not target.exists():
        return False
    try:
        features = load_made(target)
    except FeatureError:
        return False
    if difference := features.kind.difference(extractor.kind):
        setting, before, now = difference
        raise UsageError(
            f"{target} was made with {setting} {before}, and this run has {now}: "
            "give --overwrite to make it again, or another --output."
        )
    if features.crops != extractor.crops:
        raise UsageError(
            f"{target} was made with the crops {features.crops}, and this run has {extractor.crops}: "
            "give --overwrite to make it again, or another --output."
        )
    if not item.path.exists():
        return False
    stat = item.path.stat()
    return (features.source_bytes, features.source_mtime) == (stat.st_size, stat.st_mtime)


def _carry_labels(paths: list[Path], inputs: list[Input], output: Path) -> None:
    labels: dict[str, int] = {}
    for folder in {path if path.is_dir() else path.parent for path in paths}:
        names = [item.name for item in inputs if item.path.is_relative_to(folder.absolute())]
        labels |= label_videos(names, folder)
    if labels:
        write_labels(output / FILE, labels)
