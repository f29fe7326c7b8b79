"""Rows of `anomalycli compare` with intervals over videos, and differences of two rows paired by seed.

    python benchmarks/ucf_crime_table.py TEST GROUND_TRUTH TABLE ... [--rows de-net,mil-rank] [--pairs de-net:mil-rank]

TABLE are folders that `compare` wrote for the test features TEST and GROUND_TRUTH, a table of video,n_frames,start,end.
Rows of all but the first are named FOLDER/ROW.

A row has frame AUC and AP as mean and standard deviation over seeds, and the 95% interval of that mean over 1000
bootstrap samples of videos; AUC of the frames of abnormal videos; AUC of videos by their highest score. A pair A:B has
the difference A - B by seed, the number of seeds with which A is higher, and the interval of the mean difference over
the same samples of videos.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from anomalycli.data.ground_truth import GroundTruthFile
from anomalycli.evaluation.metrics import resampled_metrics, samples_of_videos
from anomalycli.evaluation.protocol import load_evaluation_set
from anomalycli.features.folder import FeatureFolder

RESAMPLES = 1000


def runs_of(folders):
    """By row and seed: the metrics and the scores of segments (N, T)."""
    runs = {}
    for number, folder in enumerate(folders):
        for path in sorted((folder / "runs").glob("*.json")):
            outcome = json.loads(path.read_text())["outcome"]
            label = f"{folder.name}/{outcome['label']}" if number else outcome["label"]
            scores = np.load(path.with_suffix(".npz"))["scores"]
            runs.setdefault(label, {})[outcome["seed"]] = (outcome["metrics"], scores)
    return runs


def spread(values):
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else f"{np.mean(values):.4f}"


def interval(values):
    low, high = np.percentile(values, (2.5, 97.5))
    return f"{low:.3f} to {high:.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path)
    parser.add_argument("ground_truth", type=Path)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--rows")
    parser.add_argument("--pairs", default="")
    args = parser.parse_args()
    test = load_evaluation_set(FeatureFolder(args.test), 64, GroundTruthFile(args.ground_truth))
    runs = runs_of(args.tables)
    draws = samples_of_videos(test.truth, RESAMPLES, 0)
    pairs = [pair.split(":") for pair in args.pairs.split(",") if pair]
    rows = args.rows.split(",") if args.rows else list(runs)
    samples = {}
    for row in {*rows, *(name for pair in pairs for name in pair)}:
        seeds = [resampled_metrics(test.frame_scores(each), test.truth, draws) for _, each in runs[row].values()]
        samples[row] = np.mean([(seed["auc"], seed["ap"]) for seed in seeds], 0)
    print("| | seeds | AUC | 95% of videos | AP | 95% of videos | AUC, abnormal videos | AUC of videos |")
    print("|---" * 8 + "|")
    for row in rows:
        metrics = [metrics for metrics, _ in runs[row].values()]
        auc, ap, abnormal = (spread([each[name] for each in metrics]) for name in ("auc", "ap", "abnormal_auc"))
        videos = spread([roc_auc_score(test.bags.labels, segments.max(1)) for _, segments in runs[row].values()])
        low_auc, low_ap = map(interval, samples[row])
        print(f"| {row} | {len(metrics)} | {auc} | {low_auc} | {ap} | {low_ap} | {abnormal} | {videos} |")
    if pairs:
        print("\n| | AUC by seed | higher with | 95% of videos | AP by seed | higher with | 95% of videos |")
        print("|---" * 7 + "|")
    for a, b in pairs:
        seeds = sorted(runs[a].keys() & runs[b].keys())
        cells = []
        for i, name in enumerate(("auc", "ap")):
            gains = np.array([runs[a][seed][0][name] - runs[b][seed][0][name] for seed in seeds])
            over_videos = interval(samples[a][i] - samples[b][i])
            cells.append(
                f"{gains.mean():+.4f} ± {gains.std(ddof=1):.4f} | {(gains > 0).sum()} of {len(seeds)} | {over_videos}"
            )
        print(f"| {a} - {b} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
