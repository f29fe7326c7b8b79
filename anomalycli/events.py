"""Events from scores of frames: hysteresis, then merging, then a minimum length."""

import math
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-6  # seconds; times are quotients, and a gap of exactly `gap` must not depend on their rounding


@dataclass(frozen=True, init=False)
class EventRule:
    """An event begins where the score reaches `start_threshold`, and ends where it falls below `end_threshold`.

    Events less than `gap` seconds apart become one; those shorter than `shortest` seconds are dropped.
    `start` and `end` are the names of the thresholds up to version 0.1, accepted for one release.

    Raises ValueError for values that are out of range or contradict each other.
    """

    start_threshold: float = 0.5
    end_threshold: float = 0.3
    gap: float = 1.0
    shortest: float = 0.5

    def __init__(
        self,
        start_threshold: float = 0.5,
        end_threshold: float = 0.3,
        gap: float = 1.0,
        shortest: float = 0.5,
        *,
        start: float | None = None,
        end: float | None = None,
    ):
        first = start_threshold if start is None else start
        last = end_threshold if end is None else end
        if not 0 <= last <= first <= 1:
            raise ValueError(
                f"The thresholds of events must be 0 <= end <= start <= 1, not end {last} and start {first}."
            )
        if not (0 <= gap < math.inf and 0 <= shortest < math.inf):
            raise ValueError(
                f"The gap ({gap}) and the shortest length ({shortest}) of events must be 0 seconds or more."
            )
        for name, value in zip(self.__dataclass_fields__, (first, last, gap, shortest), strict=True):
            object.__setattr__(self, name, float(value))

    @property
    def start(self) -> float:
        """`start_threshold` by its former name, for one release."""
        return self.start_threshold

    @property
    def end(self) -> float:
        """`end_threshold` by its former name, for one release."""
        return self.end_threshold

    def changed(
        self,
        start_threshold: float | None = None,
        end_threshold: float | None = None,
        gap: float | None = None,
        shortest: float | None = None,
    ) -> "EventRule":
        """This rule with the values that are not None.

        A start threshold below the end threshold of the rule lowers the end threshold too, unless one is given.
        """
        start = self.start_threshold if start_threshold is None else start_threshold
        end = min(self.end_threshold, start) if end_threshold is None else end_threshold
        return EventRule(start, end, self.gap if gap is None else gap, self.shortest if shortest is None else shortest)


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
    """Events in scores (n_frames,) at `fps` frames per second, in order of time.

    `times` are those of the frames, seconds (n_frames,), where the frame rate is variable, else None.
    """
    at = frame_edges(len(scores), fps, times)
    intervals: list[list[int]] = []
    for start, end in runs(scores >= rule.end_threshold):
        if scores[start:end].max() < rule.start_threshold:
            continue
        if intervals and at[start] - at[intervals[-1][1]] < rule.gap - EPSILON:
            intervals[-1][1] = end
        else:
            intervals.append([start, end])
    events = []
    for start, end in intervals:
        if at[end] - at[start] >= rule.shortest - EPSILON:
            peak = start + int(scores[start:end].argmax())
            events.append(Event(start, end, peak, float(scores[peak])))
    return events


def frame_edges(n_frames: int, fps: float, times: np.ndarray | None = None) -> np.ndarray:
    """Times at which frames begin, and the end of the last one, in seconds: float64 (n_frames + 1,)."""
    if times is None:
        return np.arange(n_frames + 1) / fps
    return np.append(times, times[-1] + 1 / fps)


def runs(above: np.ndarray) -> list[tuple[int, int]]:
    """Half-open intervals in which `above` (n,) is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], above.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
