"""AUC and AP of videos by their highest scores, within folds, with 95% intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000  # of videos, for the interval of AP


@dataclass(frozen=True)
class Estimate:
    """AUC and AP on held-out videos, within folds, each with its 95% interval.

    That of the AUC is by `auc_interval`, that of the AP a bootstrap over videos.
    """

    auc: float
    auc_interval: tuple[float, float]
    ap: float
    ap_interval: tuple[float, float]
    folds: int


def measure_videos(peaks: Sequence[np.ndarray], labels: Sequence[np.ndarray], seed: int = 0) -> Estimate:
    """AUC and AP with their intervals, from the highest scores and the labels of the videos of each fold, (n,)."""
    once = [np.ones((1, len(fold))) for fold in labels]
    auc, ap = (float(_within_folds(measure, peaks, labels, once)[0]) for measure in (_auc, _ap))
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(len(fold), np.full(len(fold), 1 / len(fold)), RESAMPLES) for fold in labels]
    low, high = np.percentile(_within_folds(_ap, peaks, labels, drawn), (2.5, 97.5))
    return Estimate(auc, auc_interval(auc, labels), ap, (float(low), float(high)), len(labels))


def auc_interval(auc: float, labels: Sequence[np.ndarray]) -> tuple[float, float]:
    """95% interval of an AUC within folds, from the labels of the videos of each.

    All values t with |auc - t| <= 1.96 deviations of an AUC of t by Hanley and McNeil's formula (Newcombe, Statistics
    in Medicine 25, 2006, method 5). Where all pairs are right, a bootstrap over few videos would find no doubt at all.
    """
    m, n = (np.array([(fold == label).sum() for fold in labels], float)[:, None] for label in (1, 0))
    t = np.linspace(0, 1, 10001)
    variance = t * (1 - t) / (m * n) * (1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t)))
    share = m * n / (m * n).sum()
    inside = t[np.abs(auc - t) <= 1.96 * np.sqrt((share**2 * variance).sum(0)) + 1e-4]
    return float(inside[0]), float(inside[-1])


def pair_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of the pairs of an abnormal and a normal video in which the abnormal one scores higher; ties are halves."""
    return float(_auc(scores, labels, np.ones((1, len(scores))))[0][0])


def _auc(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC with video i counted counts[b, i] times, and the number of pairs: (B,) each."""
    abnormal, normal = labels == 1, labels == 0
    gain = np.sign(scores[abnormal][:, None] - scores[normal][None])
    wins = (gain + 1) / 2
    pairs = counts[:, abnormal].sum(1) * counts[:, normal].sum(1)
    won = ((counts[:, abnormal] @ wins) * counts[:, normal]).sum(1)
    return np.divide(won, pairs, out=np.full(len(counts), 0.5), where=pairs > 0), pairs


def _ap(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision with video i counted counts[b, i] times, and its weight, the abnormal videos: (B,) each."""
    order = np.argsort(-scores, kind="stable")
    weights = counts[:, order].astype(float)
    positive = weights * (labels[order] == 1)
    found, all_ = positive.cumsum(1), weights.cumsum(1)
    precision = np.divide(found, all_, out=np.ones_like(found), where=all_ > 0)
    total = positive.sum(1)
    return np.divide((positive * precision).sum(1), total, out=np.zeros(len(counts)), where=total > 0), total


def _within_folds(
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    scores: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    counts: Sequence[np.ndarray],
) -> np.ndarray:
    """The mean over folds of a measure within each: scores of different networks are not compared. (B,)"""
    parts = [measure(*fold) for fold in zip(scores, labels, counts, strict=True)]
    values, weights = (np.array(part) for part in zip(*parts, strict=True))
    return np.average(values, axis=0, weights=np.maximum(weights, 1e-9))
