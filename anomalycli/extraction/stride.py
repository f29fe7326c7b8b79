"""Which clips to compute besides every Nth: those around which scores are high."""

import numpy as np

SHARE = 0.5  # of the score at which an event begins; from there on, a score is high


def rising(scores: np.ndarray, every: int, level: float) -> list[int]:
    """The numbers of the clips to compute, ascending, by the scores (n_clips,) when every Nth clip was computed.

    They are those between each clip that was computed and whose score is high, and the ones computed before and after
    it. `level` is the score at which an event begins.
    """
    high = scores[::every] >= SHARE * level
    gaps = high | np.append(high[1:], False)  # behind each clip that was computed, up to the next
    return np.flatnonzero(np.repeat(gaps, every)[: len(scores)]).tolist()
