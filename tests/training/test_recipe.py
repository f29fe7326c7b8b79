"""Training without settings: what is chosen, what is estimated, and that it can be interrupted."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalycli.checkpoint import ModelInfo, TrainingRecord, load_model
from anomalycli.data.bags import load_bags
from anomalycli.errors import UsageError
from anomalycli.inference import score_bags
from anomalycli.methods import find_method
from anomalycli.methods.prepared import Ensemble, Prepared, Vote, standardised, voted
from anomalycli.training import candidates, cross_validation
from anomalycli.training.cross_validation import (
    FoldScores,
    Role,
    auc_interval,
    choose,
    estimate,
    halfway,
    make_folds,
    moments,
    pair_auc,
    splices,
)
from anomalycli.training.plan import make_plan
from anomalycli.training.recipe import Recipe, Start, advice, train_by_recipe
from anomalycli.training.trainer import Destination, Material, TrainingData, fit, train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A few steps are enough here."""
    monkeypatch.setattr(candidates, "STEPS", 16)


@pytest.fixture
def bags(make_features):
    return load_bags(make_features(normal=7, abnormal=6), 8)


def test_what_is_learnt_is_estimated_and_saved(bags, tmp_path):
    told = []
    info = train_by_recipe(TrainingData(bags), Destination(tmp_path / "m"), CPU, on_progress=told.append)
    record = info.training
    assert record.video_auc > 0.7  # of 13 videos, after a few steps
    assert record.video_auc_low <= record.video_auc <= record.video_auc_high <= 1
    assert (record.folds, record.abnormal_videos, record.normal_videos) == (4, 6, 7)
    assert str(record.checkpoint_step) in record.recipe
    assert record.recipe.endswith("; 8 segments, 6 videos of each label per step")
    assert "4 more abnormal videos and 3 more normal videos would help most" in advice(bags, record)
    assert all(now.done <= now.total for now in told)
    assert len({now.total for now in told}) == 1
    assert [now.done for now in told] == sorted(now.done for now in told)
    model, loaded = load_model(tmp_path / "m")
    assert loaded == info
    assert {voter.method: voter.members for voter in loaded.voters} == {"de-net": 3, "mil-rank": 1, "linear": 1}
    assert [find_method(voter.method).settings for voter in loaded.voters] == [type(v.settings) for v in model.voters]
    rates = {voter.method: (voter.training["lr"], voter.training["steps"]) for voter in loaded.voters}
    assert rates == {"de-net": (3e-4, 16), "mil-rank": (2e-4, 48), "linear": (1e-3, 16)}
    scores = score_bags(model, bags.x, CPU)
    ensemble = next(voter for voter in model.voters if isinstance(voter, Ensemble))
    each = [score_bags(member, bags.x, CPU) for member in ensemble.members]
    np.testing.assert_allclose(score_bags(ensemble, bags.x, CPU), np.mean(each, 0), atol=1e-6)
    assert roc_auc_score(bags.labels, scores.max(1)) > 0.9


def test_labels_that_mean_nothing_are_told_to_be_chance(bags, tmp_path):
    mixed = dataclasses.replace(bags, labels=np.arange(13) % 2, x=np.random.default_rng(0).normal(size=bags.x.shape))
    mixed = dataclasses.replace(mixed, x=mixed.x.astype(np.float32))
    twice = dataclasses.replace(
        mixed,
        x=np.concatenate((mixed.x, mixed.x[::-1])),
        labels=np.tile([0, 1], 13),
        names=tuple(map(str, range(26))),
        n_frames=np.full(26, 155),
        videos=(),
    )
    record = train_by_recipe(TrainingData(twice), Destination(tmp_path / "m"), CPU).training
    assert record.video_auc_low <= 0.5
    assert "may be chance" in advice(twice, record)


