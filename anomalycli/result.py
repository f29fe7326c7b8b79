"""What scoring a video gives: a score for every frame, events, and what they are measured by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .calibration import Calibration, Frequency
from .events import Event, EventRule, frame_edges
from .media.start_time import RecordingStart

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Result:
    """Scores and events of one video.

    scores: float32 (n_frames,), in [0, 1]. events: half-open frame intervals, in order. mode: video
    or window, see `Scorer.score`. warning: a sentence where the video was damaged. note: one where
    the model expects sound and some or all of it is missing. times: float64 (n_frames,), seconds,
    where the frame rate is variable; `fps` is then its mean. start: when the first frame was
    recorded, None where nothing says it; `moment` gives the time of day of a frame. calibration: what
    the thresholds come from, if one was given; `once_in` says how often normal footage reaches a score. still:
    half-open intervals of frames in which nothing moved, so that their features are those of an earlier clip.
    interpolated: those of clips that were not computed, so that their features lie between those of others.
    """

    path: Path
    scores: np.ndarray
    fps: float
    events: list[Event]
    mode: str
    rule: EventRule
    warning: str | None = None
    note: str | None = None
    times: np.ndarray | None = None
    start: RecordingStart | None = None
    calibration: Calibration | None = None
    still: Sequence[tuple[int, int]] = ()
    interpolated: Sequence[tuple[int, int]] = ()

    @cached_property
    def edges(self) -> np.ndarray:
        """When each frame begins, and the last one ends, in seconds: float64 (n_frames + 1,)."""
        return frame_edges(len(self.scores), self.fps, self.times)

    def moment(self, frame: int) -> datetime | None:
        """The time of day at which a frame begins, with its offset from UTC; None where `start` is not known."""
        return self.start.at(self.edges[frame]) if self.start else None

    def once_in(self, score: float) -> Frequency | None:
        """How often normal footage of the scene reaches this score; None without a calibration."""
        return self.calibration.once_in(score) if self.calibration else None

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.edges[-1])

    @property
    def span(self) -> str:
        """`mode` by its name up to version 0.1; kept for one release."""
        return self.mode

    def highlights(self, most: int) -> list[int]:
        """Frames at the peaks of the strongest events, at most `most`, or the highest frame where there are none."""
        strongest = sorted(self.events, key=lambda event: -event.score)[:most]
        return sorted(event.peak for event in strongest) or [int(self.scores.argmax())]

    def to_dataframe(self) -> "pandas.DataFrame":
        """One row per frame: frame, time (seconds), score, event (its number from 1, or 0). Needs pandas."""
        import pandas as pd

        event = np.zeros(len(self.scores), np.int64)
        for number, found in enumerate(self.events, 1):
            event[found.start : found.end] = number
        return pd.DataFrame(
            {"frame": np.arange(len(event)), "time": self.edges[:-1], "score": self.scores, "event": event}
        )
