"""What every method promises, what the losses of the peers are, and methods from other packages."""

import numpy as np
import pytest
import torch

from anomalycli.checkpoint import load_model
from anomalycli.data.bags import load_bags
from anomalycli.errors import CheckpointError, UsageError
from anomalycli.experiments.comparison import Comparison
from anomalycli.inference import score_bags
from anomalycli.methods import METHODS, find_method
from anomalycli.training.plan import make_plan
from anomalycli.training.trainer import Destination, TrainingData, train

SMALL = {"segments": 8, "scales": 2, "heads": 2, "feedforward": 8}


def make(name, dim=32, **values):
    kind = find_method(name)
    settings = kind.configure(dim, {key: value for key, value in {**SMALL, **values}.items() if key in kind.names})
    return kind.build(settings)


SMALL_ONES = [name for name in METHODS if name != "ms-tct-full"]  # of which 60 steps take minutes


@pytest.mark.parametrize("name", SMALL_ONES)
def test_every_method_scores_segments_and_learns(name, make_features):
    torch.manual_seed(0)
    bags = load_bags(make_features(), 8)
    method = make(name, threshold=0.0)
    x = torch.from_numpy(bags.x[:, 0])
    x_a, x_n = x[bags.labels == 1], x[bags.labels == 0]
    optimizer = torch.optim.Adam(method.parameters(), 1e-3)
    losses = []
    for _ in range(60):
        loss, erased = method.loss(x_a, x_n)
        assert erased.shape == (6, 8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert not {n for n, p in method.named_parameters() if p.grad is None}
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    scores = method.eval()(x)[1]
    assert scores.shape == (12, 8)
    assert scores.min() >= 0 and scores.max() <= 1
    assert erased.any() == (name not in ("linear", "mil-rank", "rtfm", "baseline", "mstm"))


@pytest.mark.parametrize("name", SMALL_ONES)
def test_every_method_is_trained_saved_and_loaded(name, make_features, tmp_path):
    bags = load_bags(make_features(), 8)
    values = SMALL | {"steps": 3, "batch": 4, "validate_every": 2}
    known = [*find_method(name).names, "steps", "batch", "validate_every"]
    plan = make_plan(name, 32, {key: value for key, value in values.items() if key in known})
    train(plan, TrainingData(bags), Destination(tmp_path / "m"))
    model, info = load_model(tmp_path / "m")
    assert (info.method, info.settings) == (name, plan.settings)
    assert type(info.settings) is type(plan.settings)
    scores = score_bags(model, bags.x, torch.device("cpu"))
    whole = tmp_path / "half"
    train(plan, TrainingData(bags), Destination(whole, half=True))
    np.testing.assert_allclose(score_bags(load_model(whole)[0], bags.x, torch.device("cpu")), scores, atol=2e-2)


def test_the_command_trains_scores_and_evaluates_any_method(make_features, call, tmp_path):
    make_features()
    rows = [f"video{i:02},155," + ("48,80" if i >= 6 else ",") for i in range(12)]
    (tmp_path / "truth.csv").write_text("\n".join(["video,n_frames,start,end", *rows]) + "\n")
    words = ("--method", "rtfm", "--segments", "8", "--steps", "3", "--batch", "4", "--device", "cpu")
    call("train", "features", *words, "--set", "k=2", "-o", "m")
    assert load_model(tmp_path / "m")[1].settings.k == 2
    assert "video00" in call("score", "features/video00.npz", "--model", "m").stdout
    call("evaluate", "m", "features", "--ground-truth", "truth.csv")
    told = call("train", "features", *words, "--heads", "2", "-o", "n", code=2).stderr
    assert "rtfm: There is no setting 'heads'. There are segments, k," in told
    told = call("train", "features", *words, "--set", "k=9", "-o", "n", code=2).stderr
    assert "k must be from 1 to the 8 segments, not 9" in told


def test_a_checkpoint_of_a_method_that_is_not_installed_is_refused(make_features, tmp_path, monkeypatch):
    bags = load_bags(make_features(), 8)
    plan = make_plan("mil-rank", 32, {"segments": 8, "steps": 1, "batch": 2})
    train(plan, TrainingData(bags), Destination(tmp_path / "m"))
    monkeypatch.delitem(METHODS, "mil-rank")
    with pytest.raises(CheckpointError, match=r"m: not a model .* no method 'mil-rank'"):
        load_model(tmp_path / "m")


def test_mil_rank_is_the_hinge_with_smoothness_and_sparsity():
    method = make("mil-rank", 4, smoothness=0.5).eval()
    x_a, x_n = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    s_a, s_n = (method(x)[1].tolist() for x in (x_a, x_n))
    expected = 0.0
    for a, n in zip(s_a, s_n, strict=True):
        expected += max(0.0, 1 - max(a) + max(n)) / 2
        expected += 0.5 * sum((a[t] - a[t + 1]) ** 2 for t in range(5)) / 2 + 8e-5 * sum(a) / 2
    assert method.loss(x_a, x_n)[0].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("crops", "k"), [(1, 3), (3, None)])