def test_a_recipe_that_is_interrupted_resumes_to_the_same_file(bags, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "STEPS", 8)

    class Stop(Exception):
        pass

    data, count = TrainingData(bags), 0
    train_by_recipe(data, Destination(tmp_path / "whole"), CPU, Recipe(3), on_progress=lambda now: None)

    def stop(at):
        def on_progress(now):
            nonlocal count
            count += 1
            if count == at:
                raise Stop

        return on_progress

    steps = 8 * 9 * 4  # of the search: 7 candidates, one of them for 3 * 8 steps
    for resume, at in ((False, 50), (True, 50), (True, steps // 4)):
        count = 0
        with pytest.raises(Stop):
            destination = Destination(tmp_path / "stopped", resume=resume)
            train_by_recipe(data, destination, CPU, Recipe(3), on_progress=stop(at))
    assert (tmp_path / "stopped.search").exists()
    with pytest.raises(UsageError, match="interrupted run left this state"):
        train_by_recipe(data, Destination(tmp_path / "stopped"), CPU, Recipe(3))
    with pytest.raises(UsageError, match="another seed"):
        train_by_recipe(data, Destination(tmp_path / "stopped", resume=True), CPU, Recipe(4))
    with pytest.raises(UsageError, match="that run searched"):
        train_by_recipe(data, Destination(tmp_path / "stopped", resume=True), CPU, Recipe(3, search=False))
    train_by_recipe(data, Destination(tmp_path / "stopped", resume=True), CPU, Recipe(3))
    assert (tmp_path / "stopped").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("stopped")) == ["stopped"]
    for other in (Recipe(4), Recipe(3, search=False)):  # nothing of them is there to resume, so the model stays
        with pytest.raises(UsageError, match="nothing is there to resume"):
            train_by_recipe(data, Destination(tmp_path / "whole", resume=True), CPU, other)
    train_by_recipe(data, Destination(tmp_path / "whole", overwrite=True), CPU, Recipe(5))
    assert (tmp_path / "stopped").read_bytes() != (tmp_path / "whole").read_bytes()


def test_quick_and_too_few_videos_are_not_estimated(bags, tmp_path):
    info = train_by_recipe(TrainingData(bags), Destination(tmp_path / "quick"), CPU, Recipe(search=False))
    assert (info.training.video_auc, info.training.folds) == (None, None)
    few = bags[np.array([0, 1, 2, 12])]  # one abnormal video cannot be held out
    record = train_by_recipe(TrainingData(few), Destination(tmp_path / "few"), CPU).training
    assert record.video_auc is None
    assert "9 more abnormal videos and 7 more normal videos" in advice(few, record)
    with pytest.raises(UsageError, match=r"Every training video is normal.* `anomalycli calibrate`"):
        train_by_recipe(TrainingData(bags[:7]), Destination(tmp_path / "n"), CPU)


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


def test_groups_that_allow_no_folds_are_told(bags):
    many = dataclasses.replace(bags, labels=np.repeat([0, 1], 10))
    record = TrainingRecord()
    assert advice(many, record) == "all normal or all abnormal videos are in one group"
    assert advice(many, record, searched=False) == "not cross-validated"


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


def test_voters_count_alike_however_far_their_scores_spread(bags, tmp_path):
    from anomalycli.checkpoint import Voter, save_model

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


def test_auc_and_ap_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=30).round(1), rng.integers(0, 2, 30)
    assert pair_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    counts = rng.integers(0, 3, (5, 30))
    distinct = scores + np.arange(30) * 1e-6
    for measure, reference in ((cross_validation._auc, roc_auc_score), (cross_validation._ap, average_precision_score)):
        values, _ = measure(distinct, labels, counts)
        for value, count in zip(values, counts, strict=True):
            assert value == pytest.approx(reference(np.repeat(labels, count), np.repeat(distinct, count)))


def test_the_interval_of_the_auc_is_newcombe_s_and_has_room_where_all_pairs_are_right():
    two, many = [np.array([0, 1] * 5)] * 4, [np.array([0, 1] * 100)] * 4
    for auc, labels in ((0.85, two), (0.85, many), (0.5, two)):
        low, high = auc_interval(auc, labels)
        for end in (low, high):
            variance = end * (1 - end) / 25 * (1 + 4 * ((1 - end) / (2 - end) + end / (1 + end))) / 4
            if labels is two:
                assert abs(auc - end) == pytest.approx(1.96 * variance**0.5, abs=1e-3)
            else:
                assert abs(auc - end) < 0.03
    low, high = auc_interval(1.0, two)
    assert 0.75 < low < 0.9 and high == 1
    assert auc_interval(0.0, two)[0] == 0


def test_splices_are_half_of_an_abnormal_and_half_of_a_normal_video(bags):
    marked = dataclasses.replace(
        bags, x=np.broadcast_to(bags.labels[:, None, None, None], bags.x.shape).astype(np.float32)
    )
    spliced = splices(marked)
    assert spliced.shape == (2 * 6 * 4, 1, 8, 32)
    halves = spliced[:, 0, :, 0].reshape(2, 24, 2, 4).mean((1, 3))
    assert halves.tolist() == [[1, 0], [0, 1]]


def test_standardised_features_have_mean_0_and_deviation_1_and_constants_do_no_harm():
    x = np.random.default_rng(0).normal(3, 5, size=(4, 2, 6, 3)).astype(np.float32)
    x[..., 2] = 7
    plan = make_plan("linear", 3, {"segments": 6})
    prepared = standardised(make_plan_method(plan), x)
    y = prepared.prepare(torch.from_numpy(x)).numpy().reshape(-1, 3)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), [1, 1, 0], atol=1e-5)


def test_balanced_groups_count_alike_whatever_their_widths():
    x = np.random.default_rng(0).normal(size=(50, 1, 6, 12)).astype(np.float32)
    x[..., :2] *= 9
    method = make_plan_method(make_plan("linear", 12, {"segments": 6}))
    y = standardised(method, x, (2, 10), balance=True).prepare(torch.from_numpy(x)).numpy()
    assert (y[..., :2] ** 2).sum(-1).mean() == pytest.approx(6, rel=0.01)
    assert (y[..., 2:] ** 2).sum(-1).mean() == pytest.approx(6, rel=0.01)


def make_plan_method(plan):
    from anomalycli.methods import find_method

    return find_method(plan.method).build(plan.settings)


