"""How the bundled model was made, and what it is worth.

street/train and street/test are the untrimmed videos composed of the street-fights clips; the two splits share no
source video. SETTINGS stands for what `settings` prints, PEERS for --segments 32 --steps 60 --batch 16
--standardise --balance --validation 0 --half, FEATURES for features/clips features/varied features/fast.

    python benchmarks/varied_clips.py street-fights varied
    python benchmarks/varied_clips.py street-fights fast --fast
    anomalycli extract street-fights/clips -o features/clips   # and varied, fast, street/train, street/test likewise
    python benchmarks/bundled_model.py folds street-fights FEATURES
    python benchmarks/bundled_model.py add street-fights FEATURES features/train
    for seed in 0 1 2 3 4; do
        anomalycli train features/train -o models/de-net-$seed.safetensors --seed $seed SETTINGS
        anomalycli train features/train -o models/mil-rank-$seed.safetensors --seed $seed PEERS \\
            --method mil-rank --lr 3e-4
        anomalycli train features/train -o models/linear-$seed.safetensors --seed $seed PEERS --method linear --lr 1e-3
    done
    python benchmarks/bundled_model.py assemble street-fights FEATURES fights.safetensors \\
        models/de-net-[012].safetensors --plot reliability.png
    python benchmarks/bundled_model.py measure features/test street/test/ground_truth.csv fights.safetensors models/*

`add` writes strings of the varied and of the fast clips, in the patterns of the composed videos, beside the features of
the composed videos. `folds` compares settings on the train split alone: each fold holds out a third of the sources,
trains each of TRIALS on strings of the clips of the others, and prints, by training step and as mean of the folds,
frame AUC and AP, video AUC and the share of saturated scores on strings of the sources held out. `assemble` makes one
model of several seeds. A score is the share of abnormal segments among those that score so: a scale and an offset of
the logits are fitted on the strings of the sources held out, and become part of the last layer. It prints what
thresholds would do there, and draws the reliability of the calibration, each fold calibrated on the others. `measure`
scores composed videos that nothing above has seen: AUC and AP with intervals, events per hour.
"""

import argparse
import copy
import dataclasses
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from street_strings import FOLDS, SEGMENTS, Fold, add, folds

from anomalycli.checkpoint import load_model, save_model
from anomalycli.data.ground_truth import GroundTruthFile
from anomalycli.evaluation.metrics import evaluate
from anomalycli.evaluation.protocol import score_folder
from anomalycli.events import EventRule
from anomalycli.features.folder import FeatureFolder
from anomalycli.inference import score_bags
from anomalycli.methods.prepared import Ensemble
from anomalycli.score import Scorer
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Material, fit

MEMBERS = 3
RULE = EventRule(start_threshold=0.2, end_threshold=0.17)  # chosen by what `assemble` prints
SETTINGS = {
    "width": 64,
    "feedforward": 128,
    "segments": SEGMENTS,
    "encoder_dropout": 0.5,
    "lr": 3e-4,
    "steps": 60,
    "batch": 8,
    "standardise": True,
    "balance": True,
    "validation": 0.0,
}
TRIALS = {
    "de-net": {},
    "de-net, lr 1e-3": {"lr": 1e-3},
    "de-net, encoder dropout .1": {"encoder_dropout": 0.1},
    "de-net, encoder dropout .7": {"encoder_dropout": 0.7},
    "de-net, group dropout .5": {"group_dropout": 0.5},
    "de-net, without erasing": {"method": "mstm"},
    "de-net, raw features": {"standardise": False, "balance": False},
    "mil-rank": {"method": "mil-rank", "batch": 16},
    "linear": {"method": "linear", "batch": 16, "lr": 1e-3},
}
STEPS = (20, 40, 60, 80)
CPU = torch.device("cpu")


