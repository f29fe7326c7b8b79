"""Ten corrected videos of a new camera: what fine-tuning on them changes there, and what it costs elsewhere.

    anomalycli extract street-fights/clips -o features/clips
    python benchmarks/new_camera.py run street-fights features/clips cameras.csv --seeds 3
    python benchmarks/new_camera.py table cameras.csv

For each source of street-fights with at least `--fewest` normal clips: that source is the new camera, a third of the
other sources is "elsewhere", and a DE-Net is trained on 160 strings of the clips of the rest (`street_strings.py`). The
clips of the camera are halved: 10 strings of one half are the corrected videos, all normal, as after a review of false
alarms; with 20 strings of the old sources given along, `train --from` decides how far to go on. 20 strings of the
other half, and 20 normal strings and 20 with fights from elsewhere, are scored before and after. Alarms: normal strings
whose highest score reaches the level that half of the fights elsewhere reach, with each model's own level, because
training moves all scores; and, in the last two columns, with the level of before. `run` appends a row per seed and
camera, and does not run again what is in the file; `table` prints means over seeds.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
from bundled_model import SETTINGS
from rows import Rows, read
from sklearn.metrics import roc_auc_score
from street_strings import load_clips, strings

from anomalycli.checkpoint import load_model
from anomalycli.data.bags import Bags
from anomalycli.inference import score_bags
from anomalycli.training.plan import make_plan
from anomalycli.training.recipe import Recipe, Start, train_by_recipe
from anomalycli.training.trainer import Destination, TrainingData, train

CPU = torch.device("cpu")
CORRECTED, OLD, TESTED = 10, 20, 20


class Strings:
    """Strings of clips in the patterns of the compositions."""

    def __init__(self, rows, features, kind, compositions, seed):
        self.rows, self.features, self.kind, self.seed = rows, features, kind, seed
        self.patterns = {label: [row for row in compositions if row["label"] == label] for label in "01"}

    def of(self, clips, normal, fights, prefix):
        rng = np.random.default_rng((self.seed, len(prefix)))
        by_label = [[self.features[row["clip"]] for row in clips if row["label"] == label] for label in "01"]
        patterns = self.patterns["0"][:normal] + self.patterns["1"][:fights]
        made, _ = strings(by_label, patterns, self.kind, rng)
        return dataclasses.replace(made, names=tuple(f"{prefix}/{name}" for name in made.names))


def together(first: Bags, second: Bags) -> Bags:
    x, labels, n_frames = (
        np.concatenate((getattr(first, name), getattr(second, name))) for name in ("x", "labels", "n_frames")
    )
    return dataclasses.replace(first, x=x, labels=labels, n_frames=n_frames, names=first.names + second.names)


def highest(model, bags):
    return score_bags(model, bags.x, CPU).max(1)


def measure(made: Strings, camera: str, seed: int):
    """Before and after, the figures of one row each; and the words of the recipe."""
    rng = np.random.default_rng(seed)
    rows = made.rows
    others = rng.permutation(sorted({row["source"] for row in rows} - {camera}))
    away = set(others[: len(others) // 3])
    old = [row for row in rows if row["source"] not in away | {camera}]
    own = rng.permutation([row for row in rows if row["source"] == camera and row["label"] == "0"])
    corrected = made.of(own[::2], CORRECTED, 0, "corrected")
    new = made.of(own[1::2], TESTED, 0, "camera")
    elsewhere = made.of([row for row in rows if row["source"] in away], TESTED, TESTED, "elsewhere")
    with tempfile.TemporaryDirectory() as folder:
        base, tuned = (Destination(Path(folder) / name) for name in ("base", "tuned"))
        plan = make_plan("de-net", corrected.dim, SETTINGS | {"seed": seed})
        train(plan, TrainingData(made.of(old, 80, 80, "old")), base)
        start = Start(*load_model(base.path))
        data = TrainingData(together(corrected, made.of(old, OLD // 2, OLD // 2, "old, given along")))
        info = train_by_recipe(data, tuned, CPU, Recipe(seed, start=start))
        models = start.model, load_model(tuned.path)[0]
    here, there = ([highest(model, bags) for model in models] for bags in (new, elsewhere))
    fights = elsewhere.labels == 1
    before = np.median(there[0][fights])
    found = []
    for mine, others in zip(here, there, strict=True):
        level = np.median(others[fights])
        against = roc_auc_score([1] * fights.sum() + [0] * len(mine), [*others[fights], *mine])
        alarms = [np.mean(peaks >= at) for at in (level, before) for peaks in (mine, others[~fights])]
        found.append((roc_auc_score(fights, others), against, *alarms))
    return found, info.training.recipe


COLUMNS = ("AUC elsewhere", "AUC of fights elsewhere against the camera", "alarms, camera",
           "alarms, elsewhere", "alarms, camera, old level", "alarms, elsewhere, old level")  # fmt: skip


def run(args):
    rows = read(args.data / "clips.csv")
    features, kind = load_clips(args.clips, rows)
    normal = [row["source"] for row in rows if row["label"] == "0"]
    cameras = sorted(source for source in set(normal) if normal.count(source) >= args.fewest)
    words = [f"{column}, {when}" for column in COLUMNS for when in ("before", "after")]
    results = Rows(args.output, ("seed", "camera", "chosen", *words), 2)
    for seed in range(args.seeds):
        made = Strings(rows, features, kind, read(args.data / "compositions.csv"), seed)
        for camera in cameras:
            if not results.has(seed, camera):
                found, recipe = measure(made, camera, seed)
                results.add([(seed, camera, recipe, *np.array(found).T.ravel())])
                print(seed, camera, recipe, flush=True)


def table(args):
    rows = read(args.output)
    print(f"| camera | seeds | {' | '.join(COLUMNS)} |\n" + "|---" * (2 + len(COLUMNS)) + "|")
    for camera in [*sorted({row["camera"] for row in rows}), "mean"]:
        mine = [row for row in rows if camera in (row["camera"], "mean")]
        cells = [
            " → ".join(f"{mean(mine, f'{column}, {when}'):.3f}" for when in ("before", "after")) for column in COLUMNS
        ]
        print(f"| {camera} | {len({row['seed'] for row in mine})} | {' | '.join(cells)} |")


def mean(rows, column):
    return np.mean([float(row[column]) for row in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.add_argument("data", type=Path, help="street-fights, with clips.csv and compositions.csv")
    command.add_argument("clips", type=Path, help="features of its clips")
    command.add_argument("output", type=Path)
    command.add_argument("--fewest", type=int, default=6, help="normal clips of a source that can be the new camera")
    command.add_argument("--seeds", type=int, default=1)
    command.set_defaults(do=run)
    command = commands.add_parser("table")
    command.add_argument("output", type=Path)
    command.set_defaults(do=table)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
