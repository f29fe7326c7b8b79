"""Records of the runs of a comparison: results, and what they were made from."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..evaluation.metrics import Metrics
from ..methods import find_method
from ..settings import defaults_of
from ..storage import atomic_write, write_file
from ..textfiles import read_text
from ..training.config import TrainConfig
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


def read_record(path: Path, identity: dict) -> ComparisonResult | None:
    """The result of a run that is there, or None.

    Raises UsageError where the file is not a record, or that of a run with another `identity`.
    """
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
    """The difference between a record and the requested run, in words; None where there is none."""
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


def write_record(path: Path, result: ComparisonResult, identity: dict) -> None:
    """Write the result of a run and, as JSON, what it was made from."""
    record = {"outcome": dataclasses.asdict(result), "identity": identity}
    write_file(path, json.dumps(record, indent=1) + "\n")


def write_scores(path: Path, names: Sequence[str], scores: np.ndarray) -> None:
    """Write the names of the videos evaluated, (N,), and the scores of their segments, float32 (N, T)."""
    with atomic_write(path) as partial, open(partial, "wb") as file:
        np.savez(file, names=np.array(names), scores=scores)
