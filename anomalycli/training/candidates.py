"""What the recipe tries: plans by what there is to learn from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoint import ModelInfo
from ..data.bags import Bags
from .config import TrainConfig
from .plan import Plan, make_plan

SMALL, MANY = 200, 500  # videos up to which a network is trained several times, and from which batches are larger
SHORT = 48  # clips; videos mostly shorter than this are divided into fewer segments
MOST_STEPS = 80


@dataclass(frozen=True)
class Candidate:
    """A plan that the recipe tries, and after how many steps; cost: of a step, relative to the others."""

    name: str
    plan: Plan
    checkpoints: tuple[int, ...]
    cost: float

    @property
    def most_steps(self) -> int:
        """Steps in each fold."""
        return max(self.checkpoints)


def segments_for(bags: Bags) -> int:
    """The number of segments to divide videos into, by their length: half of 64 where most are short."""
    clips = np.median(bags.n_frames) / bags.kind.clip_length
    return 32 if clips <= SHORT else 64


def candidates(bags: Bags, seed: int) -> list[Candidate]:
    """What is tried, the likeliest first: small networks and logistic regression, on raw and standardised features.

    Standardising helps where parts of the features differ in scale (mc3) and hurts elsewhere (logits of UCF-Crime);
    groups must count alike, or the widest drowns the others; few videos need few parameters; a transformer finds what
    is brief, and loses to methods that see one segment at a time where it learns videos by heart.
    """
    made = [_de_net(bags, seed, standardise=True), _de_net(bags, seed, standardise=False)]
    made += [_mil_rank(bags, seed, standardise=True), _mil_rank(bags, seed, standardise=False)]
    return made + [_linear(bags, seed, share, standardise) for share in (1.0, 0.125) for standardise in (True, False)]


def quick_candidate(bags: Bags, seed: int) -> Candidate:
    """What is trained without a search: features of several groups are standardised, others are not."""
    return _de_net(bags, seed, standardise=len(bags.kind.groups) > 1)


def tuning_candidates(bags: Bags, info: ModelInfo, seed: int) -> list[Candidate]:
    """How a trained model may go on learning: not at all, carefully, or less so."""
    made = []
    for lr, checkpoints in ((1e-4, (0, *checkpoints_of(bags))), (1e-3, checkpoints_of(bags))):
        config = TrainConfig(lr=lr, **_shared(bags, seed))
        made.append(
            Candidate(
                f"{info.method}, from a model, lr {lr:g}",
                Plan(info.method, info.settings, config),
                checkpoints,
                1.0,
            )
        )
    return made


def checkpoints_of(bags: Bags) -> tuple[int, ...]:
    """The numbers of steps that are tried."""
    return tuple(MOST_STEPS // part for part in (8, 4, 2, 1))


def members_of(bags: Bags) -> int:
    """How many networks are trained on all videos, from different seeds: their mean is steadier."""
    return 3 if len(bags.names) <= SMALL else 1


def most_folds(bags: Bags) -> int:
    """Into how many folds the videos are dealt."""
    return 5 if len(bags.names) <= MANY else 3


def _de_net(bags: Bags, seed: int, standardise: bool) -> Candidate:
    values = {"width": 64, "feedforward": 128, "encoder_dropout": 0.5, "lr": 3e-4}  # at 1e-3 scores saturate
    return _candidate(f"de-net of width 64, {_words(standardise)}", "de-net", bags, values, standardise, seed, 1.0)


def _mil_rank(bags: Bags, seed: int, standardise: bool) -> Candidate:
    values = {"lr": 1e-3 if standardise else 3e-4}
    return _candidate(f"mil-rank, {_words(standardise)}", "mil-rank", bags, values, standardise, seed, 0.8)


def _linear(bags: Bags, seed: int, share: float, standardise: bool) -> Candidate:
    part = "all segments" if share == 1 else "the highest segments"
    name = f"logistic regression on {part}, {_words(standardise)}"
    return _candidate(name, "linear", bags, {"share": share}, standardise, seed, 0.1)


def _words(standardise: bool) -> str:
    return f"{'standardised' if standardise else 'raw'} features"


def _candidate(
    name: str, method: str, bags: Bags, values: dict[str, Any], standardise: bool, seed: int, cost: float
) -> Candidate:
    shared = _shared(bags, seed) | {"segments": bags.x.shape[2], "standardise": standardise, "balance": standardise}
    return Candidate(name, make_plan(method, bags.dim, shared | values), checkpoints_of(bags), cost)


def _shared(bags: Bags, seed: int) -> dict[str, Any]:
    """Settings of training that all candidates share."""
    fewest = int(min((bags.labels == label).sum() for label in (0, 1)))
    batch = 32 if len(bags.names) > MANY else min(16, max(2, fewest))
    return {"batch": batch, "steps": max(checkpoints_of(bags)), "validation": 0.0, "seed": seed}
