"""How scores are brought together with ground truth: which frames they stand for, and which videos count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..data.bags import Bags, load_bags
from ..data.datasets import CLIP_LENGTH
from ..data.ground_truth import GroundTruthFile
from ..errors import UsageError
from ..features.files import PUBLISHED, FeatureKind, Features
from ..features.folder import FeatureFolder, Source, load_all
from ..segments import spread


class FrameScorer(Protocol):
    """What scores the features of one video: `anomalycli.Scorer`, for example."""

    def check_features(self, path, features: Features) -> None:
        """Raises UsageError where the model does not know features of this kind."""

    def score_features(self, features: Features, mode: str) -> tuple[np.ndarray, str]:
        """Scores of the frames, float32 (n_frames,), and the mode that was used."""


@dataclass(frozen=True)
class EvaluationSet:
    """Bags that are scored and never trained on.

    truth: bool (n_frames,) by video, without folders, true where it is abnormal; None where only labels are known.
    slack: frames by which features may be longer than ground truth.
    """

    bags: Bags
    truth: Mapping[str, np.ndarray] | None = None
    slack: int = 0

    def frame_scores(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of the frames that `truth` has, by video, from those of the segments (N, T)."""
        assert self.truth is not None
        videos = zip(self.bags.stems, scores, self.bags.n_frames.tolist(), strict=True)
        clip_length = self.bags.kind.clip_length
        return fitted({name: spread(video, n, clip_length) for name, video, n in videos}, self.truth, self.slack)


def evaluation_set(bags: Bags, truth: Mapping[str, np.ndarray] | None, dataset: str = "csv") -> EvaluationSet:
    """`bags` with the part of `truth` that they need. Raises UsageError where it does not fit them."""
    if truth is None:
        return EvaluationSet(bags)
    if missing := sorted(set(bags.stems) - truth.keys()):
        raise UsageError(f"There are features of {missing[0]}, and no ground truth.")
    chosen = EvaluationSet(bags, {name: truth[name] for name in bags.stems}, slack_of(bags.kind, dataset))
    chosen.frame_scores(np.zeros((len(bags.names), 1)))
    return chosen


def load_evaluation_set(folder: FeatureFolder, n_segments: int, ground_truth: GroundTruthFile) -> EvaluationSet:
    """Test features with their ground truth, which gives the labels too; crops are kept.

    Raises UsageError where the two do not fit.
    """
    labels = ground_truth.path if ground_truth.tells_labels else None
    bags = load_bags(folder, n_segments, crops="all", labels=labels)
    lengths = dict(zip(bags.stems, bags.n_frames.tolist(), strict=True))
    truth = ground_truth.load(lengths)
    fitted({name: np.empty(n) for name, n in lengths.items()}, truth, slack_of(bags.kind, ground_truth.dataset))
    return evaluation_set(bags, truth, ground_truth.dataset)


def score_videos(
    scorer: FrameScorer, sources: list[Source], mode: str = "video"
) -> tuple[dict[str, np.ndarray], FeatureKind]:
    """Scores of all frames by video, and the kind of the features.

    Raises UsageError where the model does not know such features or two videos have one name.
    """
    scores: dict[str, np.ndarray] = {}
    for source, features in load_all(sources):
        scorer.check_features(source.paths[0], features)
        if source.stem in scores:
            raise UsageError(f"{source.paths[0]}: there are two videos of this name.")
        scores[source.stem], _ = scorer.score_features(features, mode)
    return scores, features.kind


def fitted(scores: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], slack: int = 0) -> dict[str, np.ndarray]:
    """Scores cut to the ground truth's lengths; `slack` is how many frames longer they may be.

    Raises UsageError that names the video and both lengths where they do not fit, or the videos that
    only one side has.
    """
    for here, there, sentence in (
        (truth, scores, "there is ground truth for {}, and no features"),
        (scores, truth, "there are features of {}, and no ground truth"),
    ):
        if missing := sorted(here.keys() - there.keys()):
            raise UsageError(f"{len(missing)} of {len(here)} videos do not fit: {sentence.format(missing[0])}.")
    for name, video in truth.items():
        if not 0 <= len(scores[name]) - len(video) <= slack:
            raise UsageError(
                f"{name}: its features stand for {len(scores[name])} frames, and its ground truth has {len(video)}."
            )
    return {name: scores[name][: len(video)] for name, video in truth.items()}


def slack_of(kind: FeatureKind, dataset: str) -> int:
    """Frames by which features may be longer than ground truth.

    Published features know their length in whole clips only, and published ground truth stops there.
    """
    return CLIP_LENGTH if kind.backbone == PUBLISHED or dataset != "csv" else 0
