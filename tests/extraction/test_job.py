import csv
import json
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest

from anomalycli.backbones import Extractor
from anomalycli.cli import cli
from anomalycli.cli import extract as command
from anomalycli.errors import StorageError, UsageError, VideoError
from anomalycli.extraction.job import extract
from anomalycli.extraction.run_report import Shard
from anomalycli.extraction.settings import ExtractionSettings
from anomalycli.features.files import load_features


def test_folders_become_feature_files_with_their_labels(run, make_video, tmp_path):
    make_video("videos/normal/a.mp4", 40)
    make_video("videos/abnormal/b.mp4", 20)
    make_video("videos/loose -name.mp4", 5)
    (tmp_path / "videos" / "labels.csv").write_text("video,label\nloose -name.mp4,1\n")
    done = run("extract", "videos", "--size", "32")
    assert "3 done" in done.stderr
    folder = tmp_path / "features"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "abnormal/b.npz",
        "labels.csv",
        "loose -name.npz",
        "normal/a.npz",
        "report.json",
    ]
    a = load_features(folder / "normal" / "a.npz")
    assert (a.visual.shape, a.n_frames, a.fps, a.kind.backbone, a.kind.size) == ((3, 1, 2016), 40, 25, "lite", 32)
    with open(folder / "labels.csv", newline="") as file:
        assert {row["video"]: row["label"] for row in csv.DictReader(file)} == {
            "abnormal/b": "1",
            "loose -name": "1",
            "normal/a": "0",
        }


def test_the_same_command_goes_on_and_changed_settings_are_refused(run, make_video, tmp_path):
    make_video("videos/a.mp4", 20)
    run("extract", "videos", "--size", "32")
    whole = (tmp_path / "features" / "a.npz").read_bytes()
    make_video("videos/b.mp4", 20)
    done = run("extract", "videos", "--size", "32")
    assert "1 done, 1 skipped" in done.stderr
    (tmp_path / "features" / "a.npz").write_bytes(whole[:1000])  # a file cut in half is made again
    assert "1 done, 1 skipped" in run("extract", "videos", "--size", "32").stderr
    assert (tmp_path / "features" / "a.npz").read_bytes() == whole
    (tmp_path / "features" / "a.npz.rows").write_bytes(b"of a run that was killed at the very end")
    assert "2 skipped" in run("extract", "videos", "--size", "32").stderr
    assert not (tmp_path / "features" / "a.npz.rows").exists()
    done = run("extract", "videos", "--size", "48", code=2)
    assert "size 32" in done.stderr
    assert "overwrite what is there" in done.stderr
    assert "2 done" in run("extract", "videos", "--size", "48", "--overwrite", "--precision", "fp32").stderr
    done = run("extract", "videos", "--size", "48", "--precision", "bf16", code=2)
    assert "precision fp32, and this run has bf16" in done.stderr


def test_clips_of_a_video_whose_file_cannot_be_written_are_not_lost(run, make_video, tmp_path):
    make_video("videos/a.mp4", 40)
    (tmp_path / "features" / "a.npz").mkdir(parents=True)
    assert "a.npz" in run("extract", "videos", "--size", "32", code=1).stderr
    (tmp_path / "features" / "a.npz").rmdir()
    assert "its first 3 clips in a run that was stopped" in run("extract", "videos", "--size", "32").stderr


def test_another_video_under_the_same_name_is_extracted_again(run, make_video, tmp_path):
    make_video("videos/a.mp4", 20)
    run("extract", "videos", "--size", "32")
    make_video("videos/a.mp4", 36)
    assert "1 done" in run("extract", "videos", "--size", "32").stderr
    assert load_features(tmp_path / "features" / "a.npz").n_frames == 36


def test_damage_is_named_and_changes_the_exit_code(run, shared, make_video, tmp_path):
    folder = shared / "robustness"
    files = [folder / name for name in ("-video-with-dash-.mp4", "corrupted.mp4", "result.webm", "video_90.mov")]
    done = run("extract", *files, "gone.mp4", "--size", "32", code=3)
    assert "2 done, 1 partial, 2 failed" in done.stderr
    for told in ("1 frame is lost", "result.webm: the file is empty", "gone.mp4: there is no such file"):
        assert told in done.stderr
    assert load_features(tmp_path / "features" / "corrupted.npz").lost == 1
    assert not np.array(list((tmp_path / "features").glob("result*"))).size
    report = json.loads((tmp_path / "features" / "report.json").read_text())
    assert report["counts"] == {"done": 2, "skipped": 0, "partial": 1, "failed": 2}
    reasons = {Path(file["path"]).name: file["reason"] for file in report["files"]}
    assert "1 frame is lost" in reasons["corrupted.mp4"]
    assert reasons["video_90.mov"] is None
    again = run("extract", *files, "gone.mp4", "--size", "32", code=3)
    assert "3 skipped, 2 failed" in again.stderr
    assert "1 frame is lost" in again.stderr
    assert run("extract", "gone.mp4", code=1).stderr


def test_contradictory_labels_stop_it_before_any_work(run, make_video, tmp_path):
    make_video("videos/normal/a.mp4", 20)
    (tmp_path / "videos" / "labels.csv").write_text("video,label\na,1\n")
    assert "contradict" in run("extract", "videos", "--size", "32", code=2).stderr
    assert not (tmp_path / "features").exists()
    (tmp_path / "empty").mkdir()
    assert "empty: there is no video in it" in run("extract", "empty", code=1).stderr


def test_what_is_wrong_is_said_by_the_call_and_not_by_its_iterator(make_video, tmp_path):
    extractor = Extractor("mc3", "cpu", size=16)
    (tmp_path / "empty").mkdir()
    make_video("videos/normal/a.mp4", 5)
    assert [outcome.status for outcome in extract([tmp_path / "videos"], tmp_path / "out", extractor)] == ["done"]
    with pytest.raises(VideoError, match="there is no video"):
        extract([tmp_path / "empty"], tmp_path / "new", extractor)
    with pytest.raises(UsageError, match="with size 16, and this run has 32"):
        extract([tmp_path / "videos"], tmp_path / "out", Extractor("mc3", "cpu", size=32))
    with pytest.raises(UsageError, match="There is no format 'abc'"):
        extract([tmp_path / "videos"], tmp_path / "new", extractor, ExtractionSettings(layout="abc"))
    int8 = SimpleNamespace(kind=extractor.kind, precision="int8")
    with pytest.raises(UsageError, match="int8 is calibrated on the videos of a run"):
        extract([tmp_path / "videos"], tmp_path / "new", int8, ExtractionSettings(shard=Shard(1, 2)))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file where a folder is needed"):
        extract([tmp_path / "videos"], tmp_path / "file" / "out", extractor)
    (tmp_path / "videos" / "labels.csv").write_text("video,label\na,1\n")
    with pytest.raises(UsageError, match="contradict"):
        extract([tmp_path / "videos"], tmp_path / "new", extractor)
    assert not (tmp_path / "new").exists()


def test_ctrl_c_while_an_outcome_is_printed_leaves_a_report(make_video, tmp_path, monkeypatch):
    def interrupt(outcome):
        raise KeyboardInterrupt

    video, folder = make_video("a.mp4", 8), tmp_path / "features"
    monkeypatch.setattr(command, "print_outcome", interrupt)
    with pytest.raises(click.Abort) as caught:  # it holds what the command made, as the program does until it ends
        cli.main(["extract", str(video), "-o", str(folder), "--size", "32"], standalone_mode=False)
    report = json.loads((folder / "report.json").read_text())
    assert (report["counts"]["done"], report["complete"]) == (1, False), caught
