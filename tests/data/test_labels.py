import pytest

from anomalycli.data.labels import EventLabel, label_videos, read_labels, write_labels
from anomalycli.errors import UsageError


def table(folder, *lines):
    (folder / "labels.csv").write_text("video,label\n" + "\n".join(lines) + "\n")


def test_labels_come_from_the_table_the_folders_and_xds_names(tmp_path):
    table(tmp_path, "plain,1", "with.suffix.mp4,0", "deep/inside,1")
    names = [
        "plain",
        "with.suffix",
        "deep/inside",
        "normal/x",
        "cams/abnormal/y",
        "v=abc__#1_label_A",
        "v=abc__#2_label_B1-0-0",
        "v=abc__#3_label_G-B2-B6",
        "nobody",
    ]
    assert label_videos(names, tmp_path).by_video == dict(zip(names[:-1], (1, 0, 1, 0, 1, 0, 1, 1)))


def test_contradictions_are_named(tmp_path):
    table(tmp_path, "x,1")
    with pytest.raises(UsageError, match="normal/x: its labels contradict each other"):
        label_videos(["normal/x"], tmp_path)
    table(tmp_path, "x,1", "x,0")
    with pytest.raises(UsageError, match=r"line 3: x is labelled both 0 and 1"):
        read_labels(tmp_path / "labels.csv")
    for other in ("x.mp4", "cams/x", r"C:\cams\x.MP4"):
        table(tmp_path, "x,1", f"{other},0")
        with pytest.raises(UsageError, match=r"x: its labels contradict each other \(.*labels.csv \(x\) says 1"):
            label_videos(["x"], tmp_path)


@pytest.mark.parametrize("line", ["x,2", "x,", ",1", "x,abnormal"])
def test_a_line_that_is_no_label_is_named(tmp_path, line):
    table(tmp_path, "a,0", line)
    with pytest.raises(UsageError, match="line 3"):
        read_labels(tmp_path / "labels.csv")


def test_a_table_without_a_header_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("x,1\n")
    with pytest.raises(UsageError, match="'video,label'"):
        read_labels(tmp_path / "labels.csv")


def test_written_labels_are_added_and_never_turned(tmp_path):
    path = tmp_path / "new" / "labels.csv"
    write_labels(path, {"a": 1, 'b, "odd"': 0})
    write_labels(path, {"c": 1})
    assert read_labels(path)[0] == {"a": 1, 'b, "odd"': 0, "c": 1}
    with pytest.raises(UsageError, match="a is labelled 1 there and 0 now"):
        write_labels(path, {"a": 0})


@pytest.mark.parametrize(
    "names",
    [["cam.2024.01"], ["a.mp4", "a.avi"], ["10.30.h264", "10.30"], ["x/gate", "y/gate"], ["v__1", "v__2"], ["ü 1"]],
)
def test_labels_that_extract_writes_are_read_by_train(tmp_path, names):
    labels = {name: i % 2 for i, name in enumerate(names)}
    write_labels(tmp_path / "labels.csv", labels)
    assert label_videos(names, tmp_path).by_video == labels
    assert label_videos(names, tmp_path).warning is None


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
    assert label_videos([f"Test/{name}"], tmp_path).by_video.get(f"Test/{name}") == label


@pytest.mark.parametrize("folder", ["Normal", "NORMAL", "cams/normal", "Abnormal/night"])
def test_folders_label_in_any_case(tmp_path, folder):
    assert label_videos([f"{folder}/v"], tmp_path).by_video == {f"{folder}/v": int("bnormal" in folder)}


def test_a_label_that_could_be_of_two_videos_is_named(tmp_path):
    table(tmp_path, "gate,1", "x/gate,0")
    with pytest.raises(UsageError, match=r"labels.csv: 'gate' could be x/gate, y/gate: write it with its folder"):
        label_videos(["x/gate", "y/gate"], tmp_path)


def test_events_are_labelled_as_the_review_page_writes_them(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        "video,label,start,end,note\ngate,1,2.0,4.5,a man falls\ngate,0,7.25,9,shadow\nyard,0,,,\nhall,0,1,2,\n"
    )
    labels = label_videos(["gate", "yard", "hall"], tmp_path)
    assert labels.by_video == {"gate": 1, "yard": 0}  # a confirmed event; a rejected one says nothing about the rest
    assert labels.events == {
        "gate": [EventLabel(2.0, 4.5, 1), EventLabel(7.25, 9.0, 0)],
        "hall": [EventLabel(1.0, 2.0, 0)],
    }
    for line, told in (
        ("gate,1,x,3,", "'x' and '3' are not times"),
        ("gate,1,5,5,", "an event must begin at 0 or later and end after that, not from 5 to 5 seconds"),
        ("gate,1,-1,5,", "not from -1 to 5 seconds"),
        ("gate,1,2,,", "'2' and '' are not times"),
        ("gate,1,0,inf,", "not from 0 to inf seconds"),
        ("gate,2,0,1,", "a label is 0"),
    ):
        path.write_text(f"video,label,start,end,note\n{line}\n")
        with pytest.raises(UsageError, match=told):
            label_videos(["gate"], tmp_path)
    path.write_text("video,label,start,end\ngate,0,,\ngate,1,1,2\n")
    with pytest.raises(UsageError, match="gate is labelled normal, and an event in it is confirmed"):
        label_videos(["gate"], tmp_path)


def test_an_event_counts_once_and_is_not_both(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("video;label;start;end\ngate;1;1,5;2,5\ngate;1;1,5;2,5\ngate.mp4;1;1.5;2.50\ngate;0;3;4\n")
    assert label_videos(["gate"], tmp_path).events == {"gate": [EventLabel(1.5, 2.5, 1), EventLabel(3.0, 4.0, 0)]}
    path.write_text("video,label,start,end\ngate,1,1,2\ngate,0,1.0,2.0\n")
    with pytest.raises(UsageError, match=r"line 3: gate from 1\.0 to 2\.0 seconds is labelled both 0 and 1"):
        label_videos(["gate"], tmp_path)
    path.write_text("video,label,start,end\ngate,1,1,2\ngate.mp4,0,1.0,2.0\n")
    with pytest.raises(UsageError, match="gate from 1-2 seconds is labelled both 0 and 1"):
        label_videos(["gate"], tmp_path)


def test_labels_as_spreadsheets_write_whole_numbers(tmp_path):
    (tmp_path / "labels.csv").write_text("video,label\na,1.0\nb,0.0\n")
    assert read_labels(tmp_path / "labels.csv")[0] == {"a": 1, "b": 0}
    (tmp_path / "labels.csv").write_text("video,label\na,1.5\n")
    with pytest.raises(UsageError, match=r"line 2: 'a,1\.5' is not a video and a label"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize("interval", ["-1,-1", "none,none", "0,0", "5,", ",5", "7,3", "nan,nan"])
def test_ground_truth_labels_no_video_by_what_is_no_interval(tmp_path, interval):
    path = tmp_path / "truth.csv"
    path.write_text(f"video,n_frames,start,end\na,80,0,80\nb,80,,\nc,80,{interval}\n")
    with pytest.raises(UsageError, match=r"truth\.csv, line 4: 'c' from .* is not an abnormal interval"):
        read_labels(path)
    path.write_text("video,n_frames,start,end\na,80,0,80\nb,80,,\n")
    assert read_labels(path)[0] == {"a": 1, "b": 0}
