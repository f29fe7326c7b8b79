"""Settings for the street-fights comparison, chosen by folds by source over its train split, never the test split.

    python benchmarks/street_fights.py fold street-fights folds
    python benchmarks/street_fights.py tune folds tuning.csv
    python benchmarks/street_fights.py best tuning.csv
    python benchmarks/street_fights.py claims OUTPUT

`fold` cuts the features of the composed train videos into those of their two-second clips, deals the
sources into three folds, and strings clips together anew in the patterns of compositions.csv:
FOLDS/K/train from the sources kept, FOLDS/K/val from those held out, with ground truth beside them, as
`anomalycli compare` reads them.

`tune` trains every method once per fold with each of TRIALS, and writes frame AUC and AP on val along the
way; what is in the file is not run again. `best` prints, for each method and trial, the step of the
highest AP, mean of the folds. `claims` prints, from what `anomalycli compare -o OUTPUT` has run, the
differences that the paper's Table 4 claims, paired by seed: their mean, standard deviation and signs.
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import torch
from rows import Rows, read
from street_strings import FOLDS, clips_of_fold, string

from anomalycli.data.bags import load_bags
from anomalycli.data.ground_truth import GroundTruthFile
from anomalycli.evaluation.metrics import evaluate
from anomalycli.evaluation.protocol import load_evaluation_set
from anomalycli.features.folder import FeatureFolder
from anomalycli.inference import score_bags
from anomalycli.training.plan import make_plan, setting_names
from anomalycli.training.trainer import Material, fit

COMPARED = ("mil-rank", "baseline", "rtfm", "mstm", "de-net", "mstm+eo")
STEPS, EVERY = 80, 20
CLIP_LENGTH = 16
TRIALS = {
    "a": {"lr": 1e-4, "feedforward": 512, "encoder_dropout": 0.1},
    "b": {"lr": 3e-4, "feedforward": 512, "encoder_dropout": 0.1},
    "c": {"lr": 1e-3, "feedforward": 512, "encoder_dropout": 0.1},
    "d": {"lr": 3e-4, "feedforward": 256, "encoder_dropout": 0.3},
}
CLAIMS = (("mstm", "baseline"), ("de-net", "mstm"), ("de-net", "mstm+eo"))
PATTERNS = {"train": 80, "val": 30}  # how many compositions of each label lend their pattern


def cut(data, compositions):
    """The features of each clip, (n_frames // 16, D), of which those of a composition are strung together."""
    features = {}
    for row in compositions:
        rest = np.load(data / "features-256" / "train" / f"{row['video']}.npy")
        for clip in row["clips"].split():
            if clip not in features:
                with av.open(data / "clips" / f"{clip}.mp4") as file:
                    features[clip] = rest[: sum(1 for _ in file.decode(video=0)) // CLIP_LENGTH]
            n = len(features[clip])
            assert np.array_equal(features[clip], rest[:n]), (row["video"], clip)
            rest = rest[n:]
        assert not len(rest), row["video"]
    return features


def fold(data, output):
    compositions = [row for row in read(data / "compositions.csv") if row["split"] == "train"]
    features = cut(data, compositions)
    rows = [row for row in read(data / "clips.csv") if row["clip"] in features]
    for k in range(FOLDS):
        rng = np.random.default_rng(k)
        for side, clips in zip(PATTERNS, clips_of_fold(rows, features, k)):
            (output / str(k) / side).mkdir(parents=True)
            with open(output / str(k) / f"{side}_ground_truth.csv", "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("video", "n_frames", "start", "end"))
                for label in ("0", "1"):
                    for row in [row for row in compositions if row["label"] == label][: PATTERNS[side]]:
                        pattern = [int(clip.startswith("fight/")) for clip in row["clips"].split()]
                        x, inside = string(clips, [(kind, rng.integers(len(clips[kind]))) for kind in pattern])
                        np.save(output / str(k) / side / f"{row['video']}.npy", x)
                        edges = np.flatnonzero(np.diff(inside, prepend=0, append=0)).reshape(-1, 2) * CLIP_LENGTH
                        for start, end in edges.tolist() or [("", "")]:
                            writer.writerow((row["video"], len(x) * CLIP_LENGTH, start, end))


def tune(folder, output):
    rows = Rows(output, ("fold", "method", "trial", "step", "auc", "ap"), 3)
    for k in map(str, range(FOLDS)):
        bags = load_bags(folder / k / "train", labels=folder / k / "train_ground_truth.csv")
        judge = load_evaluation_set(
            FeatureFolder(folder / k / "val"), 64, GroundTruthFile(folder / k / "val_ground_truth.csv")
        )
        for name in COMPARED:
            for trial in TRIALS:
                if not rows.has(k, name, trial):
                    curve = train(name, TRIALS[trial], bags, judge, int(k))
                    rows.add((k, name, trial, *point) for point in curve)


def train(name, settings, bags, judge, seed):
    """(step, AUC, AP) along one run, trained as `anomalycli compare` does."""
    cpu, curve = torch.device("cpu"), []
    known = {key: value for key, value in settings.items() if key in setting_names(name)}
    plan = make_plan(name, bags.dim, known | {"steps": STEPS, "seed": seed})
    plan = plan.on(cpu)

    def on_progress(now):
        if now.step % EVERY == 0:
            scores = judge.frame_scores(score_bags(now.method, judge.bags.x, cpu))
            metrics = evaluate(scores, judge.truth, resamples=0).metrics
            curve.append((now.step, metrics.auc, metrics.ap))

    fit(plan, Material(bags, np.arange(len(bags.labels))), cpu, on_progress=on_progress)
    return curve


def best(table):
    points = defaultdict(list)
    for row in read(table):
        points[row["method"], row["trial"], int(row["step"])].append((float(row["auc"]), float(row["ap"])))
    print("method    trial  step    AUC     AP  folds")
    for name, trial in dict.fromkeys(key[:2] for key in points):
        mine = {step: np.mean(values, axis=0) for (*run, step), values in points.items() if run == [name, trial]}
        step = max(mine, key=lambda step: mine[step][1])
        auc, ap = mine[step]
        print(f"{name:9} {trial:5} {step:5}  {auc:.4f} {ap:.4f}  {len(points[name, trial, step])}")


def claims(output):
    values = defaultdict(list)  # in the order of the seeds
    for path in sorted((output / "runs").glob("*.json")):
        metrics = json.loads(path.read_text())["outcome"]["metrics"]
        for metric in ("auc", "ap"):
            values[path.stem.rpartition("-")[0], metric].append(metrics[metric])
    for better, worse in CLAIMS:
        for metric in ("auc", "ap"):
            gains = np.subtract(values[better, metric], values[worse, metric])
            signs = f"higher with {(gains > 0).sum()} of {len(gains)} seeds"
            print(f"{better} - {worse}, {metric}: {gains.mean():+.4f} ± {gains.std(ddof=1):.4f}, {signs}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("fold", "tune", "best", "claims"))
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    args = parser.parse_args()
    task = {"fold": fold, "tune": tune, "best": best, "claims": claims}[args.task]
    task(args.source, args.output) if args.output else task(args.source)


if __name__ == "__main__":
    main()
