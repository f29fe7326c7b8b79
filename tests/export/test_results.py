"""Files of evaluate and compare: the user's own are not replaced, what cannot be written is said first."""

import json

import numpy as np
import pytest

from anomalycli.errors import StorageError, UsageError
from anomalycli.export.results import ResultFiles, files_of_comparison, files_of_evaluation


def write(folder, name, text="mine"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("made_by", "name"),
    [
        (lambda folder: files_of_evaluation(folder, False), "metrics.json"),
        (lambda folder: files_of_evaluation(folder, True), "sheet.pdf"),
        (lambda folder: files_of_comparison(folder, ()), "table.md"),
        (lambda folder: files_of_comparison(folder, ("gamma", "rtfm.k")), "rtfm.k-ap.svg"),
    ],
)
def test_files_of_the_user_are_replaced_only_when_asked(tmp_path, made_by, name):
    write(tmp_path / "out", name)
    files = made_by(tmp_path / "out")
    with pytest.raises(UsageError, match=f"{name}: .* did not write this file"):
        files.check(overwrite=False)
    files.check(overwrite=True)
    files.keep()
    made_by(tmp_path / "out").check(overwrite=False)
    write(tmp_path / "out", name, "edited since")
    with pytest.raises(UsageError, match=name):
        files.check(overwrite=False)


@pytest.mark.parametrize("obstacle", ["a file", "a folder", "long"])
def test_what_cannot_be_written_is_said_before_the_work(tmp_path, obstacle):
    folder = tmp_path / "out"
    if obstacle == "a file":
        folder.write_text("")
    elif obstacle == "a folder":
        (folder / "table.csv").mkdir(parents=True)
    else:
        folder = tmp_path / ("x" * 300)
    with pytest.raises(StorageError):
        ResultFiles(folder, "compare", ("table.csv",)).check(overwrite=True)


def test_evaluate_writes_again_over_its_own_files_alone(call, tmp_path):
    (tmp_path / "scores").mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "scores" / f"{name}.npy", np.linspace(0, 1, 40))
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\na,40,20,30\nb,40,,\n")
    words = ("evaluate", "--scores", "scores", "--ground-truth", "truth.csv", "-o", "out", "--resamples", "2")
    write(tmp_path / "out", "videos.csv")
    assert "out/videos.csv: evaluate did not write this file" in call(*words, code=2).stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["videos.csv"]
    call(*words, "--overwrite")
    call(*words)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test_videos"] == 2
