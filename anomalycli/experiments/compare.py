"""Train several methods with several seeds on the same features, in the same order, and evaluate them alike."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.sampling import split
from ..errors import UsageError
from ..evaluation.metrics import Metrics, metrics_of
from ..evaluation.protocol import EvaluationSet, evaluation_set
from ..inference import score_bags
from ..methods import find_method
from ..settings import defaults_of
from ..storage import whole, write_whole
from ..textfiles import read_text
from ..training.config import TrainConfig
from ..training.plan import Plan
from ..training.trainer import Material, TrainingData, check_classes, fit
from .choice import ComparisonRow
from .table import ComparisonResult

# what records of version 0.1 do not say, because it could not be changed
FORMER_EVALUATION = "interpolated"
FORMER: dict[str, dict[str, Any]] = {
    "mil-rank": {"smoothness": 8e-5, "sparsity": 8e-5},
    "rtfm": {
        "k": 3,
        "margin": 100.0,
        "magnitude": 1e-4,
        "smoothness": 8e-4,
        "sparsity": 8e-3,
        "feature_dropout": 0.7,
    },
}


@dataclass(frozen=True)
class _Run:
    """A row with one seed: what is trained and evaluated, or the result that is there already."""

    label: str
    plan: Plan
    share: float  # of the videos, held out
    path: Path
    identity: dict
    result: ComparisonResult | None


def compare(
    rows: Sequence[ComparisonRow],
    seeds: Sequence[int],
    data: TrainingData,
    output: Path,
    to_frames: str = "repeated",
    device: str | torch.device = "cpu",
    on_step: Callable[[ComparisonRow, int, int], None] | None = None,
) -> Iterator[ComparisonResult]:
    """Train each row with each seed and evaluate it on `data.test`, yielding results as they come.

    Without a test set, the videos that `config.validation` holds out (whole groups, if given) are evaluated on, with
    `data.truth`, ground truth by video. Use this to tune settings without using the test set. With it, all videos are
    trained on, unless `config.keep` is "validation": then those held out pick the state. `to_frames`: how the scores of
    videos held out become scores of frames (evaluation.protocol.TO_FRAMES); a test set says so itself.

    Each result is kept in OUTPUT/runs, LABEL-SEED.json, and not computed again; beside it, the scores of the segments,
    LABEL-SEED.npz. Raises UsageError, before any work, where what is there is of other settings or data, or where
    there is nothing to evaluate or to pick the best on.
    """
    bags, test = data.bags, data.test
    if test and (conflict := test.bags.kind.conflict(bags.kind, "the test features have", "the training features")):
        raise UsageError(f"{conflict}: both need features of the same kind.")
    device = torch.device(device)
    parts = _Parts(data, to_frames)
    runs = [(row, _planned(row, seed, parts, output, device)) for seed in seeds for row in rows]
    return _results(runs, parts, device, on_step)


class _Parts:
    """Which videos of the data are trained on and which are held out, by share and seed."""

    def __init__(self, data: TrainingData, to_frames: str):
        self.data, self.to_frames = data, to_frames
        test = data.test
        self.fingerprints = {
            "train": data.bags.fingerprint(),
            "test": test.bags.fingerprint() if test else None,
            "evaluation": f"{test.to_frames}, {test.fingerprint()}" if test else to_frames,
        }
        self.split = cache(self._split)

    def _split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        bags = self.data.bags
        held_out, kept = split(bags.names, bags.labels, share, seed, bags.grouped(self.data.groups))
        check_classes(bags.labels[kept])
        if self.data.test is None and self.data.truth is not None and len(held_out):
            evaluation_set(bags[held_out], self.data.truth)
        return held_out, kept

    def check(self, config: TrainConfig, share: float) -> None:
        """Raise UsageError where there is nothing to evaluate on, or to pick the best on."""
        held_out, _ = self.split(share, config.seed)
        if self.data.test is None and (self.data.truth is None or not len(held_out) or config.keep == "validation"):
            raise UsageError(
                "There is nothing to evaluate on: give test features, or ground truth of training videos "
                "and a share of them to hold out (to be evaluated on, and not to pick the best on as well).",
                "test",
                "ground_truth",
                "validation",
            )

    def sets(self, plan: Plan, share: float) -> tuple[Material, EvaluationSet]:
        """What a plan is trained on and what it is evaluated on."""
        bags, test, truth = self.data.bags, self.data.test, self.data.truth
        held_out, kept = self.split(share, plan.config.seed)
        picker = evaluation_set(bags[held_out], None) if plan.config.keep == "validation" and len(held_out) else None
        if test is None:
            test = dataclasses.replace(evaluation_set(bags[held_out], truth), to_frames=self.to_frames)
        return Material(bags, kept, picker, picker), test


def _planned(row: ComparisonRow, seed: int, parts: _Parts, output: Path, device: torch.device) -> _Run:
    config = dataclasses.replace(row.plan.config, seed=seed).on(device)
    plan = dataclasses.replace(row.plan, config=config)
    share = config.validation if parts.data.test is None or config.keep == "validation" else 0
    held_out, _ = parts.split(share, seed)
    identity = parts.fingerprints | {
        "method": plan.method,
        "method_settings": dataclasses.asdict(plan.settings),
        "training": dataclasses.asdict(config),
        "held_out": _digest([parts.data.bags.names[i] for i in held_out]),
    }
    path = output / "runs" / f"{row.label}-{seed}.json"
    result = _finished(path, identity)
    if result is None:
        parts.check(config, share)
    return _Run(row.label, plan, share, path, identity, result)


def _results(
    runs: Sequence[tuple[ComparisonRow, _Run]],
    parts: _Parts,
    device: torch.device,
    on_step: Callable[[ComparisonRow, int, int], None] | None,
) -> Iterator[ComparisonResult]:
    for row, run in runs:
        result = run.result
        if result is None:
            told = None
            if on_step:
                told = lambda now, row=row, run=run: on_step(row, run.plan.config.seed, now.step)  # noqa: E731
            result = _train_and_evaluate(run, parts, device, told)
            _keep(run, result)
        yield result


def _train_and_evaluate(run: _Run, parts: _Parts, device: torch.device, on_progress) -> ComparisonResult:
    material, test = parts.sets(run.plan, run.share)
    trained = fit(run.plan, material, device, on_progress=on_progress)
    assert test.truth is not None
    segments = score_bags(trained.method, test.bags.x, device)
    _keep_scores(run.path.with_suffix(".npz"), test.bags.names, segments)
    metrics = metrics_of(test.frame_scores(segments), test.truth)
    return ComparisonResult(run.label, run.plan.config.seed, trained.kept_step, dataclasses.asdict(metrics))


def _finished(path: Path, identity: dict) -> ComparisonResult | None:
    if not path.exists():
        return None
    try:
        record = json.loads(read_text(path))
        before, result = record["identity"], ComparisonResult(**record["outcome"])
        differs = _difference(before, identity)
    except (UsageError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path}: not the record of a run; delete it.") from error
    if not _is_valid(result):
        raise UsageError(f"{path}: not the record of a run; delete it.")
    if differs:
        raise UsageError(f"{path}: that run had {differs}. Name another folder, or delete it.", "output")
    return result


def _is_valid(result: ComparisonResult) -> bool:
    """Whether the values of a result that was read are of the types and in the ranges that they must be."""
    names = {field.name for field in dataclasses.fields(Metrics)}
    return (
        isinstance(result.label, str)
        and all(type(number) is int and number >= 0 for number in (result.seed, result.step))
        and isinstance(result.metrics, dict)
        and result.metrics.keys() == names
        and all(value is None or (type(value) in (int, float) and 0 <= value <= 1) for value in result.metrics.values())
    )


def _difference(before: dict, now: dict) -> str | None:
    """In what a record differs from what is asked for, in words."""
    before = {"evaluation": FORMER_EVALUATION} | before
    for part, different in (
        ("train", "other training features or labels"),
        ("test", "other test features or labels"),
        ("evaluation", "another evaluation"),
        ("method", "another method"),
        ("held_out", "other videos held out"),
    ):
        there = now[part]
        if part == "evaluation" and before[part] == FORMER_EVALUATION:
            there = str(there).partition(",")[0]
        if before[part] != there:
            return different
    if "network" in before:  # version 0.1
        fixed = {"erasing": "dynamic", "temporal": "mstm", **find_method(now["method"]).fixed}
        settings = before["network"] | before["settings"] | FORMER.get(now["method"], {}) | fixed
    else:
        settings = before["method_settings"] | before["training"]
    settings = defaults_of(find_method(now["method"]).settings) | defaults_of(TrainConfig) | settings
    for name, value in (now["method_settings"] | now["training"]).items():
        if settings[name] != value:
            return f"other settings ({name} was {settings[name]} and is {value})"
    return None


def _keep(run: _Run, result: ComparisonResult) -> None:
    record = {"outcome": dataclasses.asdict(result), "identity": run.identity}
    write_whole(run.path, json.dumps(record, indent=1) + "\n")


def _keep_scores(path: Path, names: Sequence[str], scores: np.ndarray) -> None:
    """Write the names of the videos evaluated, (N,), and the scores of their segments, float32 (N, T)."""
    with whole(path) as partial, open(partial, "wb") as file:
        np.savez(file, names=np.array(names), scores=scores)


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
