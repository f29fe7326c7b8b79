"""How scores are brought together with ground truth: which frames a score stands for, and which videos count.

The published evaluations repeat the score of a clip or segment over its frames, and so does this. Interpolating
between the middles of segments, as `score` does for people, gives higher AP for the same scores.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ..data.bags import Bags, load_bags
from ..data.datasets import CLIP_LENGTH
from ..data.ground_truth import GroundTruth, GroundTruthFile
from ..errors import DamagedError, FeatureError, UsageError
from ..features.files import PUBLISHED, FeatureKind, Features
from ..features.folder import FeatureFolder, check_folder, find_features, load_all, load_whole
from ..features.layouts import load_array, split_name
from ..inputs import find_inputs
from ..matching import match_names
from ..segments import repeat, spread
from ..wording import some

TO_FRAMES = {"repeated": repeat, "interpolated": spread}  # how scores of segments become scores of frames


class SegmentScorer(Protocol):
    """What scores the features of one video: `anomalycli.Scorer`, for example."""

    def check_features(self, path: Path, features: Features) -> None:
        """Raises UsageError where the model does not know features of this kind."""

    def score_segments(self, features: Features, mode: str) -> tuple[np.ndarray, str]:
        """Scores of segments or clips, float32 (n,), and the mode that was used."""


@dataclass(frozen=True)
class Tolerance:
    """Frames by which the scores of a video may be longer or shorter than its ground truth; both are cut."""

    longer: int = 0
    shorter: int = 0


@dataclass(frozen=True)
class ScoredSet:
    """Scores of frames and their ground truth, of the same videos and lengths.

    n_videos: of the whole test set. total: what the number of frames is, where it is a published one. left_out: a
    sentence for each video whose features or scores are damaged.
    """

    scores: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    n_videos: int
    total: str | None = None
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationSet:
    """Bags that are scored and never trained on.

    truth: bool (n_frames,) by video, true where it is abnormal; None where only labels are known. to_frames: a name
    of TO_FRAMES. total and warnings: as of ScoredSet.
    """

    bags: Bags
    truth: Mapping[str, np.ndarray] | None = None
    to_frames: str = "repeated"
    total: str | None = None
    warnings: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """A hash of the ground truth: two sets with the same one ask for the same frames."""
        digest = hashlib.sha256()
        for name, frames in sorted((self.truth or {}).items()):
            digest.update(f"{name}\0{len(frames)}\0".encode(errors="surrogateescape"))
            digest.update(np.packbits(frames).data)
        return digest.hexdigest()

    def frame_scores(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of the frames that `truth` has, by video, from those of the segments (N, T)."""
        assert self.truth is not None
        kind = self.bags.kind
        videos = zip(self.bags.names, scores, self.bags.n_frames.tolist(), strict=True)
        return {
            name: TO_FRAMES[self.to_frames](video, n, kind.clip_length)[: len(self.truth[name])]
            for name, video, n in videos
        }


def evaluation_set(bags: Bags, truth: Mapping[str, np.ndarray] | None) -> EvaluationSet:
    """`bags` with the part of `truth`, by video, that they need. Raises UsageError where it does not fit them."""
    if truth is None:
        return EvaluationSet(bags)
    matches = match_names(truth, bags.names, "the ground truth")
    found = {name: truth[written] for written, name in matches.found.items()}
    if missing := [name for name in bags.names if name not in found]:
        raise UsageError(f"There are features of {some(missing)}, and no ground truth.")
    return EvaluationSet(bags, _cut(bags.lengths, found, tolerance_of(bags.kind, "csv")))


def load_evaluation_set(
    folder: FeatureFolder, n_segments: int, file: GroundTruthFile, to_frames: str = "repeated"
) -> EvaluationSet:
    """Test features with their ground truth, which gives the labels too; crops are kept.

    Raises UsageError where the two do not fit. Features that are damaged are left out where videos may be missing, and
    else raise DamagedError: without them it would be another test set.
    """
    labels = file.path if file.gives_labels else None
    with _naming_the_way_out(file):
        bags = load_bags(folder, n_segments, crops="all", labels=labels, events=False, leave_out=file.incomplete)
    truth = file.load(bags.lengths)
    frames = _cut(bags.lengths, truth.frames, tolerance_of(bags.kind, file.dataset, file.incomplete))
    return EvaluationSet(bags, frames, to_frames, truth.total, (*bags.warnings, *truth.warnings))


def score_folder(
    scorer: SegmentScorer,
    folder: FeatureFolder,
    file: GroundTruthFile,
    mode: str = "video",
    to_frames: str = "repeated",
) -> ScoredSet:
    """Score the features of a folder, and bring the scores together with their ground truth.

    Raises UsageError where the model does not know such features, or they do not fit the ground truth. Features that
    are damaged are left out where videos may be missing, and else raise DamagedError.
    """
    scores: dict[str, np.ndarray] = {}
    found, left_out = find_features(folder), list[str]()
    with _naming_the_way_out(file):
        for source, features in load_all(found.sources, left_out if file.incomplete else None):
            scorer.check_features(source.paths[0], features)
            segments, _ = scorer.score_segments(features, mode)
            scores[source.name] = TO_FRAMES[to_frames](segments, features.n_frames, features.kind.clip_length)
    truth = file.load({name: len(video) for name, video in scores.items()})
    tolerance = tolerance_of(features.kind, file.dataset, file.incomplete)
    return replace(_fitted(scores, truth, tolerance, found.warnings), left_out=tuple(left_out))


