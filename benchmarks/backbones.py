"""What the features of each backbone tell apart, by a logistic regression on the mean of a video's clips.

    python benchmarks/backbones.py ../shared/data lite mc3
    python benchmarks/backbones.py ../shared/data i3d --weights i3d.pyth --cache FOLDER

road-crashes: crash or calm, 61 clips of two seconds, 4-fold cross-validation. street-fights: fight or not, 243 clips;
trained on the sources of the train split, tested once on those of the test split, and cross-validated in 4 folds of
whole sources within the train split. A figure is the area under the ROC curve over videos; of a cross-validation, the
mean and the standard deviation over `--repeats` divisions into folds. Each group of features is standardised and
scaled to the same length; the strength of the regularisation is chosen inside the training part. The weights of `mc3`
were trained on the street-fights clips, so its figures there would be no result and are left out. Features are kept
in `--cache` and used again.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rows import read
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from anomalycli.backbones import Extractor
from anomalycli.extraction.job import extract
from anomalycli.features import FeatureKind, load_features

FOLDS = 4
STRENGTHS = (3.0, 30.0, 300.0)  # C, where the squared length of a scaled feature vector is about 1
SEEN = {"mc3": "street-fights"}  # backbones whose weights were trained on a set


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds street-fights/ and road-crashes/")
    parser.add_argument("backbones", nargs="+")
    parser.add_argument("--weights", type=Path, help="of the backbone, where its published ones cannot be fetched")
    parser.add_argument("--size", type=int)
    parser.add_argument("--cache", type=Path, help="folder for features")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cache = args.cache or Path(temporary)
        for name in args.backbones:
            extractor = Extractor(name, size=args.size, weights=args.weights)
            for set_name, clips in (
                ("road-crashes", road_crashes(args.data)),
                ("street-fights", street_fights(args.data)),
            ):
                if SEEN.get(name) == set_name:
                    print(f"{name}, {set_name}: its weights were trained on these clips")
                    continue
                x = means(clips, extractor, cache / f"{name}-{extractor.size}" / set_name)
                report(f"{name}, {set_name}", x, clips, scales(extractor.kind), args.repeats)


def road_crashes(data: Path) -> list[tuple[Path, int, str, str]]:
    """(file, label, source, split) of each clip; each is its own source."""
    rows = read(data / "road-crashes" / "labels.csv")
    folder = data / "road-crashes" / "clips"
    return [(folder / row["video"], int(row["label"]), row["video"], "train") for row in rows]


def street_fights(data: Path) -> list[tuple[Path, int, str, str]]:
    rows = read(data / "street-fights" / "clips.csv")
    root = data / "street-fights"
    return [(root / "clips" / f"{row['clip']}.mp4", int(row["label"]), row["source"], row["split"]) for row in rows]


def means(clips, extractor: Extractor, folder: Path) -> np.ndarray:
    """The mean of the features of each video's full clips: (videos, D)."""
    failed = [outcome.reason for outcome in extract([clip[0] for clip in clips], folder, extractor) if outcome.reason]
    for reason in failed:
        print(reason)
    made = {}
    for path in folder.rglob("*.npz"):
        features = load_features(path)
        full = max(1, features.n_frames // features.kind.clip_length)
        made[path.stem] = features.visual[:full].mean((0, 1))
    return np.stack([made[clip[0].stem] for clip in clips])


def scales(kind: FeatureKind) -> np.ndarray:
    """Factors (D,) that give each group of standardised features the same squared length, 1 together."""
    widths = [width for _, width in kind.groups or (("all", kind.dim),)]
    return np.concatenate([np.full(width, (width * len(widths)) ** -0.5) for width in widths])


def report(what: str, x: np.ndarray, clips, scale: np.ndarray, repeats: int) -> None:
    y, sources = np.array([clip[1] for clip in clips]), np.array([clip[2] for clip in clips])
    train = np.array([clip[3] == "train" for clip in clips])
    aucs = []
    for seed in range(repeats):
        scores = np.zeros(train.sum())
        for fit, held_out in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(
            x[train], y[train], sources[train]
        ):
            model = best_model(x[train][fit], y[train][fit], sources[train][fit], scale)
            scores[held_out] = model.decision_function(x[train][held_out])
        aucs.append(roc_auc_score(y[train], scores))
    print(f"{what}: {FOLDS}-fold video AUC {np.mean(aucs):.3f} (sd {np.std(aucs):.3f} over {repeats} divisions)")
    if not train.all():
        model = best_model(x[train], y[train], sources[train], scale)
        print(f"{what}: test split, video AUC {roc_auc_score(y[~train], model.decision_function(x[~train])):.3f}")


def best_model(x: np.ndarray, y: np.ndarray, sources: np.ndarray, scale: np.ndarray):
    """Logistic regression of the strength that is best on folds of whole sources, fitted to all."""
    folds = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(x, y, sources))

    def auc(c: float) -> float:
        return float(
            roc_auc_score(y, cross_val_predict(regression(c, scale), x, y, cv=folds, method="decision_function"))
        )

    return regression(max(STRENGTHS, key=auc), scale).fit(x, y)


def regression(c: float, scale: np.ndarray):
    return make_pipeline(
        StandardScaler(),
        FunctionTransformer(lambda x: x * scale),
        LogisticRegression(C=c, class_weight="balanced", max_iter=500),
    )


if __name__ == "__main__":
    main()