def run(fold: Fold, values: dict, seed: int, steps=STEPS) -> dict[int, np.ndarray]:
    """Scores of the strings held out, (N, T), by training step."""
    values = SETTINGS | {"steps": max(steps), "validate_every": max(steps)} | values | {"seed": seed}
    method = values.pop("method", "de-net")
    if method in ("linear", "mil-rank"):
        values = {
            name: value for name, value in values.items() if name not in ("width", "feedforward", "encoder_dropout")
        }
    plan = make_plan(method, fold.train.dim, values)
    plan = dataclasses.replace(plan, config=plan.config.on(CPU))
    scores: dict[int, np.ndarray] = {}

    def on_progress(now) -> None:
        if now.step in steps:
            scores[now.step] = score_bags(now.method, fold.held_out.x, CPU)

    fit(plan, Material(fold.train, np.arange(len(fold.train.names))), CPU, on_progress=on_progress)
    return scores


def choose(every: list[Fold]) -> None:
    print("trial                      steps  frame AUC  frame AP  video AUC  saturated")
    for name, values in TRIALS.items():
        found = [run(fold, values, seed) for seed, fold in enumerate(every)]
        for step in STEPS:
            figures = np.mean([judged(scores[step], fold) for scores, fold in zip(found, every, strict=True)], axis=0)
            print(f"{name:26} {step:5}  {figures[0]:9.3f} {figures[1]:9.3f} {figures[2]:10.3f} {figures[3]:10.2f}")


def judged(scores: np.ndarray, fold: Fold) -> tuple[float, ...]:
    truth, flat = fold.truth.ravel(), scores.ravel()
    frame = roc_auc_score(truth, flat), average_precision_score(truth, flat)
    return *frame, roc_auc_score(fold.held_out.labels, scores.max(1)), np.mean((flat < 0.01) | (flat > 0.99))


def logit(scores: np.ndarray) -> np.ndarray:
    scores = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(scores / (1 - scores))


def assemble(every: list[Fold], output: Path, models: list[Path], plot: Path | None) -> None:
    step = (SETTINGS["steps"],)
    logits = [[logit(run(fold, {}, seed, step)[step[0]]) for seed in range(MEMBERS)] for fold in every]
    truths = [fold.truth for fold in every]
    scale, offset = calibration(logits, truths)
    print(f"calibrated logit = {scale:.3f} x logit + {offset:.3f}")
    others = [
        calibration(logits[:k] + logits[k + 1 :], truths[:k] + truths[k + 1 :])
        for k in range(FOLDS)  # each fold by the other ones
    ]
    scores = [calibrated(fold, *both) for fold, both in zip(logits, others, strict=True)]
    print(
        "frame AUC, frame AP, video AUC, saturated: ",
        np.mean([judged(*both) for both in zip(scores, every)], 0).round(3),
    )
    thresholds(scores, every)
    if plot:
        reliability(np.concatenate(scores).ravel(), np.concatenate(truths).ravel(), plot)
    loaded = [load_model(path) for path in models]
    model = Ensemble([scaled(member, scale, offset) for member, _ in loaded])
    info = loaded[0][1]
    save_model(output, model, dataclasses.replace(info, events=RULE, members=len(loaded)), half=True)


def calibration(logits, truths) -> tuple[float, float]:
    """Scale and offset with which the logits of all members, (folds, members) of (N, T), predict the truth."""
    x = np.concatenate([np.stack(fold).ravel() for fold in logits])
    y = np.concatenate([np.broadcast_to(truth, (MEMBERS, *truth.shape)).ravel() for truth in truths])
    fitted = LogisticRegression(C=1e6).fit(x[:, None], y)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def calibrated(logits: list[np.ndarray], scale: float, offset: float) -> np.ndarray:
    """Mean of the members' calibrated scores (N, T)."""
    return np.mean([1 / (1 + np.exp(-scale * member - offset)) for member in logits], axis=0)


def scaled(member, scale: float, offset: float):
    """The same network with calibrated logits."""
    member = copy.deepcopy(member)
    last = member.method.classifier[-2]
    with torch.no_grad():
        last.weight *= scale
        last.bias.mul_(scale).add_(offset)
    return member


