"""Upper bounds of the rate of events where events come together.

Whatever raises an event (a lorry, rain, a busy night) raises several, so their number varies more than that of
independent events. How much more is estimated from the counts in parts of the footage: the dispersion of counts in
blocks of time of several lengths, since busy times may last minutes or hours, and in whole videos. The largest bound
counts. It is that of Garwood (Biometrika 28, 1936), exact, where no part shows dispersion; else the bound of a
quasi-Poisson count: the variance is larger by the dispersion, and by the doubt about it, which Student's t has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, nbinom, norm, t

CONFIDENCE = 0.95
FEWEST_PARTS = 5  # below which counts in parts tell nothing, so that all events count as one group


@dataclass(frozen=True)
class Parts:
    """Events in parts of the footage: counts (n,), and the hours of each part (n,)."""

    counts: np.ndarray
    hours: np.ndarray

    @property
    def dispersion(self) -> float:
        """How many events come together: Pearson's dispersion, at least 1."""
        if len(self.counts) < 2 or not self.counts.sum():
            return 1.0
        expected = self.counts.sum() / self.hours.sum() * self.hours
        return max(1.0, float(((self.counts - expected) ** 2 / expected).sum() / (len(self.counts) - 1)))

    def with_longer(self) -> "list[Parts]":
        """These parts; half as many, twice as long, as neighbours together are; and a quarter as many."""
        found = [self]
        for n_parts in (len(self.counts) // 2, len(self.counts) // 4):
            if n_parts >= FEWEST_PARTS:
                begins = np.arange(n_parts) * len(self.counts) // n_parts
                found.append(Parts(*(np.add.reduceat(each, begins) for each in (self.counts, self.hours))))
        return found


def rate_bound(n_events: int, hours: float, dispersion: float = 1.0, n_parts: int | None = None) -> float:
    """Upper bound of the events per hour, with 95% confidence, after `n_events` in these hours.

    dispersion: how many events come together, estimated from `n_parts` parts; None: it is known.
    """
    mean, variance = _expected(n_events, dispersion, n_parts)
    return float(chi2.ppf(CONFIDENCE, 2 * mean**2 / variance) * variance / (2 * mean) / hours)


def most_events(n_events: int, dispersion: float = 1.0, n_parts: int | None = None) -> int:
    """Upper limit of the events in as much new footage, with 95% confidence: rate and number are both uncertain."""
    mean, variance = _expected(n_events, dispersion, n_parts)
    mean, variance = mean / dispersion, variance / dispersion**2  # of groups of events that come together
    return math.ceil(dispersion * float(nbinom.ppf(CONFIDENCE, mean**2 / variance, mean / (mean + variance))) - 1e-9)


def _expected(n_events: int, dispersion: float, n_parts: int | None) -> tuple[float, float]:
    """Mean and variance of the gamma distribution whose quantile is the bound of the number of events."""
    doubt = 1.0
    if dispersion > 1 and n_parts is not None:
        doubt = float(t.ppf(CONFIDENCE, n_parts - 1) / norm.ppf(CONFIDENCE)) ** 2
    return n_events + dispersion, n_events * dispersion * doubt + dispersion**2


@dataclass(frozen=True)
class Bounds:
    """rate: upper bound of the events per hour. new_events: upper limit of those in as much new footage."""

    rate: float
    new_events: int


def bounds(divisions: Sequence[Parts], least: Sequence[float] | None = None) -> Bounds:
    """The largest bounds among those of several divisions of one footage into parts.

    least: dispersion that is at least assumed, by division, as counts of other events have shown it.
    """
    found = []
    for parts, known in zip(divisions, least or [1.0] * len(divisions), strict=True):
        n_events, hours = int(parts.counts.sum()), float(parts.hours.sum())
        dispersion, n_parts = max(parts.dispersion, known), len(parts.counts)
        few = n_parts < FEWEST_PARTS  # then all events count as one group
        estimated = (max(dispersion, float(n_events)), None) if few else (dispersion, n_parts)
        found.append((rate_bound(n_events, hours, *estimated), most_events(n_events, *estimated)))
    return Bounds(*map(max, zip(*found, strict=True)))
