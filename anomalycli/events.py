"""From a score a frame to events: hysteresis, then merging, then a minimum length."""

from dataclasses import dataclass

import numpy as np

EPSILON = 1e-6  # seconds; times are quotients, and a gap of exactly `gap` must not depend on their rounding


@dataclass(frozen=True)
class EventRule:
    """An event begins where the score reaches `start`, and ends where it falls below `end`.

    Events less than `gap` seconds apart become one; those shorter than `shortest` seconds are dropped.
    Raises ValueError where the numbers make no sense.
    """

    start: float = 0.5
    end: float = 0.3
    gap: float = 1.0
    shortest: float = 0.5

    def __post_init__(self):
        if not 0 <= self.end <= self.start <= 1:
            raise ValueError(f"Thresholds must be 0 <= end <= start <= 1, not end {self.end} and start {self.start}.")
        if self.gap < 0 or self.shortest < 0:
            raise ValueError("The gap and the shortest length of events cannot be negative.")


@dataclass(frozen=True)
class Event:
    """Frames [start, end), the frame `peak` where the score is highest, and that `score`."""

    start: int
    end: int
    peak: int
    score: float


def find_events(
    scores: np.ndarray, fps: float, rule: EventRule = EventRule(), times: np.ndarray | None = None
) -> list[Event]:
    """Events in scores (n_frames,) at `fps` frames a second, in order of time.

    `times`, seconds (n_frames,), is there where the frame rate is variable.
    """
    at = frame_edges(len(scores), fps, times)
    spans: list[list[int]] = []
    for start, end in runs(scores >= rule.end):
        if scores[start:end].max() < rule.start:
            continue
        if spans and at[start] - at[spans[-1][1]] < rule.gap - EPSILON:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    events = []
    for start, end in spans:
        if at[end] - at[start] >= rule.shortest - EPSILON:
            peak = start + int(scores[start:end].argmax())
            events.append(Event(start, end, peak, float(scores[peak])))
    return events


def frame_edges(n_frames: int, fps: float, times: np.ndarray | None = None) -> np.ndarray:
    """When each frame begins, and the last one ends, in seconds: float64 (n_frames + 1,)."""
    if times is None:
        return np.arange(n_frames + 1) / fps
    return np.append(times, times[-1] + 1 / fps)


def runs(above: np.ndarray) -> list[tuple[int, int]]:
    """Half-open intervals in which `above` (n,) is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], above.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
