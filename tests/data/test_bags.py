"""Features and labels as bags, from published features in place and from our own."""

import numpy as np
import pytest

from anomalycli.data.bags import load_bags
from anomalycli.data.datasets import published_lengths
from anomalycli.errors import FeatureError, UsageError
from anomalycli.features.files import load_features
from anomalycli.features.folder import FeatureFolder, find_features
from anomalycli.segments import pool


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
    with pytest.raises(UsageError, match=r"no NAME__vggish\.npy for v=x__#1.* in .*sound or the folders beside it"):
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
    source, _ = find_features(tmp_path / "plain").sources
    assert source.load().joined().shape == (5, 1, 7)


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
    with pytest.raises(FeatureError, match="holds Python objects, which can run code and are not read"):
        load_bags(tmp_path, 8)


def test_labels_can_come_from_another_file(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "f" / f"{name}.npy", (5, 7))
    (tmp_path / "labels.csv").write_text("video,label\na,1\nb,0\n")
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\na,80,,\nb,80,3,5\nb,80,7,9\n")
    with pytest.raises(UsageError, match="no label for a, b"):
        load_bags(tmp_path / "f", 4)
    (tmp_path / "other.csv").write_text("video,label\na,1\nc,0\n")
    with pytest.raises(UsageError, match=r"for b\. Add them to \S+other.csv .* 1 of 2 names match no video here: c"):
        load_bags(tmp_path / "f", 4, labels=tmp_path / "other.csv")
    assert load_bags(tmp_path / "f", 4, labels=tmp_path / "labels.csv").labels.tolist() == [1, 0]
    assert load_bags(tmp_path / "f", 4, labels=tmp_path / "truth.csv").labels.tolist() == [0, 1]


def test_labels_that_are_of_no_video_are_said(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.npy", (5, 7))
    (tmp_path / "labels.csv").write_text("video,label\na,1\nb.mp4,0\ngone,1\nold/lost.avi,0\n")
    bags = load_bags(tmp_path, 4)
    assert bags.labels.tolist() == [1, 0]
    assert bags.warnings == (f"{tmp_path / 'labels.csv'}: 2 of 4 names match no video here: gone, old/lost.avi.",)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["RGB/v_label_A", "RGBTest/w_label_B1-0-0"], "it holds a test split"),
        (["train/01_Accident_004", "Test/Normal_001"], "it holds a test split"),
        (["UCF_Train_ten/Abuse001_x264", "UCF_Test_ten/Normal_Videos_003_x264"], "it holds a test split"),
        (
            ["Abuse028_x264", "Normal_Videos001_x264"],
            "Abuse028_x264 is of the test set of ucf-crime, and Normal_Videos001",
        ),
        (["cams/testing/normal/a", "cams/1/abnormal/b"], "it holds a test split"),
    ],
)
def test_a_folder_of_both_splits_is_refused_and_a_list_takes_one(tmp_path, names, told):
    for name in names:
        save(tmp_path / "root" / f"{name}.npy", (5, 7))
    with pytest.raises(UsageError, match=told):
        load_bags(tmp_path / "root", 4)
    (tmp_path / "list.txt").write_text(names[0].rpartition("/")[2] + "\n")
    assert load_bags(FeatureFolder(tmp_path / "root", only=tmp_path / "list.txt"), 4).names == (names[0],)


def test_a_test_split_alone_is_fine(tmp_path):
    for name in list(published_lengths("ucf-crime"))[:3] + ["Normal_Videos_003_x264"]:
        save(tmp_path / "test" / f"{name}.npy", (5, 7))
    assert len(load_bags(tmp_path / "test", 4).names) == 4


def test_labelled_events_are_bags_of_their_own_and_stay_with_their_video(make_features, tmp_path):
    folder = make_features(normal=3, abnormal=1)  # clips of 16 frames at 25 frames/s
    (folder / "labels.csv").write_text(
        "video,label,start,end\nvideo00,0,,\nvideo03,1,1.92,3.2\nvideo03,0,5,5.2\nvideo01,0,0,0.3\nvideo02,0,,\nvideo02,0,9,10\n"
    )
    bags = load_bags(folder, 8)
    assert dict(zip(bags.names, bags.labels.tolist(), strict=True)) == {
        "video00": 0,
        "video01#0-0.3": 0,  # of the rest of video01 nothing is known
        "video02": 0,
        "video03": 1,
        "video03#1.92-3.2": 1,
        "video03#5-5.2": 0,
    }
    assert bags.warnings == ("video02#9-10: the video ends before this event begins.",)
    features = load_features(folder / "video03.npz").visual[:, 0]
    whole, event = (bags.x[bags.names.index(name), 0] for name in ("video03", "video03#1.92-3.2"))
    np.testing.assert_allclose(whole, pool(features, 8))
    np.testing.assert_allclose(event, pool(features[3:5], 8))  # frames 48 to 79
    assert bags.grouped({"video03": "gate"})["video03#5-5.2"] == "gate"
    assert bags.grouped(None)["video03#5-5.2"] == bags.grouped(None)["video03"]
    alone = load_bags(folder, 8, events=False, labels=relabelled(tmp_path)).names
    assert alone == ("video00", "video01", "video02", "video03")


def test_doubtful_events_are_told(make_features):
    folder = make_features(normal=2, abnormal=2)  # of 6.2 seconds
    table = folder / "labels.csv"
    rows = "".join(f"video0{i},{int(i > 1)},,\n" for i in range(4))
    table.write_text(
        f"video,label,start,end\n{rows}video02,1,1,3\nvideo02,0,2,4\nvideo02,1,3.5,5\nvideo03,1,5,7\nvideo03,1,5,90\n"
    )
    bags = load_bags(folder, 8)
    assert bags.warnings == (
        "video02: the events 1-3 and 2-4 overlap, and one is labelled 0, the other 1.",
        "video02: the events 2-4 and 3.5-5 overlap, and one is labelled 0, the other 1.",
        "video03#5-90: the video ends before this event does, at 6.2 seconds.",
    )
    assert bags.content == "4 videos and 5 labelled events"
    assert load_bags(folder, 8, events=False).content == "4 videos"


def test_events_that_do_not_count_contradict_nothing(make_features):
    folder = make_features(normal=1, abnormal=1)
    (folder / "labels.csv").write_text("video,label,start,end\nvideo00,0,,\nvideo01,1,,\nvideo00,1,1,2\n")
    assert load_bags(folder, 8, events=False).labels.tolist() == [0, 1]
    with pytest.raises(UsageError, match="video00 is labelled normal, and an event in it is confirmed"):
        load_bags(folder, 8)


def test_a_missing_label_is_to_be_added_to_the_table_that_is_there(make_features):
    folder = make_features(normal=1, abnormal=1)
    (folder / "labels.csv").write_text("video,label\nvideo00,0\n")
    with pytest.raises(UsageError, match=r"no label for video01\. Add them to .*labels\.csv"):
        load_bags(folder, 8)
    (folder / "labels.csv").unlink()
    with pytest.raises(UsageError, match=r"no label for video00, video01\. Give .*labels\.csv with the lines"):
        load_bags(folder, 8)


def relabelled(folder):
    path = folder / "other.csv"
    path.write_text("video,label,start,end\nvideo00,0,,\nvideo01,0,,\nvideo02,0,,\nvideo03,1,,\nvideo03,0,5,5.2\n")
    return path
