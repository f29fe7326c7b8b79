"""What dynamic assessment decides and what is erased, along a training of DE-Net on UCF-Crime and after it.

    python benchmarks/ucf_crime_erasing.py TRAIN TEST GROUND_TRUTH [--set width=64 ...] [--seed 0]

Of the abnormal videos of ten steps each: quantiles of completeness (Eq. 8); the shares of videos that it lets be
erased, that have a segment above the threshold, and both; the shares of segments above the threshold and erased. Of the
final network, without dropout, on the abnormal test videos: how the segments above the threshold agree with the ground
truth, and whether completeness tells how much of the anomaly they cover.
"""

import argparse
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from anomalycli.cli.settings import settings_of
from anomalycli.data.bags import load_bags
from anomalycli.data.ground_truth import GroundTruthFile
from anomalycli.erasing import completeness, erase, similarity
from anomalycli.evaluation.protocol import load_evaluation_set
from anomalycli.features.folder import FeatureFolder
from anomalycli.inference import score_bags
from anomalycli.methods import de_net
from anomalycli.segments import parts
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Material, fit

CPU = torch.device("cpu")
TOGETHER = 10  # steps
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def recorded(steps):
    """`erase`, which adds to `steps` what it decided for each abnormal video."""

    def erasing(x_a, s_a, x_n, s_n, threshold=0.8, dynamic=True):
        erased, mask = erase(x_a, s_a, x_n, s_n, threshold, dynamic)
        above = s_a > threshold
        steps.append((completeness(x_a, s_a, x_n, s_n).numpy(), above.numpy(), mask.numpy()))
        return erased, mask

    return erasing


def print_steps(steps):
    print("| steps | completeness: 5, 25, 50, 75, 95% | not above 0 | any above δ | both | segments above δ | erased |")
    print("|---" * 7 + "|")
    for first in range(0, len(steps), TOGETHER):
        values, above, mask = (np.concatenate(part) for part in zip(*steps[first : first + TOGETHER], strict=True))
        quantiles = " ".join(f"{value:+.2f}" for value in np.quantile(values, QUANTILES))
        shares = (values <= 0).mean(), above.any(1).mean(), mask.any(1).mean(), above.mean(), mask.mean()
        print(
            f"| {first + 1}-{first + TOGETHER} | {quantiles} | " + " | ".join(f"{share:.2f}" for share in shares) + " |"
        )


def segments_true(test):
    """Which segments (N, T) are mostly abnormal."""
    inside = np.zeros(test.bags.x.shape[:1] + test.bags.x.shape[2:3])
    for i, name in enumerate(test.bags.names):
        clips = test.truth[name].reshape(-1, 16).mean(1)
        inside[i] = [clips[start:end].mean() for start, end in zip(*parts(len(clips), inside.shape[1]), strict=True)]
    return inside > 0.5


def print_test(method, bags, test, threshold):
    normal = bags.x[bags.labels == 0, 0]
    usual = similarity(torch.from_numpy(normal), torch.from_numpy(score_bags(method, normal[:, None], CPU))).mean()
    scores, truth = score_bags(method, test.bags.x, CPU), segments_true(test)
    chosen = truth.any(1)
    x, scores, truth = test.bags.x[chosen, 0].astype(np.float32), scores[chosen], truth[chosen]
    complete = similarity(torch.from_numpy(x), torch.from_numpy(scores)).numpy() - usual.item()
    above = scores > threshold
    found = (above & truth).sum(1) / truth.sum(1)
    right = (above & truth).sum()
    print(f"abnormal test videos {len(x)}; with a segment above the threshold {above.any(1).sum()}")
    print(f"segments above it {above.sum()}, of them abnormal {right} (of all segments {truth.mean():.0%} are)")
    print(f"of the abnormal segments above it {right / truth.sum():.0%}")
    print(f"completeness not above 0 in {(complete <= 0).sum()} of {len(x)}")
    some = above.any(1)
    if some.sum() > 2:
        print(f"correlation of completeness with the share of abnormal segments found, {some.sum()} videos: "
              f"{np.corrcoef(complete[some], found[some])[0, 1]:+.2f}")  # fmt: skip
        half = found > np.median(found[some])
        if half[some].any() and not half[some].all():
            print(f"AUC of completeness for the better found half: {roc_auc_score(half[some], complete[some]):.2f}")
    lowest = scores.argmin(1)
    print(f"the lowest segment is abnormal in {truth[np.arange(len(x)), lowest].sum()} videos, "
          f"the highest in {truth[np.arange(len(x)), scores.argmax(1)].sum()}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("ground_truth", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bags = load_bags(args.train, 64)
    test = load_evaluation_set(FeatureFolder(args.test), 64, GroundTruthFile(args.ground_truth))
    plan = make_plan("de-net", bags.dim, settings_of(tuple(args.set))[0] | {"seed": args.seed, "validation": 0.0})
    steps = []
    with mock.patch.object(de_net, "erase", recorded(steps)):
        run = fit(plan, Material(bags, np.arange(len(bags.names))), CPU)
    print_steps(steps)
    print_test(run.method, bags, test, plan.settings.threshold)


if __name__ == "__main__":
    main()
