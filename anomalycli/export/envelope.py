"""Reduce long score curves for drawing: the lowest and highest score per column."""

import numpy as np

BARS = "▁▂▃▄▅▆▇█"


def min_max(scores: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) -> first frame, lowest and highest score of min(n, columns) columns: no peak is lost."""
    columns = min(columns, len(scores))
    starts = np.arange(columns) * len(scores) // columns
    return starts, np.minimum.reduceat(scores, starts), np.maximum.reduceat(scores, starts)


def sparkline(scores: np.ndarray, columns: int) -> str:
    """The highest score of each column as a bar of text, on a scale from 0 to 1."""
    _, _, high = min_max(scores, columns)
    return "".join(BARS[min(int(score * len(BARS)), len(BARS) - 1)] for score in high)
