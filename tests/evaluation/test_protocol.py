"""The protocol of the field: scores are repeated over frames, and counted as published."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from anomalycli.cli import cli
from anomalycli.data.datasets import published_lengths
from anomalycli.data.ground_truth import GroundTruthFile
from anomalycli.evaluation.metrics import evaluate
from anomalycli.evaluation.protocol import read_scores

FILES = {"xd-violence": "xd_violence_test.txt", "ucf-crime": "ucf_crime_test.txt"}


def areas(truth, scores) -> tuple[float, float]:
    """Area under ROC, and under recall and precision, by trapezoids between the distinct scores.

    What `auc(fpr, tpr)` of roc_curve and `auc(recall, precision)` of precision_recall_curve come to, counted anew.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # the last of each run of equal scores
    hits = np.cumsum(truth[order])[ends].astype(float)
    alarms = (ends + 1 - hits).astype(float)
    recall, false = (np.concatenate(([0], part / part[-1])) for part in (hits, alarms))
    precision = np.concatenate(([1], hits / (hits + alarms)))
    roc = float((np.diff(false) * (recall[1:] + recall[:-1]) / 2).sum())
    return roc, float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())


def published(shared, dataset, padded, last_frame):
    """Names, clips and concatenated ground truth as the published evaluations make them, from the annotation."""
    names, clips, truth = [], [], []
    intervals = {}
    for line in (shared / "annotations" / FILES[dataset]).read_text().splitlines():
        words = line.split()
        numbers = [int(w) for w in (words[1:] if dataset == "xd-violence" else words[2:6])]
        intervals[words[0].removesuffix(".mp4")] = [p for p in zip(numbers[::2], numbers[1::2]) if p[0] >= 0]
    for name, length in published_lengths(dataset).items():
        video = np.zeros(length.n_frames)
        for start, end in intervals.get(name, []):
            video[start : end + last_frame] = 1
        whole = length.padded if padded else length.n_frames
        names.append(name)
        clips.append(whole // 16)
        truth.append(np.concatenate((video, np.zeros(whole - len(video)))))
    return names, clips, np.concatenate(truth)


@pytest.mark.parametrize(
    ("dataset", "padded", "last_frame"),
    [
        ("xd-violence", False, False),  # XDVioDet: AP of np.repeat(scores, 16)
        ("ucf-crime", False, False),  # UR-DMU: AUC, 1,109,680 frames
        ("ucf-crime", True, True),  # RTFM: AUC, 1,114,144 frames, [s, e + 1)
    ],
)
def test_random_scores_of_clips_are_evaluated_as_the_field_does(shared, tmp_path, dataset, padded, last_frame):
    names, clips, truth = published(shared, dataset, padded, last_frame)
    rng = np.random.default_rng(0)
    scores = [rng.random(n) for n in clips]
    for name, video in zip(names, scores, strict=True):
        np.save(tmp_path / f"{name}.npy", video)
    file = GroundTruthFile(shared / "annotations" / FILES[dataset], dataset, last_frame=last_frame)
    scored = read_scores(tmp_path, file)
    metrics = evaluate(scored.scores, scored.truth, resamples=0).metrics
    roc, ap = areas(truth, np.repeat(np.concatenate(scores), 16))
    assert metrics.auc == pytest.approx(roc, abs=1e-8)
    assert metrics.pr_auc == pytest.approx(ap, abs=1e-8)
    assert sum(map(len, scored.truth.values())) == len(truth)
    assert ("RTFM" if padded else "whole clips") in scored.total


@pytest.fixture
def table(tmp_path):
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\na,40,8,24\nb,33,,\nc/d,64,0,16\n")
    return GroundTruthFile(tmp_path / "truth.csv")


@pytest.mark.parametrize("lengths", [(3, 3, 4), (2, 2, 3), (40, 33, 64)], ids=["padded", "whole", "frames"])
def test_scores_are_of_clips_or_of_frames(tmp_path, table, lengths):
    folder = tmp_path / "scores"
    (folder / "c").mkdir(parents=True)
    for name, n in zip(("a", "b_i3d", "c/d"), lengths, strict=True):
        np.save(folder / f"{name}.npy", np.arange(n)[:, None])
    scored = read_scores(folder, table)
    each = 1 if lengths[0] == 40 else 16
    for name, n, whole in zip(("a", "b", "c/d"), lengths, (40, 33, 64), strict=True):
        expected = np.arange(n).repeat(each)[:whole]
        assert np.array_equal(scored.scores[name], expected)
        assert len(scored.truth[name]) == len(expected)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros(20), r"a has 20 scores, and its ground truth 40 frames: give one score per clip of 16 frames \(3\)"),
        (np.zeros((3, 2)), r"a\.npy: an array of shape \(3, 2\)"),
        (np.full(3, np.nan), r"a\.npy: its values are not finite"),
        (np.zeros(3, complex), r"a\.npy: its values are of type complex"),
    ],
)
def test_scores_that_do_not_fit_are_named(tmp_path, table, array, told):
    (tmp_path / "scores").mkdir()
    np.save(tmp_path / "scores" / "a.npy", array)
    np.save(tmp_path / "scores" / "b.npy", np.zeros(3))
    np.save(tmp_path / "scores" / "d.npy", np.zeros(4))
    with pytest.raises(Exception, match=told):
        read_scores(tmp_path / "scores", table)


def test_the_command_evaluates_anyone_s_scores(tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores").mkdir()
    for name, n in (("a", 3), ("b", 3), ("d", 4)):
        np.save(tmp_path / "scores" / f"{name}.npy", np.linspace(0, 1, n))
    words = ["evaluate", "--scores", "scores", "--ground-truth", "truth.csv"]
    report = json.loads(invoke(*words, "--json").stdout)
    assert (report["videos"], report["test_videos"], report["frames"]) == (3, 3, 40 + 33 + 64)
    expected = ("repeated", "[s, e)", None)
    assert (report["scores_to_frames"], report["annotated_interval"], report["checkpoint"]) == expected
    (tmp_path / "scores" / "d.npy").unlink()
    told = str(invoke(*words, code=1).exception)
    assert "1 of 3 videos have ground truth and no features: c/d" in told and "allow videos to be missing" in told
    done = invoke(*words, "--incomplete", "--last-frame")
    assert "1 of 3 videos have ground truth and no features, and are left out" in " ".join(done.stderr.split())
    assert "2 of 3 videos" in done.stderr and "[s, e + 1)" in done.stderr
    for wrong in (("m", "f"), ("--interpolate",), ("m",)):
        assert "--scores" in str(invoke(*words, *wrong, code=1).exception)
    assert "Give MODEL and FEATURES" in str(invoke("evaluate", "--ground-truth", "truth.csv", code=1).exception)


def invoke(*words, code=0):
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == code, done.output + str(done.exception)
    return done
