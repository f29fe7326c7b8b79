"""compare: which runs there are, in which order, and which are not computed again."""

import dataclasses
import json
import re

import numpy as np
import pytest

from anomalycli.data.bags import load_bags
from anomalycli.data.sampling import split
from anomalycli.errors import UsageError
from anomalycli.evaluation.metrics import evaluate
from anomalycli.evaluation.protocol import evaluation_set
from anomalycli.experiments.compare import Machine, compare
from anomalycli.experiments.comparison import Comparison
from anomalycli.experiments.table import summary
from anomalycli.methods import METHODS
from anomalycli.training.trainer import TrainingData

SHORT = {"segments": 8, "steps": 4, "batch": 2, "lr": 1e-3}
SMALL = SHORT | {"heads": 2, "feedforward": 8, "scales": 2}
WORDS = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def bags(make_features):
    return load_bags(make_features(), 8)


def truth_of(bags):
    truth = {name: np.zeros(155, bool) for name in bags.names}
    for name, label in zip(bags.names, bags.labels, strict=True):
        truth[name][48:80] = label
    return truth


def data_of(bags, **others):
    return TrainingData(bags, test=evaluation_set(bags, truth_of(bags)), **others)


def test_every_method_sees_the_same_videos_in_the_same_order(bags, tmp_path, monkeypatch):
    seen = {}
    for name in ("mil-rank", "de-net"):
        kind = METHODS[name]

        class Watched(kind.build):
            def loss(self, x_a, x_n, name=name):
                seen.setdefault(name, []).append((x_a.sum().item(), x_n.sum().item()))
                return super().loss(x_a, x_n)

        monkeypatch.setitem(METHODS, name, dataclasses.replace(kind, build=Watched))
    rows = Comparison(["mil-rank", "de-net"], SMALL | {"validation": 0.4}).rows(32)
    results = list(compare(rows, [0, 1], TrainingData(bags, truth=truth_of(bags)), tmp_path / "out"))
    assert [(r.label, r.seed) for r in results] == [("mil-rank", 0), ("de-net", 0), ("mil-rank", 1), ("de-net", 1)]
    assert len(seen["mil-rank"]) == 8
    assert seen["mil-rank"] == seen["de-net"]
    assert seen["mil-rank"][:4] != seen["mil-rank"][4:]

    (line, _) = summary(rows, results)
    aucs = [r.metrics["auc"] for r in results if r.label == "mil-rank"]
    assert (line["auc"], line["auc_std"]) == (pytest.approx(np.mean(aucs)), pytest.approx(np.std(aucs, ddof=1)))
    assert (line["seeds"], line["checkpoint"]) == (2, "last")


def test_the_scores_of_a_run_are_kept_and_give_its_figures(bags, tmp_path):
    rows = Comparison(["mil-rank"], SHORT).rows(32)
    data = data_of(bags)
    (result,) = compare(rows, [3], data, tmp_path)
    kept = np.load(tmp_path / "runs" / "mil-rank-3.npz")
    assert tuple(kept["names"]) == bags.names
    again = evaluate(data.test.frame_scores(kept["scores"]), data.test.truth, resamples=0).metrics
    assert dataclasses.asdict(again) == result.metrics


def test_finished_runs_are_kept_and_refused_for_other_settings(bags, tmp_path):
    rows = Comparison(["mil-rank"], SHORT).rows(32)
    steps = []

    def run(rows, seeds, bags=bags):
        return list(compare(rows, seeds, data_of(bags), tmp_path, on_step=lambda *step: steps.append(step)))

    first = run(rows, [0])
    assert len(steps) == 4
    again = run(rows, [0, 1])
    assert len(steps) == 8
    assert again[0] == first[0]
    with pytest.raises(UsageError, match=r"mil-rank-0.json: that run had other settings \(lr was 0.001 and is 1.0\)"):
        run(Comparison(["mil-rank"], SHORT | {"lr": 1.0}).rows(32), [0])
    with pytest.raises(UsageError, match="other training features"):
        run(rows, [0], bags[np.arange(1, 12)])


