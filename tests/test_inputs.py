"""What users name on the command line: files, folders, lists; and the names that results go by."""

import io
import os

import pytest

from anomalycli.errors import UsageError
from anomalycli.inputs import expand, find_inputs


def test_inputs_are_named_by_their_path_below_the_folder(tmp_path):
    for name in ("a.mp4", "deep/b.MKV", "deep/notes.txt", ".hidden/c.mp4", "._a.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    assert [i.name for i in find_inputs([tmp_path / "videos"], {".mp4", ".mkv"})] == ["a", "deep/b"]
    (tmp_path / "videos" / "a.mkv").touch()
    assert [i.name for i in find_inputs([tmp_path / "videos"], {".mp4", ".mkv"})] == ["a.mkv", "a.mp4", "deep/b"]


def test_the_same_file_twice_is_one_input_and_two_of_one_name_are_told_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").touch()
    twice = find_inputs([tmp_path / "x", tmp_path / "x" / "clip.mp4"], {".mp4"})
    assert [i.name for i in twice] == ["clip"]
    both = find_inputs([tmp_path / "x", tmp_path / "y"], {".mp4"})
    assert [i.name for i in both] == ["x/clip", "y/clip"]


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_of(*paths) -> list[str]:
    return [item.name for item in find_inputs(paths, {".mp4", ".avi"})]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    touch(
        tmp_path / "a" / "gate.mp4", tmp_path / "b" / "gate.mp4", tmp_path / "b" / "c" / "gate.mp4", tmp_path / "d.mp4"
    )
    files = sorted(tmp_path.rglob("*.mp4"))
    assert names_of(*files) == ["a/gate", "b/c/gate", "b/gate", "d"]
    assert names_of(tmp_path / "b" / "c", tmp_path / "a") == ["b/c/gate", "a/gate"]
    touch(tmp_path / "e" / "gate.avi")
    assert names_of(tmp_path / "a" / "gate.mp4", tmp_path / "e" / "gate.avi") == ["gate.mp4", "gate.avi"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.mp4", "a.avi", "a.mp4.mp4"], ["a.avi", "a.mp4", "a.mp4.mp4"]),
        (["a.mp4", "a.mp4.avi", "a.mp4.mp4"], ["a", "a.mp4.avi", "a.mp4.mp4"]),
        (["a.avi", "a.avi.mp4", "a.avi.mp4.avi", "a.avi.mp4.mp4", "a.mp4"], None),
        (["x/a.mp4", "x/a.avi", "x/a.avi.avi", "y/a.mp4"], ["x/a.avi", "x/a.avi.avi", "x/a.mp4", "y/a"]),
    ],
)
def test_no_two_files_have_one_name(tmp_path, files, names):
    touch(*(tmp_path / file for file in files))
    found = names_of(tmp_path)
    assert len(set(found)) == len(files)
    assert names is None or sorted(found) == sorted(names)


def test_one_file_by_two_ways_is_one_input_named_inside_the_output_folder(tmp_path, monkeypatch):
    touch(tmp_path / "store" / "in" / "a.mp4", tmp_path / "w" / "a.mp4")
    (tmp_path / "w" / "link").symlink_to(tmp_path / "store" / "in")
    monkeypatch.chdir(tmp_path / "w")
    assert names_of("a.mp4", "../w/a.mp4", "./../w/../w/a.mp4", "link/../in/a.mp4") == ["w/a", "store/in/a"]
    assert names_of("..", "a.mp4") == ["store/in/a", "w/a", "w/link/a"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf\r\n", b"\0"])
def test_a_list_without_a_name_is_told(tmp_path, monkeypatch, content):
    (tmp_path / "list.txt").write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    for word in (f"@{tmp_path}/list.txt", "-"):
        with pytest.raises(UsageError, match=r"list.*: there is no file in the list"):
            expand([word])


def test_linked_folders_are_entered_and_circles_left(tmp_path):
    touch(tmp_path / "store" / "n1.mp4", tmp_path / "videos" / "abnormal" / "a.mp4")
    (tmp_path / "videos" / "normal").symlink_to(tmp_path / "store")
    (tmp_path / "videos" / "around").symlink_to(tmp_path / "videos")
    (tmp_path / "videos" / "abnormal" / "up").symlink_to("..")
    assert names_of(tmp_path / "videos") == ["abnormal/a", "normal/n1"]


def test_a_folder_without_videos_is_not_left_out_silently(tmp_path):
    touch(tmp_path / "a" / "x.mp4", tmp_path / "b" / "notes.txt")
    assert names_of(tmp_path / "a", tmp_path / "b") == ["x", "b"]
    assert names_of(tmp_path / "b") == names_of() == []


def test_what_cannot_be_opened_stays_in_the_list(tmp_path):
    touch(tmp_path / "v" / "a.mp4")
    (tmp_path / "v" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    long = "x" * 300 + ".mp4"
    assert names_of(tmp_path / "v", tmp_path / long, tmp_path / "no.mp4") == ["a", "gone", "x" * 300, "no"]


@pytest.mark.parametrize(
    "content",
    [
        b"a.mp4\nb/c d.mp4\n",
        b"\xef\xbb\xbfa.mp4\r\nb/c d.mp4\r\n",
        "a.mp4\r\nb\\c d.mp4\r\n".encode("utf-16"),
        b'"a.mp4"\n  b/c d.mp4  \n\n',
        b"a.mp4\0b/c d.mp4\0",
    ],
    ids=["plain", "bom-crlf", "powershell", "quotes-blanks", "nul"],
)
def test_lists_of_files_are_read_as_each_system_writes_them(tmp_path, monkeypatch, content):
    touch(tmp_path / "a.mp4", tmp_path / "b" / "c d.mp4")
    (tmp_path / "list.txt").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert [os.fspath(path) for path in expand(["@list.txt"])] == ["a.mp4", "b/c d.mp4"]
