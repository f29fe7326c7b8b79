"""What the recipe tries, by the features and by how many videos there are."""

import numpy as np
import pytest
from helpers import kind

from anomalycli.data.bags import Bags
from anomalycli.training.candidates import candidates, most_folds, quick_candidate, segments_for

GROUPS = (("mean", 8), ("largest", 24))


def bags_of(abnormal=10, normal=10, width=32, groups=(), n_clips=10) -> Bags:
    n = abnormal + normal
    x, labels = np.zeros((n, 1, 8, width), np.float32), np.repeat([1, 0], [abnormal, normal])
    return Bags(x, labels, tuple(map(str, range(n))), kind(dim=width, groups=groups), np.full(n, 16 * n_clips))


@pytest.mark.parametrize(("groups", "usual"), [((), False), (GROUPS, True)])
def test_features_of_several_groups_are_standardised_and_others_are_not_unless_that_is_clearly_better(groups, usual):
    bags = bags_of(groups=groups)
    every = candidates(bags, 0)
    found = {(each.plan.method, each.plan.config.standardise): (each.handicap, each.weight) for each in every}
    assert found == {
        ("de-net", usual): (0.0, 1.0),
        ("de-net", not usual): (0.05, 1.0),
        ("mil-rank", False): (0.0, 1.0),  # tried on raw features only
        ("linear", usual): (0.0, 0.5),
        ("linear", not usual): (0.05, 0.5),
    }
    assert {each.plan.settings.share for each in every if each.plan.method == "linear"} == {1.0, 0.25}
    assert all(each.plan.config.balance == each.plan.config.standardise for each in every)
    assert quick_candidate(bags, 0) == every[0]


@pytest.mark.parametrize(
    ("abnormal", "normal", "batch", "networks", "folds"),
    [
        (3, 9, 3, 3, 4),
        (1, 9, 2, 3, 4),
        (100, 100, 8, 3, 4),
        (100, 101, 8, 1, 4),
        (250, 250, 8, 1, 4),
        (250, 251, 32, 1, 3),
    ],
)
def test_batches_networks_and_folds_depend_on_the_number_of_videos(abnormal, normal, batch, networks, folds):
    bags = bags_of(abnormal, normal)
    every = candidates(bags, 0)
    assert {each.plan.config.batch for each in every} == {batch}
    assert {each.members for each in every if each.plan.method == "de-net"} == {networks}
    assert {each.members for each in every if each.plan.method != "de-net"} == {1}
    assert most_folds(bags) == folds


@pytest.mark.parametrize(("width", "steps"), [(1024, 240), (1025, 160)])
def test_mil_rank_is_trained_for_longer_than_the_others(width, steps):
    found = {each.plan.method: each.checkpoints for each in candidates(bags_of(width=width), 0)}
    assert found == {"de-net": (80,), "mil-rank": (steps,), "linear": (80,)}


@pytest.mark.parametrize(("n_clips", "segments"), [(48, 32), (49, 64)])
def test_short_videos_are_divided_into_fewer_segments(n_clips, segments):
    assert segments_for(bags_of(n_clips=n_clips)) == segments
