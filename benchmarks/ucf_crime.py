"""Settings for UCF-Crime, chosen on videos held out of its train split; the test split is not read.

    python benchmarks/ucf_crime.py tune ucf/train tuning.csv [--methods de-net,mil-rank] [--trials "raw 3e-4;centred"]
    python benchmarks/ucf_crime.py best tuning.csv

Frames of the train split are not labelled, so `tune` makes videos whose abnormal segments are known: 6 to 32 segments,
sampled evenly from a video held out, replace as many in a row of a normal one's 64. Normal videos are treated like
abnormal ones, so that a cut alone is no sign. All segments of an abnormal video count as abnormal.
Copies of a video are held out together.

`tune` trains each method with each trial, and writes after 40, 80 and 160 steps: AUC and AP of all segments of the
spliced videos, AUC of those of the abnormal ones alone, and the AUC of the videos held out as they are, by highest
score. It does so for the weights as they are and for their moving average. Trials in the file are not run again. `best`
prints the means over folds.
"""

import argparse
import contextlib
import time
from collections import defaultdict
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from rows import Rows, read
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from anomalycli import losses
from anomalycli.data.bags import load_bags
from anomalycli.data.sampling import BagBatches
from anomalycli.inference import score_bags
from anomalycli.methods import find_method, linear, mil_rank, rtfm
from anomalycli.methods.prepared import scaled, standardised
from anomalycli.training.cross_validation import make_folds
from anomalycli.training.loop import make_optimizer, optimise
from anomalycli.training.plan import make_plan, setting_names

CPU = torch.device("cpu")
FOLDS, MARKS, DECAY = 5, (40, 80, 160), 0.95  # DECAY: of the moving average of weights
SHARED = {"batch": 16, "steps": 80, "lr": 3e-4, "precision": "fp32", "width": 64, "feedforward": 128}
# changes to SHARED; those in capital letters are known here only
TRIALS: dict[str, dict] = {
    "raw 1e-4": {"lr": 1e-4},
    "raw 3e-4": {},
    "raw 1e-3": {"lr": 1e-3},
    "raw 3e-4 160 steps": {"steps": 160},
    "standardised 3e-4": {"standardise": True},
    "standardised 3e-4 160 steps": {"standardise": True, "steps": 160},
    "standardised 1e-3": {"standardise": True, "lr": 1e-3},
    "standardised 1e-3 160 steps": {"standardise": True, "lr": 1e-3, "steps": 160},
    "standardised x 3.5": {"standardise": True, "scale": 3.5},
    "centred": {"standardise": True, "CENTRED": True},
    "residual": {"RESIDUAL": True},
    "residual, encoder dropout .5": {"RESIDUAL": True, "encoder_dropout": 0.5},
    "encoder dropout .5": {"encoder_dropout": 0.5},
    "input dropout .3": {"ALTERED": {"dropout": 0.3}},
    "input dropout .6": {"ALTERED": {"dropout": 0.6}},
    "noise .5": {"ALTERED": {"noise": 0.5}},
    "masked segments .3": {"ALTERED": {"masked": 0.3}},
    "smoothed labels .1": {"SMOOTHED": 0.1},
    "weight decay 1e-2": {"weight_decay": 1e-2},
    "two heads": {"heads": 2},
    "width 128": {"width": 128, "feedforward": 256},
    "raw x 3": {"scale": 3.0},
    "raw x 10": {"scale": 10.0},
    "raw x 3, 1e-4": {"scale": 3.0, "lr": 1e-4},
    "raw x 3, residual": {"scale": 3.0, "RESIDUAL": True},
    "raw x 3, encoder dropout .5": {"scale": 3.0, "encoder_dropout": 0.5},
    "raw x 3, input dropout .6": {"scale": 3.0, "ALTERED": {"dropout": 0.6}},
    "raw x 3, noise .5": {"scale": 3.0, "ALTERED": {"noise": 0.5}},
    "raw x 3, masked segments .3": {"scale": 3.0, "ALTERED": {"masked": 0.3}},
    "raw x 3, jittered segments": {"scale": 3.0, "ALTERED": {"jitter": True}},
    "raw x 3, smoothed labels .1": {"scale": 3.0, "SMOOTHED": 0.1},
    "raw x 3, weight decay 1e-2": {"scale": 3.0, "weight_decay": 1e-2},
}
COLUMNS = ("method", "trial", "fold", "step", "weights", "auc", "ap", "abnormal_auc", "video_auc", "seconds")


