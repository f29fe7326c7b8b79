"""Which frames are abnormal: from the annotation files of the test sets as their authors publish them.

XD-Violence (Wu et al. 2020): a line an abnormal video, `name s e s e ...`. UCF-Crime (Sultani et al.
2018): `file class s1 e1 s2 e2 n_frames`, -1 where there is none. TAD (Lv et al. 2021): JSON, spans as
fractions of the length. Any other set: a CSV of `video,n_frames,start,end`, a row an interval, start
and end empty where a video is normal.

Frames [s, e) are abnormal, as the published evaluations of XD-Violence (`gt[s:e] = 1`) and UCF-Crime
have it; with `last_frame` frame e is too. Both cut videos to whole clips of 16 frames.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import UsageError, cause
from ..features.files import FeatureKind
from ..segments import CLIP_LENGTH
from .bags import PUBLISHED

DATASETS = ("xd-violence", "ucf-crime", "tad", "csv")
TOTALS = {"xd-violence": (800, 2_330_384), "ucf-crime": (290, 1_109_680)}  # videos, frames of the whole test set

Spans = dict[str, list[tuple[float, float]]]  # frames, or fractions of the video


def load_ground_truth(
    dataset: str,
    path: str | Path,
    n_frames: Mapping[str, int] | None = None,
    frames_file: str | Path | None = None,
    last_frame: bool = False,
) -> dict[str, np.ndarray]:
    """Bool (n_frames,) by video, true where it is abnormal.

    The lengths of the published sets come from `frames_file`, a CSV of `video,n_frames`, or else are
    `n_frames`, those of the features at hand; of XD-Violence and UCF-Crime they are cut to whole clips.

    Raises UsageError where the file cannot be understood, a video's length is not known or not the
    one that the file says, or a published test set is not whole (TOTALS).
    """
    path = Path(path)
    if dataset not in DATASETS:
        raise UsageError(f"There is no data set '{dataset}': give {', '.join(DATASETS)}.")
    try:
        spans, stated = _READERS[dataset](path)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{path}: not ground truth as {dataset} has it ({cause(error)}).") from error
    lengths = stated
    if dataset != "csv":
        lengths = read_frames(Path(frames_file)) if frames_file else dict(n_frames or stated)
    if missing := sorted(spans.keys() - lengths.keys()):
        raise UsageError(f"{path}: {missing[0]} is neither among the features nor in a file given as --frames.")
    truth = {}
    for name, length in lengths.items():
        if abs(length - stated.get(name, length)) > 2 * CLIP_LENGTH:
            raise UsageError(f"{path}: {name} has {stated[name]} frames there, and {length} here.")
        if name not in spans and not (dataset == "xd-violence" and name.endswith("_label_A")):
            raise UsageError(f"{path}: it says nothing about {name}, which is not among its normal videos.")
        if dataset in TOTALS:
            length -= length % CLIP_LENGTH
        truth[name] = np.zeros(length, bool)
        for start, end in spans.get(name, ()):
            if dataset == "tad":
                start, end = round(start * length), round(end * length)
            truth[name][int(start) : int(end) + last_frame] = True
    _check_total(dataset, path, truth)
    return truth


def read_spans(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Abnormal intervals by video, frames, half-open, from a CSV of `video,n_frames,start,end`.

    Raises UsageError where the file cannot be understood.
    """
    try:
        spans, _ = _read_csv(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a table of video,n_frames,start,end ({cause(error)}).") from error
    return {name: [(int(start), int(end)) for start, end in video] for name, video in spans.items()}


def read_frames(path: Path) -> dict[str, int]:
    """Lengths by video, from a CSV of `video,n_frames`. Raises UsageError where it is not one."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return {row["video"]: int(row["n_frames"]) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a table of video,n_frames ({cause(error)}).") from error


def fitted(scores: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], slack: int = 0) -> dict[str, np.ndarray]:
    """Scores cut to the ground truth's lengths; `slack` is how many frames longer they may be.

    Raises UsageError that names the video and both lengths where they do not fit, or the videos that
    only one side has.
    """
    for here, there, sentence in (
        (truth, scores, "there is ground truth for {}, and no features"),
        (scores, truth, "there are features of {}, and no ground truth"),
    ):
        if missing := sorted(here.keys() - there.keys()):
            raise UsageError(f"{len(missing)} of {len(here)} videos do not fit: {sentence.format(missing[0])}.")
    for name, video in truth.items():
        if not 0 <= len(scores[name]) - len(video) <= slack:
            raise UsageError(
                f"{name}: its features stand for {len(scores[name])} frames, and its ground truth has {len(video)}."
            )
    return {name: scores[name][: len(video)] for name, video in truth.items()}


def slack_of(kind: FeatureKind, dataset: str) -> int:
    """Frames by which features may be longer than ground truth.

    Published features know their length in whole clips only, and published ground truth stops there.
    """
    return CLIP_LENGTH if kind.backbone == PUBLISHED or dataset != "csv" else 0


def _read_xd(path: Path) -> tuple[Spans, dict[str, int]]:
    spans: Spans = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, *numbers = line.split()
            spans[name.removesuffix(".mp4")] = _pairs(name, [int(number) for number in numbers])
    return spans, {}


def _read_ucf(path: Path) -> tuple[Spans, dict[str, int]]:
    spans: Spans = {}
    lengths: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            file, _, *numbers, length = line.split()
            name = file.removesuffix(".mp4")
            spans[name] = _pairs(name, [int(number) for number in numbers if number != "-1"])
            lengths[name] = int(length)
    return spans, lengths


def _read_tad(path: Path) -> tuple[Spans, dict[str, int]]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    spans = {Path(row["path"]).stem: [(float(start), float(end)) for start, end in row["anomaly_span"]] for row in rows}
    for name, video in spans.items():
        if not all(0 <= start < end <= 1 for start, end in video):
            raise ValueError(f"{name}: {video} are not fractions of a video")
    return spans, {}


def _read_csv(path: Path) -> tuple[Spans, dict[str, int]]:
    spans: Spans = {}
    lengths: dict[str, int] = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            name, length = row["video"], int(row["n_frames"])
            if lengths.setdefault(name, length) != length:
                raise ValueError(f"{name} has {lengths[name]} frames in one row and {length} in another")
            video = spans.setdefault(name, [])
            if row["start"] or row["end"]:
                start, end = int(row["start"]), int(row["end"])
                if not 0 <= start < end <= length:
                    raise ValueError(f"{name}: [{start}, {end}) is not within its {length} frames")
                video.append((start, end))
    if not lengths:
        raise ValueError("there is no video in it")
    return spans, lengths


_READERS = {"xd-violence": _read_xd, "ucf-crime": _read_ucf, "tad": _read_tad, "csv": _read_csv}


def _pairs(name: str, numbers: list[int]) -> list[tuple[float, float]]:
    pairs: list[tuple[float, float]] = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not all(0 <= start < end for start, end in pairs):
        raise ValueError(f"{name}: {pairs} are not intervals")
    return pairs


def _check_total(dataset: str, path: Path, truth: dict[str, np.ndarray]) -> None:
    ours = len(truth), sum(map(len, truth.values()))
    if dataset in TOTALS and ours != TOTALS[dataset]:
        videos, frames = TOTALS[dataset]
        raise UsageError(
            f"{path}: with these lengths {dataset} has {ours[0]} videos and {ours[1]:,} frames, and its test set has "
            f"{videos} and {frames:,}. Are all features there, and is each as long as published (or give --frames)?"
        )
