"""How often the upper bound of a rate of false alarms holds, in simulated footage of a known rate.

    python benchmarks/alarm_bound.py

Each row is a kind of footage: events that are independent, that come in groups (geometric sizes, 3 on average), or
whose rate is drawn anew every few hours (gamma distributed; the smaller its shape, the rarer and busier the busy
hours). Each column is a mean number of events in the footage. Cells: share of `--runs` in which the bound (95%) is not
below the true rate, and the median of the bound divided by that rate. `independent` is the exact bound for independent
events, `bound` that of `calibrate`, which also counts the events at a lower threshold, three times as many.
"""

import argparse

import numpy as np

from anomalycli.alarm_bounds import Parts, bounds, rate_bound
from anomalycli.false_alarms import BLOCKS

EVENTS = (2, 8, 20, 60)
KINDS = (
    ("independent", 30, None, None),
    ("groups of 3", 30, None, None),
    ("rate changes every 3 h, shape 1", 30, 3, 1.0),
    ("rate changes every 8 h, shape 1", 30, 8, 1.0),
    ("rate changes every 3 h, shape 1", 120, 3, 1.0),
    ("rate changes every 8 h, shape 1", 120, 8, 1.0),
    ("rate changes every 3 h, shape 0.3", 120, 3, 0.3),
    ("rate changes every 8 h, shape 0.3", 120, 8, 0.3),
    ("rate changes every 24 h, shape 1", 240, 24, 1.0),
)


def simulate(name, hours, every, shape, events, rng):
    """Events in each of BLOCKS blocks of time: at the threshold, and at a lower one."""
    ticks = hours * 60
    activity = np.ones(ticks)
    if every:
        begin = rng.integers(every * 60)
        activity = np.repeat(rng.gamma(shape, 1 / shape, hours // every + 2), every * 60)[begin : begin + ticks]
    size = 3 if name.startswith("groups") else 1
    found = []
    for mean in (events, max(3 * events, 20)):
        counts = rng.poisson(mean / size / ticks * activity)
        if size > 1:
            counts = np.where(counts, counts + rng.negative_binomial(np.maximum(counts, 1), 1 / size), 0)
        found.append(counts.reshape(BLOCKS, -1).sum(1))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    args = parser.parse_args()
    print(f"| footage | hours | {' | '.join(f'{n} events, independent | {n}, bound' for n in EVENTS)} |")
    print("|---" * (2 + 2 * len(EVENTS)) + "|")
    for name, hours, every, shape in KINDS:
        cells = []
        for events in EVENTS:
            rng, found = np.random.default_rng(events), []
            for _ in range(args.runs):
                counts, lower = simulate(name, hours, every, shape, events, rng)
                own, below = (Parts(each, np.full(BLOCKS, hours / BLOCKS)).with_longer() for each in (counts, lower))
                bound = bounds(own, [parts.dispersion for parts in below]).rate
                found.append((rate_bound(int(counts.sum()), hours), bound))
            ratios = np.array(found) / (events / hours)
            cells += [f"{(ratio >= 1).mean():.0%} ({np.median(ratio):.1f})" for ratio in ratios.T]
        print(f"| {name} | {hours} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
