"""Features of some clips of a video, and of the clips between them by interpolation."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from .files import Features


def filled(rows: np.ndarray, numbers: Sequence[int], n_clips: int) -> np.ndarray:
    """Features of all clips, float32 (n_clips, ...), from those of the clips `numbers`, ascending from 0: (n, ...).

    Between two of these they change linearly; behind the last they stay as they are there.
    """
    at = np.asarray(numbers)
    after = np.searchsorted(at, np.arange(n_clips)).clip(0, len(at) - 1)
    before = (after - 1).clip(0)
    length = np.maximum(1, at[after] - at[before])
    share = ((np.arange(n_clips) - at[before]) / length).clip(0, 1).astype(np.float32)
    share = share.reshape(-1, *[1] * (rows.ndim - 1))
    whole = rows[before] * (1 - share) + rows[after] * share
    whole[at] = rows
    return whole


def with_only(features: Features, numbers: Sequence[int]) -> Features:
    """The same features, with those of all clips but `numbers` interpolated."""
    n_clips = len(features.visual)
    others = tuple(sorted({*range(n_clips)}.difference(numbers)))
    visual = filled(features.visual[list(numbers)], numbers, n_clips)
    return dataclasses.replace(features, visual=visual, interpolated=others)
