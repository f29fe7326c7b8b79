import dataclasses

import numpy as np
import pytest

from anomalycli.events import Event, EventRule, find_events

RULE = EventRule(0.6, 0.4, gap=0.2, shortest=0.3)


def events(scores, fps=10, rule=RULE):
    return [(e.start, e.end) for e in find_events(np.asarray(scores, float), fps, rule)]


def test_an_event_begins_at_one_threshold_and_ends_at_the_other():
    assert events([0, 0.5, 0.7, 0.5, 0.5, 0.3]) == [(1, 5)]
    assert events([0, 0.5, 0.5, 0.5, 0.5, 0.3]) == []  # never reaches the first


def test_close_events_become_one_and_far_ones_do_not():
    event = [0.9] * 4
    assert events([*event, 0, *event]) == [(0, 9)]
    assert events([*event, 0, 0, *event]) == [(0, 4), (6, 10)]


def test_short_events_are_dropped_after_merging():
    assert events([0, 0.9, 0.9, 0]) == []
    assert events([0, 0.9, 0.9, 0, 0.9, 0.9, 0]) == [(1, 6)]
    assert events([0] * 4 + [0.9] * 3) == [(4, 7)]  # as floats, 0.7 - 0.4 is a little less than 0.3


def test_a_last_frame_of_variable_rate_lasts_as_long_as_the_mean_rate_says():
    times, scores = np.array([0.0, 1.0, 2.0]), np.array([0, 0, 0.9])
    assert [(e.start, e.end) for e in find_events(scores, 2.0, RULE, times)] == [(2, 3)]
    assert find_events(scores, 4.0, RULE, times) == []


def test_events_reach_to_the_first_and_the_last_frame_and_know_their_peak():
    (event,) = find_events(np.array([0.7, 0.8, 0.95, 0.7]), 10, RULE)
    assert event == Event(0, 4, 2, 0.95)


def test_nothing_and_everything():
    assert events([]) == []
    assert events([0.0] * 50) == []
    assert events([1.0] * 50) == [(0, 50)]


NAN = float("nan")


@pytest.mark.parametrize(
    "bad",
    [
        {"start_threshold": 0.2, "end_threshold": 0.5},
        {"start_threshold": 1.5},
        {"start_threshold": NAN},
        {"end_threshold": NAN},
        {"gap": -1},
        {"gap": NAN},
        {"shortest": -1},
        {"shortest": float("inf")},
    ],
)
def test_rules_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        EventRule(**bad)


def test_thresholds_by_their_former_names():
    rule = EventRule(start=0.7, end=0.4, gap=2)
    assert rule == EventRule(0.7, 0.4, 2) and (rule.start, rule.end) == (0.7, 0.4)
    assert dataclasses.replace(EventRule(0.7, 0.4), gap=3) == EventRule(0.7, 0.4, 3)


def test_a_lower_threshold_lowers_the_end_threshold_with_it():
    rule = EventRule(0.5, 0.3, 1, 2)
    assert rule.changed() == rule
    assert rule.changed(start_threshold=0.2) == EventRule(0.2, 0.2, 1, 2)
    assert rule.changed(start_threshold=0.8, gap=0) == EventRule(0.8, 0.3, 0, 2)
    with pytest.raises(ValueError, match="must be"):
        rule.changed(start_threshold=0.2, end_threshold=0.3)
