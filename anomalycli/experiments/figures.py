"""The pictures of experiments: ROC and PR curves, and Fig. 3 and 4 of the paper (Fig. 5: plot.py)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..evaluation.metrics import Evaluation
from ..events import runs
from ..export.plot import CURVE, INK, QUIET, TRUTH, save
from ..training.erasure_log import Erasure


def plot_curves(evaluation: Evaluation, path: Path) -> None:
    """ROC and precision-recall curve, side by side."""
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
    _save(figure, path)


def plot_erasures(erasures: Sequence[Erasure], path: Path, truth: Mapping[str, np.ndarray] | None = None) -> None:
    """Fig. 4: which segments are erased, epoch by epoch, of each video that was watched.

    `truth`, bool (n_frames,) by video, is drawn as a strip above, where there is any.
    """
    truth = truth or {}
    names = sorted({erasure.video for erasure in erasures})
    figure = _figure(9, 2.6 * max(1, len(names)) + 0.3)
    if not names:
        figure.text(0.5, 0.5, "No video that was watched came up in training.", ha="center", va="center", color=INK)
    panels: Any = figure.subplots(len(names), 1, squeeze=False)[:, 0] if names else []
    for axes, name in zip(panels, names, strict=True):
        rows = [erasure for erasure in erasures if erasure.video == name]
        picture = np.full((max(row.epoch for row in rows), rows[0].n_segments), np.nan)
        for row in rows:
            picture[row.epoch - 1] = np.isin(np.arange(row.n_segments), row.segments)
        extent = (0, rows[0].n_segments, len(picture) + 0.5, 0.5)
        axes.imshow(picture, aspect="auto", cmap="Blues", vmin=0, vmax=1.2, extent=extent, interpolation="nearest")
        axes.set(xlabel="segment", ylabel="epoch")
        axes.set_title(name, fontsize=9, loc="left")
        if name in truth:
            axes.set_ylim(len(picture) + 0.5, 0.5 - max(1, len(picture) / 8))
            for start, end in runs(truth[name]):
                scale = rows[0].n_segments / len(truth[name])
                axes.axvspan(start * scale, end * scale, ymin=0.9, color=TRUTH, lw=0)
    _save(figure, path)


def plot_sweep(name: str, rows: Sequence[tuple[float, float, float]], metric: str, path: Path) -> None:
    """Fig. 3: the mean and spread of `metric` over the values of one setting; rows are value, mean, std."""
    values, means, spreads = np.array(rows).T
    figure = _figure(4.8, 3.4)
    axes = figure.subplots()
    axes.errorbar(values, means, spreads, color=CURVE, marker="o", capsize=3)
    axes.set(xlabel=name, ylabel=metric, xticks=values)
    _save(figure, path)


def plot_table(rows: Sequence[tuple[str, float, float]], metric: str, path: Path) -> None:
    """Methods, best last, with the spread over seeds; rows are name, mean, std."""
    names, means, spreads = zip(*rows, strict=True)
    figure = _figure(6.4, 0.42 * len(rows) + 1)
    axes = figure.subplots()
    axes.errorbar(means, range(len(rows)), xerr=spreads, color=CURVE, marker="o", ls="", capsize=3)
    axes.set(yticks=range(len(rows)), yticklabels=names, xlabel=f"{metric}, mean and standard deviation")
    axes.invert_yaxis()
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
    save(figure, path)
