"""How often normal footage raises events: counts by threshold, upper bounds, and the tail beyond the highest score."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import genpareto

from .alarm_bounds import Bounds, Parts, bounds
from .events import Event, EventRule, find_events, frame_edges

BLOCKS, SHORTEST_BLOCK = 20, 60.0  # at most how many parts of equal length, and at least how many seconds of each
MANY_VIDEOS = 5  # from which on whole videos are parts, too
SOME_EVENTS = 10  # from which on counts tell their own dispersion, and a tail can be fitted
TAIL_EVENTS = 30  # of the highest, to which the tail is fitted
HEAVIEST = 0.5  # largest shape of a tail
MARGIN = 0.01  # most by which a threshold above all scores is above the highest
GRID = 60  # thresholds between the score of the highest tenth of the time and the highest score
USUAL = 0.9  # share of the time below which scores are usual
GAP = 10.0  # seconds, and times the median, from which on the time to the next frame is a gap in the recording
CERTAIN = 1e-6  # scores are taken to be at least this far from 0 and 1


@dataclass(frozen=True)
class Footage:
    """Scores of a video that shows nothing abnormal.

    scores: float32 (n_frames,). times: of the frames, seconds (n_frames,), where the frame rate is variable, else None.
    """

    name: str
    scores: np.ndarray
    fps: float
    times: np.ndarray | None = None

    @cached_property
    def edges(self) -> np.ndarray:
        """When each frame begins, and the last one ends, in seconds: float64 (n_frames + 1,)."""
        return frame_edges(len(self.scores), self.fps, self.times)

    @cached_property
    def recorded(self) -> np.ndarray:
        """Seconds of footage before each frame, and in all, float64 (n_frames + 1,): `edges` without gaps."""
        if self.times is None:
            return self.edges
        lengths = np.diff(self.edges)
        usual = float(np.median(lengths))
        lengths[lengths > max(GAP, GAP * usual)] = usual
        return np.concatenate(([0.0], np.cumsum(lengths)))

    @property
    def hours(self) -> float:
        """Length, without gaps in the recording."""
        return float(self.recorded[-1]) / 3600

    @cached_property
    def highest(self) -> float:
        """The highest score."""
        return float(self.scores.max())

    @property
    def highest_at(self) -> float:
        """When it is reached, in seconds."""
        return float(self.edges[int(self.scores.argmax())])


@dataclass(frozen=True)
class Alarms:
    """Events of all footage at one start threshold: their scores, and the number of the block and the video of each.

    Blocks are of equal length, of all footage one after the other.
    """

    threshold: float
    peaks: np.ndarray
    blocks: np.ndarray
    videos: np.ndarray

    def __len__(self) -> int:
        return len(self.peaks)


class AlarmCounter:
    """Counts the events of footage at any start threshold; the end threshold keeps its ratio to the start of `rule`."""

    def __init__(self, footage: Sequence[Footage], rule: EventRule):
        self.footage, self.rule = footage, rule
        self.hours = sum(video.hours for video in footage)
        self._video_hours = np.array([video.hours for video in footage])
        self._begins = np.cumsum(self._video_hours) - self._video_hours
        self._n_blocks = max(1, min(BLOCKS, int(self.hours * 3600 / SHORTEST_BLOCK)))

    def rule_at(self, threshold: float) -> EventRule:
        """The rule with this start threshold."""
        ratio = self.rule.end_threshold / self.rule.start_threshold if self.rule.start_threshold else 0.0
        return replace(self.rule, start_threshold=threshold, end_threshold=threshold * ratio)

    def at(self, threshold: float) -> Alarms:
        """The events at this start threshold."""
        rule = self.rule_at(threshold)
        found = [
            (event.score, self._block(number, event), number)
            for number, video in enumerate(self.footage)
            if video.highest >= threshold
            for event in find_events(video.scores, video.fps, rule, video.times)
        ]
        peaks, blocks, videos = zip(*found, strict=True) if found else ((), (), ())
        return Alarms(threshold, np.array(peaks, float), np.array(blocks, int), np.array(videos, int))

    def divisions(self, alarms: Alarms) -> list[Parts]:
        """Events in blocks of time of several lengths, and in videos where there are enough of them."""
        counts = np.bincount(alarms.blocks, minlength=self._n_blocks)
        found = Parts(counts, np.full(self._n_blocks, self.hours / self._n_blocks)).with_longer()
        if len(self.footage) >= MANY_VIDEOS:
            found.append(Parts(np.bincount(alarms.videos, minlength=len(self.footage)), self._video_hours))
        return found

    def dispersions(self, alarms: Alarms) -> list[float]:
        """How many events come together, 1 or more, by each of the divisions."""
        return [parts.dispersion for parts in self.divisions(alarms)]

    def bounds(self, alarms: Alarms, least: Sequence[float] | None = None) -> Bounds:
        """Upper bounds of the rate and the number of such events, with dispersions of at least `least`."""
        return bounds(self.divisions(alarms), least)

    def _block(self, number: int, event: Event) -> int:
        """Of all footage one after the other, so that short files of a busy night share a block."""
        hours = self._begins[number] + self.footage[number].recorded[event.peak] / 3600
        return min(int(hours / self.hours * self._n_blocks), self._n_blocks - 1)


@dataclass(frozen=True)
class Tail:
    """A generalised Pareto distribution of the peaks above a level, on the logit of scores (peaks over threshold).

    level: the logit. rate: peaks above it per hour. scale, shape: of the distribution.
    """

    level: float
    rate: float
    scale: float
    shape: float

    def score(self, per_hour: float) -> float:
        """The score that peaks exceed this often."""
        ratio = self.rate / per_hour
        gain = np.log(ratio) if self.shape < 1e-6 else (ratio**self.shape - 1) / self.shape
        return float(expit(self.level + self.scale * gain))


def fit_tail(alarms: Alarms, hours: float) -> Tail | None:
    """The tail of the peaks of `alarms`, or None where they are too few or reach 1.

    Its shape is between 0 (exponential) and HEAVIEST: a bounded tail, which few peaks suggest by chance, would claim
    that higher scores are impossible.
    """
    peaks, level = _logit(alarms.peaks), float(_logit(alarms.threshold))
    excess = np.maximum(peaks - level, 0.0)
    if len(excess) < SOME_EVENTS or np.ptp(excess) == 0 or alarms.peaks.max() >= 1 - CERTAIN:
        return None
    shape, _, scale = genpareto.fit(excess, floc=0)
    if not 0 <= shape <= HEAVIEST:
        shape = min(max(shape, 0.0), HEAVIEST)
        scale = float(excess.mean()) if shape == 0 else genpareto.fit(excess, f0=shape, floc=0)[2]
    return Tail(level, len(excess) / hours, float(scale), float(shape))


class AlarmCurve:
    """Events by start threshold, from the highest score down to the highest tenth of all.

    highest: the highest score. levels: thresholds, falling. counts: events at each, never fewer than at a higher one.
    peaks: the different scores of these events, falling. tail: beyond the highest score, or None. clustering: how many
    events come together (the largest dispersion), by the events of the highest level with enough of them.
    """

    def __init__(self, counter: AlarmCounter):
        self.counter = counter
        scores = np.concatenate([video.scores for video in counter.footage])
        self.highest, usual = float(scores.max()), float(np.quantile(scores, USUAL))
        top, bottom = float(_logit(self.highest)), float(_logit(usual))
        self.levels = np.clip(expit(np.linspace(top, bottom, GRID)), 0.0, self.highest)
        self.levels[0] = self.highest
        self._every = every = [counter.at(float(level)) for level in self.levels]
        self.counts = np.maximum.accumulate([len(alarms) for alarms in every])
        self.peaks = np.unique(np.concatenate([alarms.peaks for alarms in every]))[::-1]
        most = max(every, key=len)
        self._highest_peaks = next((alarms for alarms in every if len(alarms) >= TAIL_EVENTS), most)
        self.tail = fit_tail(self._highest_peaks, counter.hours)
        self._dispersions = counter.dispersions(next((alarms for alarms in every if len(alarms) >= SOME_EVENTS), most))
        self.clustering = max(self._dispersions)

    def bounds(self, alarms: Alarms) -> Bounds:
        """Upper bounds of the rate and the number of such events."""
        return self.counter.bounds(alarms, self._dispersions)

    def bound(self, alarms: Alarms) -> float:
        """Upper bound of the rate of such events, per hour."""
        return self.bounds(alarms).rate

    def extrapolate(self, per_hour: float) -> float:
        """The score that events exceed this often, by the tail at the upper bound of its rate; 0 without a tail."""
        if self.tail is None:
            return 0.0
        return replace(self.tail, rate=self.bound(self._highest_peaks)).score(per_hour)

    def above_all(self) -> Alarms:
        """No event: those at a threshold just above the highest score. Those at 1 where it is 1."""
        return self.counter.at(min(1.0, self.highest + min((1 - self.highest) / 2, MARGIN)))

    def lowest(self, per_hour: float) -> Alarms | None:
        """The events at the lowest threshold whose upper bound, and that of all higher ones, is at most `per_hour`.

        None where it is more even above all scores. First the levels are tried, then the gaps between peaks below the
        last level that will do, so that hours of footage are not counted anew for each peak.
        """
        last = self.above_all()
        if self.bound(last) > per_hour:
            return None
        end = 0.0
        for alarms in self._every:
            if self.bound(alarms) > per_hour:
                end = alarms.threshold
                break
            last = alarms
        peaks = self.peaks[(self.peaks >= end) & (self.peaks < last.threshold)]
        for upper, peak in pairwise([last.threshold, *peaks]):
            alarms = self.counter.at((upper + peak) / 2)
            if self.bound(alarms) > per_hour:
                break
            last = alarms
        return last


def without_copies(footage: Sequence[Footage]) -> tuple[list[Footage], dict[str, str]]:
    """The footage without copies of other footage in it, and the original's name by the name of each copy.

    A copy has the same scores to the bit, which are not all equal.
    """
    first: dict[bytes, Footage] = {}
    kept, copies = [], {}
    for video in footage:
        original = first.setdefault(hashlib.sha256(video.scores.tobytes()).digest(), video)
        if original is video or np.ptp(video.scores) == 0:
            kept.append(video)
        else:
            copies[video.name] = original.name
    return kept, copies


def stand_out(footage: Sequence[Footage], most: int = 10) -> list[Footage]:
    """Videos whose highest score is far above that of the others, the highest first: perhaps they are not normal.

    Far: more than 3.5 robust deviations (of the median, on the logit of scores); none of fewer than MANY_VIDEOS.
    """
    if len(footage) < MANY_VIDEOS:
        return []
    peaks = _logit([video.highest for video in footage])
    deviation = max(1.4826 * float(np.median(np.abs(peaks - np.median(peaks)))), 0.3)
    far = [i for i in np.argsort(-peaks, kind="stable") if peaks[i] - np.median(peaks) > 3.5 * deviation]
    return [footage[i] for i in far[:most]]


def _logit(scores: ArrayLike) -> np.ndarray:
    """Logits of scores, finite at 0 and 1."""
    return logit(np.clip(scores, CERTAIN, 1 - CERTAIN))
