"""Which frames of which videos are abnormal.

Frames [s, e) are abnormal, as the published evaluations of XD-Violence (`gt[s:e] = 1`) and UCF-Crime
have it; with `last_frame` frame e is too. Both cut videos to whole clips of 16 frames.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError, cause
from .datasets import CLIP_LENGTH, Dataset, Intervals, dataset_of, read_intervals


@dataclass(frozen=True)
class GroundTruthFile:
    """Where frame-level ground truth comes from.

    path: the annotation file of `dataset`, a name of `datasets.DATASETS`. frames: a CSV of `video,n_frames`
    with the videos' lengths, where the annotation has none. last_frame: whether intervals hold their last frame.
    """

    path: Path
    dataset: str = "csv"
    frames: Path | None = None
    last_frame: bool = False

    @property
    def tells_labels(self) -> bool:
        """Whether the file labels videos: published names do that by themselves."""
        return self.dataset == "csv"

    def load(self, n_frames: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
        """Bool (n_frames,) by video, true where it is abnormal.

        The lengths of the published sets come from `frames`, or else are `n_frames`, those of the features at
        hand; of XD-Violence and UCF-Crime they are cut to whole clips.

        Raises UsageError where the file cannot be understood, a video's length is not known or not the
        one that the file says, or a published test set is not whole.
        """
        dataset = dataset_of(self.dataset)
        intervals = read_intervals(self.dataset, self.path)
        lengths = intervals.n_frames
        if self.dataset != "csv":
            lengths = read_frames(self.frames) if self.frames else dict(n_frames or intervals.n_frames)
        if missing := sorted(intervals.by_video.keys() - lengths.keys()):
            raise UsageError(f"{self.path}: {missing[0]} is neither among the features nor in a file of lengths.")
        truth = {name: self._frames_of(name, length, intervals, dataset) for name, length in lengths.items()}
        self._check_total(dataset, truth)
        return truth

    def _frames_of(self, name: str, length: int, intervals: Intervals, dataset: Dataset) -> np.ndarray:
        stated = intervals.n_frames.get(name, length)
        if abs(length - stated) > 2 * CLIP_LENGTH:
            raise UsageError(f"{self.path}: {name} has {stated} frames there, and {length} here.")
        normal = dataset.normal_suffix is not None and name.endswith(dataset.normal_suffix)
        if name not in intervals.by_video and not normal:
            raise UsageError(f"{self.path}: it says nothing about {name}, which is not among its normal videos.")
        if dataset.n_frames is not None:
            length -= length % CLIP_LENGTH
        frames = np.zeros(length, bool)
        for start, end in intervals.by_video.get(name, ()):
            if dataset.fractions:
                start, end = round(start * length), round(end * length)
            frames[int(start) : int(end) + self.last_frame] = True
        return frames

    def _check_total(self, dataset: Dataset, truth: dict[str, np.ndarray]) -> None:
        ours = len(truth), sum(map(len, truth.values()))
        if dataset.n_frames is not None and ours != (dataset.n_videos, dataset.n_frames):
            raise UsageError(
                f"{self.path}: with these lengths {self.dataset} has {ours[0]} videos and {ours[1]:,} frames, and its "
                f"test set has {dataset.n_videos} and {dataset.n_frames:,}. Are all features there, and is each as "
                "long as published (or give a file of lengths)?"
            )


def read_spans(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Abnormal intervals by video, frames, half-open, from a CSV of `video,n_frames,start,end`.

    Raises UsageError where the file cannot be understood.
    """
    by_video = read_intervals("csv", path).by_video
    return {name: [(int(start), int(end)) for start, end in video] for name, video in by_video.items()}


def read_frames(path: Path) -> dict[str, int]:
    """Lengths by video, from a CSV of `video,n_frames`. Raises UsageError where it is not one."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return {row["video"]: int(row["n_frames"]) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a table of video,n_frames ({cause(error)}).") from error
