"""What the recipe tries: plans by what there is to learn from."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoint import ModelInfo
from ..data.bags import Bags
from .config import TrainConfig
from .plan import Plan, make_plan

SMALL, MANY = 200, 500  # videos up to which DE-Net is trained several times, and from which batches are larger
SHORT = 48  # clips; videos mostly shorter than this are divided into fewer segments
STEPS, BATCH = 80, 8
TUNING_RATE = 1e-4  # learning rate from a trained model on
WIDE = 1024  # features; of more, MIL-Rank is trained for twice as many steps as the others instead of three times
HANDICAP = 0.05  # of features prepared in another way than is usual for their kind
SHARES, HALF = (1.0, 0.25), 0.5  # of segments that logistic regression is tried on; the weight of its vote


@dataclass(frozen=True)
class Candidate:
    """A plan that the recipe tries, and after how many steps.

    cost: of a step, relative to the others. members: networks to train on all videos, from different seeds. handicap,
    weight: see cross_validation.Role.
    """

    name: str
    plan: Plan
    checkpoints: tuple[int, ...]
    cost: float
    members: int = 1
    handicap: float = 0.0
    weight: float = 1.0

    @property
    def most_steps(self) -> int:
        """Steps in each fold."""
        return max(self.checkpoints)

    @property
    def usual_steps(self) -> int:
        """Steps without a search: the second largest number of those that are tried, or the only one."""
        return self.checkpoints[-2:][0]


def segments_for(bags: Bags) -> int:
    """The number of segments to divide videos into, by their length: half of 64 where most are short."""
    clips = np.median(bags.n_frames) / bags.kind.clip_length
    return 32 if clips <= SHORT else 64


def candidates(bags: Bags, seed: int) -> list[Candidate]:
    """What is tried: a small DE-Net, MIL-Rank and logistic regression, which vote, each in its best variant.

    Standardising helps where parts of the features differ in scale (lite, mc3) and hurts elsewhere (principal
    components, logits), so what is usual for such features is taken unless the other is clearly better: few videos
    cannot tell. Groups must count alike, or the widest drowns the others. MIL-Rank is tried on raw features only:
    standardised ones it learns by heart. Logistic regression has half a vote: alone it is the best where features tell
    normal from abnormal by themselves, and far behind elsewhere. The number of steps is fixed, because held-out videos
    that share scenes with the others reward too many, and few videos cannot tell.
    """
    usual = _standardises(bags)
    made = [_de_net(bags, seed, usual), _de_net(bags, seed, not usual), _mil_rank(bags, seed)]
    return made + [_linear(bags, seed, share, prepared) for share in SHARES for prepared in (usual, not usual)]


def quick_candidate(bags: Bags, seed: int) -> Candidate:
    """What is trained without a search."""
    return _de_net(bags, seed, _standardises(bags))


def _standardises(bags: Bags) -> bool:
    """What is usual: features of several groups are standardised, others are not."""
    return len(bags.kind.groups) > 1


def tuning_candidates(bags: Bags, info: ModelInfo, seed: int) -> list[Candidate]:
    """Ways to fine-tune a trained model: not at all, or for some steps and then half of the way (`halfway`)."""
    config = TrainConfig(lr=TUNING_RATE, **_shared(bags, seed))
    steps = tuple(STEPS // part for part in (8, 4, 2, 1))
    name = f"{info.method}, averaged with the model that it starts from"
    return [Candidate(name, Plan(info.method, info.settings, config), (0, *steps), 1.0)]


def most_folds(bags: Bags) -> int:
    """Into how many folds the videos are dealt."""
    return 4 if len(bags.names) <= MANY else 3


def _de_net(bags: Bags, seed: int, standardise: bool) -> Candidate:
    """At a learning rate of 1e-3 scores saturate; erasing changes nothing in so few steps, and doubles their cost."""
    values = {"width": 64, "feedforward": 128, "encoder_dropout": 0.5, "lr": 3e-4, "erasing": "never"}
    made = _candidate(f"de-net of width 64, {_words(standardise)}", "de-net", bags, values, standardise, seed, 1.0)
    return dataclasses.replace(made, members=3 if len(bags.names) <= SMALL else 1)  # the other methods vary less


def _mil_rank(bags: Bags, seed: int) -> Candidate:
    cost = 0.1 + bags.dim / 3000  # nearly all of it is its first layer: measured with widths of 256, 400 and 2016
    made = _candidate(
        f"mil-rank, {_words(standardise=False)}",
        "mil-rank",
        bags,
        {"lr": 2e-4},
        standardise=False,
        seed=seed,
        cost=cost,
    )
    times = 3 if bags.dim <= WIDE else 2  # it learns slowly; but 20 videos with `lite` take less than a minute
    return dataclasses.replace(made, checkpoints=(times * STEPS,))


def _linear(bags: Bags, seed: int, share: float, standardise: bool) -> Candidate:
    part = "all segments" if share == 1 else "the highest segments"
    name = f"logistic regression on {part}, {_words(standardise)}"
    made = _candidate(name, "linear", bags, {"share": share}, standardise, seed, 0.1)
    return dataclasses.replace(made, weight=HALF)


def _words(standardise: bool) -> str:
    return f"{'standardised' if standardise else 'raw'} features"


def _candidate(
    name: str, method: str, bags: Bags, values: dict[str, Any], standardise: bool, seed: int, cost: float
) -> Candidate:
    shared = _shared(bags, seed) | {"segments": bags.x.shape[2], "standardise": standardise, "balance": standardise}
    handicap = 0.0 if method == "mil-rank" or standardise == _standardises(bags) else HANDICAP
    return Candidate(name, make_plan(method, bags.dim, shared | values), (STEPS,), cost, handicap=handicap)


def _shared(bags: Bags, seed: int) -> dict[str, Any]:
    """Settings of training that all candidates share."""
    fewest = int(min((bags.labels == label).sum() for label in (0, 1)))
    batch = 32 if len(bags.names) > MANY else min(BATCH, max(2, fewest))
    return {"batch": batch, "steps": STEPS, "validation": 0.0, "seed": seed}
