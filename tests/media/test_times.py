"""Frame times where the rate is variable, from the container to the events."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from helpers import write_video

from anomalycli.events import EventRule, find_events
from anomalycli.features.files import FeatureKind, Features, load_features
from anomalycli.media.video import Video


def test_variable_rate_is_seen_and_kept(tmp_path):
    stamps = [*range(0, 1000, 40), *range(1000, 5000, 200)]  # 25 frames/s, then 5
    video = Video(write_video(tmp_path / "vfr.mkv", stamps))
    assert sum(1 for _ in video.frames()) == len(stamps)
    times = video.frame_times()
    np.testing.assert_allclose(times, np.array(stamps) / 1000, atol=1e-9)

    kind = FeatureKind("mc3", "0" * 64, "whole frame", 128, 4)
    features = Features(np.zeros((3, 1, 4), np.float32), kind, len(stamps), video.fps, "vfr.mkv", times=times)
    features.save(tmp_path / "vfr.npz")
    np.testing.assert_array_equal(load_features(tmp_path / "vfr.npz").times, times)
    dataclasses.replace(features, times=None).save(tmp_path / "steady.npz")
    assert load_features(tmp_path / "steady.npz").times is None


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001)])
def test_steady_rate_needs_no_times(tmp_path, rate):
    stamps = [round(1000 * i / rate) for i in range(60)]  # Matroska rounds to milliseconds
    video = Video(write_video(tmp_path / "steady.mkv", stamps, rate))
    assert sum(1 for _ in video.frames()) == 60
    assert video.frame_times() is None


def test_events_are_merged_and_dropped_by_seconds_not_frames():
    scores = np.array([0, 0.9, 0.9, 0, 0.9, 0, 0], np.float32)
    times = np.array([0, 1, 2, 3, 3.1, 3.2, 4])
    rule = EventRule(gap=0.5, shortest=0.5)
    assert [(e.start, e.end) for e in find_events(scores, 1, rule, times)] == [(1, 5)]
    assert [(e.start, e.end) for e in find_events(scores, 1, rule)] == [(1, 3), (4, 5)]


def test_a_gap_of_exactly_the_rule_does_not_merge_at_any_rate():
    for fps in (10, 24000 / 1001, 25, 30):
        scores = np.zeros(200, np.float32)
        scores[10:40] = scores[40 + round(fps) : 150] = 1
        seconds = round(fps) / fps
        assert len(find_events(scores, fps, EventRule(gap=seconds, shortest=0))) == 2
        assert len(find_events(scores, fps, EventRule(gap=seconds + 0.01, shortest=0))) == 1