@pytest.mark.parametrize(
    "change",
    [
        lambda record: "",
        lambda record: "null",
        lambda record: "[" * 100_000,
        lambda record: json.dumps(record)[:-30],
        lambda record: json.dumps(record | {"outcome": {}}),
        lambda record: json.dumps(record | {"outcome": record["outcome"] | {"step": "4"}}),
        lambda record: json.dumps(record | {"outcome": record["outcome"] | {"seed": -1}}),
        lambda record: json.dumps(record | {"outcome": record["outcome"] | {"metrics": {"auc": 0.5}}}),
        lambda record: re.sub('"auc": [0-9.]+', '"auc": 7', json.dumps(record)),
        lambda record: re.sub('"auc": [0-9.]+', '"auc": NaN', json.dumps(record)),
        lambda record: json.dumps(record | {"identity": []}),
        lambda record: "\0" + json.dumps(record),
    ],
)
def test_a_damaged_record_of_a_run_is_named(bags, tmp_path, change):
    rows = Comparison(["mil-rank"], SHORT | {"steps": 1}).rows(32)
    list(compare(rows, [0], data_of(bags), tmp_path))
    path = tmp_path / "runs" / "mil-rank-0.json"
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(UsageError, match=r"mil-rank-0\.json: not the record of a run; delete it"):
        compare(rows, [0], data_of(bags), tmp_path)


