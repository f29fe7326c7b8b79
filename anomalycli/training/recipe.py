"""Training without settings: cross-validate candidates, and train the best on all videos."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint import ModelInfo, TrainingRecord, fingerprint, save_model
from ..data.bags import Bags
from ..errors import UsageError
from ..events import EventRule
from ..methods.prepared import Ensemble
from ..storage import write_whole
from ..version import __version__
from .candidates import (
    Candidate,
    candidates,
    checkpoints_of,
    members_of,
    most_folds,
    quick_candidate,
    tuning_candidates,
)
from .config import CHECKPOINTS
from .cross_validation import Estimate, FoldScores, Scores, choose, estimate, make_folds, run_fold
from .state import StateFile
from .trainer import Destination, Material, TrainingData, TrainingProgress, fit

MOST_MEMBERS = 3
ENOUGH = 10  # videos of each label below which more of them would help most


@dataclass(frozen=True)
class RecipeProgress:
    """Progress of the recipe: work done, the total (at most), and the current step in words."""

    done: float
    total: float
    doing: str


OnRecipe = Callable[[RecipeProgress], None]


@dataclass(frozen=True)
class Start:
    """A trained model to fine-tune: the network from `load_model`, and its ModelInfo."""

    model: Any
    info: ModelInfo


@dataclass(frozen=True)
class Recipe:
    """Options of the recipe: the seed, whether to search, and a model to fine-tune."""

    seed: int = 0
    search: bool = True
    start: Start | None = None

    def candidates(self, bags: Bags) -> list[Candidate]:
        """What is tried. Raises UsageError where the model to go on from does not know such features."""
        if self.start is None:
            return candidates(bags, self.seed) if self.search else [quick_candidate(bags, self.seed)]
        if difference := self.start.info.kind.conflict(bags.kind, "the model was trained with", "these features have"):
            raise UsageError(f"These features do not fit the model: {difference}.")
        every = tuning_candidates(bags, self.start.info, self.seed)
        return every if self.search else every[:1]


def train_by_recipe(
    data: TrainingData,
    destination: Destination,
    device: torch.device,
    recipe: Recipe = Recipe(),
    on_progress: OnRecipe | None = None,
) -> ModelInfo:
    """Choose a method and its settings, train on all videos and write the checkpoint.

    The recipe's candidates are cross-validated on video labels, by group where `data.groups` has them; without a
    search, the first is trained and nothing is estimated. An interrupted run resumes from NAME.search and NAME.N.state
    and ends the same.

    Raises UsageError where there is only one class, or where files would be replaced unasked.
    """
    destination.check()
    search_file = destination.beside(".search")
    start = recipe.start.model if recipe.start else None
    material = Material(data.bags, np.arange(len(data.bags.names)), start=start)
    _check(destination, search_file)
    every = [dataclasses.replace(each, plan=_on(each.plan, device)) for each in recipe.candidates(data.bags)]
    folds = (
        make_folds(data.bags, most_folds(data.bags), recipe.seed, data.bags.grouped(data.groups))
        if recipe.search
        else []
    )
    work = _Work(every, len(folds), 1 if recipe.start else members_of(data.bags), on_progress)
    chosen, steps, found = every[0], max(checkpoints_of(data.bags)) // 2, None
    if folds:
        identity = _identity(every, data, folds, recipe)
        table = _search(every, material, folds, search_file, identity, work, device)
        labels = [data.bags.labels[fold] for fold in folds]
        name, steps = choose(table, labels)
        chosen = next(each for each in every if each.name == name)
        found = estimate(table, labels, recipe.seed)
    states: list[StateFile] = []
    model = start  # after 0 steps: no training is better on held-out videos than none
    if steps:
        config = dataclasses.replace(chosen.plan.config, steps=steps)
        chosen = dataclasses.replace(chosen, plan=dataclasses.replace(chosen.plan, config=config))
        model, states = _train_members(chosen, material, destination, work, device)
    info = _info(chosen, steps, data, work.members, found)
    if recipe.start:
        before = recipe.start.info
        info = dataclasses.replace(info, events=before.events, standardised=before.standardised, members=before.members)
    save_model(destination.path, model, info, destination.half)
    for state in states:
        state.remove()
    search_file.unlink(missing_ok=True)
    return info


def advice(bags: Bags, record: TrainingRecord) -> str:
    """A sentence on the reliability of the estimate, and on which videos would help most."""
    counts = {word: int((bags.labels == label).sum()) for word, label in (("abnormal", 1), ("normal", 0))}
    few = {word: ENOUGH - n for word, n in counts.items() if n < ENOUGH}
    if few:
        return (
            "too few videos: " + " and ".join(f"{n} more {word} ones" for word, n in few.items()) + " would help most"
        )
    if record.video_auc_low is None:
        return "not cross-validated"
    if record.video_auc_low <= 0.5:
        return "this may be chance: check the labels, or add videos"
    return "enough to trust the ranking, not the threshold"


class _Work:
    """The total work, in steps weighted by their cost, and the work done."""

    def __init__(self, every: Sequence[Candidate], n_folds: int, members: int, on_progress: OnRecipe | None):
        self.members, self.on_progress = members, on_progress
        most = [each.cost * each.most_steps for each in every]
        self.total = n_folds * sum(most) + members * max(most)
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


def _check(destination: Destination, search_file: Path) -> None:
    left = [file for file in (search_file, *_states(destination)) if file.exists()]
    if destination.resume:
        return
    if left and not destination.overwrite:
        message = f"{left[0]}: an interrupted run left this state. Resume or overwrite it."
        raise UsageError(message, "resume", "overwrite")
    for file in left:
        file.unlink()


def _states(destination: Destination) -> list[Path]:
    return [destination.beside(f".{i + 1}.state") for i in range(MOST_MEMBERS)]


def _on(plan: Any, device: torch.device) -> Any:
    return dataclasses.replace(plan, config=plan.config.on(device))


def _search(
    every: Sequence[Candidate],
    material: Material,
    folds: Sequence[np.ndarray],
    file: Path,
    identity: str,
    work: _Work,
    device: torch.device,
) -> dict[str, list[Scores]]:
    """The scores of each candidate on each fold, those in `file` not computed again."""
    done = _read(file, identity)
    table: dict[str, list[Scores]] = {each.name: [] for each in every}
    for k, fold in enumerate(folds):
        for each in every:
            key = f"{each.name}/{k}"
            if key not in done:
                doing = f"fold {k + 1} of {len(folds)}: {each.name}"
                scores = run_fold(each.plan, material, fold, each.checkpoints, device, work.at(doing, each.cost))
                done[key] = {str(steps): dataclasses.asdict(found) for steps, found in scores.items()}
                write_whole(file, json.dumps({"run": identity, "done": done}) + "\n")
            work.finish(each.cost * each.most_steps)
            table[each.name].append({int(steps): _scores(found) for steps, found in done[key].items()})
    return table


def _scores(found: dict) -> FoldScores:
    return FoldScores(tuple(found["scores"]), found["place"])


def _identity(every: Sequence[Candidate], data: TrainingData, folds: Sequence[np.ndarray], recipe: Recipe) -> str:
    parts = [data.bags.fingerprint(), *(fold.tolist() for fold in folds), *(dataclasses.asdict(each) for each in every)]
    parts += [fingerprint(recipe.start.model)] if recipe.start else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(file: Path, identity: str) -> dict[str, dict]:
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
    if run != identity:
        message = f"{file}: that run had other features, labels, groups or another seed. Overwrite it."
        raise UsageError(message, "overwrite")
    return done


def _train_members(
    chosen: Candidate, material: Material, destination: Destination, work: _Work, device: torch.device
) -> tuple[Any, list[StateFile]]:
    """The network, of as many members as `work` says, each trained on all videos with a seed of its own."""
    members, states = [], []
    start = {"start": fingerprint(material.start)} if material.start else {}
    for i in range(work.members):
        config = dataclasses.replace(chosen.plan.config, seed=chosen.plan.config.seed + i)
        plan = dataclasses.replace(chosen.plan, config=config)
        identity = {
            "method": plan.method,
            "model": dataclasses.asdict(plan.settings),
            "train": dataclasses.asdict(config),
            "data": material.bags.fingerprint(),
            "held_out": [],
            "watch": [],
            **start,
        }
        state = StateFile(destination.beside(f".{i + 1}.state"), identity)
        on_step = work.at(f"all videos: {chosen.name}, {i + 1} of {work.members}", chosen.cost)

        def told(now: TrainingProgress, on_step: Callable[[int], None] = on_step) -> None:
            on_step(now.step)

        members.append(fit(plan, material, device, state, told).method)
        states.append(state)
        work.finish(chosen.cost * config.steps)
    return Ensemble(members) if len(members) > 1 else members[0], states


def _info(chosen: Candidate, steps: int, data: TrainingData, members: int, found: Estimate | None) -> ModelInfo:
    config, labels = chosen.plan.config, data.bags.labels
    record = TrainingRecord(
        settings=dataclasses.asdict(config),
        data=data.bags.fingerprint(),
        crops_seen=data.bags.seen,
        abnormal_videos=int((labels == 1).sum()),
        normal_videos=int((labels == 0).sum()),
        validation_videos=0,
        checkpoint=CHECKPOINTS["last"],
        checkpoint_step=steps,
        tool=f"anomalycli {__version__}",
        recipe=f"{chosen.name}, {steps} steps" + (f", {members} networks" if members > 1 else "")
        if steps
        else "the model as it was: further training does not help on held-out videos",
    )
    if found:
        record = dataclasses.replace(
            record,
            video_auc=found.auc,
            video_auc_low=found.auc_interval[0],
            video_auc_high=found.auc_interval[1],
            video_ap=found.ap,
            video_ap_low=found.ap_interval[0],
            video_ap_high=found.ap_interval[1],
            folds=found.folds,
        )
    plan = chosen.plan
    return ModelInfo(plan.settings, data.bags.kind, EventRule(), record, plan.method, config.prepares, members)
