"""How long to train the bundled model: folds by source over the train split, never the test split.

    anomalycli extract street-fights/clips -o clips/
    python benchmarks/bundled_model.py clips/ street-fights/clips.csv

Each fold holds out a third of the sources. Bags are strung together from the features of the
two-second clips, those to train on from the sources kept, those to validate on from the sources held
out, as untrimmed videos are. Printed is, by training step, the mean over the folds of the AP over
clips, and the mean peak score of abnormal and of normal bags. The backbone has seen every clip, so
none of this is evidence of accuracy; it only shows where training stops to change anything.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from anomalycli.data.sampling import draw
from anomalycli.features.files import load_features
from anomalycli.methods.de_net import DENetMethod, DENetSettings
from anomalycli.segments import parts, pool
from anomalycli.training.config import TrainConfig
from anomalycli.training.loop import make_optimizer

FOLDS, TRAIN_BAGS, HELD_OUT_BAGS = 3, 80, 30  # bags of each label


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
    parts_ = [clips[label][i] for label, i in chosen]
    return np.concatenate(parts_), np.repeat([label for label, _ in chosen], [len(part) for part in parts_])


def string_bag(clips, abnormal, rng):
    """A bag of 10 to 19 normal clips, some replaced by fights, as `string` gives it."""
    chosen = [(0, i) for i in rng.integers(len(clips[0]), size=rng.integers(10, 20))]
    if abnormal:
        for at in rng.choice(len(chosen), size=rng.integers(1, len(chosen) // 2 + 1), replace=False):
            chosen[at] = 1, rng.integers(len(clips[1]))
    return string(clips, chosen)


def bags(clips, count, rng):
    """Abnormal bags, then normal ones: x (2 * count, 64, D) and the truth of their segments (2 * count, 64)."""
    x, truth = [], []
    for abnormal in (True, False):
        for _ in range(count):
            features, inside = string_bag(clips, abnormal, rng)
            start, end = parts(len(features), 64)
            x.append(pool(features, 64))
            truth.append([inside[a:b].max() for a, b in zip(start, end)])
    return torch.from_numpy(np.stack(x)), np.array(truth)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-4)
    args = parser.parse_args()
    with open(args.clips, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    features = {row["clip"]: load_features(args.features / f"{row['clip']}.npz").visual[:, 0] for row in rows}
    config = TrainConfig(lr=args.lr)
    table = []
    for fold in range(FOLDS):
        kept, held_out = clips_of_fold(rows, features, fold)
        rng = np.random.default_rng(fold)
        x, _ = bags(kept, TRAIN_BAGS, rng)
        x_held_out, truth = bags(held_out, HELD_OUT_BAGS, rng)
        torch.manual_seed(fold)
        model = DENetMethod(DENetSettings(x.shape[2], width=args.width))
        optimizer = make_optimizer(model, config)
        for step in range(1, args.steps + 1):
            model.train()
            x_a = x[draw(np.arange(TRAIN_BAGS), step, config.batch, (fold, 1))]
            x_n = x[draw(np.arange(TRAIN_BAGS, 2 * TRAIN_BAGS), step, config.batch, (fold, 0))]
            loss, _ = model.loss(x_a, x_n)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % args.every == 0:
                with torch.inference_mode():
                    scores = model.eval()(x_held_out)[1].numpy()
                peaks = scores.max(1).reshape(2, -1).mean(1)
                table.append((step, average_precision_score(truth.ravel(), scores.ravel()), *peaks))
                print(f"fold {fold}  step {step:4}  AP {table[-1][1]:.3f}  peaks {peaks.round(2)}", flush=True)
    table = np.array(table)
    print("\n step    AP  abnormal peak  normal peak")
    for step in np.unique(table[:, 0]):
        print("{:5.0f} {:5.3f}  {:13.2f}  {:11.2f}".format(*table[table[:, 0] == step].mean(0)))


if __name__ == "__main__":
    main()
