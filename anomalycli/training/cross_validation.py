"""Cross-validation on video labels: choose a plan and the number of steps, and estimate the result on new videos."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..data.bags import Bags
from ..data.sampling import members_of_groups
from ..inference import score_bags
from ..methods.prepared import SATURATED, logits, voted
from .plan import Plan
from .trainer import Material, TrainingProgress, fit
from .video_metrics import Estimate, measure_videos, pair_auc

SPLICES = 4  # normal videos that each abnormal one is spliced with
LEAST_DEVIATION = 1e-6  # of a voter's logits
CHANCE, MOST_SATURATED = 0.5, 0.05  # criterion, and share of saturated scores, of a method that has no vote
MOST_PAIRS = 200  # pairs that are spliced in one fold


@dataclass(frozen=True)
class FoldScores:
    """Result of a plan on the held-out videos of one fold after some steps.

    scores: of the segments of each video, float32 (n, T), in the order of the fold. place: how often, in a video
    spliced of an abnormal and a normal one, the highest score lies in the abnormal half: networks that smear a video's
    label over all its segments tell videos apart and lose this.
    """

    scores: np.ndarray
    place: float


Scores = dict[int, FoldScores]  # by steps


@dataclass(frozen=True)
class Role:
    """How a candidate takes part: it competes with those of its method for a vote.

    handicap: by how much its criterion must be higher than that of a candidate without one. weight: of its vote.
    """

    method: str
    handicap: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True)
class ChosenCandidate:
    """A candidate that is to vote, by name, and after how many steps.

    mean, deviation: of the logits of its scores on held-out videos; the deviation is divided by the weight of its vote.
    """

    name: str
    steps: int
    mean: float
    deviation: float


def make_folds(bags: Bags, most: int, seed: int, groups: Mapping[str, str] | None = None) -> list[np.ndarray]:
    """Indices of the videos of each fold, at most `most` folds, groups whole, both labels in each.

    An empty list where all videos of a label are in one group.
    """
    strata: dict[tuple[int, ...], list[list[int]]] = {(0, 1): [], (0,): [], (1,): []}  # by the labels of the group
    for videos in members_of_groups(bags.names, groups):
        strata[tuple(sorted(set(bags.labels[videos].tolist())))].append(videos)
    n_folds = min(most, len(strata[0, 1]) + min(len(strata[0,]), len(strata[1,])))
    if n_folds < 2:
        return []
    folds: list[list[int]] = [[] for _ in range(n_folds)]
    for labels, stratum in strata.items():  # the groups with both labels first: they need no other
        order = np.random.default_rng((seed, *labels)).permutation(len(stratum))
        for i in sorted(order, key=lambda i: -len(stratum[i])):  # the largest groups first, for equal folds
            smallest = min(folds, key=lambda fold: np.isin(bags.labels[fold], labels).sum())
            smallest += stratum[i]
    return [np.sort(fold) for fold in folds]


def run_fold(
    plan: Plan,
    material: Material,
    held_out: np.ndarray,
    checkpoints: Sequence[int],
    device: torch.device,
    on_step: Callable[[int], None] | None = None,
) -> Scores:
    """Train on all but `held_out`, and score those after each number of steps in `checkpoints`.

    After 0 steps, it is the model that `material` starts from; after others, it is `halfway` from there.
    """
    bags = material.bags
    material = dataclasses.replace(material, kept=np.setdiff1d(material.kept, held_out))
    plan = plan.with_training(steps=max(checkpoints), validate_every=max(checkpoints), validation=0.0)
    spliced = splices(bags[held_out])

    def judged(method: Any) -> FoldScores:
        return FoldScores(score_bags(method, bags.x[held_out], device), _place(score_bags(method, spliced, device)))

    found: Scores = {0: judged(material.start.to(device))} if 0 in checkpoints and material.start else {}

    def on_progress(now: TrainingProgress) -> None:
        if now.step in checkpoints:
            found[now.step] = judged(halfway(material.start, now.method))
        if on_step:
            on_step(now.step)

    fit(plan, material, device, on_progress=on_progress)
    return found


def halfway(start: Any, method: Any) -> Any:
    """A copy of `method` with the mean of its weights and those of `start`, from which it was trained on.

    It has learnt most of what `method` has, and has forgotten little (Wortsman et al., Robust fine-tuning of zero-shot
    models, CVPR 2022). Without `start` it is `method` itself.
    """
    if start is None:
        return method
    before, averaged = start.state_dict(), copy.deepcopy(method)
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():
            value.add_(before[name].to(value.device)).div_(2)
    return averaged


def splices(bags: Bags) -> np.ndarray:
    """Bags of an abnormal and a normal video, every other segment of each: float32 (n, C, T, D).

    The abnormal half comes first in the first half of them, and last in the others. At most 2 * MOST_PAIRS.
    """
    abnormal, normal = (np.flatnonzero(bags.labels == label) for label in (1, 0))
    rng = np.random.default_rng(0)
    pairs = [(a, n) for a in abnormal for n in rng.permutation(normal)[:SPLICES]]
    pairs = pairs[:: -(-len(pairs) // MOST_PAIRS)]
    a, n = (bags.x[[pair[side] for pair in pairs], :, ::2] for side in (0, 1))
    return np.concatenate((np.concatenate((a, n), 2), np.concatenate((n, a), 2)))


def criterion(fold: FoldScores, labels: np.ndarray) -> float:
    """The criterion of choice: the mean of the video AUC and `place`."""
    return (pair_auc(fold.scores.max(1), labels) + fold.place) / 2


def choose(
    table: Mapping[str, Sequence[Scores]], labels: Sequence[np.ndarray], roles: Mapping[str, Role]
) -> list[ChosenCandidate]:
    """The best candidate of each method, the best method first: these vote.

    The criterion is the mean over folds, weighted by their pairs, minus the candidate's handicap; of equal ones, the
    first. A method no better than chance whose scores are saturated, so that small differences would outvote the
    others, has no vote unless it is the best. table: by candidate, the scores of each fold. labels: of each fold's
    videos. roles: by candidate.
    """
    weights = np.array([(fold == 1).sum() * (fold == 0).sum() for fold in labels], float)
    best: dict[str, tuple[float, str, int]] = {}  # by method
    for name, folds in table.items():
        for steps in folds[0]:
            values = [criterion(scores[steps], fold) for scores, fold in zip(folds, labels, strict=True)]
            value = float(np.average(values, weights=weights)) - roles[name].handicap
            method = roles[name].method
            if method not in best or value > best[method][0] + 1e-9:
                best[method] = value, name, steps
    first, *others = sorted(best.values(), key=lambda each: -each[0])
    useful = [each for each in others if each[0] > CHANCE or _saturated(table[each[1]], each[2]) < MOST_SATURATED]
    return [_chosen(name, steps, table[name], roles[name].weight) for _, name, steps in (first, *useful)]


def _saturated(folds: Sequence[Scores], steps: int) -> float:
    """The share of scores so near to 0 or 1 that their logits are cut off."""
    scores = np.concatenate([fold[steps].scores.ravel() for fold in folds])
    return float(np.mean(np.minimum(scores, 1 - scores) <= SATURATED))


def _chosen(name: str, steps: int, folds: Sequence[Scores], weight: float) -> ChosenCandidate:
    votes = logits(torch.from_numpy(np.concatenate([fold[steps].scores.ravel() for fold in folds])).double())
    return ChosenCandidate(name, steps, float(votes.mean()), max(float(votes.std()), LEAST_DEVIATION) / weight)


def estimate(
    table: Mapping[str, Sequence[Scores]], labels: Sequence[np.ndarray], roles: Mapping[str, Role], seed: int = 0
) -> Estimate:
    """Estimate for the choice of `choose`: each fold is scored with the candidates that the other folds choose."""
    n = len(labels)
    picked = []
    for k in range(n):
        others = [i for i in range(n) if i != k]
        choices = choose(
            {key: [folds[i] for i in others] for key, folds in table.items()}, [labels[i] for i in others], roles
        )
        picked.append(_peaks(choices, {each.name: table[each.name][k][each.steps].scores for each in choices}))
    return measure_videos(picked, labels, seed)


def _peaks(choices: Sequence[ChosenCandidate], scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """The highest score of each video by the vote of `choices`, from the scores of each, (n, T): (n,)."""
    if len(choices) == 1:
        return scores[choices[0].name].max(1)
    votes = logits(torch.from_numpy(np.stack([scores[each.name] for each in choices], -1)).double())
    return voted(votes, *moments(choices)).amax(1).numpy()


def moments(choices: Sequence[ChosenCandidate]) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and deviations of the voters' logits, float64 (K,) each."""
    mean, deviation = torch.tensor([[each.mean, each.deviation] for each in choices], dtype=torch.float64).T
    return mean, deviation


def _place(scores: np.ndarray) -> float:
    """Of splices, scores (n, T): how often the highest lies in the abnormal half."""
    half = scores.shape[1] // 2
    first, last = scores[:, :half].max(1), scores[:, half:].max(1)
    gain = np.where(np.arange(len(scores)) < len(scores) // 2, first - last, last - first)
    return float(np.mean((gain > 0) + (gain == 0) / 2))
