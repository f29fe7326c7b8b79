"""The published test sets: their annotation files, the lengths of their videos, and their totals.

XD-Violence (Wu et al. 2020): one line per abnormal video, `name s e s e ...`. UCF-Crime (Sultani et al. 2018):
`file class s1 e1 s2 e2`, -1 where there is none; copies add `n_frames`. TAD (Lv et al. 2021): its authors published
no annotation file; this reads `tad_test_anno.json` of LaGoVAD (Liu et al. 2025), intervals as fractions of the
length. Any other set is a table of `video,n_frames,start,end`, one row per interval, start and end empty where a
video is normal.
"""

import functools
import importlib.resources
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import UsageError
from ..textfiles import read_lines, read_table, read_text

CLIP_LENGTH = 16  # frames of a clip, in the published features of each of these sets
_COUNTS = re.compile(r"(?P<clips>\d+) (?:(?P<padded>\d+) )?(?P<name>\S+)")


@dataclass(frozen=True)
class Intervals:
    """Content of an annotation file: abnormal intervals by video, and the lengths it states.

    Intervals are half-open, in frames or in fractions of the video's length.
    """

    by_video: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    n_frames: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Length:
    """Frames of one test video: in the published ground truth, and with its last clip padded."""

    n_frames: int
    padded: int


@dataclass(frozen=True)
class Dataset:
    """How a data set publishes its test set.

    totals: frames of the whole test set, and what that number is; none where it is not published. fractions:
    whether its intervals are fractions of a video's length. normal_suffix: how the names of its normal videos end,
    where the annotation does not list them.
    """

    read: Callable[[Path], Intervals]
    totals: Mapping[int, str] = field(default_factory=dict)
    fractions: bool = False
    normal_suffix: str | None = None


def dataset_of(name: str) -> Dataset:
    """The data set of this name. Raises UsageError if there is none."""
    if name not in DATASETS:
        raise UsageError(f"There is no data set '{name}': give {', '.join(DATASETS)}.")
    return DATASETS[name]


@functools.cache
def published_lengths(name: str) -> Mapping[str, Length]:
    """Published lengths of the test videos of data set `name`, which are part of the package.

    A line of the file is `clips name`, or `clips padded name` where a total with the last clip padded is in use too.
    """
    if not dataset_of(name).totals:
        return {}
    text = (importlib.resources.files("anomalycli.data") / "test_sets" / f"{name}.txt").read_text(encoding="utf-8")
    lengths = {}
    for line in filter(None, map(_COUNTS.fullmatch, text.splitlines())):
        clips = int(line["clips"])
        lengths[line["name"]] = Length(clips * CLIP_LENGTH, int(line["padded"] or clips) * CLIP_LENGTH)
    return lengths


def _read_xd(path: Path) -> Intervals:
    read = Intervals()
    for number, line in enumerate(read_lines(path), 1):
        name, *numbers = line.split()
        read.by_video[name] = _pairs(path, number, numbers)
    return read


def _read_ucf(path: Path) -> Intervals:
    read = Intervals()
    for number, line in enumerate(read_lines(path), 1):
        name, _, *numbers = line.split() if len(line.split()) > 1 else (line, "")
        if len(numbers) not in (4, 5):
            raise UsageError(f"{path}, line {number}: not 'file class s1 e1 s2 e2', with or without the length.")
        read.by_video[name] = _pairs(path, number, [word for word in numbers[:4] if word != "-1"])
        if len(numbers) == 5:
            read.n_frames[name] = _whole_number(path, number, numbers[4])
    return read


def _read_tad(path: Path) -> Intervals:
    read = Intervals()
    try:
        rows = json.loads(read_text(path))
        for row in rows:
            video = [(float(start), float(end)) for start, end in row["anomaly_span"]]
            read.by_video[PurePosixPath(row["path"].replace("\\", "/")).stem] = video
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{path}: not TAD's ground truth: a JSON list of objects with 'path' and 'anomaly_span', pairs of numbers."
        ) from error
    for name, video in read.by_video.items():
        if not all(math.isfinite(start) and 0 <= start < end <= 1 for start, end in video):
            raise UsageError(f"{path}: {name} has {video}, which are not fractions of a video.")
    return read


def _read_csv(path: Path) -> Intervals:
    read = Intervals()
    for row in read_table(path, ["video", "n_frames", "start", "end"]):
        name, length = row["video"], row.integer("n_frames")
        if not name or not length:
            row.refuse("a video and its number of frames are needed.")
        if read.n_frames.setdefault(name, length) != length:
            row.refuse(f"{name} has {read.n_frames[name]} frames in one row and {length} in another.")
        video = read.by_video.setdefault(name, [])
        if row["start"] or row["end"]:
            start, end = row.integer("start"), row.integer("end")
            if not start < end <= length:
                row.refuse(f"{name}: [{start}, {end}) is not within its {length} frames.")
            video.append((start, end))
    return read


def _pairs(path: Path, line: int, words: list[str]) -> list[tuple[float, float]]:
    numbers = [_whole_number(path, line, word) for word in words]
    if len(numbers) % 2 or not all(start < end for start, end in zip(numbers[::2], numbers[1::2], strict=True)):
        raise UsageError(f"{path}, line {line}: {' '.join(words)} are not intervals (start end start end ...).")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _whole_number(path: Path, line: int, word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", word):
        raise UsageError(f"{path}, line {line}: '{word}' where a frame number belongs.")
    return int(word)


DATASETS = {
    "csv": Dataset(_read_csv),
    "xd-violence": Dataset(_read_xd, {2_330_384: "whole clips, (n - 1) // 16 of each video"}, normal_suffix="_label_A"),
    "ucf-crime": Dataset(
        _read_ucf,
        {
            1_109_680: "whole clips, as DeepMIL and UR-DMU count",
            1_114_144: "69,634 clips, as RTFM and CU-Net count: the last of each video is padded with normal frames",
        },
    ),
    "tad": Dataset(_read_tad, fractions=True),
}
