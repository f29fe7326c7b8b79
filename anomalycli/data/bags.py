"""Bags: features of a video in T segments, with one label."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import UsageError
from ..events import frame_edges
from ..features.files import FeatureKind, Features
from ..features.folder import FeatureFolder, find_features, load_all
from ..segments import pool
from ..wording import number_of, some
from . import CROP_POLICIES
from .datasets import DATASETS, published_lengths
from .labels import LABELS_FILE, EventLabel, label_videos

SLACK = 1.0  # seconds by which an event may end after its video, as rounded times do


@dataclass(frozen=True)
class Bags:
    """x: (N, C, T, D) segments, float32 where C = 1, float16 where all C crops are kept.

    labels: int64 (N,), 1 = abnormal. names: of the N videos. n_frames: int64 (N,). warnings: sentences
    about damaged videos. seen: number of crops per clip, averaged here or not. videos: the video that each bag is or
    is a part of; empty where each bag is a video. left_out: a sentence for each video whose features are damaged.
    """

    x: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    kind: FeatureKind
    n_frames: np.ndarray
    warnings: tuple[str, ...] = ()
    seen: int = 1
    videos: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __getitem__(self, chosen: np.ndarray) -> "Bags":
        names, videos = (tuple(np.array(part)[chosen]) if part else () for part in (self.names, self.videos))
        labels, n_frames = self.labels[chosen], self.n_frames[chosen]
        return replace(self, x=self.x[chosen], labels=labels, names=names, n_frames=n_frames, videos=videos)

    def grouped(self, groups: Mapping[str, str] | None) -> dict[str, str]:
        """Group by bag, from groups by video: parts of one video are never apart."""
        videos = dict(zip(self.names, self.videos or self.names, strict=True))
        return {name: (groups or {}).get(video, video) for name, video in videos.items()}

    @property
    def content(self) -> str:
        """How many videos, and events in them that are bags of their own, in words."""
        n_events = sum(name != video for name, video in zip(self.names, self.videos, strict=False))
        videos = number_of(len(self.names) - n_events, "video")
        return f"{videos} and {number_of(n_events, 'labelled event')}" if n_events else videos

    @property
    def is_constant(self) -> bool:
        """Whether all features are the same in all segments of all videos."""
        return all(np.ptp(part) == 0 for part in np.moveaxis(self.x, -1, 0))

    @property
    def dim(self) -> int:
        """D: width of the visual features, plus that of audio features if there are any."""
        return self.x.shape[3]

    @property
    def lengths(self) -> dict[str, int]:
        """Frames by video."""
        return dict(zip(self.names, self.n_frames.tolist(), strict=True))

    def fingerprint(self) -> str:
        """A hash of names, labels and features, equal for equal data."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        digest.update(self.labels.tobytes())
        digest.update(np.ascontiguousarray(self.x).data)
        return digest.hexdigest()


def load_bags(
    folder: str | Path | FeatureFolder,
    n_segments: int = 64,
    *,
    crops: str = "mean",
    labels: str | Path | None = None,
    events: bool = True,
    leave_out: bool = False,
) -> Bags:
    """All features of the folder, pooled to `n_segments`, with their labels.

    `labels` is a file like labels.csv, or of ground truth, to use instead of the labels in the folder.
    `crops`: "mean" averages them; "draw", "all" and "together" keep them, so that training picks a random one per
    batch, uses each as a video, or those of a video together.

    With `events`, parts of videos that are labelled by themselves are bags of their own, named VIDEO#START-END. Videos
    without a label are then left out, with a warning: who reviews a few events need not label all videos.

    Raises FeatureError if there are no files, DamagedError, which names all of them, if some are damaged and not to be
    left out (`leave_out`), UsageError if a label is missing, labels contradict each other or the files are of different
    kinds.
    """
    if not isinstance(folder, FeatureFolder):
        folder = FeatureFolder(Path(folder))
    if crops not in CROP_POLICIES:
        raise UsageError(f"Crops are {', '.join(CROP_POLICIES)}; not '{crops}'.")
    found = find_features(folder)
    names = tuple(source.name for source in found.sources)
    known, judged, warnings = _labels(names, folder.path, Path(labels) if labels else None, events)
    if folder.only is None:
        _check_split(folder.path, names)
    x, parts, seen = [], [], 1
    warnings = [*found.warnings, *warnings]
    left_out: list[str] = []
    for source, features in load_all(found.sources, left_out if leave_out else None):
        clips = features.joined()
        seen = max(seen, clips.shape[1])
        for part in _parts(source.name, features, known.get(source.name), judged.get(source.name, [])):
            if part.first < part.last:
                x.append(_segments(clips[part.first : part.last], n_segments, crops))
                parts.append(part)
            else:
                warnings.append(f"{part.name}: the video ends before this event begins.")
        warnings += _doubts(source.name, features, judged.get(source.name, []))
        warnings += [features.warning] if features.warning else []
    if not parts:
        raise UsageError(f"{folder.path}: no video and no event in one has a label.")
    return Bags(
        x=_stacked(x, folder.path),
        labels=np.array([part.label for part in parts]),
        names=tuple(part.name for part in parts),
        kind=features.kind,
        n_frames=np.array([part.n_frames for part in parts]),
        warnings=tuple(warnings),
        seen=seen,
        videos=tuple(part.video for part in parts),
        left_out=tuple(left_out),
    )