def read_scores(folder: Path, file: GroundTruthFile) -> ScoredSet:
    """Anyone's scores, one `NAME.npy` per video with a score for each clip of 16 frames or for each frame.

    Raises UsageError where the folder has none, and where they do not fit the ground truth; FeatureError where there is
    no such folder. Files that are damaged are left out where videos may be missing, and else raise DamagedError.
    """
    check_folder(folder, "scores: NAME.npy of each video")
    inputs = find_inputs([folder], {".npy"})
    if not inputs:
        raise UsageError(f"{folder}: there is no .npy file in it: save the scores of each video as NAME.npy.")
    sources, left_out = [_ScoreFile(split_name(Path(item.name))[0], item.path) for item in inputs], list[str]()
    with _naming_the_way_out(file):
        arrays = {source.name: array for source, array in load_whole(sources, left_out if file.incomplete else None)}
    lengths = file.lengths()
    if not lengths:
        raise UsageError(f"{file.path}: it does not say how long videos are, and scores do not either: give lengths.")
    matches = match_names(lengths, arrays, str(file.path))
    scores = {}
    for written, name in matches.found.items():
        length = lengths[written]
        whole = len(arrays[name]) * CLIP_LENGTH
        if abs(whole - length.n_frames) <= 2 * CLIP_LENGTH:
            scores[name] = repeat(arrays[name], whole)
        elif abs(len(arrays[name]) - length.n_frames) <= CLIP_LENGTH:
            scores[name] = arrays[name]
        else:
            raise UsageError(
                f"{folder}: {name} has {len(arrays[name])} scores, and its ground truth {length.n_frames} frames: "
                f"give one score per clip of {CLIP_LENGTH} frames ({-(-length.n_frames // CLIP_LENGTH)}) or per frame."
            )
    scores |= {name: array for name, array in arrays.items() if name not in scores}  # the ground truth refuses them
    truth = file.load({name: len(video) for name, video in scores.items()})
    kind = FeatureKind(PUBLISHED, "", "", 0, 0)
    return replace(_fitted(scores, truth, tolerance_of(kind, file.dataset, file.incomplete)), left_out=tuple(left_out))


@contextmanager
def _naming_the_way_out(file: GroundTruthFile) -> Iterator[None]:
    """Add to a DamagedError that the videos can be left out."""
    try:
        yield
    except DamagedError as error:
        if file.incomplete:
            raise
        it = "them" if error.each else "it"
        words = f"{error} To evaluate without {it}, which is on another test set, allow videos to be missing."
        raise DamagedError(words, error.each, "incomplete") from error


def tolerance_of(kind: FeatureKind, dataset: str, incomplete: bool = False) -> Tolerance:
    """How far features and ground truth may differ in length.

    Published features give their length in whole clips only: the last clip of a video is padded, or left out.
    Published ground truth ends with a whole clip, and must be met in full, unless videos may be missing as well.
    """
    if dataset != "csv":
        return Tolerance(2 * CLIP_LENGTH, CLIP_LENGTH if incomplete else 0)
    return Tolerance(CLIP_LENGTH, CLIP_LENGTH) if kind.backbone == PUBLISHED else Tolerance()


def _cut(lengths: Mapping[str, int], truth: Mapping[str, np.ndarray], tolerance: Tolerance) -> dict[str, np.ndarray]:
    """Ground truth that is nowhere longer than the features. Raises UsageError where the lengths do not fit."""
    for name, video in truth.items():
        if not -tolerance.shorter <= lengths[name] - len(video) <= tolerance.longer:
            raise UsageError(
                f"{name}: its features stand for {lengths[name]} frames, and its ground truth has {len(video)}."
            )
    return {name: video[: lengths[name]] for name, video in truth.items()}


def _fitted(
    scores: Mapping[str, np.ndarray], truth: GroundTruth, tolerance: Tolerance, warnings: tuple[str, ...] = ()
) -> ScoredSet:
    frames = _cut({name: len(video) for name, video in scores.items()}, truth.frames, tolerance)
    cut = {name: scores[name][: len(video)] for name, video in frames.items()}
    return ScoredSet(cut, frames, truth.n_videos, truth.total, (*warnings, *truth.warnings))


@dataclass(frozen=True)
class _ScoreFile:
    """A file with the scores of a video."""

    name: str
    path: Path

    def load(self) -> np.ndarray:
        """Float (n,). Raises FeatureError where the file does not hold one finite number per clip or frame."""
        array = load_array(self.path, np.float64)
        if array.ndim == 2 and 1 in array.shape:
            array = array.reshape(-1)
        if array.ndim != 1 or not len(array):
            raise FeatureError(
                f"{self.path}: an array of shape {array.shape} where (n,) belongs: one score per clip or frame."
            )
        return array
