"""compare: what is run, what is not run again, and what the peers' losses are."""

import json

import numpy as np
import pytest
import torch

from anomalycli.data.bags import load_bags
from anomalycli.data.sampling import split
from anomalycli.denet import DENetConfig
from anomalycli.errors import UsageError
from anomalycli.evaluation.protocol import evaluation_set
from anomalycli.experiments.compare import compare, entries, summary
from anomalycli.methods import METHODS
from anomalycli.training.trainer import TrainConfig

SMALL = {"heads": 2, "feedforward": 8, "segments": 8, "scales": 2, "steps": 4, "batch": 2, "lr": 1e-3}
WORDS = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def bags(make_features):
    return load_bags(make_features(), 8)


def truth_of(bags):
    truth = {name: np.zeros(155, bool) for name in bags.names}
    for name, label in zip(bags.names, bags.labels, strict=True):
        truth[name][48:80] = label
    return truth


@pytest.mark.parametrize("name", METHODS)
def test_every_method_scores_segments_and_learns(name, bags):
    torch.manual_seed(0)
    network = DENetConfig(32, segments=8, scales=2, heads=2, feedforward=8)
    method = METHODS[name](network, TrainConfig(threshold=0.0))
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
    unused = {n for n, p in method.named_parameters() if p.grad is None}
    assert not unused
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    scores = method.eval()(x)[1]
    assert scores.shape == (12, 8)
    assert scores.min() >= 0
    assert scores.max() <= 1
    never = name in ("mil-rank", "rtfm", "baseline", "mstm")
    assert erased.any() == (not never)


def test_mil_rank_is_the_hinge_with_smoothness_and_sparsity():
    method = METHODS["mil-rank"](DENetConfig(4, heads=2), TrainConfig()).eval()
    x_a, x_n = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    s_a, s_n = (method(x)[1].tolist() for x in (x_a, x_n))
    expected = 0.0
    for a, n in zip(s_a, s_n, strict=True):
        expected += max(0.0, 1 - max(a) + max(n)) / 2
        expected += 8e-5 * sum((a[t] - a[t + 1]) ** 2 for t in range(5)) / 2 + 8e-5 * sum(a) / 2
    assert method.loss(x_a, x_n)[0].item() == pytest.approx(expected, rel=1e-5)


def test_rtfm_is_magnitudes_and_the_scores_of_the_segments_that_have_them():
    torch.manual_seed(0)
    method = METHODS["rtfm"](DENetConfig(8, heads=2), TrainConfig()).eval()
    x_a, x_n = torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    expected, every = 0.0, []
    for a, n in zip(x_a, x_n, strict=True):
        magnitudes = []
        for x, label in ((a, 1), (n, 0)):
            features, scores = method(x[None])
            features = features[0].tolist()
            norms = [sum(v * v for v in segment) ** 0.5 for segment in features]
            top = sorted(range(6), key=lambda t: -norms[t])[:3]
            magnitudes.append(sum((sum(features[t][d] for t in top) / 3) ** 2 for d in range(8)) ** 0.5)
            score = sum(scores[0, t].item() for t in top) / 3
            expected -= np.log(score if label else 1 - score) / 4
            if label:
                s = scores[0].tolist()
                expected += 8e-4 * sum((s[t] - s[t + 1]) ** 2 for t in range(5))
                every += s
        expected += 1e-4 * (abs(100 - magnitudes[0]) + magnitudes[1]) ** 2 / 2
    expected += 8e-3 * sum(s * s for s in every) ** 0.5
    assert method.loss(x_a, x_n)[0].item() == pytest.approx(expected, rel=1e-5)


def test_every_method_sees_the_same_videos_in_the_same_order(bags, tmp_path, monkeypatch):
    seen = {}

    def watched(name, build):
        def build_watched(network, config):
            method = build(network, config)
            loss = method.loss

            def watched_loss(x_a, x_n):
                seen.setdefault((name, config.seed), []).append((x_a.sum().item(), x_n.sum().item()))
                return loss(x_a, x_n)

            method.loss = watched_loss
            return method

        return build_watched

    for name in ("mil-rank", "de-net"):
        monkeypatch.setitem(METHODS, name, watched(name, METHODS[name]))
    rows = entries(["mil-rank", "de-net"], 32, SMALL | {"validation": 0.4})
    outcomes = list(compare(rows, [0, 1], bags, tmp_path / "out", truth=truth_of(bags)))
    assert [(o.label, o.seed) for o in outcomes] == [("mil-rank", 0), ("de-net", 0), ("mil-rank", 1), ("de-net", 1)]
    assert seen["mil-rank", 0] == seen["de-net", 0] != seen["mil-rank", 1]

    (line, _) = summary(rows, outcomes)
    aucs = [o.metrics["auc"] for o in outcomes if o.label == "mil-rank"]
    assert (line["auc"], line["auc_std"]) == (pytest.approx(np.mean(aucs)), pytest.approx(np.std(aucs, ddof=1)))
    assert (line["seeds"], line["checkpoint"]) == (2, "last")


