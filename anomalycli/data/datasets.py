"""The published test sets: how their annotation files are read, and how large they are.

XD-Violence (Wu et al. 2020): one line per abnormal video, `name s e s e ...`. UCF-Crime (Sultani et al.
2018): `file class s1 e1 s2 e2 n_frames`, -1 where there is none. TAD (Lv et al. 2021): JSON, intervals as
fractions of the length. Any other set is a CSV of `video,n_frames,start,end`, one row per interval, start
and end empty where a video is normal.
"""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError, cause

CLIP_LENGTH = 16  # frames of a clip, in the published features of each of these sets


@dataclass(frozen=True)
class Intervals:
    """What a file says of a test set: abnormal intervals by video, and the lengths of the videos it gives lengths of.

    An interval is half-open, in frames, or in fractions of the video's length.
    """

    by_video: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    n_frames: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """How a data set publishes its test set.

    n_videos and n_frames: of the whole test set, None where they are not published. fractions: whether its
    intervals are fractions of a video's length. normal_suffix: how the names of its normal videos end, where the
    file does not list them.
    """

    read: Callable[[Path], Intervals]
    n_videos: int | None = None
    n_frames: int | None = None
    fractions: bool = False
    normal_suffix: str | None = None


def dataset_of(name: str) -> Dataset:
    """Raises UsageError where there is no data set of this name."""
    if name not in DATASETS:
        raise UsageError(f"There is no data set '{name}': give {', '.join(DATASETS)}.")
    return DATASETS[name]


def read_intervals(name: str, path: Path) -> Intervals:
    """Read the annotation file of data set `name`. Raises UsageError where it cannot be understood."""
    try:
        return dataset_of(name).read(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{path}: not ground truth as {name} has it ({cause(error)}).") from error


def _read_xd(path: Path) -> Intervals:
    read = Intervals()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, *numbers = line.split()
            read.by_video[name.removesuffix(".mp4")] = _pairs(name, [int(number) for number in numbers])
    return read


def _read_ucf(path: Path) -> Intervals:
    read = Intervals()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            file, _, *numbers, length = line.split()
            name = file.removesuffix(".mp4")
            read.by_video[name] = _pairs(name, [int(number) for number in numbers if number != "-1"])
            read.n_frames[name] = int(length)
    return read


def _read_tad(path: Path) -> Intervals:
    rows = json.loads(path.read_text(encoding="utf-8"))
    read = Intervals(
        {Path(row["path"]).stem: [(float(start), float(end)) for start, end in row["anomaly_span"]] for row in rows}
    )
    for name, video in read.by_video.items():
        if not all(0 <= start < end <= 1 for start, end in video):
            raise ValueError(f"{name}: {video} are not fractions of a video")
    return read


def _read_csv(path: Path) -> Intervals:
    read = Intervals()
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            name, length = row["video"], int(row["n_frames"])
            if read.n_frames.setdefault(name, length) != length:
                raise ValueError(f"{name} has {read.n_frames[name]} frames in one row and {length} in another")
            video = read.by_video.setdefault(name, [])
            if row["start"] or row["end"]:
                start, end = int(row["start"]), int(row["end"])
                if not 0 <= start < end <= length:
                    raise ValueError(f"{name}: [{start}, {end}) is not within its {length} frames")
                video.append((start, end))
    if not read.n_frames:
        raise ValueError("there is no video in it")
    return read


def _pairs(name: str, numbers: list[int]) -> list[tuple[float, float]]:
    pairs: list[tuple[float, float]] = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not all(0 <= start < end for start, end in pairs):
        raise ValueError(f"{name}: {pairs} are not intervals")
    return pairs


DATASETS = {
    "xd-violence": Dataset(_read_xd, 800, 2_330_384, normal_suffix="_label_A"),
    "ucf-crime": Dataset(_read_ucf, 290, 1_109_680),
    "tad": Dataset(_read_tad, fractions=True),
    "csv": Dataset(_read_csv),
}
