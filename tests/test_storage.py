"""What is written is there whole or not at all, whoever writes it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import kind, plot_result, result_of, write_video

from anomalycli.checkpoint import save_tensors
from anomalycli.data.labels import write_labels
from anomalycli.errors import AnomalyError
from anomalycli.evaluation.metrics import write_videos
from anomalycli.experiments.comparison import Comparison
from anomalycli.experiments.figures import plot_table
from anomalycli.experiments.table import summary, write_table
from anomalycli.export.base import write_output
from anomalycli.export.event_clips import cut_events
from anomalycli.export.report import write_report
from anomalycli.features import layouts as formats
from anomalycli.features.files import Features
from anomalycli.storage import atomic_write, cannot_write, partial_name, remove_leftovers, write_file
from anomalycli.training.erasure_log import write_erasures


def test_a_name_that_a_file_system_refuses_is_not_called_a_device(tmp_path):
    error = OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(tmp_path / "a:b"))
    told = cannot_write(tmp_path / "a:b", error)
    assert str(told) == f"{tmp_path / 'a:b'}: it cannot be written: Invalid argument."


def test_a_link_stays_and_the_file_that_it_names_is_replaced(tmp_path):
    (tmp_path / "models").mkdir()
    link, named = tmp_path / "latest", tmp_path / "models" / "third"
    link.symlink_to(Path("models", "third"))
    for content in ("made", "replaced"):
        assert write_file(link, content) == link
        assert link.is_symlink() and named.read_text() == content
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["third"]


@pytest.mark.parametrize("before", [None, "before"])
def test_a_writer_that_is_killed_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "new" / "x.npz"
    if before:
        write_file(path, before)
    code = (
        "import os, pathlib, signal, sys\n"
        "from anomalycli.storage import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('hal')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == -9
    assert [found.read_text() for found in path.parent.glob("*.npz")] == ([before] if before else [])
    assert len(list(path.parent.glob("*.part"))) == 1
    remove_leftovers.cache_clear()
    write_file(path.with_name("another.txt"), "")
    assert not list(path.parent.glob("*.part"))


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "x.txt"
    code = "import pathlib, sys; from anomalycli.storage import write_file; write_file(pathlib.Path(sys.argv[1]), 'it')"
    with atomic_write(path) as partial:
        partial.write_text("we")
        subprocess.run([sys.executable, "-c", code, path], check=True)
        assert path.read_text() == "it"
        assert partial.read_text() == "we"
    assert path.read_text() == "we"
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    users = ["film.part", "film.12345678.part", "film.mp4.0123456789abcdef.part", "0123456789ab.part", ".x.part"]
    for name in users:
        (tmp_path / name).touch()
    other = "0000" if not partial_name("").startswith(".0000") else "1111"
    for name in ("new", "old"):
        (tmp_path / f"{name}.{other}00000000.part").touch()
    os.utime(tmp_path / f"old.{other}00000000.part", (1, 1))
    (tmp_path / partial_name("ours")).touch()
    with atomic_write(tmp_path / "x.txt") as partial:
        subprocess.run([sys.executable, "-c", REMOVE, tmp_path], check=True)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {*users, partial.name, f"new.{other}00000000.part"}
        partial.write_text("whole")
    assert (tmp_path / "x.txt").read_text() == "whole"


REMOVE = (
    "import pathlib, sys; from anomalycli.storage import remove_leftovers; remove_leftovers(pathlib.Path(sys.argv[1]))"
)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_is_broken_off_is_removed(tmp_path, error):
    with pytest.raises(error), atomic_write(tmp_path / "x.txt") as partial:
        partial.write_text("hal")
        raise error
    assert list(tmp_path.iterdir()) == []


def write_clips(path: Path) -> None:
    cut_events(result_of([(10, 35)], 100, 25, str(path.parents[1] / "film.mp4")), path)


SEEN = Features(np.zeros((3, 1, 32), np.float32), kind(), 40, 25.0, "x.mp4")
RESULT = result_of([(10, 35)], 100, 25)
WRITERS = {
    "features": SEEN.save,
    "xd": lambda path: formats.save(SEEN, path, "xd"),
    "labels": lambda path: write_labels(path, {"a": 1}),
    "checkpoint": lambda path: save_tensors(path, {"x": torch.zeros(2)}, {}),
    "erasures": lambda path: write_erasures(path, []),
    "table": lambda path: write_table(summary(Comparison(["de-net"]).rows(32), []), path.parent, "words"),
    "videos": lambda path: write_videos([], path),
    "figure": lambda path: plot_table([("x", [0.5, 0.6])], "AP", path),
    "plot": lambda path: plot_result(RESULT, path.with_suffix(".png")),
    "page": lambda path: write_report(RESULT, path),
    "srt": lambda path: write_output(RESULT, path, "srt"),
    "clips": write_clips,
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.skipif(sys.platform == "win32", reason="it has no limit on the size of files")
def test_a_file_that_cannot_be_written_whole_leaves_nothing(writer, tmp_path):
    """The system takes no byte, as where the disk is full."""
    import resource

    (tmp_path / "out").mkdir()
    write_video(tmp_path / "film.mp4", list(range(0, 4000, 40)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises((OSError, AnomalyError)):
            writer(tmp_path / "out" / "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []
