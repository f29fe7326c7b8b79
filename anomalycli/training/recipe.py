"""Training without settings: cross-validate variants of three methods, and train a vote of the best on all videos."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint import ModelInfo, TrainingRecord, Voter, fingerprint, save_model
from ..data.bags import Bags
from ..errors import UsageError
from ..methods.prepared import Ensemble, Vote
from ..settings import make_settings
from ..wording import number_of
from .candidates import Candidate, candidates, most_folds, quick_candidate, tuning_candidates
from .config import SEEDS, TrainConfig
from .cross_validation import ChosenCandidate, Role, choose, estimate, halfway, make_folds, moments
from .search import OnRecipe, SearchState, Work, search
from .state import StateFile
from .trainer import (
    Destination,
    Material,
    TrainingData,
    TrainingProgress,
    fit,
    hash_of,
    identity_of,
    record_of,
)
from .video_metrics import Estimate

MOST_NETWORKS = 9  # of one model: three of each method
ENOUGH = 10  # videos of each label below which more of them would help most


@dataclass(frozen=True)
class Start:
    """A trained model to fine-tune: the network from `load_model`, and its ModelInfo."""

    model: Any
    info: ModelInfo


@dataclass(frozen=True)
class Recipe:
    """Options of the recipe: the seed, whether to search, and a model to fine-tune.

    Raises UsageError for a seed that training does not take.
    """

    seed: int = 0
    search: bool = True
    start: Start | None = None

    def __post_init__(self):
        make_settings(TrainConfig, {"seed": self.seed})

    def candidates(self, bags: Bags) -> list[Candidate]:
        """The candidates to try. Raises UsageError where the model to fine-tune is for features of another kind."""
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
    """Choose the variant of each method, train them on all videos and write the checkpoint of their vote.

    The recipe's candidates are cross-validated on video labels, by group where `data.groups` has them; without a
    search, the first is trained and nothing is estimated. An interrupted run resumes from NAME.search and NAME.N.state
    and ends the same.

    Raises UsageError where there is only one class, or where files would be replaced unasked.
    """
    destination.check()
    search_file = destination.beside(".search")
    start = recipe.start.model if recipe.start else None
    material = Material(data.bags, np.arange(len(data.bags.names)), start=start)
    folds = (
        make_folds(data.bags, most_folds(data.bags), recipe.seed, data.bags.grouped(data.groups))
        if recipe.search
        else []
    )
    every = [dataclasses.replace(each, plan=each.plan.on(device)) for each in recipe.candidates(data.bags)]
    identity = _identity(every, data, folds, recipe)
    _take_up(destination, search_file, lambda info: _is_of(info, data, recipe, bool(folds), identity))
    if search_file.exists() and not recipe.search:
        raise UsageError(f"{search_file}: that run searched. Resume it with its search, or overwrite it.", "overwrite")
    work = Work(every, len(folds), on_progress)
    if folds:
        table = search(every, material, folds, SearchState(search_file, identity), work, device)
        labels = [data.bags.labels[fold] for fold in folds]
        roles = {each.name: Role(each.plan.method, each.handicap, each.weight) for each in every}
        choices, found = choose(table, labels, roles), estimate(table, labels, roles, recipe.seed)
    else:  # the first candidate, which is no vote: its mean and deviation are not used
        choices, found = [ChosenCandidate(every[0].name, every[0].usual_steps, mean=0.0, deviation=1.0)], None
    chosen = [_after(each, every) for each in choices]
    states: list[StateFile] = []
    model = start  # after 0 steps: no training is better on held-out videos than none
    if choices[0].steps:
        voters, states = _train_voters(chosen, material, destination, work, device)
        model = Vote(voters, *(part.float() for part in moments(choices))) if len(voters) > 1 else voters[0]
    info = _info(chosen, choices[0].steps, material, found, identity)
    if recipe.start:
        kept = ("events", "standardised", "members", "voters")
        info = dataclasses.replace(info, **{name: getattr(recipe.start.info, name) for name in kept})
    save_model(destination.path, model, info, destination.half)
    for state in states:
        state.remove()
    search_file.unlink(missing_ok=True)
    return info


def _after(choice: ChosenCandidate, every: Sequence[Candidate]) -> Candidate:
    """The candidate of this choice, to be trained for its number of steps."""
    chosen = next(each for each in every if each.name == choice.name)
    return dataclasses.replace(chosen, plan=chosen.plan.with_training(steps=max(1, choice.steps)))


def advice(bags: Bags, record: TrainingRecord, searched: bool = True) -> str:
    """A sentence on the reliability of the estimate, and on which videos would help most.

    Labelled events of one video count as that video.
    """
    videos = np.array(bags.videos or bags.names)
    counts = {word: len(set(videos[bags.labels == label])) for word, label in (("abnormal", 1), ("normal", 0))}
    why = ""
    if record.video_auc_low is None and searched:
        only = [f"the only {word} video cannot be held out" for word, n in counts.items() if n == 1]
        why = " and ".join(only) or "all normal or all abnormal videos are in one group"
    few = {word: ENOUGH - n for word, n in counts.items() if n < ENOUGH}
    if few:
        more = " and ".join(number_of(n, f"more {word} video") for word, n in few.items())
        return f"{why and f'{why}; '}too few videos: {more} would help most"
    if record.video_auc_low is None:
        return why or "not cross-validated"
    if record.video_auc_low <= 0.5:
        return "this may be chance: check the labels, or add videos"
    return "enough to trust the ranking, not the threshold"


def _take_up(destination: Destination, search_file: Path, is_same: Callable[[ModelInfo], bool]) -> None:
    """Keep what an interrupted run left, to resume it, or remove it. Raises UsageError where neither was asked for."""
    left = [file for file in (search_file, *_states(destination)) if file.exists()]
    destination.check_finished(bool(left), is_same)
    destination.check_left(*left)
    for file in left if not destination.resume else ():
        file.unlink()


def _is_of(info: ModelInfo, data: TrainingData, recipe: Recipe, searched: bool, run: str) -> bool:
    """Whether a model is of this recipe on these data, searched or not, and of this run as far as it says."""
    record = info.training
    if record.run not in (None, run):
        return False
    same = (record.video_auc is not None) == searched and record.settings.get("seed") == recipe.seed
    return bool(record.recipe) and same and record.data == data.bags.fingerprint()


def _states(destination: Destination) -> list[Path]:
    return [destination.beside(f".{i + 1}.state") for i in range(MOST_NETWORKS)]


def _identity(every: Sequence[Candidate], data: TrainingData, folds: Sequence[np.ndarray], recipe: Recipe) -> str:
    parts = [data.bags.fingerprint(), *(fold.tolist() for fold in folds), *(dataclasses.asdict(each) for each in every)]
    parts += [fingerprint(recipe.start.model)] if recipe.start else []
    return hash_of(parts)


def _train_voters(
    chosen: Sequence[Candidate], material: Material, destination: Destination, work: Work, device: torch.device
) -> tuple[list[Any], list[StateFile]]:
    """A network of each method, of one or several members, each trained on all videos with its own seed."""
    voters: list[Any] = []
    states: list[StateFile] = []
    for each in chosen:
        members = []
        for i in range(each.members):
            plan = each.plan.with_training(seed=(each.plan.config.seed + i) % SEEDS)
            state = StateFile(destination.beside(f".{len(states) + 1}.state"), identity_of(plan, material))
            on_step = work.at(f"all videos: {each.name}, {i + 1} of {each.members}", each.cost)

            def on_progress(now: TrainingProgress, on_step: Callable[[int], None] = on_step) -> None:
                on_step(now.step)

            members.append(halfway(material.start, fit(plan, material, device, state, on_progress).method))
            states.append(state)
            work.finish(each.cost * plan.config.steps)
        voters.append(Ensemble(members) if len(members) > 1 else members[0])
    return voters, states


def _info(chosen: Sequence[Candidate], steps: int, material: Material, found: Estimate | None, run: str) -> ModelInfo:
    """What the checkpoint says of the model, of its training for `steps` steps, and of the run, by its fingerprint."""
    words = f"{' + '.join(map(_words, chosen))}; {_shared_words(chosen, material.bags)}"
    record = dataclasses.replace(
        record_of(chosen[0].plan, material),
        checkpoint_step=steps,
        recipe=words if steps else "the model as it was: further training does not help on held-out videos",
        run=run,
        **_estimated(found),
    )
    first, *others = map(_voter, chosen)
    return ModelInfo(
        first.settings,
        material.bags.kind,
        training=record,
        method=first.method,
        standardised=first.standardised,
        members=first.members,
        voters=(first, *others) if others else (),
    )


def _voter(chosen: Candidate) -> Voter:
    plan = chosen.plan
    return Voter(plan.method, plan.settings, plan.config.prepares, chosen.members, dataclasses.asdict(plan.config))


def _estimated(found: Estimate | None) -> dict[str, Any]:
    """The estimate, if there is one, as fields of a TrainingRecord."""
    if found is None:
        return {}
    return {
        "video_auc": found.auc,
        "video_auc_low": found.auc_interval[0],
        "video_auc_high": found.auc_interval[1],
        "video_ap": found.ap,
        "video_ap_low": found.ap_interval[0],
        "video_ap_high": found.ap_interval[1],
        "folds": found.folds,
    }


def _words(chosen: Candidate) -> str:
    networks = f", {chosen.members} networks" if chosen.members > 1 else ""
    return f"{chosen.name}, {chosen.plan.config.steps} steps{networks}"


def _shared_words(chosen: Sequence[Candidate], bags: Bags) -> str:
    """The settings that all methods share, and how groups of features are weighted."""
    words = f"{bags.x.shape[2]} segments, {chosen[0].plan.config.batch} videos of each label per step"
    groups = len(bags.kind.groups)
    balanced = groups > 1 and any(each.plan.config.balance for each in chosen)
    return f"{words}, {groups} groups of features of equal weight where standardised" if balanced else words
