"""Metrics against numbers worked out by hand, and against scikit-learn where hands are too slow."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalycli.errors import UsageError
from anomalycli.evaluation.metrics import evaluate

TRUTH = {"a": np.array([0, 1, 1, 0], bool), "n": np.array([0, 0], bool)}
SCORES = {"a": np.array([0.1, 0.9, 0.4, 0.6]), "n": np.array([0.5, 0.2])}


def test_metrics_by_hand():
    # from above: .9 yes, .6 no, .5 no, .4 yes, .2 no, .1 no
    metrics = evaluate(SCORES, TRUTH).metrics
    assert metrics.auc == pytest.approx((4 + 2) / 8)  # pairs in order, of 2 x 4
    assert metrics.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    # (recall, precision): (0, 1) (.5, 1) (.5, 1/2) (.5, 1/3) (1, 1/2) ...
    assert metrics.pr_auc == pytest.approx(0.5 * 1 + 0.5 * (1 / 3 + 1 / 2) / 2)
    assert metrics.abnormal_auc == pytest.approx((2 + 1) / 4)  # within a: .9 yes, .6 no, .4 yes, .1 no
    assert metrics.abnormal_ap == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert metrics.abnormal_pr_auc == pytest.approx(0.5 + 0.5 * (1 / 2 + 2 / 3) / 2)
    assert metrics.false_alarms == 0.5  # .5 is an alarm, .2 is not


def test_each_video_by_itself():
    a, n = evaluate(SCORES, TRUTH).videos
    assert (a.video, a.n_frames, a.abnormal_frames, a.auc, a.alarms) == ("a", 4, 2, 0.75, 0.5)
    assert (n.video, n.n_frames, n.abnormal_frames, n.auc, n.ap) == ("n", 2, 0, None, None)
    assert (n.highest, n.mean) == (0.5, 0.35)


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(0)
    truth = {f"v{i}": rng.random(160) < (0.5 if i % 2 else 0) for i in range(40)}
    return {name: rng.normal(video + rng.normal(0, 0.7), 1.0) for name, video in truth.items()}, truth


def test_intervals_are_those_of_drawing_videos_one_by_one(noisy):
    scores, truth = noisy
    evaluation = evaluate(*noisy)
    rng, names = np.random.default_rng(1), list(truth)
    drawn = []
    for _ in range(400):
        chosen = rng.choice(names, len(names))
        y, s = (np.concatenate([part[name] for name in chosen]) for part in (truth, scores))
        drawn.append((roc_auc_score(y, s), average_precision_score(y, s)))
    for i, name in enumerate(("auc", "ap")):
        low, high = evaluation.intervals[name]
        expected = np.percentile([row[i] for row in drawn], (2.5, 97.5))
        assert (low, high) == pytest.approx(expected, abs=0.25 * (expected[1] - expected[0]))
        assert low < getattr(evaluation.metrics, name) < high
    assert evaluate(*noisy).intervals == evaluation.intervals


def test_the_bootstrap_s_histograms_lose_nothing_that_matters(noisy):
    """Of copies of one video every draw is alike, so the intervals are the point estimates."""
    scores, truth = (np.concatenate(list(part.values())) for part in noisy)
    copies = [f"v{i}" for i in range(5)]
    evaluation = evaluate(dict.fromkeys(copies, scores), dict.fromkeys(copies, truth), resamples=20)
    assert evaluation.intervals.keys() == {"auc", "ap", "pr_auc"}
    for name, (low, high) in evaluation.intervals.items():
        assert low == pytest.approx(high, abs=1e-12)
        assert low == pytest.approx(getattr(evaluation.metrics, name), abs=2e-3)


def test_scores_that_do_not_fit_the_ground_truth_are_named():
    with pytest.raises(UsageError, match="a: 3 scores, but ground truth for 4 frames"):
        evaluate(SCORES | {"a": np.zeros(3)}, TRUTH)
    with pytest.raises(UsageError, match="n: some of its scores are not finite"):
        evaluate(SCORES | {"n": np.array([0.5, np.nan])}, TRUTH)
    with pytest.raises(UsageError, match="b: it has scores or ground truth"):
        evaluate(SCORES | {"b": np.zeros(3)}, TRUTH)
    with pytest.raises(UsageError, match="frames of one class only"):
        evaluate({"n": SCORES["n"]}, {"n": TRUTH["n"]})


@pytest.fixture
def trained(make_features, run, tmp_path):
    make_features()
    run("train", "features", "--width", "8", "--heads", "2", "--feedforward", "8", "--segments", "8",
        "--scales", "2", "--steps", "3", "--batch", "2", "-o", "m.safetensors")  # fmt: skip
    lines = [f"video{i:02},155," + ("48,80" if i >= 6 else ",") for i in range(12)]
    (tmp_path / "truth.csv").write_text("\n".join(["video,n_frames,start,end", *lines]) + "\n")
    return ("evaluate", "m.safetensors", "features", "--dataset", "csv", "--ground-truth", "truth.csv")


def test_the_command_writes_numbers_curves_and_videos(trained, run, tmp_path):
    told = json.loads(run(*trained, "--json", "-o", "out", "--draw", "video07", "--draw", "video00").stdout)
    assert (told["videos"], told["frames"], told["checkpoint"]) == (12, 12 * 155, "last")
    assert 0 <= told["intervals"]["auc"][0] <= told["metrics"]["auc"] <= told["intervals"]["auc"][1] <= 1
    with open(tmp_path / "out" / "videos.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == [f"video{i:02}" for i in range(12)]
    assert [row["abnormal_frames"] for row in rows] == ["0"] * 6 + ["32"] * 6
    for name in ("curves.png", "sheet.png"):
        assert (tmp_path / "out" / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "AUC" in run(*trained).stdout


def test_the_command_names_what_does_not_fit(trained, run, tmp_path, make_features):
    truth = tmp_path / "truth.csv"
    whole = truth.read_text()
    truth.write_text(whole.replace("video03,155", "video03,171"))
    assert "video03: its features stand for 155 frames, and its ground truth has 171" in run(*trained, code=2).stderr
    truth.write_text(whole.replace("video03,155,,\n", ""))
    assert "it has no ground truth of video03. Normal videos need a row too" in run(*trained, code=2).stderr
    truth.write_text(whole)
    assert "no video 'video99'" in run(*trained, "--draw", "video99", "-o", "out", code=2).stderr
    for words, answer in (
        ((*trained, "--frames", "truth.csv"), "A CSV of ground truth has the lengths of its videos"),
        ((*trained[:3], "--last-frame"), "Options of the ground truth were given, but no file of it"),
    ):
        assert answer in run(*words, code=2).stderr
    make_features("others", backbone="i3d")
    others = [word if word != "features" else "others" for word in trained]
    text = run(*others, code=2).stderr
    assert "i3d" in text and "mc3" in text


def test_published_features_with_sound_go_through_training_and_evaluation(run, tmp_path):
    rng, rows = np.random.default_rng(0), ["video,n_frames,start,end"]
    for i in range(8):
        name = f"v=x__#{i}_label_" + ("B1-0-0" if i % 2 else "A")
        for part, width in (*((crop, 8) for crop in range(5)), ("vggish", 128)):
            folder = tmp_path / ("sound" if part == "vggish" else "rgb")
            folder.mkdir(exist_ok=True)
            np.save(folder / f"{name}__{part}.npy", rng.normal(size=(12, width)).astype(np.float32))
        rows.append(f"{name},185," + ("16,64" if i % 2 else ","))  # 12 clips, the last of 9 frames
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    words = ("--audio-features", "sound")
    small = ("--width", "8", "--heads", "2", "--feedforward", "8", "--steps", "2", "--segments", "8")
    run("train", "rgb", *words, "--crop-policy", "draw", *small, "-o", "m")
    told = json.loads(run("evaluate", "m", "rgb", *words, "--ground-truth", "truth.csv", "--json").stdout)
    assert (told["videos"], told["frames"]) == (8, 8 * 185)
    assert "sound" in run("evaluate", "m", "rgb", "--ground-truth", "truth.csv", code=2).stderr
