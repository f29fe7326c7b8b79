"""Figures of experiments: ROC and PR curves, and Fig. 3 and 4 of the paper (Fig. 5: plot.py)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.metrics import Evaluation
from ..events import runs
from ..export.base import PICTURES
from ..export.lettering import lettered
from ..export.plot import CURVE, INK, QUIET, TRUTH, save
from ..training.erasure_log import Erasure
from ..wording import number_of

SEEDS: dict[str, Any] = {"color": CURVE, "marker": "o", "ls": "", "ms": 5, "alpha": 0.5}  # a point for each seed


def plot_curves(evaluation: Evaluation, path: Path) -> None:
    """ROC and precision-recall curve, side by side, as PNG, SVG and PDF beside each other."""
    figure = _figure(9, 4.4)
    left, right = figure.subplots(1, 2)
    metrics, n = evaluation.metrics, evaluation.pr
    left.plot(*evaluation.roc.T, color=CURVE, lw=1.8)
    left.plot((0, 1), (0, 1), color=QUIET, lw=1, ls=":")
    left.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC   AUC {metrics.auc:.4f}")
    right.plot(*n.T, color=CURVE, lw=1.8)
    share = sum(video.abnormal_frames for video in evaluation.videos) / sum(v.n_frames for v in evaluation.videos)
    right.axhline(share, color=QUIET, lw=1, ls=":")
    right.set(xlabel="recall", ylabel="precision", title=f"Precision-recall   AP {metrics.ap:.4f}")
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_aspect("equal")
    words = f"ROC curve, area {metrics.auc:.4f}, and precision-recall curve, average precision {metrics.ap:.4f}."
    _save(figure, path, "ROC and precision-recall", words)


def plot_erasures(erasures: Sequence[Erasure], path: Path, truth: Mapping[str, np.ndarray] | None = None) -> None:
    """Fig. 4: which segments are erased, epoch by epoch, of each video that was watched; as PNG, SVG and PDF.

    `truth`, bool (n_frames,) by video, is drawn as a strip above, where there is any.
    """
    names = sorted({erasure.video for erasure in erasures})
    figure = _figure(9, 2.6 * max(1, len(names)) + 0.3)
    if not names:
        figure.text(0.5, 0.5, "No video that was watched came up in training.", ha="center", va="center", color=INK)
    for number, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, number + 1)
        _draw_erasures(axes, [erasure for erasure in erasures if erasure.video == name], (truth or {}).get(name))
        title, font = lettered(name, 90)
        axes.set_title(title, fontsize=9, loc="left", parse_math=False, **font)
    counts = (f"{name}: {sum(len(e.segments) for e in erasures if e.video == name)} erased" for name in names)
    _save(figure, path, "Segments erased in training", "; ".join(counts))


def _draw_erasures(axes, rows: Sequence[Erasure], truth: np.ndarray | None) -> None:
    n_segments = rows[0].n_segments
    picture = np.full((max(row.epoch for row in rows), n_segments), np.nan)
    for row in rows:
        picture[row.epoch - 1] = np.isin(np.arange(n_segments), row.segments)
    extent = (0, n_segments, len(picture) + 0.5, 0.5)
    axes.imshow(picture, aspect="auto", cmap="Blues", vmin=0, vmax=1.2, extent=extent, interpolation="nearest")
    axes.set(xlabel="segment", ylabel="epoch")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if not any(row.segments for row in rows):
        axes.text(0.5, 0.5, "nothing erased", transform=axes.transAxes, ha="center", va="center", color=INK)
    if truth is not None:
        axes.set_ylim(len(picture) + 0.5, 0.5 - max(1, len(picture) / 8))
        for start, end in runs(truth):
            scale = n_segments / len(truth)
            axes.axvspan(start * scale, end * scale, ymin=0.9, color=TRUTH, lw=0)


def plot_sweep(name: str, rows: Sequence[tuple[Any, Sequence[float]]], metric: str, path: Path) -> None:
    """Fig. 3: `metric` over the values of one setting, as PNG, SVG and PDF.

    Rows are a value and the metric of each seed: a point each, and a line through the means. Values that are not all
    numbers stand side by side.
    """
    if any(isinstance(value, (bool, str)) for value, _ in rows):
        rows = [(str(value), seeds) for value, seeds in rows]
    figure = _figure(4.8, 3.4)
    axes = figure.subplots()
    axes.plot([value for value, _ in rows], [np.mean(seeds) for _, seeds in rows], color=CURVE, marker="_", ms=12)
    for value, seeds in rows:
        axes.plot([value] * len(seeds), seeds, **SEEDS)
    axes.set(xlabel=name, ylabel=metric, xticks=[value for value, _ in rows])
    words = "; ".join(f"{name} {value}: {_in_words(seeds)}" for value, seeds in rows)
    _save(figure, path, f"{metric} over {name}", words)


def plot_table(rows: Sequence[tuple[str, Sequence[float]]], metric: str, path: Path) -> None:
    """`metric` of each method, as PNG, SVG and PDF.

    Rows are a name and the metric of each seed: a point each, and a bar at the mean.
    """
    figure = _figure(6.4, 0.42 * len(rows) + 1)
    axes = figure.subplots()
    for number, (_, seeds) in enumerate(rows):
        axes.plot(np.mean(seeds), number, color=CURVE, marker="|", ms=16, mew=2.5)
        axes.plot(seeds, [number] * len(seeds), **SEEDS)
    names, fonts = zip(*(lettered(name, 40) for name, _ in rows), strict=True)
    axes.set(yticks=range(len(rows)), yticklabels=names, xlabel=f"{metric}: each seed, and the mean")
    for label, font in zip(axes.get_yticklabels(), fonts, strict=True):
        label.set(**font, parse_math=False)
    axes.margins(y=0.5 / len(rows))
    axes.invert_yaxis()
    _save(
        figure,
        path,
        f"{metric} of {len(rows)} methods",
        "; ".join(f"{name}: {_in_words(seeds)}" for name, seeds in rows),
    )


def _in_words(seeds: Sequence[float]) -> str:
    return f"mean {np.mean(seeds):.4f} of {number_of(len(seeds), 'seed')}"


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _save(figure: Figure, path: Path, title: str, description: str) -> None:
    """Write the figure to `path` + "." + kind, in each kind of PICTURES."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
    for kind in PICTURES:
        save(figure, path.with_name(f"{path.name}.{kind}"), title, description)
