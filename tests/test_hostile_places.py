"""Places and streams that are no files: refused with a sentence, never waited for, never read without end."""

import io
import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from anomalycli import textfiles
from anomalycli.backbones.weights import check_sha256, load_weights
from anomalycli.checkpoint import load_model
from anomalycli.errors import AnomalyError, StorageError, UsageError
from anomalycli.features.files import load_features
from anomalycli.features.layouts import load_array
from anomalycli.inputs import expand
from anomalycli.storage import check_writable, write_file

posix = pytest.mark.skipif(os.name == "nt", reason="pipes and devices are POSIX's")
READERS = {
    "model": load_model,
    "features": load_features,
    "array": load_array,
    "weights": lambda path: load_weights(torch.nn.Linear(2, 2), path),
    "hash": check_sha256,
}


@posix
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_a_device_and_a_folder_are_not_waited_for(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "pipe", "a pipe or a device"),
        (tmp_path / "link", "a pipe or a device"),
        (Path("/dev/zero"), "a pipe or a device"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(AnomalyError, match=f"{path.name}.*{words}"):
            READERS[reader](path)


@posix
@pytest.mark.parametrize("source", ["@/dev/zero", "@{}/long.txt", "-"])
def test_a_list_without_end_is_refused(tmp_path, monkeypatch, source):
    monkeypatch.setattr(textfiles, "LARGEST", 1 << 20)
    monkeypatch.setattr("anomalycli.inputs.LARGEST", 1 << 20)
    (tmp_path / "long.txt").write_bytes(b"a.mp4\n" * 200_000)
    with open("/dev/zero", "rb") as endless:
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(closed=False, buffer=endless))
        with pytest.raises(UsageError, match="larger than 1 MB"):
            expand([source.format(tmp_path)])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_in_utf_16_without_its_mark_names_no_other_files(tmp_path, monkeypatch, encoding, end):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_bytes(f"a.mp4{end}b.mp4{end}".encode(encoding))
    with pytest.raises(UsageError, match="UTF-16 without a byte order mark"):
        expand(["@list.txt"])
    (tmp_path / "list.txt").write_bytes(b"a\0b\0new\nline\0")  # as `find -print0` writes names of one letter
    assert expand(["@list.txt"]) == [Path("a"), Path("b"), Path("new\nline")]


@posix
@pytest.mark.parametrize("target", ["nowhere", "loop", "loop/deeper"])
def test_a_link_to_nothing_is_found_before_the_work(tmp_path, target):
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError, match="is a link to nothing"):
        check_writable(tmp_path / target / "a.csv")


@pytest.mark.parametrize("separator", [b"\n", b"\0"])
def test_a_video_that_is_given_as_a_list_is_no_list_of_names(tmp_path, monkeypatch, separator):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"\x20ftypisom" + separator + b"\xff\x01\x02" + separator + b"mdat")
    with pytest.raises(UsageError, match=r"clip\.mp4: not a list of files"):
        expand(["@clip.mp4"])
    (tmp_path / "odd\x1b.mp4").touch()
    (tmp_path / "list.txt").write_bytes(b"odd\x1b.mp4" + separator + b"gone.mp4" + separator)
    assert expand(["@list.txt"]) == [Path("odd\x1b.mp4"), Path("gone.mp4")]


@posix
@pytest.mark.parametrize("place", ["pipe", "link to a pipe", "link to a device"])
def test_no_file_takes_the_place_of_a_pipe_or_a_device(call, make_features, tmp_path, place):
    make_features(normal=2, abnormal=2)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    (tmp_path / "link to a device").symlink_to("/dev/null")
    for write in (check_writable, lambda path: write_file(path, "x")):
        with pytest.raises(StorageError, match=f"{place}: it cannot be written: it is a pipe or a device"):
            write(tmp_path / place)
    for command in ("train", "calibrate"):
        assert "a pipe or a device" in call(command, "features", "-o", place, "--overwrite", code=1).stderr
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link to a device").is_symlink()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN"])
@pytest.mark.parametrize("words", ["score v --clips --margin", "extract v --stall", "score v --gap", "train v --lr"])
def test_numbers_that_are_none_are_refused(call, words, value):
    assert words.split()[-1] in call(*words.split(), value, code=2).stderr


