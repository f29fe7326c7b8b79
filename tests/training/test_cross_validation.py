"""Folds, the choice of candidates on them, and the estimate for new videos."""

import dataclasses

import numpy as np
import pytest
import torch

from anomalycli.data.bags import load_bags
from anomalycli.inference import score_bags
from anomalycli.methods import find_method
from anomalycli.methods.prepared import voted
from anomalycli.training import cross_validation
from anomalycli.training.cross_validation import (
    FoldScores,
    Role,
    choose,
    estimate,
    halfway,
    make_folds,
    moments,
    run_fold,
    splices,
)
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Material, fit

CPU = torch.device("cpu")


@pytest.fixture
def bags(make_features):
    return load_bags(make_features(normal=7, abnormal=6), 8)


FIVE_CAMERAS = [i % 5 for i in range(13)]  # of two of them all videos are abnormal, of three normal

BOTH_KINDS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6]  # three cameras saw both kinds, one abnormal, three normal


@pytest.mark.parametrize(
    ("cameras", "most", "n_folds"), [(FIVE_CAMERAS, 5, 2), (BOTH_KINDS, 9, 4), (BOTH_KINDS, 2, 2), ([0] * 13, 5, 0)]
)
def test_folds_keep_groups_whole_and_hold_both_labels(bags, cameras, most, n_folds):
    groups = {name: f"camera{camera}" for name, camera in zip(bags.names, cameras, strict=True)}
    bags = dataclasses.replace(bags, labels=np.array([0, 1, 0, 1, 0] * 2 + [0, 1, 0]))
    folds = make_folds(bags, most, 0, groups)
    assert len(folds) == n_folds
    assert not folds or sorted(np.concatenate(folds)) == list(range(13))
    for fold in folds:
        assert set(bags.labels[fold]) == {0, 1}
        inside = {groups[bags.names[i]] for i in fold}
        assert inside.isdisjoint(groups[bags.names[i]] for other in folds if other is not fold for i in other)


def fold_scores(scores, place):
    """Result on four videos of two segments, the highest at the end."""
    return FoldScores(np.array([[0.05, score] for score in scores], np.float32), place)


GOOD, BAD = fold_scores((0.1, 0.2, 0.8, 0.9), 1.0), fold_scores((0.9, 0.8, 0.2, 0.1), 0.0)

LABELS = [np.array([0, 0, 1, 1])] * 3


def chosen(table, roles=None):
    return [(each.name, each.steps) for each in choose(table, LABELS, roles or roles_of(dict.fromkeys(table, "one")))]


def roles_of(methods):
    return {name: Role(method) for name, method in methods.items()}


def test_a_plan_is_chosen_on_other_folds_than_it_is_judged_on():
    table = {"a": [{5: GOOD}, {5: BAD}, {5: BAD}], "b": [{5: BAD}, {5: GOOD}, {5: GOOD}]}
    roles = roles_of({"a": "one", "b": "one"})
    assert chosen(table) == [("b", 5)]
    found = estimate(table, LABELS, roles)
    # fold 0 is judged by b, which won on 1 and 2; of folds 1 and 2, a and b won one of the others each: the first, a
    assert found.auc == 0
    assert estimate({"b": table["b"]}, LABELS, roles).auc == pytest.approx(2 / 3)
    smeared = fold_scores((0.1, 0.2, 0.8, 0.9), 0.5)
    assert chosen({"smears": [{5: smeared}] * 3, "places": [{5: GOOD}] * 3}) == [("places", 5)]


def test_the_best_candidate_of_each_method_votes_the_best_method_first():
    table = {"a": [{5: BAD}] * 3, "b": [{5: BAD, 9: GOOD}] * 3, "c": [{5: BAD}] * 3}
    assert chosen(table, roles_of({"a": "one", "b": "two", "c": "two"})) == [("b", 9), ("a", 5)]
    assert chosen(table, roles_of({"a": "one", "b": "one", "c": "two"})) == [("b", 9), ("c", 5)]


def test_a_candidate_with_a_handicap_must_be_better_by_that_much():
    better = fold_scores((0.1, 0.2, 0.8, 0.9), 0.9)  # its criterion is .95, that of the usual one .85
    table = {"usual": [{5: fold_scores((0.1, 0.2, 0.8, 0.9), 0.7)}] * 3, "other": [{5: better}] * 3}
    for handicap, winner in ((0.0, "other"), (0.09, "other"), (0.11, "usual")):
        roles = {"usual": Role("one"), "other": Role("one", handicap=handicap)}
        assert chosen(table, roles) == [(winner, 5)]


