"""Training without settings: what is chosen, what is estimated, and that it can be interrupted."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from anomalycli.checkpoint import ModelInfo, TrainingRecord, load_model
from anomalycli.data.bags import load_bags
from anomalycli.errors import UsageError
from anomalycli.inference import score_bags
from anomalycli.methods import find_method
from anomalycli.methods.prepared import Ensemble
from anomalycli.training import candidates
from anomalycli.training.cross_validation import (
    halfway,
)
from anomalycli.training.plan import make_plan
from anomalycli.training.recipe import Recipe, Start, advice, train_by_recipe
from anomalycli.training.trainer import Destination, Material, TrainingData, fit

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
    assert all(np.abs(each[i] - each[i - 1]).max() > 1e-3 for i in range(3))  # each from a seed of its own
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
    others = TrainingData(bags, {name: f"camera{i // 2}" for i, name in enumerate(bags.names)})
    with pytest.raises(UsageError, match="nothing is there to resume"):
        train_by_recipe(others, Destination(tmp_path / "whole", resume=True), CPU, Recipe(3))
    train_by_recipe(data, Destination(tmp_path / "whole", overwrite=True), CPU, Recipe(5))
    assert (tmp_path / "stopped").read_bytes() != (tmp_path / "whole").read_bytes()


def test_quick_and_too_few_videos_are_not_estimated(bags, tmp_path):
    info = train_by_recipe(TrainingData(bags), Destination(tmp_path / "quick"), CPU, Recipe(search=False))
    assert (info.training.video_auc, info.training.folds) == (None, None)
    few = bags[np.array([0, 1, 2, 12])]  # one abnormal video cannot be held out
    record = train_by_recipe(TrainingData(few), Destination(tmp_path / "few"), CPU).training
    assert record.video_auc is None
    more = "too few videos: 9 more abnormal videos and 7 more normal videos would help most"
    assert advice(few, record) == f"the only abnormal video cannot be held out; {more}"
    with pytest.raises(UsageError, match=r"Every training video is normal.* `anomalycli calibrate`"):
        train_by_recipe(TrainingData(bags[:7]), Destination(tmp_path / "n"), CPU)


def test_groups_that_allow_no_folds_are_told(bags):
    many = dataclasses.replace(bags, labels=np.repeat([0, 1], 10), names=tuple(map(str, range(20))), videos=())
    record = TrainingRecord()
    assert advice(many, record) == "all normal or all abnormal videos are in one group"
    assert advice(many, record, searched=False) == "not cross-validated"
    assert advice(bags, record).startswith("all normal or all abnormal videos are in one group; too few videos: ")
    assert advice(bags, record, searched=False).startswith("too few videos: ")


def test_labelled_events_of_one_video_are_no_videos(bags):
    events = dataclasses.replace(bags, labels=np.arange(13) % 2, videos=("gate",) * 12 + ("yard",))
    assert "9 more abnormal videos and 8 more normal videos" in advice(events, TrainingRecord(video_auc_low=0.9))


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


def test_what_is_written_after_fine_tuning_is_the_mean_of_the_weights_before_and_after(bags, tmp_path):
    train_by_recipe(TrainingData(bags), Destination(tmp_path / "first"), CPU, Recipe(search=False))
    start = Start(*load_model(tmp_path / "first"))
    info = train_by_recipe(TrainingData(bags), Destination(tmp_path / "m"), CPU, Recipe(search=False, start=start))
    (candidate,) = candidates.tuning_candidates(bags, start.info, seed=0)
    assert info.training.checkpoint_step == candidate.usual_steps == 8
    plan = candidate.plan.with_training(steps=8).on(CPU)
    expected = halfway(start.model, fit(plan, Material(bags, np.arange(13), start=start.model), CPU).method)
    tuned, _ = load_model(tmp_path / "m")
    assert all(torch.equal(tensor, tuned.state_dict()[name]) for name, tensor in expected.state_dict().items())
    assert score_bags(tuned, bags.x, CPU).tolist() != score_bags(start.model, bags.x, CPU).tolist()


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


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_that_is_none_is_told_before_features_are_read(call, seed):
    assert "seed must be " in call("train", "no-such-folder", "--seed", seed, code=2).stderr


def test_all_seeds_train_several_networks(bags, tmp_path):
    info = train_by_recipe(TrainingData(bags), Destination(tmp_path / "m"), CPU, Recipe((1 << 63) - 1, search=False))
    assert info.members == 3


def test_a_model_tuned_from_another_is_not_replaced_by_resuming(bags, tmp_path):
    starts = []
    for seed in (0, 1):
        train_by_recipe(TrainingData(bags), Destination(tmp_path / f"{seed}"), CPU, Recipe(seed, search=False))
        starts.append(Start(*load_model(tmp_path / f"{seed}")))

    def tune(start, name="tuned"):
        recipe = Recipe(search=False, start=start)
        return train_by_recipe(TrainingData(bags), Destination(tmp_path / name, resume=True), CPU, recipe)

    tune(starts[0])
    before = (tmp_path / "tuned").read_bytes()
    for other, name in ((starts[1], "tuned"), (starts[0], "0"), (None, "tuned")):
        with pytest.raises(UsageError, match="nothing is there to resume"):
            tune(other, name)
    tune(starts[0])
    assert (tmp_path / "tuned").read_bytes() == before


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