def test_a_size_that_no_memory_holds_is_refused_before_the_videos(call):
    assert "--size" in call("extract", "v", "--size", "99999999999", code=2).stderr


@posix
@pytest.mark.parametrize("command", [["score"], ["extract", "-o", "out"]])
def test_a_video_from_a_pipe_is_called_one(run, make_video, tmp_path, command):
    make_video(n_frames=3)
    words = ["-m", "anomalycli", *command, "/dev/stdin"]
    with (
        open(tmp_path / "clip.mp4", "rb") as clip,
        subprocess.Popen(["cat"], stdin=clip, stdout=subprocess.PIPE) as cat,
    ):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, stdin=cat.stdout, capture_output=True, text=True, timeout=120
        )
        cat.stdout.close()
    assert done.returncode == 1
    assert "/dev/stdin: a pipe or a device, not a file" in done.stderr


def test_a_log_that_can_no_longer_be_written_is_said_once(call, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    error = call("score", "gone.mp4", "--log-file", "/dev/full", code=1).stderr
    assert error.count("the log cannot be written any more") == 1
    assert "Traceback" not in error


def test_deep_metadata_and_weights_that_run_code_are_refused(tmp_path):
    deep = save({"x": torch.zeros(1)}, {"anomalycli": "[" * 100_000})
    (tmp_path / "deep.safetensors").write_bytes(deep)
    with pytest.raises(AnomalyError, match=r"deep\.safetensors: not a model file"):
        load_model(tmp_path / "deep.safetensors")
    torch.save({"x": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(AnomalyError, match="does not hold tensors alone") as refused:
        load_weights(torch.nn.Linear(2, 2), tmp_path / "code.pth")
    assert "weights_only" not in str(refused.value)


def npz(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member)
    return content.getvalue()


def npy(array: np.ndarray, **how) -> bytes:
    content = io.BytesIO()
    np.save(content, array, **how)
    return content.getvalue()


ARRAYS = {
    "pickle": npy(np.array([{}], object), allow_pickle=True),
    "fortran": npy(np.asfortranarray(np.ones((3, 1, 32), np.float32))),
    "text": npy(np.array(["a"])),
    "complex": npy(np.ones((3, 1, 32), np.complex64)),
    "structured": npy(np.zeros(3, [("a", "f4")])),
    "times": npy(np.zeros(3, "M8[s]")),
    "huge": npy(np.ones(3, np.float32)).replace(b"(3,)", b"(3" + b"0" * 20 + b",)", 1),
    "endless header": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_no_features_are_refused(tmp_path, name):
    (tmp_path / "a.npz").write_bytes(npz(visual=ARRAYS[name], meta=npy(np.frombuffer(b"{}", np.uint8))))
    with pytest.raises(AnomalyError, match=r"a\.npz: "):
        load_features(tmp_path / "a.npz")


@pytest.mark.parametrize("words", ["evaluate --resamples -1", "compare f --seeds 0", "compare f --seeds -3"])
def test_counts_that_are_none_are_refused(call, words):
    assert words.split()[-2] in call(*words.split(), code=2).stderr


@pytest.mark.parametrize("command", ["train features -o", "calibrate features -o", "score features --log-file"])
@pytest.mark.parametrize("victim", ["features/video00.npz", "film.mp4", "features/labels.csv"])
def test_an_option_that_names_the_users_file_by_mistake_costs_nothing(
    call, make_features, make_video, tmp_path, command, victim
):
    make_features(normal=1, abnormal=1)
    make_video("film.mp4", 3)
    before = (tmp_path / victim).read_bytes()
    words = [*command.split(), victim, *["--overwrite"] * ("log" not in command)]
    assert victim in call(*words, code=2).stderr
    assert (tmp_path / victim).read_bytes() == before
