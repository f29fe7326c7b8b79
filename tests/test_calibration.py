"""Thresholds set by normal footage, and what they may promise."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import genpareto, poisson

from anomalycli.alarm_bounds import Parts, bounds, most_events, rate_bound
from anomalycli.calibration import Frequency, ScoredBy, calibrate, choose, load
from anomalycli.errors import AnomalyError, UsageError
from anomalycli.events import EventRule, find_events
from anomalycli.false_alarms import HEAVIEST, AlarmCounter, AlarmCurve, Alarms, Footage, fit_tail, stand_out
from anomalycli.media.timecode import time_in_words

RULE = EventRule(0.5, 0.3)
BY = ScoredBy("f" * 64, "lite")
UNUSABLE_RATES = (0.0, -1.0, float("nan"), float("inf"), 1e-300, 5e-324)


def footage(hours=2.0, videos=4, seed=0, bumps=30, name="normal") -> list[Footage]:
    """Quiet footage at one frame per second, with `bumps` short peaks per hour of random height."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(videos):
        n = int(hours * 3600 / videos)
        scores = rng.uniform(0.05, 0.1, n)
        for at in rng.integers(0, n - 5, rng.poisson(bumps * hours / videos)):
            scores[at : at + 3] = np.maximum(scores[at : at + 3], 1 / (1 + np.exp(3 - rng.exponential(1.0))))
        made.append(Footage(f"{name}{number}", scores.astype(np.float32), 1.0))
    return made


def constant(score: float, hours: float = 1.0) -> Footage:
    return Footage("one", np.full(int(hours * 3600), score, np.float32), 1.0)


@pytest.mark.parametrize(("events", "hours"), [(0, 6.0), (3, 6.0), (40, 100.0)])
def test_the_bound_is_the_rate_at_which_so_few_events_have_five_percent(events, hours):
    assert poisson.cdf(events, rate_bound(events, hours) * hours) == pytest.approx(0.05)


def test_three_hours_without_an_event_promise_one_per_hour():
    assert rate_bound(0, 3.0) == pytest.approx(1.0, abs=0.002)


def test_events_that_come_together_count_as_one():
    assert rate_bound(12, 6.0, dispersion=4.0) == pytest.approx(4 * rate_bound(3, 6.0))
    assert rate_bound(0, 6.0, dispersion=4.0) == pytest.approx(4 * rate_bound(0, 6.0))
    assert rate_bound(12, 6.0, 4.0, n_parts=5) > rate_bound(12, 6.0, 4.0, n_parts=20) > rate_bound(12, 6.0, 4.0)
    quiet = np.full(3600, 0.1, np.float32)
    busy = quiet.copy()
    for at in range(100, 400, 20):
        busy[at] = 0.9
    counter = AlarmCounter([Footage("a", busy, 1.0), *(Footage(name, quiet, 1.0) for name in "bcde")], RULE)
    alarms = counter.at(0.5)
    assert len(alarms) == 15
    assert max(counter.dispersions(alarms)) == pytest.approx(15)  # all in one of the five videos: one episode
    assert counter.bounds(alarms).rate >= 15 * rate_bound(1, 5.0)
    apart = quiet.copy()
    apart[100::1200] = 0.9
    spread = AlarmCounter([Footage(name, apart, 1.0) for name in "abcde"], RULE)
    assert len(spread.at(0.5)) == 15
    assert spread.dispersions(spread.at(0.5)) == [1.0] * 4
    assert spread.bounds(spread.at(0.5)).rate == pytest.approx(rate_bound(15, 5.0))


def test_blocks_of_several_lengths_show_busy_times_of_several_lengths():
    minutes, hours = np.tile([0, 4], 10), np.repeat([0, 4], 10)
    dispersion = {}
    for name, counts in (("minutes", minutes), ("hours", hours)):
        divisions = Parts(counts, np.full(20, 1.0)).with_longer()
        assert [len(parts.counts) for parts in divisions] == [20, 10, 5]
        assert [parts.counts.sum() for parts in divisions] == [40] * 3
        assert [parts.hours.sum() for parts in divisions] == [20] * 3
        dispersion[name] = [round(parts.dispersion, 1) for parts in divisions]
    assert dispersion == {"minutes": [2.1, 1.0, 1.0], "hours": [2.1, 4.4, 8.0]}
    assert [len(parts.counts) for parts in Parts(np.ones(13), np.ones(13)).with_longer()] == [13, 6]
    assert [parts.hours.tolist() for parts in Parts(np.ones(11), np.ones(11)).with_longer()][1] == [2, 2, 2, 2, 3]


def test_events_of_too_few_parts_count_as_one_group():
    few = Parts(np.array([3, 3, 3]), np.ones(3))
    assert bounds([few]).rate == pytest.approx(rate_bound(9, 3.0, dispersion=9.0))