def test_finished_runs_are_kept_and_refused_for_other_settings(bags, tmp_path):
    rows = entries(["mil-rank"], 32, SMALL)
    steps = []
    arguments = {"test": evaluation_set(bags, truth_of(bags)), "on_step": lambda *step: steps.append(step)}
    first = list(compare(rows, [0], bags, tmp_path, **arguments))
    assert len(steps) == 4
    again = list(compare(rows, [0, 1], bags, tmp_path, **arguments))
    assert len(steps) == 8
    assert again[0] == first[0]
    with pytest.raises(UsageError, match=r"mil-rank-0.json: that run had another 'settings'"):
        list(compare(entries(["mil-rank"], 32, SMALL | {"lr": 1.0}), [0], bags, tmp_path, **arguments))
    with pytest.raises(UsageError, match="another 'train'"):
        list(compare(rows, [0], bags[np.arange(1, 12)], tmp_path, **arguments))


def test_the_best_on_validation_is_evaluated_where_asked_for(bags, tmp_path):
    rows = entries(["mil-rank"], 32, SMALL | {"keep": "validation", "validate_every": 1, "steps": 6, "validation": 0.4})
    (outcome,) = compare(rows, [0], bags, tmp_path, test=evaluation_set(bags, truth_of(bags)))
    assert 1 <= outcome.step <= 6
    assert summary(rows, [outcome])[0]["checkpoint"] == "best on validation"
    with pytest.raises(UsageError, match="never picks the best on test"):
        entries(["mil-rank"], 32, SMALL | {"keep": "test"})


def test_settings_can_be_everyone_s_one_method_s_or_swept():
    rows = entries(["mil-rank", "de-net"], 32, SMALL, {"mil-rank": {"lr": 0.5}}, {"threshold": [0.5, 0.9]})
    assert [(r.label, r.config.lr, r.config.threshold) for r in rows] == [
        ("mil-rank", 0.5, 0.8),
        ("de-net", 1e-3, 0.8),
        ("threshold=0.5", 1e-3, 0.5),
        ("threshold=0.9", 1e-3, 0.9),
    ]
    for bad, told in (({"stepz": 1}, "stepz"), ({"heads": 5}, "5 heads"), ({"erasing": "never"}, "erasing")):
        with pytest.raises(UsageError, match=told):
            entries(["de-net"], 32, SMALL | bad)
    with pytest.raises(UsageError, match="no method 'denet'"):
        entries(["denet"], 32, SMALL)


def test_groups_are_held_out_whole():
    names = tuple(f"v{i}" for i in range(20))
    labels = np.array([0, 1] * 10)
    groups = {name: f"source{i // 4}" for i, name in enumerate(names)}
    held_out, kept = split(names, labels, 0.4, 0, groups)
    assert 0 < len(held_out) <= 8
    assert not {groups[names[i]] for i in held_out} & {groups[names[i]] for i in kept}
    assert sorted([*held_out, *kept]) == list(range(20))
    assert len(split(names, labels, 0.01, 0, groups)[0]) == 0


def test_the_command_compares_sweeps_and_goes_on(make_features, run, tmp_path):
    make_features()
    rows = [f"video{i:02},155," + ("48,80" if i >= 6 else ",") for i in range(12)]
    (tmp_path / "truth.csv").write_text("\n".join(["video,n_frames,start,end", *rows]) + "\n")
    command = ["compare", "features", "--test", "features", "--ground-truth", "truth.csv", *WORDS, "-o", "out"]
    command += ["--methods", "mil-rank,mstm+eo", "--sweep", "scales=1,2", "--seeds", "2"]
    done = run(*command)
    assert "mstm+eo" in done.stdout
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| mstm+eo | 2 | last |" in table
    assert "± standard deviation over 2 seeds" in table
    assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) == 5
    for name in ("auc", "ap", "scales-auc", "scales-ap"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000
    (tmp_path / "out" / "runs" / "mil-rank-1.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").iterdir()}
    told = json.loads(run(*command, "--json").stdout)
    assert [row["method"] for row in told["rows"]] == ["mil-rank", "mstm+eo", "scales=1", "scales=2"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "| mil-rank | 2 | last |" in table

    assert "no method 'x'" in run(*command, "--methods", "x", code=2).stderr
    assert "another 'settings'" in run(*command, "--set", "lr=1", code=2).stderr
    assert "nothing to evaluate on" in run("compare", "features", *WORDS, "-o", "none", code=2).stderr
