"""One damaged feature file among many: all that are damaged are named, and none counts silently."""

import json

import numpy as np
import pytest

TINY = ["--width", "8", "--heads", "2", "--feedforward", "8", "--scales", "1", "--segments", "8"]
TRAIN = [*TINY, "--steps", "2", "--batch", "2", "--validation", "0", "-o", "m.safetensors"]
SETTINGS = [word for setting in ("steps=1", "batch=2") for word in ("--set", setting)]
COMPARE = ["--methods", "mil-rank", "--seeds", "1", *SETTINGS, "--ground-truth", "truth.csv"]


@pytest.fixture
def damage(make_features, tmp_path):
    """Twelve feature files and their ground truth, of which those that are named are damaged."""

    def damage(*names, folder="features"):
        root = make_features(folder)
        lines = [f"video{i:02},155,{'48,80' if i >= 6 else ','}" for i in range(12)]
        (tmp_path / "truth.csv").write_text("\n".join(["video,n_frames,start,end", *lines, ""]))
        for number, name in enumerate(names):
            content = (root / f"{name}.npz").read_bytes()
            (root / f"{name}.npz").write_bytes(content[: number % 3 * 300])
        return root

    return damage


def failed(told) -> list[str]:
    """The names in the lines that begin with `failed`."""
    lines = [line for line in told.stderr.splitlines() if line.startswith("failed")]
    return [line.partition(".npz")[0].rpartition("/")[2] for line in lines]


def test_train_leaves_damaged_files_out_names_each_and_says_so_at_the_end(call, damage, tmp_path):
    damage("video03", "video08")
    told = call("train", "features", *TRAIN, code=3)
    assert failed(told) == ["video03", "video08"]
    assert "10 videos, 2 steps" in told.stderr and "2 videos are left out" in told.stderr.splitlines()[-1]
    (tmp_path / "m.safetensors").rename(tmp_path / "before.safetensors")
    for name in ("video03", "video08"):
        (tmp_path / "features" / f"{name}.npz").unlink()
    call("train", "features", *TRAIN)
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "before.safetensors").read_bytes()


def test_the_recipe_leaves_damaged_files_out_and_says_each_once(call, damage):
    damage("video03")
    told = call("train", "features", "--quick", "-o", "m.safetensors", code=3)
    assert failed(told) == ["video03"] and "11 videos" in told.stderr


def test_a_run_does_not_resume_without_a_file_that_was_damaged_since(call, damage, tmp_path, monkeypatch):
    damage()
    monkeypatch.setattr("anomalycli.training.trainer.save_model", lambda *_: 1 / 0)
    with pytest.raises(AssertionError):
        call("train", "features", *TRAIN)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features" / "video03.npz").write_bytes(b"")
    assert "other features or labels" in call("train", "features", *TRAIN, "--resume", code=2).stderr


def test_where_no_file_is_whole_nothing_is_trained(call, damage):
    every = [f"video{i:02}" for i in range(12)]
    damage(*every)
    told = call("train", "features", *TRAIN, code=1)
    assert failed(told) == every and "The files of 12 of 12 videos are damaged" in told.stderr


def test_figures_of_fewer_videos_are_no_figures_of_the_test_set(call, damage):
    call("train", str(damage().name), *TRAIN)
    damage("video03", "video08", folder="test")
    words = ["evaluate", "m.safetensors", "test", "--ground-truth", "truth.csv", "--resamples", "0", "--json"]
    told = call(*words, code=1)
    assert failed(told) == ["video03", "video08"] and not told.stdout
    assert "2 of 12 videos are damaged: video03, video08" in told.stderr and "(--incomplete)." in told.stderr
    told = call(*words, "--incomplete", code=3)
    assert failed(told) == ["video03", "video08"]
    report = json.loads(told.stdout)
    assert (report["test_videos"], report["videos"]) == (12, 10)


def test_damaged_scores_are_all_named(call, tmp_path):
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\na,32,,\nb,32,16,32\nc,32,,\nd,32,,\n")
    (tmp_path / "s").mkdir()
    for name, scores in (("a", [0.1, 0.2]), ("b", [0.1, 0.9]), ("c", [0.1, np.nan]), ("d", [[0.1, 0.2]] * 2)):
        np.save(tmp_path / "s" / f"{name}.npy", scores)
    words = ["evaluate", "--scores", "s", "--ground-truth", "truth.csv", "--resamples", "0"]
    told = call(*words, code=1)
    assert "2 of 4 videos are damaged: c, d" in told.stderr and told.stderr.count("failed") == 2
    assert "2 of 4 videos, 64 frames" in call(*words, "--incomplete", code=3).stderr


def test_compare_names_all_that_are_damaged_before_it_trains(call, damage, tmp_path):
    damage("video03", "video08")
    damage("video01", "video05", "video07", folder="test")
    told = call("compare", "features", "--test", "test", *COMPARE, "--incomplete", code=1)
    assert failed(told) == ["video03", "video08"] and not (tmp_path / "comparison").exists()
    damage()
    told = call("compare", "features", "--test", "test", *COMPARE, code=1)
    assert failed(told) == ["video01", "video05", "video07"] and "--incomplete" in told.stderr
    assert not (tmp_path / "comparison").exists()
    call("compare", "features", "--test", "test", *COMPARE, "--incomplete", code=3)
    assert "9 videos" in (tmp_path / "comparison" / "table.md").read_text()


def test_published_arrays_that_are_damaged_are_all_named(call, tmp_path):
    (tmp_path / "f").mkdir()
    for i in range(6):
        name = f"Normal_Videos00{i}_x264" if i < 3 else f"Abuse00{i}_x264"
        np.save(tmp_path / "f" / f"{name}.npy", np.ones((9, 10, 8), np.float16))
    for name in ("Normal_Videos001_x264", "Abuse004_x264"):
        (tmp_path / "f" / f"{name}.npy").write_bytes(b"\x93NUMPY")
    told = call("train", "f", *TRAIN, code=3)
    assert told.stderr.count("failed") == 2 and "4 videos" in told.stderr
    assert "f: all features of all videos are equal, so nothing can be learnt from them." in told.stderr
    assert "Use it with: anomalycli evaluate" in told.stderr and "score VIDEO" not in told.stderr