def test_what_is_wrong_is_told_before_anything_is_iterated(bags, tmp_path):
    rows = Comparison(["mil-rank"], SHORT).rows(32)
    with pytest.raises(UsageError, match="nothing to evaluate on"):
        compare(rows, [0], TrainingData(bags), tmp_path)
    with pytest.raises(UsageError, match="no ground truth"):
        compare(rows, [0], TrainingData(bags, truth={"other": np.zeros(9, bool)}), tmp_path)
    picked = Comparison(["mil-rank"], SHORT | {"keep": "validation", "validation": 0.01}).rows(32)
    with pytest.raises(UsageError, match="hold some out"):  # of so few, none is, and the last would pass for the best
        compare(picked, [0], data_of(bags), tmp_path)
    with pytest.raises(UsageError, match="Every training video is normal"):
        compare(rows, [0], data_of(bags[bags.labels == 0]), tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mil-rank-1.json").write_text("[]")
    with pytest.raises(UsageError, match=r"mil-rank-1\.json: not the record of a run"):
        compare(rows, [0, 1], data_of(bags), tmp_path)


def test_the_best_on_validation_is_evaluated_where_asked_for(bags, tmp_path):
    settings = SHORT | {"keep": "validation", "validate_every": 1, "steps": 6, "validation": 0.4}
    rows = Comparison(["mil-rank"], settings).rows(32)
    (result,) = compare(rows, [0], data_of(bags), tmp_path)
    assert 1 <= result.step <= 6
    assert summary(rows, [result])[0]["checkpoint"] == "best on validation"
    with pytest.raises(UsageError, match="never picks the best on test"):
        Comparison(["mil-rank"], SHORT | {"keep": "test"}).rows(32)


def test_settings_can_be_everyone_s_one_method_s_or_swept():
    sweeps = {"threshold": [0.5, 0.9], "rtfm.k": [2, 4]}
    rows = Comparison(["mil-rank", "de-net"], SMALL, {"mil-rank": {"lr": 0.5, "smoothness": 0}}, sweeps).rows(32)
    assert [(row.label, row.plan.method, row.plan.config.lr) for row in rows] == [
        ("mil-rank", "mil-rank", 0.5),
        ("de-net", "de-net", 1e-3),
        ("threshold=0.5", "de-net", 1e-3),
        ("threshold=0.9", "de-net", 1e-3),
        ("rtfm.k=2", "rtfm", 1e-3),
        ("rtfm.k=4", "rtfm", 1e-3),
    ]
    assert rows[0].plan.settings.smoothness == 0
    assert [row.plan.settings.threshold for row in rows[1:4]] == [0.8, 0.5, 0.9]
    assert [row.plan.settings.k for row in rows[4:]] == [2, 4]


@pytest.mark.parametrize(
    ("methods", "settings", "of_method", "told"),
    [
        (["de-net"], {"stepz": 1}, {}, "no setting 'stepz'. Did you mean 'steps'"),
        (["mil-rank"], {"heads": 2}, {}, "no setting 'heads'"),
        (["mstm"], {}, {"mstm": {"erasing": "always"}}, "mstm: erasing is never in the method mstm"),
        (["de-net"], {"erasing": "sometimes"}, {}, "must be one of dynamic, always, never"),
        (["de-net"], {"heads": 2.5}, {}, "heads must be a whole number, not '2.5'"),
        (["de-net"], {"lr": float("nan")}, {}, "lr must be a number"),
        (["denet"], {}, {}, "no method 'denet'"),
        (["de-net"], {}, {"rtmf": {"k": 1}}, "no method 'rtmf'"),
    ],
)
def test_bad_settings_are_told_without_the_features(methods, settings, of_method, told):
    with pytest.raises(UsageError, match=told):
        Comparison(methods, settings, of_method).check()


def test_what_is_named_twice_is_one_row():
    rows = Comparison(["mil-rank", "mil-rank"], SMALL, {}, {"scales": [2, 2]}).rows(32)
    assert [row.label for row in rows] == ["mil-rank", "scales=2"]


def test_heads_are_checked_against_the_real_width():
    twelve = Comparison(["de-net"], {"heads": 12})
    twelve.check()
    assert twelve.rows(24)[0].plan.settings.heads == 12
    with pytest.raises(UsageError, match="32 is not divisible by 12 heads"):
        twelve.rows(32)


def test_groups_are_held_out_whole():
    names = tuple(f"v{i}" for i in range(20))
    labels = np.array([0, 1] * 10)
    groups = {name: f"source{i // 4}" for i, name in enumerate(names)}
    held_out, kept = split(names, labels, 0.4, 0, groups)
    assert 0 < len(held_out) <= 8
    assert not {groups[names[i]] for i in held_out} & {groups[names[i]] for i in kept}
    assert sorted([*held_out, *kept]) == list(range(20))
    assert len(split(names, labels, 0.01, 0, groups)[0]) == 0


def test_the_command_compares_sweeps_and_goes_on(make_features, call, tmp_path):
    make_features()
    rows = [f"video{i:02},155," + ("48,80" if i >= 6 else ",") for i in range(12)]
    (tmp_path / "truth.csv").write_text("\n".join(["video,n_frames,start,end", *rows]) + "\n")
    command = ["compare", "features", "--test", "features", "--ground-truth", "truth.csv", *WORDS, "-o", "out"]
    command += ["--methods", "mil-rank,mstm+eo", "--sweep", "scales=1,2", "--seeds", "2"]
    done = call(*command)
    assert "mstm+eo" in done.stdout
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| mstm+eo | 2 | last |" in table
    assert "± standard deviation over 2 seeds" in table
    assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) == 5
    for name in ("auc", "ap", "scales-auc", "scales-ap"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000
    for kind in ("json", "npz"):
        (tmp_path / "out" / "runs" / f"mil-rank-1.{kind}").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").iterdir()}
    told = json.loads(call(*command, "--json").stdout)
    assert [row["method"] for row in told["rows"]] == ["mil-rank", "mstm+eo", "scales=1", "scales=2"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "out" / "runs" / "mil-rank-1.json").exists()
    assert (tmp_path / "out" / "table.md").read_text() == table  # the run that was gone gives what it gave before

    assert "no method 'x'" in call(*command, "--methods", "x", code=2).stderr
    assert "lr was 0.001 and is 1.0" in call(*command, "--set", "lr=1", code=2).stderr
    command += ["--set", "rtfm.lr=1", "--set", "mil-rank.lr=1e-3"]
    assert "settings of rtfm do nothing" in call(*command).stderr
    assert "nothing to evaluate on" in call("compare", "not-read-yet", *WORDS, "-o", "none", code=2).stderr


def test_wrong_settings_are_told_as_they_were_written_before_features_are_read(call, tmp_path):
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\na,16,,\n")
    command = ["compare", "not-read-yet", "--methods", "de-net", "--ground-truth", "truth.csv"]
    for words, answer in (
        (("--sweep", "delta=.5,x"), "delta must be a number, not 'x'"),
        (("--sweep", "de-net.threshold=x"), "threshold must be a number"),
        (("--set", "crop-policy=none"), "crop-policy must be one of"),
        (("--set", "validation=0"), "nothing to evaluate on"),
        (("--methods", " , "), "no method to compare"),
        (("--methods", " mil-rank , zz "), "no method 'zz'"),
        (("-o", "not-read-yet/comparison"), "would be taken for features"),
        (("--test", "t", "-o", "x/../t"), "would be taken for features"),
        (("--test", "t", "--set", "keep=validation", "--set", "validation=0"), "hold some out"),
    ):
        assert answer in call(*command, *words, code=2).stderr


def test_results_do_not_depend_on_how_many_runs_are_trained_at_a_time(bags, tmp_path):
    rows = Comparison(["mil-rank", "de-net"], SMALL | {"dropout": 0.5}, {"de-net": {"lr": 1e-4}}).rows(32)
    steps = []
    one = list(compare(rows, [0, 1], data_of(bags), tmp_path / "one"))
    several = Machine(workers=2)
    two = compare(
        rows, [0, 1], data_of(bags), tmp_path / "two", machine=several, on_step=lambda *now: steps.append(now)
    )
    order = [(result.label, result.seed) for result in one]
    assert sorted(two, key=lambda result: order.index((result.label, result.seed))) == one
    for path in (tmp_path / "one" / "runs").iterdir():
        other = tmp_path / "two" / "runs" / path.name
        assert path.suffix != ".json" or path.read_bytes() == other.read_bytes()
        assert path.suffix != ".npz" or np.array_equal(np.load(path)["scores"], np.load(other)["scores"])
    assert {(row.label, seed) for row, seed, _ in steps} == {*order}


def test_runs_beside_each_other_begin_with_the_largest(bags, tmp_path, monkeypatch):
    begun = []

    def one_by_one(job, data, runs, workers, on_step):
        for number, run in enumerate(runs):
            begun.append((run.row.label, run.seed))
            yield number, job(data, run, lambda step: None), None

    monkeypatch.setattr("anomalycli.experiments.compare.in_processes", one_by_one)
    rows = Comparison(["linear", "mil-rank"], SHORT).rows(32)
    results = list(compare(rows, [0, 1], data_of(bags), tmp_path, machine=Machine(workers=2)))
    assert begun == [("mil-rank", 0), ("mil-rank", 1), ("linear", 0), ("linear", 1)]
    assert [(result.label, result.seed) for result in results] == begun


def test_a_run_that_fails_costs_no_other(bags, tmp_path):
    settings = {"mil-rank": {"lr": 1e30, "steps": 30}}
    rows = Comparison(["mil-rank", "linear"], SHORT, settings).rows(32)
    results = []
    with pytest.raises(UsageError, match=r"mil-rank, seed 0: .* diverges.* 1 more failed") as caught:
        for result in compare(rows, [0, 1], data_of(bags), tmp_path):
            results.append((result.label, result.seed))
    assert results == [("linear", 0), ("linear", 1)] and caught.value.settings == ("lr",)
