"""Standardised and scaled features, dropout of groups of features, and votes."""

import dataclasses

import numpy as np
import pytest
import torch

from anomalycli.checkpoint import ModelInfo, Voter, load_model, save_model
from anomalycli.data.bags import load_bags
from anomalycli.inference import score_bags
from anomalycli.methods import find_method
from anomalycli.methods.prepared import Prepared, Vote, standardised
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Destination, Material, TrainingData, fit, train

CPU = torch.device("cpu")


@pytest.fixture
def bags(make_features):
    return load_bags(make_features(normal=7, abnormal=6), 8)


def test_voters_count_alike_however_far_their_scores_spread(bags, tmp_path):
    plans = [make_plan(name, 32, {"segments": 8}) for name in ("linear", "mil-rank")]
    torch.manual_seed(0)
    methods = [find_method(plan.method).build(plan.settings).eval() for plan in plans]
    torch.nn.init.normal_(methods[0].layer.weight, std=0.1)
    votes = [np.log(scores / (1 - scores)) for scores in (score_bags(method, bags.x, CPU) for method in methods)]
    moments = torch.tensor([[vote.mean(), vote.std()] for vote in votes]).T.float()
    model = Vote(methods, *moments)
    level = np.mean([vote.mean() for vote in votes])
    expected = sum((vote - vote.mean()) / vote.std() for vote in votes) / 2 * np.mean([v.std() for v in votes]) + level
    np.testing.assert_allclose(score_bags(model, bags.x, CPU), 1 / (1 + np.exp(-expected)), atol=1e-5)
    voters = tuple(Voter(plan.method, plan.settings) for plan in plans)
    info = ModelInfo(plans[0].settings, bags.kind, method="linear", voters=voters)
    save_model(tmp_path / "m", model, info)
    loaded, again = load_model(tmp_path / "m")
    assert again == info
    np.testing.assert_array_equal(score_bags(loaded, bags.x, CPU), score_bags(model, bags.x, CPU))
    loss, erased = loaded.train().loss(*torch.from_numpy(bags.x[:6, 0]).split(3))
    assert loss.isfinite()
    assert erased.shape == (3, 8)


def test_standardised_features_have_mean_0_and_deviation_1_and_constants_do_no_harm():
    x = np.random.default_rng(0).normal(3, 5, size=(4, 2, 6, 3)).astype(np.float32)
    x[..., 2] = 7
    prepared = standardised(linear(3), x)
    y = prepared.prepare(torch.from_numpy(x)).numpy().reshape(-1, 3)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), [1, 1, 0], atol=1e-5)


def test_balanced_groups_count_alike_whatever_their_widths():
    x = np.random.default_rng(0).normal(size=(50, 1, 6, 12)).astype(np.float32)
    x[..., :2] *= 9
    y = standardised(linear(12), x, (2, 10), balance=True).prepare(torch.from_numpy(x)).numpy()
    assert (y[..., :2] ** 2).sum(-1).mean() == pytest.approx(6, rel=0.01)
    assert (y[..., 2:] ** 2).sum(-1).mean() == pytest.approx(6, rel=0.01)


def linear(dim):
    return find_method("linear").build(make_plan("linear", dim, {"segments": 6}).settings)


def test_groups_are_dropped_whole_in_training_only():
    torch.manual_seed(0)
    prepared = Prepared(linear(5), torch.zeros(5), torch.ones(5), (2, 3), 0.5)
    x = torch.ones(200, 6, 5)
    dropped = prepared.train().drop(x)
    for video in dropped:
        assert (video == video[0]).all()
        assert video[0, 0] == video[0, 1]
        assert video[0, 2] == video[0, 3] == video[0, 4]
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (dropped[:, 0, 0] == 0).float().mean() < 0.6
    assert torch.equal(prepared.eval().drop(x), x)


def test_the_loss_is_that_of_standardised_features_with_groups_dropped():
    prepared = Prepared(linear(5), torch.full((5,), 2.0), torch.full((5,), 3.0), (2, 3), 0.5)
    torch.nn.init.ones_(prepared.method.layer.weight)
    x_a, x_n = torch.randn(2, 4, 6, 5)
    torch.manual_seed(1)
    loss, _ = prepared.loss(x_a, x_n)
    torch.manual_seed(1)
    a, n = (prepared.drop((x - 2) / 3) for x in (x_a, x_n))
    assert torch.equal(loss, prepared.method.loss(a, n)[0])
    assert not torch.equal(loss, prepared.eval().loss(x_a, x_n)[0])


def test_groups_are_balanced_and_dropped_where_training_is_set_so(bags):
    grouped = dataclasses.replace(bags, kind=dataclasses.replace(bags.kind, groups=(("a", 2), ("b", 30))))
    values = {"segments": 8, "steps": 1, "batch": 4, "standardise": True}
    plain, balanced = (
        fit(make_plan("linear", 32, values | more), Material(grouped, np.arange(13)), CPU).method
        for more in ({}, {"balance": True, "group_dropout": 0.25})
    )
    assert (plain.groups, plain.dropout) == ((2, 30), 0.0)
    assert (balanced.groups, balanced.dropout) == ((2, 30), 0.25)
    ratio = balanced.deviation / plain.deviation  # a group of 2 of 32 features counts as half of all
    np.testing.assert_allclose(ratio, [(2 * 2 / 32) ** 0.5] * 2 + [(30 * 2 / 32) ** 0.5] * 30, rtol=1e-5)


def test_standardising_is_a_setting_of_any_method_and_travels_with_the_checkpoint(bags, tmp_path):
    shifted = dataclasses.replace(bags, x=bags.x * 1000 + 5000)
    values = {"segments": 8, "steps": 4, "batch": 4, "standardise": True}
    plan = make_plan("mil-rank", 32, values)
    train(plan, TrainingData(shifted), Destination(tmp_path / "m"))
    model, info = load_model(tmp_path / "m")
    assert info.standardised
    held = fit(plan, Material(shifted, np.arange(13)), CPU).method
    assert held.mean.mean() == pytest.approx(5000, rel=0.1)
    assert score_bags(model, shifted.x, CPU).std() > 1e-3
    assert score_bags(model, bags.x, CPU).std() < score_bags(model, shifted.x, CPU).std()


@pytest.mark.parametrize("standardise", [False, True])
def test_scaled_features_are_those_times_the_scale_in_training_and_in_the_checkpoint(bags, tmp_path, standardise):
    values = {"segments": 8, "steps": 4, "batch": 4, "width": 8, "heads": 2, "feedforward": 8, "validation": 0.0}
    scaled = make_plan("de-net", 32, values | {"scale": 4.0, "standardise": standardise})
    train(scaled, TrainingData(bags), Destination(tmp_path / "m"))
    model, _ = load_model(tmp_path / "m")
    factor = 4 / bags.x.std((0, 1, 2)) if standardise else 4
    shift = bags.x.mean((0, 1, 2)) if standardise else 0
    larger = dataclasses.replace(bags, x=(bags.x - shift) * factor)
    train(make_plan("de-net", 32, values), TrainingData(larger), Destination(tmp_path / "n"))
    plain, info = load_model(tmp_path / "n")
    assert not info.standardised
    np.testing.assert_allclose(score_bags(model, bags.x, CPU), score_bags(plain, larger.x, CPU), atol=1e-4)