@pytest.mark.parametrize("mean", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("together", [1, 3])
def test_new_footage_has_no_more_events_than_the_limit_in_95_of_100_cases(mean, together):
    """Groups of `together` events; all numbers of groups before and after, weighted by their probability."""
    numbers = np.arange(100)
    weights = poisson.pmf(numbers, mean / together)
    limits = np.array([most_events(together * n, float(together)) for n in numbers])
    kept = (together * numbers <= limits[:, None]).astype(float)
    assert weights @ kept @ weights >= 0.95
    assert mean < 20 or weights @ kept @ weights < 0.98


@pytest.mark.parametrize("videos", [1, 120])
@pytest.mark.parametrize("hours", [2, 6])
def test_busy_hours_do_not_break_the_bound(videos, hours):
    """Rates of 0, 1 and 2 per hour, for some hours at a time: half of all bounds for independent events are below 1."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(100):
        per_minute = np.repeat(rng.integers(0, 3, 120 // hours), 60 * hours) / 60
        scores = np.where(rng.random(7200) < per_minute, 0.9, 0.1).astype(np.float32)
        counter = AlarmCounter(
            [Footage(str(i), part, 1 / 60) for i, part in enumerate(np.split(scores, videos))],
            EventRule(0.5, 0.3, gap=0, shortest=0),
        )
        held.append(counter.bounds(counter.at(0.5)).rate >= 1.0)
    assert np.mean(held) >= 0.95


def test_the_rule_of_a_calibration_finds_as_many_events_as_it_says_and_no_more_than_were_asked_for():
    normal = footage(hours=20, videos=10)
    made = calibrate(normal, 1.0, RULE, BY)
    found = sum(len(find_events(video.scores, video.fps, made.rule)) for video in normal)
    assert found == made.events > 0
    assert made.is_promised and made.rate_bound <= 1.0 and not made.extrapolated
    assert made.rule.end_threshold / made.rule.start_threshold == pytest.approx(0.6)
    lower = dataclasses.replace(made.rule, start_threshold=0.5 * made.rule.start_threshold, end_threshold=0.15)
    assert sum(len(find_events(video.scores, video.fps, lower)) for video in normal) > 20


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_new_footage_of_the_scene_has_no_more_events_than_promised(seed):
    new = AlarmCounter(footage(60, 6, seed=100 + seed), RULE)
    threshold = calibrate(footage(12, 3, seed), 1.0, RULE, BY).rule.start_threshold
    assert 0 < len(new.at(threshold)) / 60 <= 1.0


def test_the_threshold_is_the_lowest_that_can_be_promised():
    normal = footage(hours=20, videos=10)
    made = calibrate(normal, 1.0, RULE, BY)
    curve = AlarmCurve(AlarmCounter(normal, RULE))
    highest_below = max(peak for peak in curve.peaks if peak < made.rule.start_threshold)
    assert curve.bound(curve.counter.at(float(highest_below))) > 1.0


def test_events_that_come_together_at_lower_thresholds_are_taken_to_do_so_at_higher_ones():
    """Groups of ten events in five of twenty hours, one of each group higher than the others."""
    scores = np.full(20 * 3600, 0.1, np.float32)
    for hour in range(0, 20, 4):
        scores[3600 * hour + 60 : 3600 * hour + 660 : 60] = 0.6
        scores[3600 * hour + 60] = 0.9
    counter = AlarmCounter([Footage("gate", scores, 1.0)], dataclasses.replace(RULE, shortest=0))
    curve, high = AlarmCurve(counter), counter.at(0.8)
    assert len(high) == 5 and counter.dispersions(high)[0] == 1
    assert curve.clustering > 5
    assert curve.bound(high) == counter.bounds(high, curve.counter.dispersions(counter.at(0.5))).rate
    assert curve.bound(high) > 2 * counter.bounds(high).rate


def test_too_little_footage_extrapolates_and_says_what_it_would_need():
    made = calibrate(footage(hours=2), 0.1, RULE, BY)
    assert made.extrapolated and not made.is_promised and made.events == 0
    assert made.rate_bound == pytest.approx(3 / 2 * made.clustering, rel=0.01)
    assert made.hours_needed == pytest.approx(30 * made.clustering, rel=0.01)
    highest = max(video.highest for video in footage(hours=2))
    assert highest < made.rule.start_threshold < 1


def test_thresholds_are_extrapolated_by_the_bound_of_the_rate_of_high_peaks_not_by_their_own_rate():
    curve = AlarmCurve(AlarmCounter(footage(hours=2), RULE))
    assert curve.tail is not None
    assert curve.extrapolate(0.1) > curve.tail.score(0.1)


def test_without_a_tail_events_begin_just_above_the_highest_score():
    scores = np.linspace(0.1, 0.3, 3600, dtype=np.float32)  # a single peak, at the end
    made = calibrate([Footage("a", scores, 1.0)], 0.1, RULE, BY)
    assert made.extrapolated and made.rule.start_threshold == pytest.approx(0.31)


def test_scores_have_a_frequency_that_falls_with_their_height():
    normal = footage(hours=20, videos=10, bumps=10)
    made = calibrate(normal, 0.1, RULE, BY)
    hours = [made.once_in(score) for score in np.linspace(0.1, 0.99, 50)]
    assert all(earlier.hours <= later.hours for earlier, later in itertools.pairwise(hours))
    score = sorted(video.highest for video in normal)[-5]  # reached by 5 of 10 videos at least
    assert 20 / 15 < made.once_in(score).hours <= 20 / 5
    assert not made.once_in(score).extrapolated
    beyond = made.once_in(1.0)
    assert beyond.extrapolated and 100 < beyond.hours <= 200 and beyond.bound == "at-most"  # ten times the footage
    rare = calibrate(normal, 0.001, RULE, BY).once_in(1.0)
    assert 800 < rare.hours <= 1000 and rare.bound == "at-most"  # nearly as far as the rate that was asked for
    assert str(made.once_in(0.01)) == "usual"


def test_the_tail_is_fitted_to_exponential_peaks():
    rng = np.random.default_rng(0)
    logits = 1.0 + rng.exponential(0.5, 400)
    peaks = 1 / (1 + np.exp(-logits))
    tail = fit_tail(Alarms(1 / (1 + np.exp(-1.0)), peaks, np.zeros(400, int), np.zeros(400, int)), hours=100.0)
    assert tail and tail.rate == 4.0
    expected = 1 + 0.5 * np.log(400)  # once in 100 hours
    assert np.log(tail.score(0.01) / (1 - tail.score(0.01))) == pytest.approx(expected, abs=0.8)


@pytest.mark.parametrize(("shape", "fitted"), [(-0.9, 0.0), (2.0, HEAVIEST)])
def test_the_tail_is_neither_bounded_nor_heavier_than_scores_can_be(shape, fitted):
    peaks = expit(1 + genpareto.rvs(shape, scale=0.3, size=200, random_state=0))
    tail = fit_tail(Alarms(float(expit(1.0)), np.minimum(peaks, 0.9999), np.zeros(200, int), np.zeros(200, int)), 100.0)
    assert tail and tail.shape == fitted


def test_abnormal_videos_in_the_footage_stand_out():
    normal = footage(hours=4, videos=12, bumps=0)
    abnormal = Footage("theft", np.concatenate((np.full(600, 0.1), np.full(20, 0.99))).astype(np.float32), 1.0)
    assert [video.name for video in stand_out([*normal, abnormal])] == ["theft"]
    assert abnormal.highest_at == 600
    assert stand_out(normal) == []
    usual = [dataclasses.replace(video, scores=video.scores + 0.02 * i) for i, video in enumerate(normal)]
    assert stand_out(usual) == []  # one is the highest of any footage


@pytest.mark.parametrize(
    ("normal", "target", "sentence"),
    [
        ([constant(0.3)], 1.0, "All scores of this footage are 0.300"),
        ([constant(1.0)], 1.0, "All scores of this footage are 1.000"),
        ([Footage("short", np.linspace(0, 0.5, 30, dtype=np.float32), 1.0)], 0.1, "30 seconds .* 30 hours without"),
        *(([constant(0.3)], rate, "at least 0.000001 per hour, which is one in 114 years") for rate in UNUSABLE_RATES),
    ],
)
def test_footage_that_says_nothing_is_refused(normal, target, sentence):
    with pytest.raises(UsageError, match=sentence):
        calibrate(normal, target, RULE, BY)


def test_normal_footage_at_the_highest_score_is_refused():
    scores = np.full(7200, 0.1, np.float32)
    scores[::600] = 1.0
    with pytest.raises(AnomalyError, match=r"12 events with the highest possible score, 1, in 2 hours"):
        calibrate([Footage("saturated", scores, 1.0)], 0.1, EventRule(0.5, 0.3, shortest=0), BY)
    scores[600::600] = 0.1
    with pytest.raises(AnomalyError, match=r"1 event with the highest possible score"):
        calibrate([Footage("saturated", scores, 1.0)], 0.1, EventRule(0.5, 0.3, shortest=0), BY)


def test_gaps_in_a_recording_are_no_footage():
    times = np.arange(7200.0)
    times[3600:] += 1e6  # the camera was off for twelve days
    scores = np.random.default_rng(0).uniform(0.1, 0.2, 7200).astype(np.float32)
    with_gap, without = (Footage("a", scores, 1.0, given) for given in (times, None))
    assert with_gap.hours == without.hours == 2
    assert calibrate([with_gap], 0.1, RULE, BY).rate_bound == calibrate([without], 0.1, RULE, BY).rate_bound
    slow = Footage("one picture every 20 seconds", scores[:180], 0.05, np.arange(180) * 20.0)
    assert slow.hours == 1


def test_one_video_is_enough():
    made = calibrate(footage(hours=12, videos=1), 1.0, RULE, BY)
    assert made.videos == 1 and made.is_promised


def test_a_calibration_is_read_as_it_was_written(tmp_path):
    made = dataclasses.replace(calibrate(footage(), 0.1, RULE, BY), pattern="gate/*")
    made.save(tmp_path / "gate.calibration.json")
    read = load(tmp_path / "gate.calibration.json")
    assert read == made and read.source == tmp_path / "gate.calibration.json"
    content = json.loads((tmp_path / "gate.calibration.json").read_text())
    del content["new_events"]  # as written before there was one
    (tmp_path / "former.json").write_text(json.dumps(content))
    assert load(tmp_path / "former.json") == dataclasses.replace(made, new_events=None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"anomalycli": "report"}, "something else"),
        ({"version": 99, "tool": "anomalycli 9"}, "written by a newer version, anomalycli 9. Update"),
        ({"version": "1"}, "its 'version' is '1'"),
        ({"version": True}, "its 'version' is 'True'"),
        ({"hours": -1}, "'hours' is '-1'"),
        ({"hours": 0}, "'hours' is '0'"),
        ({"rule": {"start_threshold": "high"}}, "its 'rule'"),
        (
            {"rule": {"start_threshold": 2.0, "end_threshold": 1.0, "gap": 1.0, "shortest": 0.5}},
            "0 <= end <= start <= 1",
        ),
        ({"rule": {}}, "its 'rule' is '{}'"),
        ({"scored_by": {}}, "its 'scored_by' is '{}'"),
        ({"reached": [[1]]}, "its 'reached'"),
        ({"reached": [[0.5, 0]]}, "its 'reached'"),
        ({"reached": [[0.2, 1], [0.1, 2]]}, "its 'reached'"),
        ({"reached": [[0.1, 2], [0.2, 1]]}, "its 'reached'"),
        ({"pattern": "."}, "its 'pattern' is '.'"),
        ({"new_events": -1}, "its 'new_events' is '-1'"),
        ({"surprise": 1}, "'surprise' is unknown"),
        ({"hours": None}, "its 'hours' is missing"),
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path, change, sentence):
    path = tmp_path / "gate.calibration.json"
    calibrate(footage(), 0.1, RULE, BY).save(path)
    content = json.loads(path.read_text()) | change
    path.write_text(
        json.dumps({name: value for name, value in content.items() if value is not None or name == "pattern"})
    )
    with pytest.raises(UsageError, match=sentence):
        load(path)


def test_what_is_no_json_and_what_is_not_there_is_refused(tmp_path):
    for content, sentence in (
        (b"", "not a calibration .damaged JSON in line 1"),
        (b"{\n1", "not a calibration .damaged JSON in line 2"),
        (b"\x80", "line 1: not UTF-8"),
        (b"[]", "not a calibration .it is something else"),
    ):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(UsageError, match=sentence):
            load(tmp_path / "a.json")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "b.json")


def test_a_calibration_fits_its_model_backbone_and_mode_alone():
    made = calibrate(footage(), 0.1, RULE, BY)
    made.check(BY)
    for other, sentence in (
        (ScoredBy("0" * 64, "lite"), "another model"),
        (ScoredBy("f" * 64, "mc3"), "features of lite, and this model is for those of mc3"),
        (ScoredBy("f" * 64, "lite", "window"), "scoring mode auto, and this one is window"),
    ):
        with pytest.raises(UsageError, match=sentence):
            made.check(other)


def test_each_scene_has_its_own_calibration(tmp_path):
    made = calibrate(footage(), 0.1, RULE, BY)
    gate, door, rest = (dataclasses.replace(made, pattern=pattern) for pattern in ("gate/*", "door*", None))
    assert choose([gate, door, rest], tmp_path / "gate" / "monday.mp4") is gate
    assert choose([gate, door, rest], tmp_path / "door7.mp4") is door
    assert choose([gate, door, rest], tmp_path / "yard.mp4") is rest
    assert choose([gate, door], tmp_path / "yard.mp4") is None


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (1 / 3600, "1 second"),
        (0.004, "14 seconds"),
        (0.2, "12 minutes"),
        (2.5, "2.5 hours"),
        (47, "47 hours"),
        (240, "10 days"),
        (9 * 8766, "9 years"),
        (1e5 * 8766, "more than 1,000 years"),
        (1e300, "more than 1,000 years"),
    ],
)
def test_hours_in_words(hours, words):
    assert time_in_words(hours) == words
    assert str(Frequency(hours)) == f"once in {words}"
