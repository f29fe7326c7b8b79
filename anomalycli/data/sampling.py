"""Which videos are held out, and which bags each step takes: a function of the seed and the step alone."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..matching import match_names
from ..textfiles import read_table
from ..wording import some


def split(
    names: tuple[str, ...], labels: np.ndarray, share: float, seed: int, groups: Mapping[str, str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the videos held out, at most `share` of each label, and of those to train on.

    Videos of one group (a source, a camera) stay together; a group with an abnormal video counts as
    abnormal. None is held out where one label would have none: one class alone has no AP.
    """
    members = members_of_groups(names, groups)
    chosen: list[int] = []
    for label in (0, 1):
        stratum = [videos for videos in members if labels[videos].max() == label]
        order = np.random.default_rng((seed, label)).permutation(len(stratum))
        room = int(sum(map(len, stratum)) * share)
        for i in order:
            if len(stratum[i]) > room:
                break
            room -= len(stratum[i])
            chosen += stratum[i]
    held_out = np.sort(np.array(chosen, int))
    if len(set(labels[held_out])) < 2:
        held_out = held_out[:0]
    return held_out, np.setdiff1d(np.arange(len(labels)), held_out)


def members_of_groups(names: Sequence[str], groups: Mapping[str, str] | None) -> list[list[int]]:
    """Indices of the videos of each group; a video without one is a group of its own."""
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault((groups or {}).get(name, name), []).append(i)
    return list(members.values())


def read_groups(path: Path, names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Group by video of `names`, from a CSV of `video,group`, and sentences on what has no match on either side.

    Raises UsageError where the file is not such a table, or puts a video into two groups.
    """
    groups: dict[str, str] = {}
    for row in read_table(path, ["video", "group"]):
        if not row["video"] or not row["group"]:
            row.refuse("a video or its group is missing.")
        if groups.setdefault(row["video"], row["group"]) != row["group"]:
            row.refuse(f"{row['video']} is in two groups.")
    matches = match_names(groups, names, str(path))
    found: dict[str, str] = {}
    for written, name in matches.found.items():
        if found.setdefault(name, groups[written]) != groups[written]:
            raise UsageError(f"{path}: {name} is in two groups, {found[name]} and {groups[written]}.")
    warnings = [warning] if (warning := matches.warning(str(path))) else []
    if alone := [name for name in names if name not in found]:
        warnings.append(f"{path}: it has no group for {some(alone)}: each is a group of its own.")
    return found, warnings


def draw(videos: np.ndarray, step: int, batch: int, seed: tuple[int, ...]) -> np.ndarray:
    """The videos of one step: all are seen once, in an order shuffled anew, before any comes again."""
    at = np.arange(step * batch, (step + 1) * batch)
    rounds = {r: np.random.default_rng((*seed, r)).permutation(videos) for r in np.unique(at // len(videos))}
    return np.array([rounds[i // len(videos)][i % len(videos)] for i in at])


def arranged(x: np.ndarray, crops: str) -> tuple[np.ndarray, int]:
    """Bags (N, C, T, D) as training takes them by the policy `crops`, and how many rows there are per video.

    Rows are (T, D): the means over crops, or the crops; with "together" they are (C, T, D).
    """
    if crops == "together":
        return x, 1
    if crops == "mean" and x.shape[1] > 1:
        return x.mean(1, dtype=np.float32), 1
    return x.reshape(-1, *x.shape[2:]), x.shape[1]


class BagBatches:
    """The batch of step k: rows of `arranged` bags, int64 (2, batch): abnormal ones, then normal ones.

    Of several crops, "all" takes each as a video of its own, "draw" any one each time a video comes.
    """

    def __init__(self, labels: np.ndarray, kept: np.ndarray, n_crops: int, crops: str, batch: int, seed: int):
        self.n_crops, self.batch, self.seed = n_crops, batch, seed
        self.each = crops == "all"
        videos = [kept[labels[kept] == label] for label in (1, 0)]
        if self.each:
            videos = [(part[:, None] * n_crops + np.arange(n_crops)).ravel() for part in videos]
        self.abnormal, self.normal = videos

    def __call__(self, step: int) -> np.ndarray:
        rows = np.stack(
            [draw(part, step, self.batch, (self.seed, label)) for label, part in ((1, self.abnormal), (0, self.normal))]
        )
        if self.each:
            return rows
        crops = np.random.default_rng((self.seed, 2, step)).integers(self.n_crops, size=rows.shape)
        return rows * self.n_crops + crops

    def epoch(self, step: int, row: int) -> int:
        """How often what stands in `row` of the abnormal half of step `step` has come, from 1."""
        return (step * self.batch + row) // len(self.abnormal) + 1
