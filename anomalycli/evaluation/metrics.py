"""Frame-level metrics of anomaly scores, over all test frames together, as is usual in the field."""

import csv
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from ..errors import UsageError
from ..storage import atomic_write

ALARM = 0.5  # a frame with at least this score is an alarm
BINS = 2048  # bins for scores in the bootstrap; more bins change its intervals by less than 1e-3


@dataclass(frozen=True)
class Metrics:
    """Frame-level metrics. None if frames of one class or normal videos are missing.

    auc: area under the ROC curve. ap: `average_precision_score`. pr_auc: `auc(recall, precision)`, by trapezoids, which
    most papers print as AP. abnormal_...: over the frames of abnormal videos. false_alarms: share of the frames of
    normal videos that score at least ALARM.
    """

    auc: float | None
    ap: float | None
    pr_auc: float | None
    abnormal_auc: float | None
    abnormal_ap: float | None
    abnormal_pr_auc: float | None
    false_alarms: float | None


@dataclass(frozen=True)
class VideoMetrics:
    """One video: number of frames and of abnormal ones, metrics within the video, highest and mean score."""

    video: str
    n_frames: int
    abnormal_frames: int
    auc: float | None
    ap: float | None
    highest: float
    mean: float
    alarms: float  # share of its frames that score at least ALARM


@dataclass(frozen=True)
class Evaluation:
    """Metrics over all frames, their 95% intervals (low, high) over videos, and metrics of each video.

    roc: false and true positive rate; pr: recall and precision; float64 (n, 2) each.
    """

    metrics: Metrics
    intervals: dict[str, tuple[float, float]]
    videos: list[VideoMetrics]
    roc: np.ndarray
    pr: np.ndarray

    def as_dict(self) -> dict:
        """Metrics and intervals as a JSON object."""
        n_frames = sum(video.n_frames for video in self.videos)
        return {
            "videos": len(self.videos),
            "frames": n_frames,
            "metrics": dataclasses.asdict(self.metrics),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
        }


def evaluate(
    scores: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Evaluate scores (n_frames,) against ground truth, bool (n_frames,), by video.

    The intervals are percentiles of `resamples` bootstrap samples of videos.

    Raises UsageError if videos or lengths differ, a score is not finite, or all frames have the same class.
    """
    metrics = metrics_of(scores, truth)
    all_scores, all_truth = _joined(scores, truth, list(truth))
    each_score, each_truth, weights = _runs(all_scores, all_truth)
    precision, recall, _ = precision_recall_curve(each_truth, each_score, sample_weight=weights)
    return Evaluation(
        metrics,
        _bootstrap(scores, truth, resamples, seed) if resamples else {},
        [_of_video(name, scores[name], truth[name]) for name in truth],
        np.stack(roc_curve(each_truth, each_score, sample_weight=weights)[:2], 1),
        np.stack((recall, precision), 1),
    )


def metrics_of(scores: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> Metrics:
    """The metrics of `evaluate` over all frames, without intervals and single videos. Raises UsageError as it does."""
    for name in sorted(scores.keys() ^ truth.keys()):
        raise UsageError(f"{name}: it has scores or ground truth, but not both.")
    for name, video in truth.items():
        if len(scores[name]) != len(video):
            raise UsageError(f"{name}: {len(scores[name])} scores, but ground truth for {len(video)} frames.")
        if not np.isfinite(scores[name]).all():
            raise UsageError(f"{name}: some of its scores are not finite numbers.")
    names = list(truth)
    all_scores, all_truth = _joined(scores, truth, names)
    if all_truth.all() or not all_truth.any():
        raise UsageError("The ground truth has frames of one class only; metrics need normal and abnormal ones.")
    abnormal = [name for name in names if truth[name].any()]
    normal = [name for name in names if not truth[name].any()]
    quiet = np.concatenate([scores[name] for name in normal]) if normal else None
    return Metrics(
        *_metrics(all_scores, all_truth),
        *_metrics(*_joined(scores, truth, abnormal)),
        None if quiet is None else float((quiet >= ALARM).mean()),
    )


def _joined(scores: Mapping, truth: Mapping, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth of all frames of these videos."""
    joined_scores, joined_truth = (np.concatenate([part[name] for name in names]) for part in (scores, truth))
    return joined_scores, joined_truth.astype(bool)


def write_videos(videos: list[VideoMetrics], path: Path) -> None:
    """Write a table with one line per video."""
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(VideoMetrics)])
        writer.writeheader()
        for video in videos:
            row = dataclasses.asdict(video)
            writer.writerow({name: f"{x:.5f}" if isinstance(x, float) else x for name, x in row.items()})


