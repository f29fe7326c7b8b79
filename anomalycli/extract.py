"""Video files in, feature files out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import __version__
from .backbones import Extractor
from .errors import AnomalyError, FeatureError, UsageError, VideoError
from .features import SUFFIX, Features, load_features
from .inputs import Input, find_inputs
from .labels import FILE, label_videos, write_labels
from .video import CLIP_LENGTH, SUFFIXES, Video

BATCH = 4  # clips that go through the network at once

OnClips = Callable[[Path, int, int | None], None]  # path, clips done, clips in all (None: not known)


@dataclass(frozen=True)
class Outcome:
    """What became of one input. status: done, skipped (was there already), partial (damaged), failed."""

    path: Path
    status: str
    reason: str | None = None


def extract(
    paths: Iterable[str | Path],
    output: str | Path,
    extractor: Extractor,
    *,
    overwrite: bool = False,
    on_clips: OnClips | None = None,
) -> Iterator[Outcome]:
    """Write OUTPUT/name.npz for each video in `paths` (files and folders), yielding each one's outcome.

    Labels that stand beside the videos are carried along as OUTPUT/labels.csv. A feature file of
    the same source and settings is kept.

    Raises VideoError where there is no video, and UsageError, before any work, where labels
    contradict each other or OUTPUT holds features made with other settings (unless `overwrite`).
    """
    paths, output = [Path(path) for path in paths], Path(output)
    inputs = find_inputs(paths, SUFFIXES)
    if not inputs:
        raise VideoError(f"{', '.join(map(str, paths))}: there is no video in it.")
    there = set() if overwrite else {item for item in inputs if _is_done(item, output, extractor)}
    _carry_labels(paths, inputs, output)
    for item in inputs:
        if item in there:
            yield Outcome(item.path, "skipped")
            continue
        try:
            features = extract_video(item.path, extractor, on_clips)
            features.save(_target(item, output))
        except (AnomalyError, OSError) as error:
            yield Outcome(item.path, "failed", str(error))
        else:
            yield Outcome(item.path, "partial" if features.damage else "done", features.warning)


def extract_video(path: Path, extractor: Extractor, on_clips: OnClips | None = None) -> Features:
    """The features of one video. Raises VideoError where it has no readable frame."""
    video = Video(path, extractor.size, extractor.multiple)
    n_clips = -(-video.n_declared // CLIP_LENGTH) if video.n_declared else None
    rows, batch = [], []

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
    stat = path.stat()
    return Features(
        visual=np.concatenate(rows),
        kind=extractor.kind,
        n_frames=video.n_frames,
        fps=video.fps,
        source=path.name,
        source_bytes=stat.st_size,
        source_mtime=stat.st_mtime,
        precision=extractor.precision,
        damage=video.damage,
        lost=video.n_lost,
        tool=f"anomalycli {__version__}",
    )


def _target(item: Input, output: Path) -> Path:
    return output / f"{item.name}{SUFFIX}"


def _is_done(item: Input, output: Path, extractor: Extractor) -> bool:
    """Whether the feature file is there, whole, and of this very video. UsageError if made otherwise."""
    target = _target(item, output)
    if not target.exists():
        return False
    try:
        features = load_features(target)
    except FeatureError:
        return False
    if difference := features.kind.difference(extractor.kind):
        setting, before, now = difference
        raise UsageError(
            f"{target} was made with {setting} {before}, and this run has {now}: "
            "give --overwrite to make it again, or another --output."
        )
    if not item.path.exists():
        return False
    stat = item.path.stat()
    return (features.source_bytes, features.source_mtime) == (stat.st_size, stat.st_mtime)


def _carry_labels(paths: list[Path], inputs: list[Input], output: Path) -> None:
    labels = {}
    for folder in {path if path.is_dir() else path.parent for path in paths}:
        names = [item.name for item in inputs if item.path.is_relative_to(folder.absolute())]
        labels |= label_videos(names, folder)
    if labels:
        write_labels(output / FILE, labels)
