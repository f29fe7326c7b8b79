"""Conversion between the clips of a video, its T segments and its frames.

With n >= T clips, segment i consists of the clips [i*n/T, (i+1)*n/T), rounded down to whole clips. With fewer, it is
the clip that contains the middle of that interval.
"""

import numpy as np


def parts(n_clips: int, n_segments: int) -> tuple[np.ndarray, np.ndarray]:
    """First clip and last clip + 1 of each segment: int64 (n_segments,) each."""
    if n_clips < 1:
        raise ValueError("There are no clips to divide into segments.")
    i = np.arange(n_segments + 1, dtype=np.int64)
    if n_clips < n_segments:
        start = (2 * i[:-1] + 1) * n_clips // (2 * n_segments)
        return start, start + 1
    edges = i * n_clips // n_segments
    return edges[:-1], edges[1:]


def centres(n_clips: int, n_segments: int, clip_length: int = 16) -> np.ndarray:
    """The middle of each segment, in frames from the start of the video: float64 (n_segments,)."""
    if n_clips < n_segments:
        return (np.arange(n_segments) + 0.5) * n_clips / n_segments * clip_length
    start, end = parts(n_clips, n_segments)
    return (start + end) / 2 * clip_length


def pool(features: np.ndarray, n_segments: int = 64) -> np.ndarray:
    """Mean of the clip features of each segment: (n_clips, ...) -> float32 (n_segments, ...)."""
    start, end = parts(len(features), n_segments)
    if len(features) <= n_segments:
        return features[start].astype(np.float32)
    sums = np.add.reduceat(features, start, axis=0, dtype=np.float64)  # the parts touch: end[i] == start[i + 1]
    return (sums / (end - start).reshape(-1, *[1] * (features.ndim - 1))).astype(np.float32)


def window_weights(length: int) -> np.ndarray:
    """How much each segment of a window counts where windows overlap: it fades to the ends. float64 (length,)."""
    numbers = np.arange(length)
    return np.minimum(numbers, numbers[::-1]) + 1.0


def repeat(scores: np.ndarray, n_frames: int, clip_length: int = 16) -> np.ndarray:
    """A score for each frame, that of its segment: (n_segments,) -> (n_frames,), of the type of `scores`.

    The published evaluations do this. n_segments may be the number of clips: then each score is repeated
    `clip_length` times. Where there are fewer clips than segments, segment i is the part [i/T, (i+1)/T) of the clips.
    """
    n_clips = -(-n_frames // clip_length)
    frames = np.arange(n_frames)
    if n_clips < len(scores):
        return scores[((frames + 0.5) / clip_length * len(scores) / n_clips).astype(np.int64)]
    start, end = parts(n_clips, len(scores))
    return scores[np.repeat(np.arange(len(scores)), end - start)[frames // clip_length]]


def spread(scores: np.ndarray, n_frames: int, clip_length: int = 16) -> np.ndarray:
    """A score for each frame, linear between the segments' centres: (n_segments,) -> float32 (n_frames,).

    A clip has `clip_length` frames. n_segments may be the number of clips itself: then each clip is its own segment.
    """
    n_clips = -(-n_frames // clip_length)
    middles = np.arange(n_frames) + 0.5
    return np.interp(middles, centres(n_clips, len(scores), clip_length), scores).astype(np.float32)
