"""Which frames of which videos are abnormal.

Frames [s, e) are abnormal, as in the published evaluations of XD-Violence (`gt[s:e] = 1`) and UCF-Crime; with
`last_frame`, frame e is abnormal too, as in RTFM's ground truth of UCF-Crime.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..matching import match_names
from ..textfiles import read_table
from ..wording import some
from .datasets import CLIP_LENGTH, Dataset, Intervals, Length, dataset_of, published_lengths


@dataclass(frozen=True)
class GroundTruth:
    """Ground truth of the videos at hand.

    frames: bool (n_frames,) by video, true where it is abnormal. n_videos: of the whole test set, at hand or not.
    total: what the number of frames is, where the whole of a published test set is at hand. warnings: sentences.
    """

    frames: dict[str, np.ndarray]
    n_videos: int
    total: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroundTruthFile:
    """The file with frame-level ground truth, and how to read it.

    path: the annotation file of `dataset`, a name of `datasets.DATASETS`. frames: a table of `video,n_frames`
    with the videos' lengths, instead of the published ones. last_frame: whether intervals include their last frame.
    incomplete: whether videos of the test set may be missing.
    """

    path: Path
    dataset: str = "csv"
    frames: Path | None = None
    last_frame: bool = False
    incomplete: bool = False

    @property
    def gives_labels(self) -> bool:
        """Whether the file gives labels of videos; in the published sets the names do."""
        return self.dataset == "csv"

    @property
    def interval(self) -> str:
        """Which frames of an annotated interval are abnormal."""
        return "[s, e + 1)" if self.last_frame else "[s, e)"

    def lengths(self) -> dict[str, Length]:
        """Lengths of the test videos, named as the annotation or the file of lengths names them.

        Empty if only the features give them. Raises UsageError if a file cannot be read.
        """
        if self.dataset != "csv" and self.frames:
            return {name: Length(n, n) for name, n in read_frames(self.frames).items()}
        if published := published_lengths(self.dataset):
            return dict(published)
        return {name: Length(n, n) for name, n in dataset_of(self.dataset).read(self.path).n_frames.items()}

    def load(self, features: Mapping[str, int]) -> GroundTruth:
        """Ground truth of the videos whose features, by name, stand for so many frames.

        Of UCF-Crime, features whose last clips are padded get ground truth that is padded with normal frames.

        Raises UsageError where a file cannot be understood, a video has no length or another than stated, the two
        sides have different videos, or a published test set has none of its totals.
        """
        dataset = dataset_of(self.dataset)
        intervals, lengths = dataset.read(self.path), self.lengths()
        if not intervals.by_video:
            raise UsageError(f"{self.path}: there is no video in it.")
        if lengths:
            intervals = self._named_as(lengths, intervals, dataset)
        matches = match_names(lengths or intervals.by_video, features, str(self.path))
        if twice := [name for name, count in Counter(matches.found.values()).items() if count > 1]:
            raise UsageError(f"{self.path}: it has {some(twice)} under two names.")
        warnings = self._check_videos(features, matches.found.values(), matches.unknown)
        known = {name: lengths.get(written) for written, name in matches.found.items()}
        padded = all(length and features[name] == length.padded for name, length in known.items())
        frames = {}
        for written, name in matches.found.items():
            length = known[name] or Length(features[name], features[name])
            events = self._events(dataset, intervals.by_video.get(written, ()), length.n_frames)
            frames[name] = np.pad(events, (0, length.padded - length.n_frames if padded else 0))
        total = sum(map(len, frames.values()))
        if dataset.totals and not matches.unknown and total not in dataset.totals:
            raise UsageError(
                f"{self.path}: with these lengths {self.dataset} has {len(frames)} videos and {total:,} frames, and "
                f"its test set has {' or '.join(f'{n:,}' for n in dataset.totals)}."
            )
        named = dataset.totals.get(total) if not matches.unknown else None
        return GroundTruth(frames, len(matches.found) + len(matches.unknown), named, tuple(warnings))

    def _named_as(self, lengths: Mapping[str, Length], intervals: Intervals, dataset: Dataset) -> Intervals:
        """`intervals` with the names of `lengths`. Raises UsageError where the two do not fit."""
        found = match_names(intervals.by_video, lengths, str(self.path))
        if found.unknown:
            raise UsageError(f"{self.path}: {some(found.unknown)} is not a test video whose length is known.")
        renamed = Intervals()
        for written, name in found.found.items():
            renamed.by_video.setdefault(name, []).extend(intervals.by_video[written])
            stated = intervals.n_frames.get(written)
            if stated and abs(stated - lengths[name].n_frames) > 2 * CLIP_LENGTH:
                raise UsageError(
                    f"{self.path}: {name} has {stated} frames there, and {lengths[name].n_frames} elsewhere."
                )
        if silent := [name for name in lengths if name not in renamed.by_video and not _is_normal(name, dataset)]:
            raise UsageError(f"{self.path}: it does not mention {some(silent)}, which should be in it.")
        return renamed

    def _check_videos(self, features: Collection[str], known: Collection[str], missing: list[str]) -> list[str]:
        """Warnings about videos that are missing. Raises UsageError where they may not be, or others are there."""
        if others := sorted(set(features) - set(known)):
            normal = " Normal videos need a row too, with start and end empty." if self.dataset == "csv" else ""
            raise UsageError(f"{self.path}: it has no ground truth of {some(others)}.{normal}")
        if not missing:
            return []
        count = f"{len(missing)} of {len(missing) + len(known)} videos have ground truth and no features"
        if not self.incomplete:
            way_out = "To evaluate without them, which is on another test set, allow videos to be missing."
            raise UsageError(f"{self.path}: {count}: {some(missing)}. {way_out}", "incomplete")
        return [f"{count}, and are left out: {some(missing)}."]

    def _events(self, dataset: Dataset, intervals: Collection[tuple[float, float]], n_frames: int) -> np.ndarray:
        frames = np.zeros(n_frames, bool)
        for start, end in intervals:
            if dataset.fractions:
                start, end = round(start * n_frames), round(end * n_frames)
            frames[int(start) : int(end) + self.last_frame] = True
        return frames


def read_intervals(path: Path, names: Collection[str]) -> tuple[dict[str, list[tuple[int, int]]], str | None]:
    """Abnormal intervals, frames, half-open, of those of `names` that a table of `video,n_frames,start,end` has.

    The second is a sentence about videos of the table that are not among `names`, if there are any.

    Raises UsageError where the file cannot be understood.
    """
    by_video = dataset_of("csv").read(path).by_video
    matches = match_names(by_video, names, str(path))
    found: dict[str, list[tuple[int, int]]] = {}
    for written, name in matches.found.items():
        found.setdefault(name, []).extend((int(start), int(end)) for start, end in by_video[written])
    return found, matches.warning(str(path))


def read_frames(path: Path) -> dict[str, int]:
    """Lengths by video, from a table of `video,n_frames`. Raises UsageError where it is not one."""
    lengths: dict[str, int] = {}
    for row in read_table(path, ["video", "n_frames"]):
        if not row["video"] or not row.integer("n_frames"):
            row.refuse("a video and its number of frames are needed.")
        if lengths.setdefault(row["video"], row.integer("n_frames")) != row.integer("n_frames"):
            row.refuse(f"{row['video']} has two lengths.")
    return lengths


def _is_normal(name: str, dataset: Dataset) -> bool:
    """Whether the name of a video says that it is normal, in a data set whose annotation leaves normal videos out."""
    return dataset.normal_suffix is not None and name.endswith(dataset.normal_suffix)