def test_rtfm_is_magnitudes_and_the_scores_of_the_segments_that_have_them(crops, k):
    torch.manual_seed(0)
    method = make("rtfm", 8, k=k, segments=20).eval()
    x_a, x_n = torch.randn(2, 2, crops, 20, 8)
    expected, every = 0.0, []
    for a, n in zip(x_a, x_n, strict=True):
        magnitudes = []
        for x, label in ((a, 1), (n, 0)):
            features, scores = method(x)  # of each crop
            features, scores = features.tolist(), scores.tolist()
            norms = [[sum(v * v for v in segment) ** 0.5 for segment in crop] for crop in features]
            means = [sum(crop[t] for crop in norms) / crops for t in range(20)]
            top = sorted(range(20), key=lambda t: -means[t])[: k or 2]  # a tenth of 20
            averages = [[sum(crop[t][d] for t in top) / len(top) for d in range(8)] for crop in features]
            magnitudes.append([sum(v * v for v in average) ** 0.5 for average in averages])
            s = [sum(crop[t] for crop in scores) / crops for t in range(20)]
            score = sum(s[t] for t in top) / len(top)
            expected -= np.log(score if label else 1 - score) / 4
            if label:
                expected += 8e-4 * sum((s[t] - s[t + 1]) ** 2 for t in range(19))
                every += s
        for f_a, f_n in zip(*magnitudes, strict=True):
            expected += 1e-4 * (abs(100 - f_a) + f_n) ** 2 / 2 / crops
    expected += 8e-3 * sum(s * s for s in every) ** 0.5
    assert method.loss(x_a, x_n)[0].item() == pytest.approx(expected, rel=1e-5)
    if crops == 1:
        assert method.loss(x_a[:, 0], x_n[:, 0])[0].item() == pytest.approx(expected, rel=1e-5)


def test_rtfm_trains_as_its_authors_do_unless_told_otherwise(tmp_path):
    config = make_plan("rtfm", 16).config
    assert (config.lr, config.weight_decay, config.crops) == (1e-3, 5e-3, "together")
    assert make_plan("rtfm", 16, {"lr": 1e-2}).config.lr == 1e-2
    (row,) = Comparison(["rtfm"], defaults={"lr": 1e-5, "crops": "draw"}).rows(16)  # a preset is DE-Net's
    assert (row.plan.config.lr, row.plan.config.crops) == (1e-3, "together")
    assert Comparison(["rtfm", "de-net"]).crops == "all"
    assert Comparison(["de-net"]).crops == "mean"
    with pytest.raises(UsageError, match="de-net takes one crop at a time"):
        make_plan("de-net", 16, {"crops": "together"})
    for label, name in enumerate(("v_label_A", "w_label_B1-0-0")):
        crops = np.random.default_rng(0).normal(label, size=(20 + label, 3, 8)).astype(np.float32)
        np.save(tmp_path / f"{name}_i3d.npy", crops)
    bags = load_bags(tmp_path, 8, crops="together")
    for crops in ("together", "mean", "all", "draw"):
        values = {"segments": 8, "steps": 2, "batch": 2, "crops": crops}
        info = train(make_plan("rtfm", 8, values), TrainingData(bags), Destination(tmp_path / f"{crops}.safetensors"))
        assert info.training.crops_seen == 3


def test_the_small_and_the_full_encoder_of_ms_tct():
    small, full = (make(name, 32, segments=16) for name in ("ms-tct", "ms-tct-full"))
    assert [stage.merge.out_channels for stage in full.mstm.stages] == [256, 384, 576, 864]
    assert [len(stage.attention) for stage in full.mstm.stages] == [3, 3, 3, 3]
    lengths = []
    for stage in full.mstm.stages:
        stage.register_forward_hook(lambda _, __, out: lengths.append(out.shape[1]))
    for method in (small, full):
        features, scores = method.eval()(torch.randn(2, 16, 32))
        assert (features.shape, scores.shape) == ((2, 16, 32), (2, 16))
    assert lengths == [16, 8, 4, 2]


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("de-net", {"heads": 0}, "heads must be 1 or more, not 0"),
        ("de-net", {"dropout": 1.5}, "dropout must be at least 0 and less than 1, not 1.5"),
        ("de-net", {"layers": 10**9}, "layers must be 64 or less"),
        ("de-net", {"alpha1": -1}, "alpha1 must be 0 or more"),
        ("de-net", {"scales": 5, "segments": 8}, "8 segments cannot be halved 4 times"),
        ("mil-rank", {"sparsity": -1}, "sparsity must be 0 or more"),
        ("rtfm", {"k": 65}, "k must be from 1 to the 64 segments"),
        ("rtfm", {"k": 0}, "k must be from 1"),
        ("de-net", {"lr": -1}, "lr must be greater than 0, not -1"),
        ("de-net", {"steps": 0}, "steps must be 1 or more"),
        ("de-net", {"batch": True}, "batch must be a whole number"),
        ("de-net", {"validation": 1}, "validation must be at least 0 and less than 1"),
        ("de-net", {"crops": "some"}, "crops must be one of"),
    ],
)
def test_bad_settings_are_sentences(name, values, told):
    with pytest.raises(UsageError, match=told):
        make_plan(name, 64, values)