@pytest.mark.parametrize(
    ("scores", "place", "votes"),
    [
        ((1e-7, 1e-8, 1e-8, 1e-7), 0.5, False),  # saturated, and at chance
        ((1e-8, 1e-8, 1e-7, 1e-7), 0.9, True),  # saturated, and right
        ((0.2, 0.1, 0.1, 0.2), 0.5, True),  # at chance, which few videos may just look like
    ],
)
def test_a_saturated_method_at_chance_has_no_vote(scores, place, votes):
    table = {"good": [{5: GOOD}] * 3, "other": [{5: fold_scores(scores, place)}] * 3}
    roles = roles_of({"good": "one", "other": "two"})
    assert chosen(table, roles) == [("good", 5), *([("other", 5)] if votes else [])]
    assert chosen({"other": table["other"]}, roles) == [("other", 5)]


def test_half_a_vote_counts_half():
    table = {name: [{5: GOOD}] * 3 for name in ("whole", "half")}
    whole, half = choose(table, LABELS, {"whole": Role("one"), "half": Role("two", weight=0.5)})
    assert half.deviation == pytest.approx(2 * whole.deviation)
    votes = torch.tensor([[whole.mean + whole.deviation, half.mean], [whole.mean, half.mean + whole.deviation]])
    means, deviations = moments([whole, half])
    first, second = voted(votes.double(), means, deviations) - means.mean()
    assert first == pytest.approx(2 * second)


def test_the_estimate_is_that_of_the_vote():
    wide = fold_scores((0.001, 0.9, 0.8, 0.999), 1.0)  # one pair is wrong, and so is another one of the other method
    narrow = fold_scores((0.54, 0.1, 0.55, 0.53), 1.0)
    table, roles = {"wide": [{5: wide}] * 3, "narrow": [{5: narrow}] * 3}, roles_of({"wide": "a", "narrow": "b"})
    assert estimate({"wide": table["wide"]}, LABELS, roles).auc == 0.75
    assert estimate({"narrow": table["narrow"]}, LABELS, roles).auc == 0.75
    assert [each.name for each in choose(table, LABELS, roles)] == ["wide", "narrow"]
    assert estimate(table, LABELS, roles).auc == 1


def test_splices_are_half_of_an_abnormal_and_half_of_a_normal_video(bags):
    marked = dataclasses.replace(
        bags, x=np.broadcast_to(bags.labels[:, None, None, None], bags.x.shape).astype(np.float32)
    )
    spliced = splices(marked)
    assert spliced.shape == (2 * 6 * 4, 1, 8, 32)
    halves = spliced[:, 0, :, 0].reshape(2, 24, 2, 4).mean((1, 3))
    assert halves.tolist() == [[1, 0], [0, 1]]


def test_the_place_is_how_often_the_peak_of_a_splice_is_in_its_abnormal_half():
    scores = np.array([[0.1, 0.9, 0.2, 0.3], [0.1, 0.2, 0.9, 0.1], [0.1, 0.2, 0.9, 0.1], [0.1, 0.5, 0.5, 0.1]])
    assert cross_validation._place(scores[:2]) == 1  # the abnormal half comes first in the first half of all
    assert cross_validation._place(scores[[1, 0]]) == 0
    assert cross_validation._place(scores) == (1 + 0 + 1 + 0.5) / 4


def test_a_tuned_model_has_the_mean_of_the_weights_before_and_after(bags):
    plan = make_plan("mil-rank", 32, {"segments": 8, "steps": 3, "batch": 4})
    start = find_method("mil-rank").build(plan.settings)
    tuned = fit(plan, Material(bags, np.arange(13), start=start), CPU).method
    before, after = start.state_dict(), tuned.state_dict()
    assert not torch.equal(before["layers.0.weight"], after["layers.0.weight"])
    for name, value in halfway(start, tuned).state_dict().items():
        assert torch.equal(value, (before[name] + after[name]) / 2)
    assert halfway(None, tuned) is tuned


def test_a_fold_is_scored_by_what_was_trained_without_it(bags):
    plan = make_plan("mil-rank", 32, {"segments": 8, "steps": 3, "batch": 4})
    held_out, kept = np.array([0, 1, 11, 12]), np.arange(2, 11)
    start = find_method("mil-rank").build(plan.settings).eval()
    for model in (None, start):
        material = Material(bags, np.arange(13), start=model)
        found = run_fold(plan, material, held_out, (0, 3), CPU)
        trained = fit(plan, dataclasses.replace(material, kept=kept), CPU).method
        assert list(found) == ([0, 3] if model else [3])  # without a model to start from, there is none after 0 steps
        expected = score_bags(halfway(model, trained), bags.x[held_out], CPU)
        np.testing.assert_array_equal(found[3].scores, expected)
    np.testing.assert_array_equal(found[0].scores, score_bags(start, bags.x[held_out], CPU))
