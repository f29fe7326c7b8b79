"""Bags: features of a video in T segments, with one label."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import UsageError
from ..features.files import FeatureKind
from ..features.folder import FeatureFolder, find_features, load_all
from ..matching import some
from ..segments import pool
from .datasets import DATASETS, published_lengths
from .labels import LABELS_FILE, label_videos

CROPS = ("mean", "draw", "all", "together")


@dataclass(frozen=True)
class Bags:
    """x: (N, C, T, D) segments, float32 where C = 1, float16 where all C crops are kept.

    labels: int64 (N,), 1 = abnormal. names: of the N videos. n_frames: int64 (N,). warnings: sentences
    about damaged videos. seen: number of crops per clip, averaged here or not.
    """

    x: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    kind: FeatureKind
    n_frames: np.ndarray
    warnings: tuple[str, ...] = ()
    seen: int = 1

    def __getitem__(self, chosen: np.ndarray) -> "Bags":
        names = tuple(np.array(self.names)[chosen])
        return replace(self, x=self.x[chosen], labels=self.labels[chosen], names=names, n_frames=self.n_frames[chosen])

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
) -> Bags:
    """All features of the folder, pooled to `n_segments`, with their labels.

    `labels` is a file like labels.csv, or of ground truth, to use instead of the labels in the folder.
    `crops`: "mean" averages them; "draw", "all" and "together" keep them, so that training picks a random one per
    batch, uses each as a video, or those of a video together.

    Raises FeatureError if there are no files or one is damaged, UsageError if a label is missing, labels contradict
    each other or the files are of different kinds.
    """
    if not isinstance(folder, FeatureFolder):
        folder = FeatureFolder(Path(folder))
    if crops not in CROPS:
        raise UsageError(f"Crops are {', '.join(CROPS)}; not '{crops}'.")
    features_found = find_features(folder)
    sources = features_found.sources
    names = tuple(source.name for source in sources)
    found = label_videos(names, folder.path, Path(labels) if labels else None)
    known = found.by_video
    if missing := [name for name in names if name not in known]:
        raise UsageError(
            f"{folder.path}: no label for {some(missing)}. Give {folder.path / LABELS_FILE} with the lines "
            "'video,label' (1 = abnormal), or folders normal/ and abnormal/."
        )
    if folder.only is None:
        _check_split(folder.path, names)
    x, n_frames, seen = [], [], set()
    warnings = [*features_found.warnings, *([found.warning] if found.warning else [])]
    for _, features in load_all(sources):
        clips = features.joined()
        seen.add(clips.shape[1])
        segments = pool(clips.mean(1, keepdims=True) if crops == "mean" else clips, n_segments)  # (T, C, D)
        x.append(segments.swapaxes(0, 1) if segments.shape[1] == 1 else segments.swapaxes(0, 1).astype(np.float16))
        n_frames.append(features.n_frames)
        warnings += [features.warning] if features.warning else []
    if len({video.shape for video in x}) > 1:
        raise UsageError(f"{folder.path}: its videos have different numbers of crops; average them (crops: mean).")
    y = np.array([known[name] for name in names])
    return Bags(np.stack(x), y, names, features.kind, np.array(n_frames), tuple(warnings), max(seen))


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