def _doubts(name: str, features: Features, events: list[EventLabel]) -> list[str]:
    """Sentences on events that end after the video, and on events with different labels that overlap."""
    duration = float(frame_edges(features.n_frames, features.fps, features.times)[-1])
    late = [event for event in events if event.start < duration < event.end - SLACK]
    found = [f"{name}#{event}: the video ends before this event does, at {duration:.1f} seconds." for event in late]
    for first, second in combinations(events, 2):
        if first.label != second.label and max(first.start, second.start) < min(first.end, second.end):
            found.append(f"{name}: the events {first} and {second} overlap, and one is labelled 0, the other 1.")
    return found


def _labels(
    names: tuple[str, ...], folder: Path, file: Path | None, events: bool
) -> tuple[dict[str, int], dict[str, list[EventLabel]], list[str]]:
    """Labels by video, those of events by video if `events`, and warnings. file: one of labels that was named.

    Raises UsageError where no event is labelled and a video has no label.
    """
    found = label_videos(names, folder, file, events)
    judged = found.events if events else {}
    missing = [name for name in names if name not in found.by_video and name not in judged]
    warnings = [found.warning] if found.warning else []
    if missing and not judged:
        table = file or folder / LABELS_FILE
        advice = (
            f"Add them to {table} (video,label; 1 = abnormal)."
            if table.exists()
            else f"Give {folder / LABELS_FILE} with the lines 'video,label' (1 = abnormal), or folders normal/ and "
            "abnormal/."
        )
        raise UsageError(" ".join([f"{folder}: no label for {some(missing)}. {advice}", *warnings]))
    if missing:
        warnings.append(f"{folder}: left out, without a label or a verdict: {some(missing)}.")
    return found.by_video, judged, warnings


@dataclass(frozen=True)
class _Part:
    """A video or an event in one: its clips [first, last), and its frames as far as features stand for them."""

    name: str
    video: str
    label: int
    first: int
    last: int
    n_frames: int


def _parts(name: str, features: Features, label: int | None, events: list[EventLabel]) -> list[_Part]:
    """The video, if it has a label, and each event in it that has one."""
    n_clips, length = len(features.visual), features.kind.clip_length
    parts = [] if label is None else [_Part(name, name, label, 0, n_clips, features.n_frames)]
    edges = frame_edges(features.n_frames, features.fps, features.times)
    for event in events:
        inside = event.start < edges[-1]
        first = int(np.searchsorted(edges, event.start, "right") - 1) // length if inside else n_clips
        last = min(n_clips, -(-int(np.searchsorted(edges, event.end)) // length))
        parts.append(_Part(f"{name}#{event}", name, event.label, first, last, max(0, last - first) * length))
    return parts


def _segments(clips: np.ndarray, n_segments: int, crops: str) -> np.ndarray:
    """(n_clips, C, D) -> (C, T, D); float16 where there are several crops."""
    segments = pool(clips.mean(1, keepdims=True) if crops == "mean" else clips, n_segments)  # (T, C, D)
    swapped = segments.swapaxes(0, 1)
    return swapped if len(swapped) == 1 else swapped.astype(np.float16)


def _stacked(videos: list[np.ndarray], folder: Path) -> np.ndarray:
    """Arrays (C, T, D) as (N, C, T, D). Raises UsageError where their numbers of crops differ."""
    if len({video.shape for video in videos}) > 1:
        raise UsageError(f"{folder}: its videos have different numbers of crops; average them (crops: mean).")
    return np.stack(videos)


def _check_split(folder: Path, names: tuple[str, ...]) -> None:
    """Raise UsageError if some of the videos belong to a published test set and others do not."""
    for dataset in DATASETS:
        test_set = published_lengths(dataset)
        inside = [name for name in names if PurePosixPath(name).name in test_set]
        if inside and len(inside) < len(names):
            other = next(iter(set(names) - set(inside)))
            raise UsageError(
                f"{folder}: {inside[0]} is of the test set of {dataset}, and {other} is not: name the folder of one "
                "split, or give a list of its videos."
            )
