"""Feature files and their labels as bags: one video, T segments, one label."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import FeatureError, UsageError
from .features import SUFFIX, FeatureKind, Features, load_features
from .inputs import find_inputs
from .labels import FILE, label_videos
from .segments import pool


@dataclass(frozen=True)
class Bags:
    """x: float32 (N, T, D). labels: int64 (N,), 1 = abnormal. names: of the N videos."""

    x: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    kind: FeatureKind

    def __getitem__(self, chosen: np.ndarray) -> "Bags":
        return Bags(self.x[chosen], self.labels[chosen], tuple(np.array(self.names)[chosen]), self.kind)

    def fingerprint(self) -> str:
        """A hash of names, labels and features: two runs with the same one saw the same data."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        digest.update(self.labels.tobytes())
        digest.update(np.ascontiguousarray(self.x).data)
        return digest.hexdigest()


def load_bags(folder: str | Path, n_segments: int = 64) -> Bags:
    """All feature files below `folder`, pooled to `n_segments`, with their labels; crops are averaged.

    Raises FeatureError where a file is not whole or none is there, UsageError where a label is
    missing, labels contradict each other or the files are of different kinds.
    """
    folder = Path(folder)
    inputs = find_inputs([folder], {SUFFIX}) if folder.is_dir() else []
    if not inputs:
        raise FeatureError(f"{folder}: there is no feature file in it; `anomalycli extract` makes them.")
    labels = label_videos((item.name for item in inputs), folder)
    if missing := [item.name for item in inputs if item.name not in labels]:
        raise UsageError(
            f"{folder}: no label for {_some(missing)}. Give {folder / FILE} with the lines 'video,label' "
            "(1 = abnormal), or folders normal/ and abnormal/."
        )
    x: list[np.ndarray] = []
    first: tuple[Path, FeatureKind] | None = None
    for item in inputs:
        features = load_features(item.path)
        if first is None:
            first = item.path, features.kind
        if difference := first[1].difference(features.kind):
            setting, ours, theirs = difference
            raise UsageError(
                f"{first[0]} and {item.path} cannot be mixed: their {setting} is {ours} and {theirs}. "
                "Extract them with the same settings."
            )
        x.append(pool(joined(features).mean(1), n_segments))
    names = tuple(item.name for item in inputs)
    return Bags(np.stack(x), np.array([labels[name] for name in names]), names, features.kind)


def joined(features: Features) -> np.ndarray:
    """What enters the network, float32 (n_clips, n_crops, D): picture, and behind it sound, clip by clip."""
    if features.audio is None:
        return features.visual
    n_clips, n_crops, _ = features.visual.shape
    audio = np.broadcast_to(features.audio[:, None], (n_clips, n_crops, features.audio.shape[1]))
    return np.concatenate((features.visual, audio), axis=2)


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
