"""Clips of street-fights, strung together by their features as the composed videos are, and folds by source of them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rows import read

from anomalycli.data.bags import Bags
from anomalycli.features import FeatureKind, load_features
from anomalycli.features.files import Features
from anomalycli.segments import pool

FOLDS, HELD_OUT = 3, 40  # HELD_OUT: strings of each label
STRINGS = (160, 160, 160)  # to train on: of the clips as they are, of the varied and of the fast ones
SEGMENTS = 32


@dataclass(frozen=True)
class Fold:
    """Strings to train on and strings of sources held out, and which of their segments are abnormal, bool (N, T)."""

    train: Bags
    held_out: Bags
    truth: np.ndarray


def clips_of_fold(rows, features, fold):
    """Clips of the sources that a fold keeps, and of those it holds out: normal ones, then fights, each.

    `rows` are those of clips.csv; a clip is whatever `features` has for its name.
    """
    sources = np.random.default_rng(0).permutation(sorted({row["source"] for row in rows}))
    held_out = set(sources[fold::FOLDS])
    return [
        [
            [features[row["clip"]] for row in rows if (row["source"] in held_out) == side and row["label"] == label]
            for label in ("0", "1")
        ]
        for side in (False, True)
    ]


def string(clips, chosen):
    """Features (n, D) of the clips `chosen`, (label, index) each, and which of them lie in a fight."""
    parts = [clips[label][i] for label, i in chosen]
    return np.concatenate(parts), np.repeat([label for label, _ in chosen], [len(part) for part in parts])


def train_split(data: Path, name: str) -> list[dict[str, str]]:
    return [row for row in read(data / name) if row["split"] == "train"]


def load_clips(folder: Path, rows) -> tuple[dict[str, np.ndarray], FeatureKind]:
    """Features (n, D) by clip, and their kind."""
    files = {row["clip"]: load_features(folder / f"{row['clip']}.npz") for row in rows}
    return {name: file.visual[:, 0] for name, file in files.items()}, next(iter(files.values())).kind


def load_sets(args, rows) -> tuple[list, FeatureKind]:
    """Features by clip: as they are, varied, and fast normal clips with the fights as they are; and their kind."""
    clips, kind = load_clips(args.clips, rows)
    varied, _ = load_clips(args.varied, rows)
    fast, _ = load_clips(args.fast, [row for row in rows if row["label"] == "0"])
    return [clips, varied, {name: fast.get(name, features) for name, features in clips.items()}], kind


def folds(args) -> Iterator[Fold]:
    """The folds by source of the train split: trained on strings of each set, validated on the clips as they are."""
    rows, compositions = train_split(args.data, "clips.csv"), train_split(args.data, "compositions.csv")
    sets, kind = load_sets(args, rows)
    for fold in range(FOLDS):
        rng = np.random.default_rng(fold)
        held_out = strings(clips_of_fold(rows, sets[0], fold)[1], compositions[: 2 * HELD_OUT], kind, rng)
        train = [
            strings(clips_of_fold(rows, each, fold)[0], compositions[:n], kind, rng)[0]
            for each, n in zip(sets, STRINGS, strict=True)
        ]
        x, labels, n_frames = (
            np.concatenate([getattr(bags, name) for bags in train]) for name in ("x", "labels", "n_frames")
        )
        names = tuple(f"{i}/{name}" for i, bags in enumerate(train) for name in bags.names)
        yield Fold(Bags(x, labels, names, kind, n_frames), *held_out)


def add(args) -> None:
    """Write strings of the varied and of the fast clips beside the features of the composed videos, with labels."""
    rows, compositions = train_split(args.data, "clips.csv"), train_split(args.data, "compositions.csv")
    (_, *sets), kind = load_sets(args, rows)
    labels = [(row["video"], row["label"]) for row in read(args.features / "labels.csv")]
    for seed, (prefix, features, n) in enumerate(zip(("varied", "fast"), sets, STRINGS[1:], strict=True), 7):
        rng = np.random.default_rng(seed)
        clips = [[features[row["clip"]] for row in rows if row["label"] == label] for label in ("0", "1")]
        for row in compositions[:n]:
            x, name = drawn(row, clips, rng)[0], f"{prefix}_{row['video']}"
            Features(x[:, None], kind, kind.clip_length * len(x), 25.0, name).save(args.features / f"{name}.npz")
            labels.append((name, row["label"]))
    with open(args.features / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("video", "label"), *labels])


def drawn(row, clips, rng) -> tuple[np.ndarray, np.ndarray]:
    """Clips strung together at random in the pattern of a composition, as `string` gives them."""
    labels = [int(clip.startswith("fight/")) for clip in row["clips"].split()]
    return string(clips, [(label, rng.integers(len(clips[label]))) for label in labels])


def strings(clips, compositions, kind, rng) -> tuple[Bags, np.ndarray]:
    """Clips strung together at random in the patterns of `compositions`, and which segments are mostly abnormal."""
    x, truth = [], []
    for row in compositions:
        features, inside = drawn(row, clips, rng)
        x.append(pool(features, SEGMENTS)[None])
        truth.append(pool(inside[:, None], SEGMENTS)[:, 0] > 0.5)
    labels = np.array([int(row["label"]) for row in compositions])
    names = tuple(row["video"] for row in compositions)
    return Bags(np.stack(x), labels, names, kind, np.full(len(x), 16 * SEGMENTS)), np.stack(truth)
