"""What calibrations promise on one half of normal videos, and what the other half does.

    python benchmarks/calibration.py MODEL FEATURES --ground-truth TRUTH.csv --fps 30

FEATURES are published arrays, NAME.npy, one row per 16 frames; those without an interval in TRUTH.csv are used. Each of
`--splits` random halves of the videos is calibrated for each of `--targets` (events per hour), and the events at these
thresholds are counted in the other half. One row per target, means over splits:

- promised: splits whose footage suffices for the promise; the thresholds of the others are extrapolated.
- bound: the upper bound of the rate (95%) that the calibrations state. rate: events per hour in the other half.
- below bound: splits whose rate in the other half is not above the bound. This is not claimed: the bound is that of the
  rate in the long run, and the other half is short, and has the worst videos exactly when the first half lacks them.
- below limit: splits whose number of events in the other half is within the limit that the calibrations state for as
  much new footage (95%). All splits are of one set of videos: benchmarks/promises.py shows what that does to the share.
- below target: splits whose rate in the other half is not above the target.
"""

import argparse
from pathlib import Path

import numpy as np

from anomalycli import Scorer
from anomalycli.calibration import calibrate
from anomalycli.data.ground_truth import GroundTruthFile
from anomalycli.errors import AnomalyError
from anomalycli.false_alarms import AlarmCounter, Footage
from anomalycli.features.folder import find_features


def footage_of(args, scorer):
    every = [(source.name, source.load()) for source in find_features(args.features).sources]
    lengths = {name: features.n_frames for name, features in every}
    truth = GroundTruthFile(args.ground_truth, incomplete=True).load(lengths).frames
    every = [(name, features) for name, features in every if name in truth and not truth[name].any()]
    return [Footage(name, scorer.score_features(features, args.mode)[0], args.fps) for name, features in every]


def measure(footage, target, scorer, args):
    found = []
    for seed in range(args.splits):
        order = np.random.default_rng(seed).permutation(len(footage))
        first, second = ([footage[i] for i in half] for half in np.array_split(order, 2))
        try:
            made = calibrate(first, target, scorer.info.events, scorer.scored_by(args.mode))
        except AnomalyError:
            continue
        counter = AlarmCounter(second, scorer.info.events)
        n_events = len(counter.at(made.rule.start_threshold))
        rate = n_events / counter.hours
        found.append((made.hours, not made.extrapolated, made.rate_bound, rate, rate <= made.rate_bound,
                      n_events <= made.new_events * counter.hours / made.hours, rate <= target))  # fmt: skip
    return np.array(found, float)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("--ground-truth", type=Path, required=True)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--targets", type=float, nargs="+", default=[20, 10, 5, 2, 1, 0.5])
    args = parser.parse_args()
    scorer = Scorer.load(args.model, "cpu")
    footage = footage_of(args, scorer)
    usual = AlarmCounter(footage, scorer.info.events)
    alarms = usual.at(scorer.info.events.start_threshold)
    print(f"{len(footage)} normal videos, {usual.hours:.2f} hours; {len(alarms) / usual.hours:.1f} events per hour at "
          f"{scorer.info.events.start_threshold:g}, about {max(usual.dispersions(alarms)):.1f} at a time")  # fmt: skip
    print("| target | splits | hours | promised | bound | rate | below bound | below limit | below target |")
    print("|---" * 9 + "|")
    for target in args.targets:
        found = measure(footage, target, scorer, args)
        if not len(found):
            print(f"| {target:g} | 0 |" + " - |" * 7)
            continue
        hours, promised, bound, rate, below, predicted, kept = found.mean(0)
        print(f"| {target:g} | {len(found)} | {hours:.1f} | {promised:.0%} | {bound:.2f} | {rate:.2f} | {below:.0%} "
              f"| {predicted:.0%} | {kept:.0%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
