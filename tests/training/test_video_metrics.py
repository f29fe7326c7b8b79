"""AUC and AP of videos within folds, and their intervals."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalycli.training import video_metrics


def test_auc_and_ap_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=30).round(1), rng.integers(0, 2, 30)
    assert video_metrics.pair_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    counts = rng.integers(0, 3, (5, 30))
    distinct = scores + np.arange(30) * 1e-6
    for measure, reference in ((video_metrics._auc, roc_auc_score), (video_metrics._ap, average_precision_score)):
        values, _ = measure(distinct, labels, counts)
        for value, count in zip(values, counts, strict=True):
            assert value == pytest.approx(reference(np.repeat(labels, count), np.repeat(distinct, count)))


def test_the_interval_of_the_auc_is_newcombe_s_and_has_room_where_all_pairs_are_right():
    two, many = [np.array([0, 1] * 5)] * 4, [np.array([0, 1] * 100)] * 4
    for auc, labels in ((0.85, two), (0.85, many), (0.5, two)):
        low, high = video_metrics.auc_interval(auc, labels)
        for end in (low, high):
            variance = end * (1 - end) / 25 * (1 + 4 * ((1 - end) / (2 - end) + end / (1 + end))) / 4
            if labels is two:
                assert abs(auc - end) == pytest.approx(1.96 * variance**0.5, abs=1e-3)
            else:
                assert abs(auc - end) < 0.03
    low, high = video_metrics.auc_interval(1.0, two)
    assert 0.75 < low < 0.9 and high == 1
    assert video_metrics.auc_interval(0.0, two)[0] == 0


def test_the_interval_of_the_ap_is_that_of_videos_drawn_again():
    rng = np.random.default_rng(0)
    few, many = ([rng.permutation(np.repeat([0, 1], n)) for _ in range(4)] for n in (5, 100))
    widths = []
    for labels in (few, many):
        peaks = [fold + rng.normal(size=len(fold)) for fold in labels]
        found = video_metrics.measure_videos(peaks, labels)
        low, high = found.ap_interval
        assert low < found.ap < high
        assert found.ap == pytest.approx(np.mean([average_precision_score(*both) for both in zip(labels, peaks)]))
        assert found.folds == 4
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]
