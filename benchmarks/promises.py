"""How often calibrations keep what they promise, in simulated footage whose true rate of events is known.

    python benchmarks/promises.py

Scores are simulated as real ones behave: on the logit scale, noise that lasts 10 seconds, an activity of the scene that
lasts minutes or hours, and a level of each camera. Each of `--runs` independent footages is calibrated as `calibrate`
does it, threshold and all; the true rate of events at that threshold is counted in `--reference` hours of the same
kind. One row per kind and target (events expected in as many hours):

- promised: runs whose footage suffices for the promise.
- rate within the target: of those, in which the true rate is not above the target: 95% is claimed.
- rate within the bound: runs in which the true rate is not above the stated bound.
- new within the bound: runs in which the rate that is observed in new footage of equal length is not above the bound.
  This is not claimed: a short piece of footage is above its own true rate half of the time.
- new within the limit: runs in which the number of events in that footage is within the stated limit: 95% is claimed.

With `--halves`, one set of videos is divided at random into halves, `--splits` times, as benchmarks/calibration.py does
with real videos, for each of `--sets` sets: the share of halves within the bound and the limit, its mean and range (5%
to 95%) over sets.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit

from anomalycli.calibration import ScoredBy, calibrate
from anomalycli.errors import AnomalyError
from anomalycli.events import EventRule
from anomalycli.false_alarms import AlarmCounter, Footage

SECONDS = 5.0  # per frame
RULE = EventRule(0.5, 0.3)
BY = ScoredBy("simulated", "none")

COLUMNS = ("promised", "rate within the target", "rate within the bound", "new within the bound",
           "new within the limit", "median of bound / rate")  # fmt: skip
COLUMNS_OF_HALVES = ("halves within the bound", "halves within the limit")


@dataclass(frozen=True)
class Kind:
    """Footage: its hours, in so many videos; deviation of the activity, which lasts so many hours, and of cameras."""

    name: str
    hours: float
    videos: int
    activity: float = 0.0
    lasting: float = 1.0
    cameras: float = 0.0


KINDS = (
    Kind("one camera, noise alone", 24, 24),
    Kind("one camera, activity lasts 10 minutes", 24, 24, 0.5, 1 / 6),
    Kind("one camera, activity lasts 2 hours", 24, 24, 0.5, 2),
    Kind("one camera, activity lasts 2 hours", 120, 24, 0.5, 2),
    Kind("50 cameras, 2 minutes each", 1.7, 50, cameras=0.7),
    Kind("50 cameras, 30 minutes each", 25, 50, cameras=0.7),
)


def correlated(n, frames, rng, size=1):
    """Normal noise (size, n) of deviation 1 whose correlation falls to 1 / e in so many frames."""
    keep = np.exp(-1 / frames)
    steps = rng.normal(size=(size, n)) * np.sqrt(1 - keep**2)
    steps[:, 0] = rng.normal(size=size)
    return lfilter([1], [1, -keep], steps)


def simulate(kind, times, rng):
    """Footage of this kind, `times` as long."""
    videos, n = max(1, round(kind.videos * times)), round(kind.hours * 3600 / SECONDS / kind.videos)
    scores = correlated(n, 2, rng, videos) - 4 + kind.cameras * rng.normal(size=(videos, 1))
    if kind.activity:
        scores += kind.activity * correlated(videos * n, kind.lasting * 3600 / SECONDS, rng).reshape(videos, n)
    return [Footage(str(i), part, 1 / SECONDS) for i, part in enumerate(expit(scores).astype(np.float32))]


class Truth:
    """The true rate of events per hour at any start threshold."""

    def __init__(self, kind, hours):
        counter = AlarmCounter(simulate(kind, hours / kind.hours, np.random.default_rng(12345)), RULE)
        self.levels = np.linspace(-4, 6, 101)
        rates = [len(counter.at(float(expit(level)))) / counter.hours for level in self.levels]
        self.rates = np.maximum.accumulate(rates[::-1])[::-1]

    def at(self, threshold):
        return np.interp(np.log(threshold / max(1 - threshold, 1e-12)), self.levels, self.rates)


def runs_of(kind, target, truth, n_runs):
    found = []
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        made = calibrate(simulate(kind, 1, rng), target, RULE, BY)
        rate = truth.at(made.rule.start_threshold)
        new = len(AlarmCounter(simulate(kind, 1, rng), RULE).at(made.rule.start_threshold))
        promised = not made.extrapolated
        found.append((promised, rate <= target, rate <= made.rate_bound, new / kind.hours <= made.rate_bound,
                      new <= made.new_events, made.rate_bound / rate if rate else np.inf))  # fmt: skip
    found = np.array(found, float)
    promised = found[:, 0] == 1
    kept = f"{found[promised, 1].mean():.0%}" if promised.any() else "-"
    return [f"{promised.mean():.0%}", kept, *(f"{share:.0%}" for share in found[:, 2:5].mean(0)),
            f"{np.median(found[:, 5]):.1f}"]  # fmt: skip


def halves_of(kind, target, n_sets, n_halves):
    shares = []
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        footage, kept = simulate(kind, 2, rng), []
        for _ in range(n_halves):
            first, second = np.array_split(rng.permutation(len(footage)), 2)
            try:
                made = calibrate([footage[i] for i in first], target, RULE, BY)
            except AnomalyError:
                continue
            counter = AlarmCounter([footage[i] for i in second], RULE)
            new = len(counter.at(made.rule.start_threshold))
            kept.append((new / counter.hours <= made.rate_bound, new <= made.new_events))
        shares.append(np.mean(kept, 0))
    low, high = np.quantile(shares, [0.05, 0.95], axis=0)
    return [f"{mean:.0%} ({a:.0%}-{b:.0%})" for mean, a, b in zip(np.mean(shares, 0), low, high, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--reference", type=float, default=3000, help="hours in which true rates are counted")
    parser.add_argument("--events", type=float, nargs="+", default=[5, 20], help="targets, in events per footage")
    parser.add_argument("--kinds", type=int, nargs="+", default=list(range(len(KINDS))))
    parser.add_argument("--halves", action="store_true")
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--splits", type=int, default=100)
    args = parser.parse_args()
    columns = COLUMNS_OF_HALVES if args.halves else COLUMNS
    print(f"| footage | target | {' | '.join(columns)} |")
    print("|---" * (2 + len(columns)) + "|")
    for kind in (KINDS[i] for i in args.kinds):
        truth = None if args.halves else Truth(kind, args.reference)
        for events in args.events:
            target = events / kind.hours
            cells = (
                halves_of(kind, target, args.sets, args.splits)
                if args.halves
                else runs_of(kind, target, truth, args.runs)
            )
            print(f"| {kind.name} | {events:g} in {kind.hours:g} h | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