def thresholds(scores: list[np.ndarray], every: list[Fold]) -> None:
    peaks = np.concatenate([fold.max(1) for fold in scores])
    labels = np.concatenate([fold.held_out.labels for fold in every])
    print("threshold  fights found  normal strings with an alarm")
    for at in np.arange(0.1, 0.8, 0.05):
        print(f"{at:9.2f}  {np.mean(peaks[labels == 1] >= at):12.2f}  {np.mean(peaks[labels == 0] >= at):.2f}")


def reliability(scores: np.ndarray, truth: np.ndarray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    edges = np.linspace(0, 1, 11)
    bins = np.clip(np.digitize(scores, edges) - 1, 0, 9)
    figure, axes = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for i in np.unique(bins):
        here = bins == i
        axes.plot(scores[here].mean(), truth[here].mean(), "o", color="C0", markersize=5)
        axes.annotate(f"{here.sum()}", (scores[here].mean(), truth[here].mean()), (4, -10), textcoords="offset points")
    axes.set(xlabel="score", ylabel="share of segments that are abnormal", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Held-out sources; numbers of segments", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def measure(features: Path, truth: Path, models: list[Path]) -> None:
    print("model                 AUC (95%)          AP (95%)           fights found  normal with event  events/h")
    for path in models:
        scorer = Scorer.load(path, device="cpu")
        scored = score_folder(scorer, FeatureFolder(features), GroundTruthFile(truth))
        found = evaluate(scored.scores, scored.truth)
        both = " ".join(
            f"{getattr(found.metrics, name):.3f} ({low:.3f}-{high:.3f})"
            for name in ("auc", "ap")
            for low, high in [found.intervals[name]]
        )
        print(f"{path.stem:20}  {both}  {alarms(scorer, features, scored.truth)}", flush=True)


def alarms(scorer: Scorer, features: Path, truth) -> str:
    """Videos with fights that have an event in a fight, normal videos that have one, and events per hour of those."""
    found, fights, noisy, normal, events, hours = 0, 0, 0, 0, 0, 0.0
    for name, frames in truth.items():
        result = scorer.score(features / f"{name}.npz")
        if frames.any():
            fights += 1
            found += any(frames[event.start : event.end].any() for event in result.events)
        else:
            normal += 1
            noisy += bool(result.events)
            events += len(result.events)
            hours += result.duration / 3600
    return f"{found:3} of {fights:3}  {noisy:7} of {normal:3}  {events / hours:12.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    tasks.add_parser("settings")
    chosen = tasks.add_parser("folds")
    added = tasks.add_parser("add")
    made = tasks.add_parser("assemble")
    for task in (chosen, added, made):
        task.add_argument("data", type=Path, help="street-fights, with clips.csv and compositions.csv")
        task.add_argument("clips", type=Path, help="features of its clips")
        task.add_argument("varied", type=Path, help="features of the varied clips")
        task.add_argument("fast", type=Path, help="features of the fast clips")
    added.add_argument("features", type=Path, help="features of the composed videos of the train split")
    made.add_argument("output", type=Path)
    made.add_argument("models", type=Path, nargs="+")
    made.add_argument("--plot", type=Path, help="picture of the calibration's reliability")
    measured = tasks.add_parser("measure")
    measured.add_argument("features", type=Path)
    measured.add_argument("truth", type=Path)
    measured.add_argument("models", type=Path, nargs="+")
    args = parser.parse_args()
    if args.task == "settings":
        print(" ".join(option(name, value) for name, value in SETTINGS.items()), "--half")
    elif args.task == "folds":
        choose(list(folds(args)))
    elif args.task == "add":
        add(args)
    elif args.task == "assemble":
        assemble(list(folds(args)), args.output, args.models, args.plot)
    else:
        measure(args.features, args.truth, args.models)


def option(name: str, value) -> str:
    name = "--" + name.replace("_", "-")
    return name if value is True else f"{name} {value}"


if __name__ == "__main__":
    main()