class Residual(nn.Module):
    """A temporal module whose input is added to its output."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Altered(nn.Module):
    """A method on bags that are altered in training."""

    def __init__(self, method, dropout=0.0, noise=0.0, masked=0.0, jitter=False):
        super().__init__()
        self.method, self.settings = method, method.settings
        self.dropout, self.noise, self.masked, self.jitter = dropout, noise, masked, jitter

    def forward(self, x):
        return self.method(x)

    def loss(self, x_a, x_n):
        return self.method.loss(self.alter(x_a), self.alter(x_n))

    def alter(self, x):
        videos, segments, _ = x.shape
        if self.jitter:  # each segment is drawn again from about its place
            places = torch.arange(segments) + torch.empty(videos, segments).uniform_(-2, 2)
            order = places.round().long().clamp(0, segments - 1)
            x = x.gather(1, order[:, :, None].expand_as(x))
        if self.noise:
            x = x + self.noise * x.std(dim=(0, 1)) * torch.randn_like(x)
        if self.masked:
            x = x * (torch.rand(videos, segments, 1) >= self.masked)
        return nn.functional.dropout(x, self.dropout)


def load(folder):
    """Bags, and for each video the first one with the same features."""
    bags = load_bags(folder, 64)
    first, groups = {}, {}
    for name, x in zip(bags.names, bags.x, strict=True):
        groups[name] = first.setdefault(x.mean((0, 1)).round(2).tobytes(), name)
    return bags, groups


def spliced(bags, rng):
    """Bags (N, 1, 64, D) of the videos of `bags` in normal ones, and which of their segments are abnormal."""
    normal = np.flatnonzero(bags.labels == 0)
    x, truth = [], []
    for video, label in enumerate(bags.labels):
        host = bags.x[rng.choice(normal[normal != video])].copy()
        length = rng.integers(6, 33)
        start = rng.integers(0, 65 - length)
        host[:, start : start + length] = bags.x[video][:, (np.arange(length) + 0.5).astype(int) * 64 // length]
        x.append(host)
        truth.append(label * ((np.arange(64) >= start) & (np.arange(64) < start + length)))
    return np.stack(x), np.stack(truth)


def build(plan, trial, x):
    """The method of a plan, on features prepared as the trial says; x are those it is trained on."""
    method = find_method(plan.method).build(plan.settings)
    if trial.get("RESIDUAL"):
        method.mstm = Residual(method.mstm)
    method = Altered(method, **trial.get("ALTERED", {}))
    if not plan.config.standardise:
        return scaled(method, x.shape[-1], plan.config.scale)
    method = standardised(method, x)
    if trial.get("CENTRED"):  # one deviation for all features
        method.deviation.fill_(float(method.deviation.square().mean().sqrt()))
    method.deviation /= plan.config.scale
    return method


def run(name, trial, bags, held_out, fold):
    """Steps, weights, figures and seconds, at each of MARKS."""
    begin = time.process_time()
    judged = bags[held_out]
    x, truth = spliced(judged, np.random.default_rng(fold))
    settings = {key: value for key, value in (SHARED | trial).items() if key in setting_names(name)}
    plan = make_plan(name, bags.dim, settings | {"seed": fold} | ({"crops": "mean"} if name == "rtfm" else {}))
    kept = np.setdiff1d(np.arange(len(bags.names)), held_out)
    torch.manual_seed(fold)
    method = build(plan, trial, bags.x[kept])
    average = {key: tensor.clone() for key, tensor in method.state_dict().items()}
    batches = BagBatches(bags.labels, kept, 1, "mean", plan.config.batch, fold)
    with smoothed(trial.get("SMOOTHED", 0.0)):
        rows = torch.from_numpy(bags.x[:, 0])
        for step in optimise(method, make_optimizer(method, plan.config), rows, batches, plan.config):
            for key, tensor in method.state_dict().items():
                if tensor.is_floating_point():
                    average[key].lerp_(tensor, 1 - min(DECAY, step.number / (step.number + 5)))
            if step.number in MARKS:
                own = {key: tensor.clone() for key, tensor in method.state_dict().items()}
                for weights, state in (("last", own), ("average", average)):
                    method.load_state_dict(state)
                    seconds = round(time.process_time() - begin, 1)
                    yield step.number, weights, *figures(method, x, truth, judged), seconds
                method.load_state_dict(own)


def figures(method, x, truth, judged):
    """AUC and AP of spliced videos, AUC of the abnormal ones of them, AUC of videos."""
    scores, inside = score_bags(method, x, CPU), truth.any(1)
    values = (
        roc_auc_score(truth.ravel(), scores.ravel()),
        average_precision_score(truth.ravel(), scores.ravel()),
        roc_auc_score(truth[inside].ravel(), scores[inside].ravel()),
        roc_auc_score(judged.labels, score_bags(method, judged.x, CPU).max(1)),
    )
    return [round(float(value), 4) for value in values]


@contextlib.contextmanager
def smoothed(share):
    """Smoothed labels: a smaller gap satisfies the hinge, and cross-entropy aims at less than 1 and more than 0."""
    if not share:
        yield
        return
    gap, hinge = 1 - 2 * share, losses.ranking_loss

    def smaller(s_a, s_n):
        return gap * hinge(s_a / gap, s_n / gap)

    def softer(loss):
        return lambda scores, target: loss(scores, target * gap + share)

    with (
        mock.patch.object(losses, "ranking_loss", smaller),
        mock.patch.object(mil_rank, "ranking_loss", smaller),
        mock.patch.object(rtfm, "binary_cross_entropy", softer(rtfm.binary_cross_entropy)),
        mock.patch.object(linear, "binary_cross_entropy_with_logits", softer(linear.binary_cross_entropy_with_logits)),
    ):
        yield


def tune(args):
    rows = Rows(args.output, COLUMNS, 3)
    bags, groups = load(args.source)
    folds = make_folds(bags, FOLDS, 0, groups)
    for fold in range(args.folds):
        for trial in args.trials.split(";") if args.trials else TRIALS:
            for method in args.methods.split(","):
                if not rows.has(method, trial, fold):
                    points = list(run(method, TRIALS[trial], bags, folds[fold], fold))
                    rows.add((method, trial, fold, *point) for point in points)


def best(args):
    points = defaultdict(list)
    for row in read(args.source):
        key = (row["method"], row["trial"], row["weights"], int(row["step"]))
        points[key].append([float(row[name]) for name in COLUMNS[5:]])
    print(f"{'method':9} {'trial':28} weights  steps    AUC     AP  abnormal  videos  seconds  folds")
    for key in sorted(points, key=lambda key: (key[0], -np.mean(points[key], 0)[0])):
        auc, ap, abnormal, video, seconds = np.mean(points[key], 0)
        name, trial, weights, steps = key
        print(f"{name:9} {trial:28} {weights:8} {steps:5}  {auc:.4f} {ap:.4f}    {abnormal:.4f}  {video:.4f}  "
              f"{seconds:7.1f}  {len(points[key]):5}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("tune", "best"))
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("--methods", default="linear,mil-rank,rtfm,mstm,de-net")
    parser.add_argument("--trials", help="names of TRIALS, separated by semicolons")
    parser.add_argument("--folds", type=int, default=1)
    args = parser.parse_args()
    {"tune": tune, "best": best}[args.task](args)


if __name__ == "__main__":
    main()