def test_groups_are_dropped_whole_in_training_only():
    torch.manual_seed(0)
    method = make_plan_method(make_plan("linear", 5, {"segments": 6}))
    prepared = Prepared(method, torch.zeros(5), torch.ones(5), (2, 3), 0.5)
    x = torch.ones(200, 6, 5)
    dropped = prepared.train().drop(x)
    for video in dropped:
        assert (video == video[0]).all()
        assert video[0, 0] == video[0, 1]
        assert video[0, 2] == video[0, 3] == video[0, 4]
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (dropped[:, 0, 0] == 0).float().mean() < 0.6
    assert torch.equal(prepared.eval().drop(x), x)


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


def test_a_model_goes_on_learning_from_new_videos_and_refuses_other_features(
    bags, make_features, tmp_path, monkeypatch
):
    monkeypatch.setattr(candidates, "STEPS", 8)
    train_by_recipe(TrainingData(bags), Destination(tmp_path / "first"), CPU)
    start = Start(*load_model(tmp_path / "first"))
    before = score_bags(start.model, bags.x, CPU)
    monkeypatch.setattr(candidates, "TUNING_RATE", 1e-2)
    moved = dataclasses.replace(bags, labels=1 - bags.labels)  # what was abnormal is normal now
    info = train_by_recipe(TrainingData(moved), Destination(tmp_path / "second"), CPU, Recipe(start=start))
    assert (info.method, info.settings, info.members) == (start.info.method, start.info.settings, start.info.members)
    assert (info.standardised, info.voters) == (start.info.standardised, start.info.voters)
    model, _ = load_model(tmp_path / "second")
    after, abnormal = score_bags(model, bags.x, CPU), moved.labels == 1
    assert after[abnormal].mean() - after[~abnormal].mean() > before[abnormal].mean() - before[~abnormal].mean()
    np.testing.assert_array_equal(score_bags(start.model, bags.x, CPU), before)  # it is left as it was
    other = load_bags(make_features("other", backbone="i3d"), 8)
    with pytest.raises(UsageError, match="the model was trained with backbone mc3"):
        train_by_recipe(TrainingData(other), Destination(tmp_path / "third"), CPU, Recipe(start=start))


def test_a_tuned_model_has_the_mean_of_the_weights_before_and_after(bags):
    plan = make_plan("mil-rank", 32, {"segments": 8, "steps": 3, "batch": 4})
    start = find_method("mil-rank").build(plan.settings)
    tuned = fit(plan, Material(bags, np.arange(13), start=start), CPU).method
    before, after = start.state_dict(), tuned.state_dict()
    assert not torch.equal(before["layers.0.weight"], after["layers.0.weight"])
    for name, value in halfway(start, tuned).state_dict().items():
        assert torch.equal(value, (before[name] + after[name]) / 2)
    assert halfway(None, tuned) is tuned


def test_a_model_that_no_training_improves_stays_as_it_is(bags, tmp_path):
    bags.x[bags.labels == 1, :, 2:4, 0] = 9.0  # the first feature tells all
    bags.x[bags.labels == 0, :, :, 0] = -9.0
    plan = make_plan("linear", bags.dim, {"segments": 8, "share": 0.125})
    model = find_method("linear").build(plan.settings)
    with torch.no_grad():
        model.layer.weight[0, 0] = 1.0
    start = Start(model.eval(), ModelInfo(plan.settings, bags.kind, method="linear"))
    info = train_by_recipe(TrainingData(bags), Destination(tmp_path / "m"), CPU, Recipe(start=start))
    assert info.training.checkpoint_step == 0
    assert info.training.recipe.startswith("the model as it was")
    assert (info.training.video_auc, info.training.folds) == (1.0, 4)
    kept, _ = load_model(tmp_path / "m")
    assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_bundled_model_is_tuned_by_its_name(make_features, call):
    make_features()
    told = call("train", "features", "--from", "fights", "-o", "m", code=2).stderr
    assert "These features do not fit the model: the model was trained with backbone lite" in told
    assert "no such file" in call("train", "features", "--from", "gone.safetensors", "-o", "m", code=1).stderr.lower()


def test_the_command_chooses_and_says_what_to_expect(make_features, call, tmp_path):
    make_features()
    told = call("train", "features", "--device", "cpu", "-o", "m").stderr
    assert "on held-out videos, 4 folds; 12 videos; too few videos: 4 more abnormal videos" in told
    told = call("train", "features", "--quick", "--device", "cpu", "-o", "q").stderr
    assert "not measured on held-out videos; 12 videos" in told
    call("train", "features", "--from", "q", "--quick", "--device", "cpu", "-o", "tuned")
    assert load_model(tmp_path / "tuned")[1].settings == load_model(tmp_path / "q")[1].settings
    assert "there is no search" in call("train", "features", "--quick", "--lr", "1e-3", "-o", "n", code=2).stderr
    for name, words in (("a", ["--standardise"]), ("b", ["--set", "standardise=true"]), ("c", ["--no-standardise"])):
        call("train", "features", "--method", "linear", "--set", "steps=2", "--segments", "8", *words, "-o", name)
        assert load_model(tmp_path / name)[1].standardised == (name != "c")
