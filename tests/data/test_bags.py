"""Published features in place, and ground truth from the authors' annotation files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomalycli.data.bags import load_bags
from anomalycli.data.ground_truth import GroundTruthFile, read_frames
from anomalycli.data.labels import label_videos
from anomalycli.errors import FeatureError, UsageError
from anomalycli.evaluation.protocol import fitted
from anomalycli.features.folder import FeatureFolder, find_features


def save(path, shape, value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).normal(size=shape) if value is None else np.full(shape, value)
    np.save(path, array.astype(np.float32))


@pytest.fixture
def xd(tmp_path):
    """Two videos as XD-Violence publishes them: five crops, sound in a folder of its own."""
    for name, n_clips in (("A.Film__#00-25_label_A", 9), ("v=x__#1_label_B1-0-0", 20)):
        for crop in range(5):
            save(tmp_path / "rgb" / f"{name}__{crop}.npy", (n_clips, 6), crop)
        save(tmp_path / "sound" / f"{name}__vggish.npy", (n_clips + 1, 128), 9)
    return tmp_path


def test_xd_violence_s_features_are_read_in_place(xd):
    bags = load_bags(xd / "rgb", 8)
    assert bags.names == ("A.Film__#00-25_label_A", "v=x__#1_label_B1-0-0")
    assert bags.labels.tolist() == [0, 1]
    assert bags.n_frames.tolist() == [144, 320]
    assert bags.x.shape == (2, 1, 8, 6)
    assert (bags.x == 2).all()  # the mean of crops 0 ... 4
    assert bags.warnings == ()

    kept = load_bags(xd / "rgb", 8, crops="draw")
    assert kept.x.shape == (2, 5, 8, 6)
    assert kept.x.dtype == np.float16
    assert [kept.x[1, crop].mean() for crop in range(5)] == [0, 1, 2, 3, 4]


def test_sound_is_joined_clip_by_clip_and_a_clip_too_many_is_said(xd):
    bags = load_bags(FeatureFolder(xd / "rgb", xd / "sound"), 8)
    assert bags.dim == 6 + 128
    assert (bags.x[..., 6:] == 9).all()
    assert bags.n_frames.tolist() == [144, 320]
    assert len(bags.warnings) == 2
    assert "A.Film__#00-25_label_A: 144 frames were read and 16 frames are lost" in bags.warnings[0]

    save(xd / "sound" / "v=x__#1_label_B1-0-0__vggish.npy", (23, 128))
    with pytest.raises(FeatureError, match=r"v=x__#1.*\(20, 6\).*\(23, 128\)"):
        load_bags(FeatureFolder(xd / "rgb", xd / "sound"), 8)
    (xd / "sound" / "v=x__#1_label_B1-0-0__vggish.npy").unlink()
    with pytest.raises(UsageError, match=r"no NAME__vggish\.npy for v=x__#1"):
        load_bags(FeatureFolder(xd / "rgb", xd / "sound"), 8)


def test_ucf_crime_s_and_plain_arrays_are_read_in_place(tmp_path):
    save(tmp_path / "ucf" / "Abuse028_x264_i3d.npy", (5, 10, 7))
    save(tmp_path / "ucf" / "Normal_Videos_003_x264_i3d.npy", (4, 10, 7))
    bags = load_bags(tmp_path / "ucf", 4, crops="draw")
    assert bags.names == ("Abuse028_x264", "Normal_Videos_003_x264")
    assert bags.x.shape == (2, 10, 4, 7)

    assert bags.labels.tolist() == [1, 0]

    save(tmp_path / "plain" / "abnormal" / "a.npy", (5, 7))
    save(tmp_path / "plain" / "normal" / "b.npy", (5, 7))
    assert load_bags(tmp_path / "plain", 4).labels.tolist() == [1, 0]
    (source, _) = find_features(tmp_path / "plain")
    assert source.load().joined().shape == (5, 1, 7)


def test_a_published_list_gives_the_split(xd):
    (xd / "train.list").write_text("/data/rgb/v=x__#1_label_B1-0-0__0.npy\n/data/rgb/v=x__#1_label_B1-0-0__1.npy\n\n")
    assert load_bags(FeatureFolder(xd / "rgb", only=xd / "train.list"), 8).names == ("v=x__#1_label_B1-0-0",)
    (xd / "train.txt").write_text("Crime/v=x__#1_label_B1-0-0.mp4  Fighting\n")
    assert [source.name for source in find_features(FeatureFolder(xd / "rgb", only=xd / "train.txt"))] == [
        "v=x__#1_label_B1-0-0"
    ]
    (xd / "none.txt").write_text("gone.mp4\n")
    with pytest.raises(FeatureError, match="no feature file"):
        find_features(FeatureFolder(xd / "rgb", only=xd / "none.txt"))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Normal_Videos001_x264", 0),
        ("Normal_Videos_003_x264", 0),
        ("RoadAccidents010_x264", 1),
        ("Normal_012", 0),
        ("01_Accident_004", 1),
        ("normal_001", None),
        ("fight_001", None),
    ],
)
def test_names_of_ucf_crime_and_tad_are_labels(tmp_path, name, label):
    assert label_videos([f"Test/{name}"], tmp_path).get(f"Test/{name}") == label


def test_crops_that_are_missing_twice_or_not_whole_are_named(xd):
    crop = xd / "rgb" / "v=x__#1_label_B1-0-0__3.npy"
    for folder in ("rgb", "again"):
        save(xd / folder / "v=x__#1_label_B1-0-0__vggish.npy", (20, 128))
    with pytest.raises(UsageError, match="same part of one video"):
        load_bags(FeatureFolder(xd / "rgb", xd / "again"), 8)
    (xd / "rgb" / "v=x__#1_label_B1-0-0__vggish.npy").unlink()
    whole = crop.read_bytes()
    crop.write_bytes(whole[:90])
    with pytest.raises(FeatureError, match=r"__3.npy: not a whole array"):
        load_bags(xd / "rgb", 8)
    crop.unlink()
    with pytest.raises(UsageError, match="v=x__#1_label_B1-0-0 should have 5 crops"):
        load_bags(xd / "rgb", 8)
    save(crop, (20, 6), np.nan)
    with pytest.raises(FeatureError, match="not finite"):
        load_bags(xd / "rgb", 8)


def test_arrays_that_would_run_code_are_refused(tmp_path):
    np.save(tmp_path / "v_label_A.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(FeatureError, match="not a whole array"):
        load_bags(tmp_path, 8)


@pytest.mark.parametrize(
    ("dataset", "n_videos", "n_frames", "n_intervals"),
    [("xd_violence", 800, 2_330_384, 1150), ("ucf_crime", 290, 1_109_680, None)],
)
def test_published_totals(shared, dataset, n_videos, n_frames, n_intervals):
    folder = shared / "annotations"
    file = GroundTruthFile(folder / f"{dataset}_test.txt", dataset.replace("_", "-"))
    lengths = read_frames(folder / f"{dataset}_test_frames.csv")
    truth = replace(file, frames=folder / f"{dataset}_test_frames.csv").load()
    assert (len(truth), sum(map(len, truth.values()))) == (n_videos, n_frames)
    same = file.load(lengths)  # the features' own lengths do as well
    assert all(np.array_equal(same[name], truth[name]) for name in truth)
    longer = replace(file, last_frame=True).load(lengths)
    added = [int(longer[name].sum() - truth[name].sum()) for name in truth]
    assert min(added) == 0
    if n_intervals:
        assert sum(added) == n_intervals  # a frame each; none of them ends before the last frame of the next
    lengths[next(iter(lengths))] += 16
    with pytest.raises(UsageError, match=f"{n_videos} and {n_frames:,}"):
        file.load(lengths)


def test_xd_violence_frame_by_frame(shared):
    folder = shared / "annotations"
    truth = GroundTruthFile(
        folder / "xd_violence_test.txt", "xd-violence", folder / "xd_violence_test_frames.csv"
    ).load()
    video = truth["v=u5SF4SlqNDQ__#00-00-00_00-01-00_label_G-0-0"]
    expected = np.zeros(5000, bool)
    expected[624:912] = expected[950:1441] = True
    assert np.array_equal(video, expected[: len(video)])
    assert truth["v=U6MC8JJJZSY__#1_label_G-0-0"].any()  # its line ends in .mp4
    assert all(video.any() == ("label_A" not in name) for name, video in truth.items())


def test_ucf_crime_frame_by_frame(shared):
    folder = shared / "annotations"
    frames = folder / "ucf_crime_test_frames.csv"
    truth = GroundTruthFile(folder / "ucf_crime_test.txt", "ucf-crime", frames).load()
    video = truth["Abuse028_x264"]
    assert len(video) == 1408
    assert np.flatnonzero(video)[[0, -1]].tolist() == [165, 239]
    assert sum(video.any() for video in truth.values()) == 140
    with pytest.raises(UsageError, match="Abuse028_x264 has 1412 frames there, and 2000 here"):
        GroundTruthFile(folder / "ucf_crime_test.txt", "ucf-crime").load(read_frames(frames) | {"Abuse028_x264": 2000})


def test_tad_spans_are_fractions_of_the_features_length(shared):
    path = shared / "annotations" / "tad_test.json"
    names = [Path(row["path"]).stem for row in json.loads(path.read_text())]
    truth = GroundTruthFile(path, "tad").load(dict.fromkeys(names, 1000))
    assert np.flatnonzero(truth["01_Accident_004"])[[0, -1]].tolist() == [279, 620]
    assert sum(video.any() for video in truth.values()) == 60
    with pytest.raises(UsageError, match="01_Accident_004 is neither among the features"):
        GroundTruthFile(path, "tad").load({name: 1000 for name in names if name != "01_Accident_004"})
    with pytest.raises(UsageError, match="says nothing about a_train_video"):
        GroundTruthFile(path, "tad").load(dict.fromkeys([*names, "a_train_video"], 1000))


def test_a_csv_says_all(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("video,n_frames,start,end\na,6,1,3\na,6,5,6\nb,4,,\n")
    truth = GroundTruthFile(path).load()
    assert truth["a"].tolist() == [False, True, True, False, False, True]
    assert truth["b"].tolist() == [False] * 4


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a,6,5,7", r"\[5, 7\) is not within its 6 frames"),
        ("a,6,3,3", r"\[3, 3\)"),
        ("a,6,1,2\na,7,3,4", "6 frames in one row and 7 in another"),
        ("a,six,1,2", "six"),
        ("", "no video"),
    ],
)
def test_a_csv_that_is_wrong_is_named(tmp_path, rows, told):
    path = tmp_path / "truth.csv"
    path.write_text(f"video,n_frames,start,end\n{rows}\n")
    with pytest.raises(UsageError, match=f"truth.csv: .*{told}"):
        GroundTruthFile(path).load()


def test_scores_fit_their_ground_truth_or_the_video_is_named():
    truth = {"a": np.zeros(32, bool)}
    assert len(fitted({"a": np.zeros(40)}, truth, slack=16)["a"]) == 32
    for n_frames, slack in ((40, 0), (49, 16), (31, 16)):
        with pytest.raises(UsageError, match=f"a: .* {n_frames} frames, .* 32"):
            fitted({"a": np.zeros(n_frames)}, truth, slack)
    with pytest.raises(UsageError, match="features of b, and no ground truth"):
        fitted({"a": np.zeros(32), "b": np.zeros(32)}, truth)
    with pytest.raises(UsageError, match="ground truth for a, and no features"):
        fitted({}, truth)


def test_labels_can_come_from_another_file(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "f" / f"{name}.npy", (5, 7))
    (tmp_path / "labels.csv").write_text("video,label\na,1\nb,0\n")
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\na,80,,\nb,80,3,5\nb,80,7,9\n")
    with pytest.raises(UsageError, match="no label for a, b"):
        load_bags(tmp_path / "f", 4)
    assert load_bags(tmp_path / "f", 4, labels=tmp_path / "labels.csv").labels.tolist() == [1, 0]
    assert load_bags(tmp_path / "f", 4, labels=tmp_path / "truth.csv").labels.tolist() == [0, 1]


def test_street_fights_features_fit_their_ground_truth(shared):
    folder = shared / "street-fights" / "features-256"
    truth = GroundTruthFile(folder / "test_ground_truth.csv").load()
    scores = {source.name: np.zeros(source.load().n_frames) for source in find_features(folder / "test")}
    assert fitted(scores, truth).keys() == truth.keys()
    with open(folder / "test_ground_truth.csv", newline="") as file:
        expected = sum(int(row["end"] or 0) - int(row["start"] or 0) for row in csv.DictReader(file))
    assert sum(video.sum() for video in truth.values()) == expected
