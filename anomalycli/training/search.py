"""The search of the recipe: the scores of all candidates on all folds, kept in a file from which it resumes."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..storage import write_file
from .candidates import Candidate
from .cross_validation import FoldScores, Scores, run_fold
from .trainer import Material


@dataclass(frozen=True)
class RecipeProgress:
    """Progress of the recipe: work done, the total (at most), and the current step in words."""

    done: float
    total: float
    doing: str


OnRecipe = Callable[[RecipeProgress], None]


class Work:
    """The total work, in steps weighted by their cost, and the work done."""

    def __init__(self, every: Sequence[Candidate], n_folds: int, on_progress: OnRecipe | None):
        self.on_progress = on_progress
        most = [each.cost * each.most_steps for each in every]
        self.total = sum((n_folds + each.members) * work for each, work in zip(every, most, strict=True))
        self.before = 0.0

    def at(self, doing: str, cost: float) -> Callable[[int], None]:
        """The callback for each step of one run."""

        def on_step(step: int) -> None:
            if self.on_progress:
                self.on_progress(RecipeProgress(self.before + step * cost, self.total, doing))

        return on_step

    def finish(self, work: float) -> None:
        """Count one run as finished."""
        self.before += work


@dataclass(frozen=True)
class SearchState:
    """The file of a search, and the identity (data, folds, candidates) that a resumed run must share."""

    path: Path
    identity: str


def search(
    every: Sequence[Candidate],
    material: Material,
    folds: Sequence[np.ndarray],
    state: SearchState,
    work: Work,
    device: torch.device,
) -> dict[str, list[Scores]]:
    """The scores of each candidate on each fold, those in the file of `state` not computed again."""
    done = _read(state)
    table: dict[str, list[Scores]] = {each.name: [] for each in every}
    for k, fold in enumerate(folds):
        for each in every:
            key = f"{each.name}/{k}"
            if key not in done:
                doing = f"fold {k + 1} of {len(folds)}: {each.name}"
                scores = run_fold(each.plan, material, fold, each.checkpoints, device, work.at(doing, each.cost))
                done[key] = {str(steps): _written(found) for steps, found in scores.items()}
                write_file(state.path, json.dumps({"run": state.identity, "done": done}) + "\n")
            work.finish(each.cost * each.most_steps)
            table[each.name].append({int(steps): _scores(found) for steps, found in done[key].items()})
    return table


def _written(found: FoldScores) -> dict[str, Any]:
    scores = found.scores.astype("<f4")
    return {"videos": len(scores), "scores": base64.b64encode(scores.tobytes()).decode(), "place": found.place}


def _scores(found: dict) -> FoldScores:
    scores = np.frombuffer(base64.b64decode(found["scores"]), "<f4").reshape(found["videos"], -1)
    return FoldScores(scores, found["place"])


def _read(state: SearchState) -> dict[str, dict]:
    file = state.path
    if not file.exists():
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        run, done = record["run"], dict(record["done"])
        for scores in done.values():
            for found in scores.values():
                _scores(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file}: not the state of a search; overwrite it.", "overwrite") from error
    if run != state.identity:
        raise UsageError(
            f"{file}: that run had other features, labels or groups, another seed, or another model to start from. "
            "Resume it with what it began with, or overwrite it.",
            "overwrite",
        )
    return done
