"""Which clips to compute: not still ones, and besides every Nth those around which scores are high."""

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError

SHARE = 0.5  # of the score at which an event begins; from there on, a score is high


@dataclass(frozen=True)
class Skip:
    """Clips of videos that the network is not run on; a result says which.

    still: those in which nothing moves take the features of the last one that was computed (`media.still`). every: only
    clips number 0, N, 2 N and so on are computed, and then those between where scores rise (`rising`). The
    features of the others are interpolated.

    Raises UsageError where `every` is less than 1.
    """

    still: bool = False
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"Clips can be computed every 1, 2, 3 and so on, not every {self.every}.", "every")


def rising(scores: np.ndarray, every: int, level: float) -> list[int]:
    """The numbers of the clips to compute, ascending, by the scores (n_clips,) when every Nth clip was computed.

    They are those between each clip that was computed and whose score is high, and the ones computed before and after
    it. `level` is the score at which an event begins.
    """
    high = scores[::every] >= SHARE * level
    gaps = high | np.append(high[1:], False)  # behind each clip that was computed, up to the next
    return np.flatnonzero(np.repeat(gaps, every)[: len(scores)]).tolist()