def _metrics(scores: np.ndarray, truth: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """auc, ap and pr_auc."""
    if truth.all() or not truth.any():
        return None, None, None
    scores, truth, weights = _runs(scores, truth)
    precision, recall, _ = precision_recall_curve(truth, scores, sample_weight=weights)
    ap = average_precision_score(truth, scores, sample_weight=weights)
    area = roc_auc_score(truth, scores, sample_weight=weights)
    return float(area), float(ap), float(auc(recall, precision))


def _runs(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score and truth of each run of equal frames, and its length: scores of clips repeated over 16 frames are few."""
    starts = np.flatnonzero(np.r_[True, (scores[1:] != scores[:-1]) | (truth[1:] != truth[:-1])])
    return scores[starts], truth[starts], np.diff(np.r_[starts, len(scores)])


def _of_video(name: str, scores: np.ndarray, truth: np.ndarray) -> VideoMetrics:
    area, ap, _ = _metrics(scores, truth)
    return VideoMetrics(
        video=name,
        n_frames=len(truth),
        abnormal_frames=int(truth.sum()),
        auc=area,
        ap=ap,
        highest=float(scores.max()),
        mean=float(scores.mean()),
        alarms=float((scores >= ALARM).mean()),
    )


def _bootstrap(scores: Mapping, truth: Mapping, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """95% intervals of auc, ap and pr_auc."""
    values = resampled_metrics(scores, truth, samples_of_videos(truth, resamples, seed))
    intervals = {name: np.percentile(value, (2.5, 97.5)) for name, value in values.items()}
    return {name: (float(low), float(high)) for name, (low, high) in intervals.items()}


def samples_of_videos(truth: Mapping[str, np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """How often each bootstrap sample has each video: int (at most `resamples`, videos).

    Samples whose frames have one class only are left out.
    """
    samples = np.random.default_rng(seed).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), resamples)
    abnormal, normal = (np.array([(video == label).any() for video in truth.values()]) for label in (1, 0))
    return samples[samples[:, abnormal].any(1) & samples[:, normal].any(1)]


def resampled_metrics(
    scores: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], samples: np.ndarray
) -> dict[str, np.ndarray]:
    """auc, ap and pr_auc over all frames of each of `samples_of_videos`: float64 (samples,) each.

    Each video becomes a histogram of its scores, separately for abnormal and normal frames. A bootstrap sample is a sum
    of histograms, so a test set of millions of frames takes seconds.
    """
    edges = np.unique(np.quantile(np.concatenate(list(scores.values())), np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = np.zeros((2, len(truth), len(edges) + 1))
    for i, name in enumerate(truth):
        bins = np.searchsorted(edges, scores[name], side="right")
        for label in (0, 1):
            counts[label, i] = np.bincount(bins[truth[name] == label], minlength=len(edges) + 1)
    # (samples, bins), from the highest score down
    negative, positive = (np.cumsum((samples @ part)[:, ::-1], axis=1) for part in counts)
    start = np.zeros((len(positive), 1))
    recall = np.hstack((start, positive / positive[:, -1:]))
    false = np.hstack((start, negative / negative[:, -1:]))
    total = positive + negative
    precision = np.divide(positive, total, out=np.ones_like(total), where=total > 0)
    padded = np.hstack((start + 1, precision))
    steps = np.diff(recall, axis=1)
    return {
        "auc": (np.diff(false, axis=1) * (recall[:, 1:] + recall[:, :-1]) / 2).sum(1),
        "ap": (steps * precision).sum(1),
        "pr_auc": (steps * (padded[:, 1:] + padded[:, :-1]) / 2).sum(1),
    }
