"""The recipe beside settings given by hand, MIL-Rank and logistic regression, on sets of several sizes.

    python benchmarks/recipe.py run TRAIN OUTPUT.csv --test TEST --ground-truth TRUTH.csv [--labels LABELS.csv]
    python benchmarks/recipe.py run TRAIN OUTPUT.csv --folds 4
    python benchmarks/recipe.py table OUTPUT.csv

`run` trains each of ROWS with each seed on each number of videos (half of each label, drawn by the seed; 0 is all) and
appends frame AUC and AP on the test set, the AUC of its videos by their highest score, and seconds of CPU; what is in
the file is not run again. With `--folds`, for sets without a test set, it is the AUC of held-out videos alone. `table`
prints means and standard deviations over seeds, and the recipe's lead in frame AUC (video AUC with `--folds`), paired
by seed. `--device cuda` trains the large rows in seconds. All scores are per segment, under the same evaluation.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from rows import Rows, read
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anomalycli.checkpoint import load_model
from anomalycli.data.bags import load_bags
from anomalycli.data.ground_truth import GroundTruthFile
from anomalycli.evaluation.metrics import evaluate
from anomalycli.evaluation.protocol import load_evaluation_set
from anomalycli.features.folder import FeatureFolder
from anomalycli.inference import score_bags
from anomalycli.training.candidates import segments_for
from anomalycli.training.cross_validation import make_folds
from anomalycli.training.plan import make_plan
from anomalycli.training.recipe import Recipe, train_by_recipe
from anomalycli.training.trainer import Destination, TrainingData, train

CPU = torch.device("cpu")
BY_HAND = {
    "readme": ("de-net", {"width": 256, "lr": 1e-4, "steps": 300}),
    "paper": ("de-net", {"steps": 1000}),
    "mil-rank": ("mil-rank", {"lr": 1e-4, "steps": 300}),
}
ROWS = ("recipe", "quick", *BY_HAND, "regression on means", "regression on maxima")


def fit(row, bags, seed, device=CPU):
    """A function from bags (N, C, T, D) to scores (N, T)."""
    if row.startswith("regression"):
        return regression(bags, "mean" if row.endswith("means") else "max")
    with tempfile.TemporaryDirectory() as folder:
        data, destination = TrainingData(bags), Destination(Path(folder) / "model")
        if row in BY_HAND:
            method, values = BY_HAND[row]
            values = values | {"segments": bags.x.shape[2], "validation": 0.0, "seed": seed}
            train(make_plan(method, bags.dim, values), data, destination, device)
        else:
            info = train_by_recipe(data, destination, device, Recipe(seed, search=row == "recipe"))
            print(f"  {info.training.recipe}; video AUC {info.training.video_auc}", flush=True)
        model, _ = load_model(destination.path)
    return lambda x: score_bags(model.to(device), x, device)


def regression(bags, how):
    """Logistic regression on the mean or the maximum of a video's segments, applied to each segment."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(getattr(bags.x.mean(1), how)(1), bags.labels)
    return lambda x: model.predict_proba(x.mean(1).reshape(-1, x.shape[3]))[:, 1].reshape(len(x), -1)


def subset(bags, n, seed):
    if not n or n >= len(bags.names):
        return bags
    rng = np.random.default_rng(seed)
    halves = [rng.permutation(np.flatnonzero(bags.labels == label))[: n // 2] for label in (0, 1)]
    return bags[np.sort(np.concatenate(halves))]


def measure(row, bags, test, seed, device=CPU):
    """Frame AUC and AP, video AUC, seconds of CPU."""
    begin = time.process_time()
    scores = fit(row, bags, seed, device)(test.bags.x)
    seconds = time.process_time() - begin
    metrics = evaluate(test.frame_scores(scores), test.truth, resamples=0).metrics
    return metrics.auc, metrics.ap, roc_auc_score(test.bags.labels, scores.max(1)), seconds


def measure_folds(row, bags, n_folds, seed, device=CPU):
    """No frames; AUC of the held-out videos, mean over folds; seconds of CPU of all folds."""
    begin, values = time.process_time(), []
    for held_out in make_folds(bags, n_folds, seed):
        kept = np.setdiff1d(np.arange(len(bags.names)), held_out)
        scores = fit(row, bags[kept], seed, device)(bags.x[held_out])
        values.append(roc_auc_score(bags.labels[held_out], scores.max(1)))
    return "", "", np.mean(values), time.process_time() - begin


def run(args):
    bags = load_bags(args.train, 64, labels=args.labels)
    if (segments := segments_for(bags)) != 64:
        bags = load_bags(args.train, segments, labels=args.labels)
    test = None
    if args.test:
        test = load_evaluation_set(FeatureFolder(args.test), segments, GroundTruthFile(args.ground_truth))
    rows = Rows(args.output, ("row", "videos", "seed", "auc", "ap", "video_auc", "seconds"), 3)
    for seed in range(args.seeds):
        for n in args.videos:
            part = subset(bags, n, seed)
            for row in args.rows:
                if not rows.has(row, n, seed):
                    if test:
                        values = measure(row, part, test, seed, args.device)
                    else:
                        values = measure_folds(row, part, args.folds, seed, args.device)
                    rows.add([(row, n, seed, *values)])
                    print(row, n, seed, *values, flush=True)


def table(args):
    lines = defaultdict(dict)
    for line in read(args.output):
        lines[int(line["videos"]), line["row"]][line["seed"]] = line
    titles = ("videos", "trained by", "seeds", "frame AUC", "frame AP", "video AUC", "recipe minus it", "CPU seconds")
    print(f"| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|")
    for (n, row), mine in sorted(lines.items(), key=lambda item: (item[0][0] or 10**9, ROWS.index(item[0][1]))):
        values = [[float(line[name]) for line in mine.values() if line[name]] for name in ("auc", "ap", "video_auc")]
        seconds = np.mean([float(line["seconds"]) for line in mine.values()])
        cells = [
            *map(spread, values),
            difference(lines[n, "recipe"], mine) if row != "recipe" else "",
            f"{seconds:.0f}",
        ]
        print(f"| {n or 'all'} | {row} | {len(mine)} | {' | '.join(cells)} |")


def difference(recipe, other):
    """Of the seeds that both have: by how much the recipe's frame AUC is higher; its video AUC where there is none."""
    both = sorted(recipe.keys() & other.keys())
    name = "auc" if all(recipe[seed]["auc"] for seed in both) else "video_auc"
    return spread([float(recipe[seed][name]) - float(other[seed][name]) for seed in both], "+.3f")


def spread(values, form=".3f"):
    if not values:
        return "-"
    return f"{np.mean(values):{form}}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.add_argument("train", type=Path)
    command.add_argument("output", type=Path)
    command.add_argument("--labels", type=Path)
    command.add_argument("--test", type=Path)
    command.add_argument("--ground-truth", type=Path)
    command.add_argument("--folds", type=int, default=4)
    command.add_argument("--videos", type=int, nargs="+", default=[0])
    command.add_argument("--seeds", type=int, default=5)
    command.add_argument("--rows", nargs="+", choices=ROWS, default=[row for row in ROWS if row != "paper"])
    command.add_argument("--device", type=torch.device, default=CPU)
    command.set_defaults(do=run)
    command = commands.add_parser("table")
    command.add_argument("output", type=Path)
    command.set_defaults(do=table)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
