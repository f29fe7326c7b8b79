"""Scores that are kept beside the features of a video, so that another event rule or format needs no network at all.

One `.npz` per video, without pickles: `scores` (n,) of its segments or clips, `times` (n_frames,) where the frame
rate is variable, and `meta`, a JSON object with what else a result needs and the identity of what it was made from.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnomalyError
from ..segments import spread
from ..storage import atomic_write
from . import schema
from .archive import Archive
from .files import Features

VERSION = 1
ARRAYS = ("scores", "times", "meta")


@dataclass(frozen=True)
class VideoScores:
    """Scores of one video (n,), one per segment, or per clip in windows; and facts of the video, as Features has them.

    mode: video or window. times: as in Features. warning and note: sentences on damage and on missing sound.
    """

    scores: np.ndarray
    mode: str
    n_frames: int
    fps: float
    clip_length: int
    source: str
    times: np.ndarray | None = None
    warning: str | None = None
    note: str | None = None
    creation_time: str | None = None
    still: tuple[int, ...] = ()
    interpolated: tuple[int, ...] = ()

    @classmethod
    def of(cls, features: Features, scores: np.ndarray, mode: str) -> "VideoScores":
        """Scores made from these features."""
        return cls(
            scores,
            mode,
            n_frames=features.n_frames,
            fps=features.fps,
            clip_length=features.kind.clip_length,
            source=features.source,
            times=features.times,
            warning=features.warning,
            note=features.sound_warning,
            creation_time=features.creation_time,
            still=features.still,
            interpolated=features.interpolated,
        )

    def frames_of(self, clips: Sequence[int]) -> list[tuple[int, int]]:
        """Intervals of frames, half-open, of these clips, ascending."""
        intervals: list[tuple[int, int]] = []
        for clip in clips:
            start, end = clip * self.clip_length, min((clip + 1) * self.clip_length, self.n_frames)
            if intervals and intervals[-1][1] == start:
                start = intervals.pop()[0]
            intervals.append((start, end))
        return intervals

    def frames(self) -> np.ndarray:
        """Scores of the frames, float32 (n_frames,)."""
        return spread(self.scores, self.n_frames, self.clip_length)

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write the file atomically; `identity`, of JSON, says what the scores were made from."""
        facts = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name not in ARRAYS}
        meta = json.dumps({"version": VERSION, "identity": identity, "facts": facts}, sort_keys=True)
        arrays: dict[str, Any] = {"scores": self.scores, "meta": np.frombuffer(meta.encode(), np.uint8)}
        if self.times is not None:
            arrays["times"] = self.times
        with atomic_write(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)


def scores_beside(cache: Path) -> Path:
    """Where the scores are kept of a video whose features are kept at `cache`."""
    return cache.with_suffix(".scores.npz")


def load_scores(path: Path, identity: Mapping[str, Any]) -> VideoScores | None:
    """The scores at `path`, or None if they are not there, damaged, or made from anything else."""
    try:
        with Archive(path, ARRAYS) as archive:
            meta = json.loads(archive.read("meta").tobytes())
            if meta["version"] != VERSION or meta["identity"] != json.loads(json.dumps(identity)):
                return None
            facts, scores = meta["facts"], archive.read("scores")
            times = archive.read("times") if "times" in archive.headers else None
            kept = VideoScores(scores, times=times, **facts)
    except (AnomalyError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    fits = scores.dtype.kind == "f" and scores.ndim == 1 and len(scores) and np.isfinite(scores).all()
    timed = times is None or (times.shape == (kept.n_frames,) and np.isfinite(times).all())
    return kept if fits and timed and not schema.fault(facts, schema.SCORES) else None
