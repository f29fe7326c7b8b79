import pytest

from anomalycli.data.labels import label_videos, read_labels, write_labels
from anomalycli.errors import UsageError
from anomalycli.inputs import find_inputs


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
    assert label_videos(names, tmp_path) == dict(zip(names[:-1], (1, 0, 1, 0, 1, 0, 1, 1)))


def test_contradictions_are_named(tmp_path):
    table(tmp_path, "x,1")
    with pytest.raises(UsageError, match="normal/x: its labels contradict each other"):
        label_videos(["normal/x"], tmp_path)
    table(tmp_path, "x,1", "x.mp4,0")
    with pytest.raises(UsageError, match=r"line 3: x.mp4 is labelled both 0 and 1"):
        read_labels(tmp_path / "labels.csv")


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
    assert read_labels(path) == {"a": 1, 'b, "odd"': 0, "c": 1}
    with pytest.raises(UsageError, match="a is labelled 1 there and 0 now"):
        write_labels(path, {"a": 0})


def test_inputs_are_named_by_their_path_below_the_folder(tmp_path):
    for name in ("a.mp4", "deep/b.MKV", "deep/notes.txt", ".hidden/c.mp4", "._a.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    assert [i.name for i in find_inputs([tmp_path / "videos"], {".mp4", ".mkv"})] == ["a", "deep/b"]
    (tmp_path / "videos" / "a.mkv").touch()
    assert [i.name for i in find_inputs([tmp_path / "videos"], {".mp4", ".mkv"})] == ["a.mkv", "a.mp4", "deep/b"]


def test_the_same_file_twice_is_one_input_and_two_of_one_name_are_refused(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").touch()
    twice = find_inputs([tmp_path / "x", tmp_path / "x" / "clip.mp4"], {".mp4"})
    assert [i.name for i in twice] == ["clip"]
    with pytest.raises(UsageError, match="would both be written as"):
        find_inputs([tmp_path / "x", tmp_path / "y"], {".mp4"})
