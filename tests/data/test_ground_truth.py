"""Ground truth from the authors' annotation files, with the totals that are published."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomalycli.data.datasets import published_lengths
from anomalycli.data.ground_truth import GroundTruthFile, read_frames
from anomalycli.errors import UsageError
from anomalycli.features.folder import find_features

NAMES = {"xd-violence": "xd_violence_test", "ucf-crime": "ucf_crime_test"}


def file_of(shared, dataset, **changes) -> GroundTruthFile:
    return GroundTruthFile(shared / "annotations" / f"{NAMES[dataset]}.txt", dataset, **changes)


def lengths_of(dataset, padded=False) -> dict[str, int]:
    lengths = published_lengths(dataset).items()
    return {name: length.padded if padded else length.n_frames for name, length in lengths}


def counts(truth) -> tuple[int, int, int]:
    frames = truth.frames.values()
    return len(frames), sum(map(len, frames)), sum(int(video.sum()) for video in frames)


@pytest.mark.parametrize("dataset", NAMES)
def test_the_lengths_that_come_with_the_package_are_the_published_ones(shared, dataset):
    published = read_frames(shared / "annotations" / f"{NAMES[dataset]}_frames.csv")
    assert lengths_of(dataset) == published
    assert lengths_of("tad") == lengths_of("csv") == {}


@pytest.mark.parametrize(
    ("dataset", "padded", "last_frame", "expected"),
    [
        ("xd-violence", False, False, (800, 2_330_384, 537_805)),
        ("ucf-crime", False, False, (290, 1_109_680, 84_128)),
        ("ucf-crime", False, True, (290, 1_109_680, 84_277)),
        ("ucf-crime", True, False, (290, 1_114_144, 84_128)),
        ("ucf-crime", True, True, (290, 1_114_144, 84_277)),
    ],
)
def test_published_totals(shared, dataset, padded, last_frame, expected):
    file = file_of(shared, dataset, last_frame=last_frame)
    truth = file.load(lengths_of(dataset, padded))
    assert counts(truth) == expected
    assert truth.n_videos == expected[0]
    assert ("RTFM" if padded else "whole clips") in truth.total
    assert truth.warnings == ()


def test_own_features_of_ucf_crime_are_held_against_the_first_total(shared):
    """They are as long as the videos, and so neither of the two totals."""
    stated = GroundTruthFile(shared / "annotations" / "ucf_crime_test.txt", "ucf-crime")
    exact = {line.split()[0][:-4]: int(line.split()[-1]) for line in stated.path.read_text().splitlines()}
    assert counts(stated.load(exact)) == (290, 1_109_680, 84_128)


def test_ucf_crime_s_annotation_has_six_columns_or_seven(shared, tmp_path):
    seven = file_of(shared, "ucf-crime")
    lines = [line.split() for line in seven.path.read_text().splitlines()]
    for separator in ("  ", "\t"):
        six = replace(seven, path=tmp_path / "six.txt")
        six.path.write_text("\r\n".join(separator.join(line[:6]) for line in lines), encoding="utf-8-sig")
        ours, theirs = (file.load(lengths_of("ucf-crime")).frames for file in (six, seven))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    for words in (lines[0][:5], [*lines[0], "1"], lines[0][:1]):
        six.path.write_text(" ".join(words))
        with pytest.raises(UsageError, match=r"six.txt, line 1: not 'file class s1 e1 s2 e2'"):
            six.load(lengths_of("ucf-crime"))


@pytest.mark.parametrize(("dataset", "missing"), [("ucf-crime", 5), ("xd-violence", 1), ("xd-violence", 700)])
def test_an_incomplete_test_set_is_evaluated_where_that_is_said(shared, dataset, missing):
    features = dict(list(lengths_of(dataset).items())[missing:])
    total = len(lengths_of(dataset))
    with pytest.raises(UsageError, match=f"{missing} of {total} videos have ground truth and no features"):
        file_of(shared, dataset).load(features)
    truth = file_of(shared, dataset, incomplete=True).load(features)
    assert (len(truth.frames), truth.n_videos, truth.total) == (total - missing, total, None)
    assert f"{missing} of {total} videos" in truth.warnings[0]


def test_lengths_from_a_file_replace_the_published_ones(shared, tmp_path):
    lengths = lengths_of("ucf-crime")
    first = next(iter(lengths))
    rows = "".join(f"{name}.mp4;{n + (name == first) * 16}\n" for name, n in lengths.items())
    (tmp_path / "frames.csv").write_text("video;n_frames\n" + rows)
    with pytest.raises(
        UsageError, match=r"290 videos and 1,109,696 frames, and its\s+test set has 1,109,680 or 1,114,144"
    ):
        file_of(shared, "ucf-crime", frames=tmp_path / "frames.csv").load(lengths)


def test_xd_violence_frame_by_frame(shared):
    truth = file_of(shared, "xd-violence").load(lengths_of("xd-violence")).frames
    video = truth["v=u5SF4SlqNDQ__#00-00-00_00-01-00_label_G-0-0"]
    expected = np.zeros(5000, bool)
    expected[624:912] = expected[950:1441] = True
    assert np.array_equal(video, expected[: len(video)])
    assert truth["v=U6MC8JJJZSY__#1_label_G-0-0"].any()  # its line ends in .mp4
    assert all(video.any() == ("label_A" not in name) for name, video in truth.items())


def test_ucf_crime_frame_by_frame(shared, tmp_path):
    truth = file_of(shared, "ucf-crime").load(lengths_of("ucf-crime")).frames
    video = truth["Abuse028_x264"]
    assert len(video) == 1408
    assert np.flatnonzero(video)[[0, -1]].tolist() == [165, 239]
    assert sum(video.any() for video in truth.values()) == 140
    lengths = lengths_of("ucf-crime") | {"Abuse028_x264": 2000}
    rows = "".join(f"{name},{n}\n" for name, n in lengths.items())
    (tmp_path / "frames.csv").write_text("video,n_frames\n" + rows)
    with pytest.raises(UsageError, match="Abuse028_x264 has 1412 frames there, and 2000 elsewhere"):
        file_of(shared, "ucf-crime", frames=tmp_path / "frames.csv").load(lengths)


def test_tad_intervals_are_fractions_of_the_features_length(shared):
    file = GroundTruthFile(shared / "annotations" / "tad_test.json", "tad")
    names = [Path(row["path"]).stem for row in json.loads(file.path.read_text())]
    truth = file.load(dict.fromkeys(names, 1000)).frames
    assert np.flatnonzero(truth["01_Accident_004"])[[0, -1]].tolist() == [279, 620]
    assert sum(video.any() for video in truth.values()) == 60
    with pytest.raises(UsageError, match="1 of 100 videos have ground truth and no features: 01_Accident_004"):
        file.load({name: 1000 for name in names if name != "01_Accident_004"})
    with pytest.raises(UsageError, match="it has no ground truth of a_train_video"):
        file.load(dict.fromkeys([*names, "a_train_video"], 1000))


def test_a_table_gives_everything(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("video,n_frames,start,end\na,6,1,3\na,6,5,6\nb,4,,\n")
    truth = GroundTruthFile(path).load({"a": 6, "b": 4}).frames
    assert truth["a"].tolist() == [False, True, True, False, False, True]
    assert truth["b"].tolist() == [False] * 4


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a,6,5,7", r"line 2: a: \[5, 7\) is not within its 6 frames"),
        ("a,6,3,3", r"\[3, 3\)"),
        ("a,6,1,2\na,7,3,4", "line 3: a has 6 frames in one row and 7 in another"),
        ("a,six,1,2", "n_frames is 'six'"),
        ("a,6,1,", "end is ''"),
        ("a,-6,1,2", "n_frames is '-6'"),
        ("a,1e9,1,2", "n_frames is '1e9'"),
        ("a,nan,1,2", "n_frames is 'nan'"),
        (",6,1,2", "a video and its number of frames"),
        ("a,6,1,2,9", "5 values, and the header has 4"),
        ('"a,6,1,2', "not a table"),
        ("a,6,,\na.mp4,6,1,2", "a under two names"),
        ("", "no video"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path, rows, told):
    path = tmp_path / "truth.csv"
    path.write_text(f"video,n_frames,start,end\n{rows}\n")
    with pytest.raises(UsageError, match=f"truth.csv.*{told}"):
        GroundTruthFile(path).load({"a": 6})


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        '[{"path": "a.npy"}]',
        '[{"path": 3, "anomaly_span": []}]',
        '[{"path": "a", "anomaly_span": [[0.5]]}]',
        '[{"path": "a", "anomaly_span": [[0, NaN]]}]',
        f'[{{"path": "a", "anomaly_span": [[0, {10**400}]]}}]',
        '[{"path": "a", "anomaly_span": [[0.5, 2]]}]',
        "[" * 100_000,
        '[{"path": "a"',
    ],
)
def test_json_that_is_no_ground_truth_is_a_sentence(tmp_path, text):
    (tmp_path / "tad.json").write_text(text)
    with pytest.raises(UsageError, match=r"tad\.json: "):
        GroundTruthFile(tmp_path / "tad.json", "tad").load({"a": 100})


@pytest.mark.parametrize("line", ["a x y", "a 1", "a 5 3", "a -1 4", "a 1 2 3", "a 1.5 2", "a 1 99999999999999999999"])
def test_lines_that_are_no_intervals_are_named(tmp_path, line):
    (tmp_path / "xd.txt").write_text(f"b_label_B1-0-0 1 2\n{line}\n")
    with pytest.raises(UsageError, match=r"xd\.txt, line 2: "):
        GroundTruthFile(tmp_path / "xd.txt", "xd-violence").load({"a": 100})


def test_street_fights_features_fit_their_ground_truth(shared):
    folder = shared / "street-fights" / "features-256"
    features = {source.name: source.load().n_frames for source in find_features(folder / "test").sources}
    truth = GroundTruthFile(folder / "test_ground_truth.csv").load(features).frames
    assert truth.keys() == features.keys()
    with open(folder / "test_ground_truth.csv", newline="") as file:
        expected = sum(int(row["end"] or 0) - int(row["start"] or 0) for row in csv.DictReader(file))
    assert sum(video.sum() for video in truth.values()) == expected


@pytest.mark.parametrize(
    "names",
    [("cam1/gate", "cam2/gate"), ("cam1/gate.mp4", r"cam2\gate.avi"), ("/data/cam1/gate.npz", r"D:\x\cam2\gate.MKV")],
)
def test_videos_of_one_name_in_two_folders_keep_their_ground_truth(tmp_path, names):
    rows = (f"{name},40,{8 * i},{8 * i + 4}\n" for i, name in enumerate(names))
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\n" + "".join(rows))
    truth = GroundTruthFile(tmp_path / "truth.csv").load({"cam1/gate": 40, "cam2/gate": 40}).frames
    assert [int(truth[name].argmax()) for name in ("cam1/gate", "cam2/gate")] == [0, 8]
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\ngate,40,1,4\n")
    with pytest.raises(UsageError, match="'gate' could be cam1/gate, cam2/gate: write it with its folder"):
        GroundTruthFile(tmp_path / "truth.csv").load({"cam1/gate": 40, "cam2/gate": 40})
